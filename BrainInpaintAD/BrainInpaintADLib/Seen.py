"""What the views show of results and scans, to be shown again: a preview leaves no trace when it is taken away."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import slicer

from . import Heatmap, SliceLayers
from .Results import SEGMENTATION, ResultNodes, roots


@dataclass(frozen=True)
class Seen:
    """What the views show of results and scans."""

    layers: Sequence[SliceLayers.Layers]
    segmentationNodes: Sequence[slicer.vtkMRMLSegmentationNode]  # of results, those that are visible
    withColourBar: Sequence[slicer.vtkMRMLScalarVolumeNode]  # heatmaps


def seen(scene: slicer.vtkMRMLScene) -> Seen:
    """What the views show now; see `seeAgain`."""
    heatmaps = roots(scene)
    segmentations = [node for node in (root.GetNodeReference(SEGMENTATION) for root in heatmaps) if node is not None]
    return Seen(
        layers=SliceLayers.layers(scene),
        segmentationNodes=[node for node in segmentations if node.GetDisplayVisibility()],
        withColourBar=[root for root in heatmaps if Heatmap.isColourBarShown(root)],
    )


def seeAgain(before: Seen, *, insteadOf: ResultNodes) -> None:
    """Bring back what the views showed before `insteadOf` was shown; views that show something else by now stay.

    What has left the scene meanwhile is passed over.
    """
    SliceLayers.setLayers(before.layers, insteadOf=insteadOf.heatmapNode)
    for node in before.segmentationNodes:
        if node.GetScene() is not None:
            node.SetDisplayVisibility(True)
    for node in before.withColourBar:
        if node.GetScene() is not None:
            Heatmap.setColourBar(node, True)
