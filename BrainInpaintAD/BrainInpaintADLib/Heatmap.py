"""How the heatmap is shown: colours over the scan, nothing where there is little heat."""

from __future__ import annotations

import numpy as np
import slicer

_COLOUR_IDS = ("vtkMRMLColorTableNodeFileInferno.txt", "vtkMRMLColorTableNodeIron")  # the first one Slicer has
_OWN_COLOURS = "BrainInpaintAD heat"
_TOP_PERCENTILE = 99.9  # a single outlying voxel must not darken the rest
_TRANSPARENT_BELOW = 1 / 3  # of the way from typical to top: no brain is rebuilt without any loss


def addToScene(heatmapNode: slicer.vtkMRMLScalarVolumeNode, volumeNode: slicer.vtkMRMLScalarVolumeNode) -> None:
    """Add the heatmap beside its scan, under the same transform and with a display node of its own."""
    scene = volumeNode.GetScene()
    heatmapNode.SetName(scene.GenerateUniqueName(f"{volumeNode.GetName()} heatmap"))
    scene.AddNode(heatmapNode)
    heatmapNode.SetAndObserveTransformNodeID(volumeNode.GetTransformNodeID())
    heatmapNode.CreateDefaultDisplayNodes()
    display = heatmapNode.GetDisplayNode()
    display.SetAndObserveColorNodeID(_colourNode(scene).GetID())
    typical, top = heatRange(slicer.util.arrayFromVolume(heatmapNode))
    display.AutoWindowLevelOff()
    display.SetWindowLevelMinMax(typical, top)
    display.AutoThresholdOff()
    display.SetThreshold(typical + _TRANSPARENT_BELOW * (top - typical), np.finfo(np.float32).max)
    display.ApplyThresholdOn()


def heatRange(heat: np.ndarray) -> tuple[float, float]:
    """(typical, top) in the unit of `heat`, which is 0 outside the brain and positive inside; top is above typical."""
    inside = heat[heat > 0]
    if not inside.size:
        return 0.0, 1.0
    typical, top = (float(value) for value in np.percentile(inside, (50, _TOP_PERCENTILE)))
    return (typical, top) if top > typical else (typical, 2 * typical)


def showOverlay(
    volumeNode: slicer.vtkMRMLScalarVolumeNode, heatmapNode: slicer.vtkMRMLScalarVolumeNode, *, opacity: float
) -> None:
    """Scan behind, heatmap in front, in every slice view; refitted only where the scan was not yet shown."""
    shown = {node.GetBackgroundVolumeID() for node in _compositeNodes(volumeNode.GetScene())}
    slicer.util.setSliceViewerLayers(
        background=volumeNode,
        foreground=heatmapNode,
        foregroundOpacity=opacity,
        fit=shown != {volumeNode.GetID()} and hasattr(slicer, "app"),
    )


def setOpacity(heatmapNode: slicer.vtkMRMLScalarVolumeNode, opacity: float) -> None:
    """`opacity` in [0, 1], in the slice views that show this heatmap and in no other."""
    for node in _compositeNodes(heatmapNode.GetScene()):
        if node.GetForegroundVolumeID() == heatmapNode.GetID():
            node.SetForegroundOpacity(opacity)


def _compositeNodes(scene: slicer.vtkMRMLScene) -> list[slicer.vtkMRMLSliceCompositeNode]:
    count = scene.GetNumberOfNodesByClass("vtkMRMLSliceCompositeNode")
    return [scene.GetNthNodeByClass(number, "vtkMRMLSliceCompositeNode") for number in range(count)]


def _colourNode(scene: slicer.vtkMRMLScene) -> slicer.vtkMRMLColorNode:
    known = filter(None, (scene.GetNodeByID(identifier) for identifier in _COLOUR_IDS))
    return next(known, None) or scene.GetFirstNodeByName(_OWN_COLOURS) or _addOwnColours(scene)


def _addOwnColours(scene: slicer.vtkMRMLScene) -> slicer.vtkMRMLColorTableNode:
    """Black over red and yellow to white, for scenes without Slicer's own tables."""
    table = slicer.vtkMRMLColorTableNode()
    table.SetTypeToUser()
    table.SetName(_OWN_COLOURS)
    table.SetNumberOfColors(256)
    for index, level in enumerate(np.linspace(0, 1, 256)):
        red, green, blue = np.clip([3 * level, 3 * level - 1, 3 * level - 2], 0, 1)
        table.SetColor(index, f"{level:.2f}", red, green, blue, 1.0)
    return scene.AddNode(table)
