"""A volume out of the scene into a file, and the core's files back as nodes.

The file holds the volume as it lies in the world (parent transforms applied), because the core cuts axial slices.
The results take the volume's own matrix and parent transform: voxel on voxel, and they follow when it is moved.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import slicer
import vtk
from slicer.i18n import tr as _

from . import Heatmap, Segments
from .Findings import Finding, readFindings

_SQUARE_TOLERANCE = 1e-3  # cosine between two axes; NIfTI keeps float32 directions, good to about 1e-6
_PLACE_TOLERANCE_MM = 1e-2  # a file's corner may lie off by its float32 header, far below a voxel


class SceneError(ValueError):
    """A volume cannot be used, or a result does not fit it; the message names the remedy."""


@dataclass(frozen=True)
class DetectionResult:
    """What a detection added to the scene, and to which scan."""

    volumeNode: slicer.vtkMRMLScalarVolumeNode  # the scan they belong to
    heatmapNode: slicer.vtkMRMLScalarVolumeNode
    segmentationNode: slicer.vtkMRMLSegmentationNode
    findings: Sequence[Finding]


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
    matrix = slicer.util.arrayFromVTKMatrix(toWorld) @ _localMatrix(volumeNode)
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


def importResult(folder: Path, volumeNode: slicer.vtkMRMLScalarVolumeNode) -> DetectionResult:
    """The core's files as new nodes: a heatmap volume and one segmentation. Either all of it is added, or nothing."""
    heatmapNode = _readLike(volumeNode, folder / "heatmap.nii.gz", slicer.vtkMRMLScalarVolumeNode())
    labelmapNode = _readLike(volumeNode, folder / "anomalies.nii.gz", slicer.vtkMRMLLabelMapVolumeNode())
    findings = readFindings(folder / "findings.csv")
    scene = volumeNode.GetScene()
    before = {scene.GetNthNode(number) for number in range(scene.GetNumberOfNodes())}
    try:
        Heatmap.addToScene(heatmapNode, volumeNode)
        segmentationNode = Segments.addToScene(labelmapNode, volumeNode)
    except Exception:
        for node in [scene.GetNthNode(number) for number in range(scene.GetNumberOfNodes())]:
            if node not in before:
                scene.RemoveNode(node)
        raise
    return DetectionResult(volumeNode, heatmapNode, segmentationNode, findings)


def _localMatrix(volumeNode: slicer.vtkMRMLVolumeNode) -> np.ndarray:
    matrix = vtk.vtkMatrix4x4()
    volumeNode.GetIJKToRASMatrix(matrix)
    return slicer.util.arrayFromVTKMatrix(matrix)


def _readLike(volumeNode, path: Path, node):
    """`node`, filled from `path`, on the grid of `volumeNode` and under its transform; not yet in the scene."""
    storage = slicer.vtkMRMLVolumeArchetypeStorageNode()
    storage.SetFileName(str(path))
    if not path.is_file() or not storage.ReadData(node):
        raise SceneError(_("The result '{name}' could not be read; run the detection again.").format(name=path.name))
    _checkSameGrid(node, volumeNode, path.name)
    matrix = vtk.vtkMatrix4x4()
    volumeNode.GetIJKToRASMatrix(matrix)
    node.SetIJKToRASMatrix(matrix)  # the exact numbers, not the file's rounded ones
    return node


def _checkSameGrid(node, volumeNode, fileName: str) -> None:
    size = volumeNode.GetImageData().GetDimensions()
    corner = np.array([*size, 1.0])
    off = np.abs((_localMatrix(node) - worldMatrix(volumeNode)) @ np.stack([corner, [0, 0, 0, 1.0]], axis=1)).max()
    if node.GetImageData().GetDimensions() != size or off > _PLACE_TOLERANCE_MM:
        text = _("The result '{file}' does not lie on the grid of '{name}'; was the volume changed meanwhile?")
        raise SceneError(text.format(file=fileName, name=volumeNode.GetName()))
