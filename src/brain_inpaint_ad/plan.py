"""With what a scan is looked at and how its heat is cut: what was asked for, as far as the model can do it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from .detectors import ModelDetector, Rebuilder
from .errors import SettingsError
from .segmentation.regions import possible_segmentations
from .segmentation.select import SegmentSettings
from .segmentation.thresholds import check_threshold
from .weights.card import Card


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a user asks of any model. is_cut_chosen: the segmentation in `settings` is the user's, and stays; stride_mm: None
    for the usual one; reconstruct: also show what was expected.
    """

    settings: SegmentSettings
    is_cut_chosen: bool
    stride_mm: float | None
    reconstruct: bool

    def settings_for(self, card: Card) -> SegmentSettings:
        """With the segmentation that was chosen, or else one that suits the model."""
        return self.settings if self.is_cut_chosen else suited(self.settings, card)


@dataclass(frozen=True, slots=True)
class Plan:
    """A detector, how its heat is cut, and by which of its thresholds; reconstruct: also show what it expected."""

    detector: ModelDetector
    settings: SegmentSettings
    thresholds: Mapping[str, float]
    reconstruct: bool = False


def plan_for(detector: ModelDetector, asked: Asked) -> Plan:
    """Raises SettingsError or WeightsError when the detector cannot do what was asked for."""
    card = detector.card
    if asked.stride_mm is not None and not card.window_mm:
        raise SettingsError(f"the model {card.name} looks at no windows; leave --stride-mm away.")
    plan = Plan(detector, asked.settings_for(card), card.thresholds, asked.reconstruct)
    if detector.minmax != card.minmax:
        if plan.settings.rule == "calibrated":
            raise SettingsError(f"--engine {detector.engine} has no calibrated threshold; add --rule paper.")
        plan = replace(plan, thresholds={})
    check_threshold(plan.thresholds, plan.settings)
    if plan.reconstruct:
        _check_rebuilds(detector)
    return plan


def suited(settings: SegmentSettings, card: Card) -> SegmentSettings:
    """With the segmentation that suits the model's heat; the other settings may be made for slices, or numba be missing."""
    if settings.rule != "calibrated" or settings.auto_scale or card.segmentation not in possible_segmentations():
        return settings
    return replace(settings, segmentation=card.segmentation)


def _check_rebuilds(detector: ModelDetector) -> None:
    """Raises SettingsError when there will be no reconstruction to show."""
    if not isinstance(detector, Rebuilder):
        raise SettingsError(f"the model {detector.card.name} rebuilds nothing; drop --reconstruction.")
    if detector.engine == "paper-strict":
        raise SettingsError("--engine paper-strict keeps no intensities; drop --reconstruction or choose another engine.")
