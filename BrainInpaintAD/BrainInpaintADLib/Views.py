"""Where the slice and 3-D views look."""

from __future__ import annotations

import numpy as np
import slicer
import vtk

_SURFACE = slicer.vtkSegmentationConverter.GetSegmentationClosedSurfaceRepresentationName()
_AXIAL_ENOUGH = 0.7  # cosine between S and the view's normal: within 45 degrees
_AXIAL_VIEW = "Red"


def jumpTo(scene: slicer.vtkMRMLScene, pointRasMm: tuple[float, float, float]) -> None:
    """All slice views show this point of the world; a view in which it would lie outside is centred on it."""
    for node in _sliceNodes(scene):
        node.JumpSlice(*pointRasMm)
        if not _isInside(node, pointRasMm):
            node.JumpSliceByCentering(*pointRasMm)


def axialPoint(scene: slicer.vtkMRMLScene) -> tuple[float, float, float] | None:
    """The middle of the view that looks along S, world RAS in mm: Red, else the most axial one; None without a view."""
    nodes = _sliceNodes(scene)
    if not nodes:
        return None
    red = next((node for node in nodes if node.GetLayoutName() == _AXIAL_VIEW and _alongS(node) >= _AXIAL_ENOUGH), None)
    matrix = slicer.util.arrayFromVTKMatrix((red or max(nodes, key=_alongS)).GetSliceToRAS())
    return tuple(float(value) for value in matrix[:3, 3])


def show3D(segmentationNode: slicer.vtkMRMLSegmentationNode, isShown: bool) -> None:
    """Surfaces of the visible segments in the 3-D views, or none; without them, edits are quicker."""
    if isShown:
        segmentationNode.CreateClosedSurfaceRepresentation()
    else:
        segmentationNode.RemoveClosedSurfaceRepresentation()
    segmentationNode.GetDisplayNode().SetVisibility3D(isShown)


def is3DShown(segmentationNode: slicer.vtkMRMLSegmentationNode) -> bool:
    """Whether there are surfaces, and they are shown."""
    display = segmentationNode.GetDisplayNode()
    hasSurfaces = segmentationNode.GetSegmentation().ContainsRepresentation(_SURFACE)
    return hasSurfaces and display is not None and bool(display.GetVisibility3D())


def _sliceNodes(scene: slicer.vtkMRMLScene) -> list[slicer.vtkMRMLSliceNode]:
    count = scene.GetNumberOfNodesByClass("vtkMRMLSliceNode")
    return [scene.GetNthNodeByClass(number, "vtkMRMLSliceNode") for number in range(count)]


def _alongS(node: slicer.vtkMRMLSliceNode) -> float:
    return abs(node.GetSliceToRAS().GetElement(2, 2))


def _isInside(node: slicer.vtkMRMLSliceNode, pointRasMm: tuple[float, float, float]) -> bool:
    toView = vtk.vtkMatrix4x4()
    vtk.vtkMatrix4x4.Invert(node.GetXYToRAS(), toView)
    across, up, *_rest = toView.MultiplyPoint([*pointRasMm, 1.0])
    width, height, _depth = node.GetDimensions()
    return bool(np.clip(across, 0, width) == across and np.clip(up, 0, height) == up)
