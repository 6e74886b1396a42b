"""How the heatmap is shown: colours over the scan, nothing where there is little heat."""

from __future__ import annotations

import numpy as np
import slicer

_COLOUR_IDS = ("vtkMRMLColorTableNodeFileInferno.txt", "vtkMRMLColorTableNodeIron")  # the first one Slicer has
_OWN_COLOURS = "BrainInpaintAD heat"
_TOP_PERCENTILE = 99.9  # a single outlying voxel must not darken the rest
_TRANSPARENT_BELOW = 1 / 3  # of the top


def addToScene(heatmapNode: slicer.vtkMRMLScalarVolumeNode, volumeNode: slicer.vtkMRMLScalarVolumeNode) -> None:
    """Add the heatmap beside its scan, under the same transform and with a display node of its own."""
    scene = volumeNode.GetScene()
    heatmapNode.SetName(scene.GenerateUniqueName(f"{volumeNode.GetName()} heatmap"))
    scene.AddNode(heatmapNode)
    heatmapNode.SetAndObserveTransformNodeID(volumeNode.GetTransformNodeID())
    heatmapNode.CreateDefaultDisplayNodes()
    display = heatmapNode.GetDisplayNode()
    display.SetAndObserveColorNodeID(_colourNode(scene).GetID())
    low, high = heatRange(slicer.util.arrayFromVolume(heatmapNode))
    display.AutoWindowLevelOff()
    display.SetWindowLevelMinMax(0.0, high)
    display.AutoThresholdOff()
    display.SetThreshold(low, np.finfo(np.float32).max)
    display.ApplyThresholdOn()


def heatRange(heat: np.ndarray) -> tuple[float, float]:
    """(transparent below, top colour) in the unit of `heat`; heat is 0 outside the brain and positive inside."""
    inside = heat[heat > 0]
    high = float(np.percentile(inside, _TOP_PERCENTILE)) if inside.size else 1.0
    return high * _TRANSPARENT_BELOW, high


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
