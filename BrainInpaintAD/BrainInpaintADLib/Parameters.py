"""The module's parameter node: what the panel shows, saved with the scene."""

import json
from dataclasses import asdict, replace
from typing import Annotated

from slicer import vtkMRMLLabelMapVolumeNode, vtkMRMLScalarVolumeNode
from slicer.parameterNodeWrapper import Choice, WithinRange, parameterNodeWrapper

from .Heatmap import COLOUR_MAPS
from .Settings import (
    MIN_SIZE_RANGE,
    MIN_VOLUME_RANGE,
    RULES,
    SCALE_RANGE,
    SEGMENTATIONS,
    SIGMA_RANGE,
    SUITED,
    Settings,
)

CUT_FIELDS = ("scale", "sigma", "minSize", "minVolumeMl", "rule", "segmentation")  # what a re-cut may change
_CUT_ATTRIBUTE = "BrainInpaintAD.cut"  # on a result's heatmap node: the settings it was last cut with


@parameterNodeWrapper
class Parameters:
    """Inputs, settings, view, and the latest results. A node that is not chosen reads as None."""

    scan: vtkMRMLScalarVolumeNode
    brainMask: vtkMRMLLabelMapVolumeNode
    model: str = ""  # name without the window; empty: the first model, which then brings its window
    windowMm: int = Settings.windowMm  # 0 without windows
    rule: Annotated[str, Choice(list(RULES))] = Settings.rule
    segmentation: Annotated[str, Choice([SUITED, *SEGMENTATIONS])] = Settings.segmentation
    scale: Annotated[float, WithinRange(*SCALE_RANGE)] = Settings.scale
    sigma: Annotated[float, WithinRange(*SIGMA_RANGE)] = Settings.sigma
    minSize: Annotated[int, WithinRange(*MIN_SIZE_RANGE)] = Settings.minSize
    minVolumeMl: Annotated[float, WithinRange(*MIN_VOLUME_RANGE)] = Settings.minVolumeMl
    heatmapOpacity: Annotated[float, WithinRange(0.0, 1.0)] = 0.5
    heatmapThreshold: float = 0.0  # heat below it is transparent; each result brings its own
    colourMap: Annotated[str, Choice(list(COLOUR_MAPS))] = COLOUR_MAPS[0]
    showColourBar: bool = False
    showReconstruction: bool = False
    result: vtkMRMLScalarVolumeNode  # heatmap node, the root of the result that is shown
    previousResult: vtkMRMLScalarVolumeNode  # the root of the one before


def settingsFrom(parameters: Parameters) -> Settings:
    """The settings of the next detection, and of the next cut."""
    chosen = {name: getattr(parameters, name) for name in CUT_FIELDS}
    return Settings(model=parameters.model, windowMm=parameters.windowMm, **chosen)


def cutFields(settings: Settings) -> tuple:
    """What a re-cut may change, of these settings."""
    return tuple(getattr(settings, name) for name in CUT_FIELDS)


def setCut(parameters: Parameters, settings: Settings) -> None:
    """Take the settings of a cut over; one change."""
    was = parameters.StartModify()
    for name, value in zip(CUT_FIELDS, cutFields(settings), strict=True):
        setattr(parameters, name, value)
    parameters.EndModify(was)


def rememberCut(heatmapNode: vtkMRMLScalarVolumeNode, settings: Settings) -> None:
    """Write down with which settings this result was cut."""
    told = asdict(settings)
    heatmapNode.SetAttribute(_CUT_ATTRIBUTE, json.dumps({name: told[name] for name in CUT_FIELDS}))


def isCutKnown(heatmapNode: vtkMRMLScalarVolumeNode) -> bool:
    """Whether it was written down with which settings this result was cut."""
    return bool(heatmapNode.GetAttribute(_CUT_ATTRIBUTE))


def cutOf(heatmapNode: vtkMRMLScalarVolumeNode, settings: Settings) -> Settings:
    """`settings` with the cut of this result; unchanged when it is not known."""
    try:
        told = json.loads(heatmapNode.GetAttribute(_CUT_ATTRIBUTE) or "{}")
        return replace(settings, **{name: value for name, value in told.items() if name in CUT_FIELDS})
    except (ValueError, TypeError, AttributeError):  # written by another version
        return settings
