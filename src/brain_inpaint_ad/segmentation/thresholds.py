"""Which of a model's thresholds a choice among superpixels needs, and whether the model has it."""

from __future__ import annotations

from collections.abc import Mapping

from ..errors import WeightsError
from .residual import TRAINING_RESIDUALS
from .select import SEGMENTATIONS, SegmentSettings


def threshold_name(segmentation: str, share: str = "healthy_voxels_1_percent") -> str:
    """Under which name a card keeps a threshold; regions of a volume have their own. share: of evaluation.thresholds.SHARES."""
    return {"slices": "", "volume": "volume_", "scales": "scales_", "residual": "residual_"}[segmentation] + share


def least_heat(thresholds: Mapping[str, float], settings: SegmentSettings) -> float | None:
    """Least heat of an anomalous region under these settings; None when there is none for them. thresholds: the card's."""
    return thresholds.get(_name_for(settings))


def check_threshold(thresholds: Mapping[str, float], settings: SegmentSettings) -> None:
    """Raises WeightsError when the rule has no threshold to work with. thresholds: the card's."""
    if _name_for(settings) in thresholds or (settings.rule == "paper" and settings.segmentation != "residual"):
        return
    calibrated = [cut for cut in SEGMENTATIONS if threshold_name(cut) in thresholds]
    if settings.rule == "paper":
        other = "--rule calibrated or another --segmentation" if "residual" in calibrated else "another --segmentation"
        raise WeightsError(f"the model's card tells no residuals of training scans; use {other}.")
    ways_out = [f"--segmentation {cut}" for cut in calibrated]
    if settings.segmentation != "residual" or TRAINING_RESIDUALS in thresholds:
        ways_out.append("--rule paper")
    what = f"the model is not calibrated{f' for --segmentation {settings.segmentation}' if calibrated else ''}"
    use = f"use {' or '.join(ways_out)}, or " if ways_out else ""
    raise WeightsError(f"{what}; {use}calibrate it first: brain-inpaint-ad calibrate MODEL --data FOLDER (of healthy scans).")


def _name_for(settings: SegmentSettings) -> str:
    """The name of the threshold that a choice by these settings needs."""
    if settings.segmentation == "residual" and settings.rule == "paper":
        return TRAINING_RESIDUALS
    return threshold_name(settings.segmentation)
