"""What the user chooses for one detection: plain data, the same for the panel and for scripts."""

from __future__ import annotations

from dataclasses import dataclass

RULES = ("calibrated", "paper")
SCALE_RANGE = (10.0, 500.0)  # Felzenszwalb scale: below, regions are single voxels; above, whole lobes
WINDOW_MM = 32  # the window of the model that ships with the extension


class SettingsError(ValueError):
    """A setting is outside what it may be."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """One detection's choices, checked at birth."""

    windowMm: int = WINDOW_MM  # side of the erased square, mm
    strideMm: int = 4  # step between windows, mm
    scale: float = 75.0  # Felzenszwalb scale; larger means larger regions
    rule: str = "calibrated"  # "paper" always reports the hottest region of a slice
    model: str = ""  # empty: the model that ships for this window
    device: str = "auto"  # as the core names it: auto, cpu, cuda, mps

    def __post_init__(self) -> None:
        if self.rule not in RULES:
            raise SettingsError(f"The decision rule must be one of {', '.join(RULES)}, not '{self.rule}'.")
        low, high = SCALE_RANGE
        if not low <= self.scale <= high:
            raise SettingsError(f"The Felzenszwalb scale must lie between {low:g} and {high:g}, not {self.scale:g}.")
        if not 1 <= self.strideMm <= self.windowMm:
            raise SettingsError(f"The stride must be 1 to {self.windowMm} mm (the window), not {self.strideMm} mm.")

    def arguments(self) -> list[str]:
        """These choices as options of the core's `detect` command."""
        model = ["--model", self.model] if self.model else []
        return [
            *model,
            *("--window-mm", f"{self.windowMm:d}"),
            *("--stride-mm", f"{self.strideMm:d}"),
            *("--scale", f"{self.scale:g}"),
            *("--rule", self.rule),
            *("--device", self.device),
        ]
