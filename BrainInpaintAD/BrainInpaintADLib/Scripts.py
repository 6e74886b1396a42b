"""What scripts ask of the module's logic: a detection that is waited for, and a cut. No windows are opened."""

from __future__ import annotations

from dataclasses import replace

from .Models import findModel
from .Parameters import cutOf, rememberCut
from .Results import ResultNodes
from .Settings import WINDOW_MODEL, Settings


def detect(logic, volumeNode, maskNode, *, model: str, windowMm: float | None, **wishes) -> ResultNodes:
    """As BrainInpaintADLogic.detect says; wishes: rule, scale, segmentation and device of Settings."""
    chosen = findModel(model or (WINDOW_MODEL if windowMm else ""))
    if windowMm is None:
        windowMm = chosen.nearestMm()
    settings = Settings(model=chosen.name, windowMm=chosen.card(windowMm).windowMm, **wishes)
    detection = logic.newDetection()
    detection.start(volumeNode, maskNode, settings=settings, install=logic.newInstaller().check)
    result = detection.wait()
    rememberCut(result.heatmapNode, settings)
    return result


def recut(logic, result: ResultNodes, **changes) -> ResultNodes:
    """As BrainInpaintADLogic.recut says."""
    settings = replace(cutOf(result.heatmapNode, Settings(model=result.model, windowMm=result.windowMm)), **changes)
    cut = logic.newRecut(result)
    try:
        changed = cut.apply(settings)
    finally:
        cut.close()
    rememberCut(changed.heatmapNode, settings)
    return changed
