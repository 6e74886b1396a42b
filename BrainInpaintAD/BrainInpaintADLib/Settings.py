"""What the user chooses for one detection: plain data, the same for the panel and for scripts."""

from __future__ import annotations

import math
from dataclasses import dataclass

from slicer.i18n import tr as _

RULES = ("calibrated", "paper")
SEGMENTATIONS = ("slices", "volume", "scales")  # the core's that the panel offers; see CutKinds
SUITED = "suited"  # the segmentation that the model's card names, as the core's `detect` takes it where none is asked for
SCALE_RANGE = (10.0, 500.0)  # Felzenszwalb scale: below, regions are single voxels; above, whole lobes
SIGMA_RANGE = (0.0, 5.0)  # voxels of the model grid
MIN_SIZE_RANGE = (1, 1000)  # voxels of the model grid
MIN_VOLUME_RANGE = (0.0, 100.0)  # ml
DEFAULT_MODEL = "t1-evidence"  # the core's; it has no windows
WINDOW_MODEL = "t1-inpaint"  # the published method: what a wish for windows means
WINDOW_MM = 32  # the window that is chosen first where a model has it

# What Nguyen 2020 and the segmentation they took from scikit-image use; "reset to published values" sets these.
PUBLISHED = {"scale": 75.0, "sigma": 0.8, "minSize": 20, "segmentation": "slices", "rule": "paper"}


class SettingsError(ValueError):
    """A setting is outside what it may be."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """One detection's choices, checked at birth."""

    model: str = DEFAULT_MODEL  # name without the window, or the path of a .safetensors file
    windowMm: int = 0  # side of the erased square, mm; 0 for models without windows, as the default is
    strideMm: int = 4  # step between windows, mm; a multiple of the model's voxels; nothing without windows
    scale: float = 75.0  # Felzenszwalb scale; larger means larger regions
    sigma: float = 0.8  # smoothing before the cut, voxels of the model grid
    minSize: int = 20  # smallest region, voxels of the model grid
    minVolumeMl: float = 5.0  # smaller anomalies are dropped (calibrated rule), ml
    rule: str = "calibrated"  # "paper" always reports the hottest region of a slice
    segmentation: str = SUITED  # or one of SEGMENTATIONS
    device: str = "auto"  # as the core names it: auto, cpu, cuda, mps

    def __post_init__(self) -> None:
        _checkChoice("decision rule", self.rule, RULES)
        _checkChoice("segmentation", self.segmentation, (SUITED, *SEGMENTATIONS))
        _checkRange("Felzenszwalb scale", self.scale, SCALE_RANGE)
        _checkRange("sigma", self.sigma, SIGMA_RANGE)
        _checkRange("minimum size", self.minSize, MIN_SIZE_RANGE)
        _checkRange("minimum volume (ml)", self.minVolumeMl, MIN_VOLUME_RANGE)
        if self.windowMm == 0:
            return  # without windows there is no step between them
        if not (math.isfinite(self.windowMm) and self.windowMm >= 1):
            raise SettingsError(_("The window must be 1 mm or more, not {value:g} mm.").format(value=self.windowMm))
        if not 1 <= self.strideMm <= self.windowMm:
            text = _("The stride must be 1 to {window:g} mm (the window), not {value:g} mm.")
            raise SettingsError(text.format(window=self.windowMm, value=self.strideMm))

    def arguments(self) -> list[str]:
        """These choices as options of the core's `detect` command; model and window: see Core.detectCommand."""
        return [
            *(("--stride-mm", f"{self.strideMm:g}") if self.windowMm else ()),
            *("--scale", f"{self.scale:g}"),
            *("--sigma", f"{self.sigma:g}"),
            *("--min-size", f"{int(self.minSize)}"),
            *("--min-volume-ml", f"{self.minVolumeMl:g}"),
            *("--rule", self.rule),
            *(("--segmentation", self.segmentation) if self.segmentation != SUITED else ()),
            *("--device", self.device),
        ]


def _checkChoice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        text = _("The {name} must be one of {choices}, not '{value}'.")
        raise SettingsError(text.format(name=name, choices=", ".join(choices), value=value))


def _checkRange(name: str, value: float, limits: tuple[float, float]) -> None:
    low, high = limits
    if not low <= value <= high:
        text = _("The {name} must lie between {low:g} and {high:g}, not {value:g}.")
        raise SettingsError(text.format(name=name, low=low, high=high, value=value))
