"""What the slice views show: scan or reconstruction behind, heatmap in front."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import slicer


@dataclass(frozen=True)
class Layers:
    """What one slice view shows; nodes, not ids: a closed scene gives its ids to others."""

    compositeNode: slicer.vtkMRMLSliceCompositeNode
    backgroundNode: slicer.vtkMRMLVolumeNode | None
    foregroundNode: slicer.vtkMRMLVolumeNode | None
    foregroundOpacity: float


def showOverlay(
    volumeNode: slicer.vtkMRMLScalarVolumeNode,
    heatmapNode: slicer.vtkMRMLScalarVolumeNode,
    *,
    opacity: float,
    backgroundNode: slicer.vtkMRMLScalarVolumeNode | None = None,
) -> None:
    """Scan (or `backgroundNode`, on the scan's grid) behind, heatmap in front, in every slice view.

    The views are fitted only when one of them showed another scan before; the reconstruction counts as the scan.
    """
    background = backgroundNode or volumeNode
    same = {node.GetID() for node in (volumeNode, background, *_reconstructions(volumeNode))}
    shown = {node.GetBackgroundVolumeID() for node in _compositeNodes(volumeNode.GetScene())}
    slicer.util.setSliceViewerLayers(
        background=background,
        foreground=heatmapNode,
        foregroundOpacity=opacity,
        fit=not shown <= same and hasattr(slicer, "app"),
    )


def takeOut(
    heatmapNode: slicer.vtkMRMLScalarVolumeNode,
    volumeNode: slicer.vtkMRMLScalarVolumeNode | None,
    reconstructionNode: slicer.vtkMRMLScalarVolumeNode | None = None,
) -> None:
    """No slice view shows the heatmap any longer; where the reconstruction lay behind it, the scan (if any) comes back."""
    for node in _compositeNodes(heatmapNode.GetScene()):
        if node.GetForegroundVolumeID() == heatmapNode.GetID():
            node.SetForegroundVolumeID(None)
        if reconstructionNode is not None and node.GetBackgroundVolumeID() == reconstructionNode.GetID():
            node.SetBackgroundVolumeID(_idIn(heatmapNode.GetScene(), volumeNode))


def layers(scene: slicer.vtkMRMLScene) -> list[Layers]:
    """What every slice view shows now."""
    return [
        Layers(
            node,
            scene.GetNodeByID(node.GetBackgroundVolumeID() or ""),
            scene.GetNodeByID(node.GetForegroundVolumeID() or ""),
            node.GetForegroundOpacity(),
        )
        for node in _compositeNodes(scene)
    ]


def setLayers(before: Iterable[Layers], *, insteadOf: slicer.vtkMRMLScalarVolumeNode) -> None:
    """Bring back what `layers` found, to the slice views that have this heatmap in front; others stay as they are."""
    scene = insteadOf.GetScene()
    for view in before:
        node = view.compositeNode
        if node.GetScene() is not scene or node.GetForegroundVolumeID() != insteadOf.GetID():
            continue
        node.SetBackgroundVolumeID(_idIn(scene, view.backgroundNode))
        node.SetForegroundVolumeID(_idIn(scene, view.foregroundNode))
        node.SetForegroundOpacity(view.foregroundOpacity)


def setOpacity(heatmapNode: slicer.vtkMRMLScalarVolumeNode, opacity: float) -> None:
    """`opacity` in [0, 1], in the slice views that show this heatmap and in no other."""
    for node in _compositeNodes(heatmapNode.GetScene()):
        if node.GetForegroundVolumeID() == heatmapNode.GetID():
            node.SetForegroundOpacity(opacity)


def _idIn(scene: slicer.vtkMRMLScene, node: slicer.vtkMRMLNode | None) -> str | None:
    """None for no node, and for one that has left the scene."""
    return node.GetID() if node is not None and node.GetScene() is scene else None


def _compositeNodes(scene: slicer.vtkMRMLScene) -> list[slicer.vtkMRMLSliceCompositeNode]:
    count = scene.GetNumberOfNodesByClass("vtkMRMLSliceCompositeNode")
    return [scene.GetNthNodeByClass(number, "vtkMRMLSliceCompositeNode") for number in range(count)]


def _reconstructions(volumeNode) -> list[slicer.vtkMRMLScalarVolumeNode]:
    """Backgrounds of the views that were made from this scan."""
    backgrounds = [node.GetBackgroundVolumeID() for node in _compositeNodes(volumeNode.GetScene())]
    nodes = filter(None, (volumeNode.GetScene().GetNodeByID(identifier) for identifier in filter(None, backgrounds)))
    return [node for node in nodes if node.GetNodeReferenceID("BrainInpaintAD.scan") == volumeNode.GetID()]
