"""Geometry: a volume out of the scene into a file, and the core's files back on the very same grid.

The file holds the volume as it lies in the world (parent transforms applied), because the core cuts axial slices.
The results take the volume's own matrix and parent transform: voxel on voxel, and they follow when it is moved.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import slicer
import vtk
from slicer.i18n import tr as _

_SQUARE_TOLERANCE = 1e-3  # cosine between two axes; NIfTI keeps float32 directions, good to about 1e-6
_PLACE_TOLERANCE_MM = 0.3  # NIfTI straightens such axes: across 300 mm a corner may lie off by this


class SceneError(ValueError):
    """A volume cannot be used, or a result does not fit it; the message names the remedy."""


def checkScan(volumeNode: slicer.vtkMRMLScalarVolumeNode | None) -> None:
    """Raise SceneError unless the node is one 3-D scan that a file can hold as it lies in the world."""
    if volumeNode is None:
        raise SceneError(_("Choose a volume first."))
    name = volumeNode.GetName()
    if volumeNode.IsA("vtkMRMLLabelMapVolumeNode"):
        raise SceneError(_("'{name}' is a labelmap; choose the scan itself.").format(name=name))
    image = volumeNode.GetImageData()
    if image is None or min(image.GetDimensions()) < 2:
        raise SceneError(_("'{name}' holds no 3-D image; choose a volume with several slices.").format(name=name))
    if image.GetNumberOfScalarComponents() != 1:
        raise SceneError(_("'{name}' has several values per voxel; choose a scalar T1 volume.").format(name=name))
    worldMatrix(volumeNode)


def worldMatrix(volumeNode: slicer.vtkMRMLVolumeNode) -> np.ndarray:
    """Voxel (i, j, k, 1) → world RAS in mm, parent transforms included: (4, 4). SceneError if they bend or shear."""
    parent = volumeNode.GetParentTransformNode()
    name = volumeNode.GetName()
    if parent is not None and not parent.IsTransformToWorldLinear():
        text = _("'{name}' is under a non-linear transform; harden it first (Data module, right-click, Harden).")
        raise SceneError(text.format(name=name))
    toWorld = vtk.vtkMatrix4x4()
    slicer.vtkMRMLTransformNode.GetMatrixTransformBetweenNodes(parent, None, toWorld)
    matrix = slicer.util.arrayFromVTKMatrix(toWorld) @ localMatrix(volumeNode)
    axes = matrix[:3, :3] / np.linalg.norm(matrix[:3, :3], axis=0)
    if np.abs(axes.T @ axes - np.eye(3)).max() > _SQUARE_TOLERANCE:
        text = _("The axes of '{name}' are not at right angles; resample it first (Resample Scalar Volume module).")
        raise SceneError(text.format(name=name))
    return matrix


def writeVolume(volumeNode: slicer.vtkMRMLVolumeNode, path: Path) -> None:
    """Write the voxels as they lie in the world. The node, its storage and the scene stay untouched."""
    copy = slicer.vtkMRMLScalarVolumeNode()
    copy.SetAndObserveImageData(volumeNode.GetImageData())
    copy.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(worldMatrix(volumeNode)))
    storage = slicer.vtkMRMLVolumeArchetypeStorageNode()
    storage.SetFileName(str(path))
    storage.SetUseCompression(False)  # a temporary file: time matters, size does not
    if not storage.WriteData(copy):
        raise SceneError(_("'{path}' could not be written; is the disk full?").format(path=path))


def readLike(volumeNode: slicer.vtkMRMLVolumeNode, path: Path, node: slicer.vtkMRMLVolumeNode) -> slicer.vtkMRMLVolumeNode:
    """`node`, filled from a file of the core, on the grid of `volumeNode`; not in the scene, under no transform.

    The file lies in the world. Raises SceneError when it cannot be read or lies on another grid.
    """
    storage = slicer.vtkMRMLVolumeArchetypeStorageNode()
    storage.SetFileName(str(path))
    if not path.is_file() or not storage.ReadData(node):
        raise SceneError(_("The result '{name}' could not be read; run the detection again.").format(name=path.name))
    _checkSameGrid(node, volumeNode, path.name)
    matrix = vtk.vtkMatrix4x4()
    volumeNode.GetIJKToRASMatrix(matrix)
    node.SetIJKToRASMatrix(matrix)  # the exact numbers, not the file's rounded ones
    return node


def gridIn(node: slicer.vtkMRMLTransformableNode, volumeNode: slicer.vtkMRMLVolumeNode) -> np.ndarray:
    """Voxel (i, j, k, 1) of the volume → RAS in mm as `node` has it below its own parent transform: (4, 4).

    Whatever either of them was moved or hardened to; both must be under linear transforms or none.
    """
    between = vtk.vtkMatrix4x4()
    parents = volumeNode.GetParentTransformNode(), node.GetParentTransformNode()
    if not slicer.vtkMRMLTransformNode.GetMatrixTransformBetweenNodes(*parents, between):
        text = _("'{name}' is under a non-linear transform; harden it first (Data module, right-click, Harden).")
        raise SceneError(text.format(name=volumeNode.GetName()))
    return slicer.util.arrayFromVTKMatrix(between) @ localMatrix(volumeNode)


def placeBeside(node: slicer.vtkMRMLNode, volumeNode: slicer.vtkMRMLVolumeNode) -> None:
    """In the subject hierarchy, put it into the study of the volume: DICOM export looks for the scan there."""
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(volumeNode.GetScene())
    scan = hierarchy.GetItemByDataNode(volumeNode)
    if not scan:
        return  # the scan is not in the tree, so there is no study to join
    parent = hierarchy.GetItemParent(scan)
    item = hierarchy.GetItemByDataNode(node)
    if item:
        hierarchy.SetItemParent(item, parent)
    else:
        hierarchy.CreateItem(parent, node)


@contextmanager
def takenBack(scene: slicer.vtkMRMLScene, *, onlyOnFailure: bool = False) -> Iterator[None]:
    """The nodes that the block added to the scene are removed when it ends (or only when it fails)."""
    before = set(_nodes(scene))
    isDone = False
    try:
        yield
        isDone = True
    finally:
        if not (isDone and onlyOnFailure):
            for node in [node for node in _nodes(scene) if node not in before]:
                if node.GetScene() is scene:  # a node can take others along
                    scene.RemoveNode(node)


def localMatrix(volumeNode: slicer.vtkMRMLVolumeNode) -> np.ndarray:
    """Voxel (i, j, k, 1) → RAS in mm below the parent transform: (4, 4)."""
    matrix = vtk.vtkMatrix4x4()
    volumeNode.GetIJKToRASMatrix(matrix)
    return slicer.util.arrayFromVTKMatrix(matrix)


def _nodes(scene: slicer.vtkMRMLScene) -> list[slicer.vtkMRMLNode]:
    return [scene.GetNthNode(number) for number in range(scene.GetNumberOfNodes())]


def _checkSameGrid(node, volumeNode, fileName: str) -> None:
    size = volumeNode.GetImageData().GetDimensions()
    corner = np.array([*size, 1.0])
    off = np.abs((localMatrix(node) - worldMatrix(volumeNode)) @ np.stack([corner, [0, 0, 0, 1.0]], axis=1)).max()
    if node.GetImageData().GetDimensions() != size or off > _PLACE_TOLERANCE_MM:
        text = _("The result '{file}' does not lie on the grid of '{name}'; was the volume changed meanwhile?")
        raise SceneError(text.format(file=fileName, name=volumeNode.GetName()))
