"""The module's parameter node: what the panel shows, saved with the scene."""

from typing import Annotated

from slicer import vtkMRMLLabelMapVolumeNode, vtkMRMLScalarVolumeNode, vtkMRMLSegmentationNode
from slicer.parameterNodeWrapper import Choice, WithinRange, parameterNodeWrapper

from .Settings import RULES, SCALE_RANGE, Settings


@parameterNodeWrapper
class Parameters:
    """Inputs, settings, view, and the latest result. A node that is not chosen reads as None."""

    scan: vtkMRMLScalarVolumeNode
    brainMask: vtkMRMLLabelMapVolumeNode
    rule: Annotated[str, Choice(list(RULES))] = "calibrated"
    scale: Annotated[float, WithinRange(*SCALE_RANGE)] = 75.0
    heatmapOpacity: Annotated[float, WithinRange(0.0, 1.0)] = 0.5
    heatmap: vtkMRMLScalarVolumeNode
    anomalies: vtkMRMLSegmentationNode
    resultScan: vtkMRMLScalarVolumeNode  # the scan the result belongs to, which may no longer be `scan`
    summary: str = ""


def settingsFrom(parameters: Parameters) -> Settings:
    """The settings of the next detection."""
    return Settings(rule=parameters.rule, scale=parameters.scale)
