"""What a made-up scan shall be like."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from ..errors import SettingsError
from .shapes import Place

MIN_SPACING_MM = 0.4  # below, a head takes minutes and gigabytes
MAX_SPACING_MM = 10.0  # above, it is no picture any more


@dataclass(frozen=True, kw_only=True)
class Lesion:
    """A ball of other tissue.

    centre_mm: offsets from the brain's centre to the right, to anterior and to superior. contrast: added to the mean
    intensity of the tissue, 1 = white matter; no voxel falls below 0. softness_mm: width of the edge, centred on
    `radius_mm`. evenness: how much of the anatomy's own contrast disappears; 0 = its folds shine through, 1 = none.
    """

    centre_mm: Place
    radius_mm: float
    contrast: float = -0.35  # a low-grade glioma on T1
    softness_mm: float = 3.0
    evenness: float = 0.7

    def __post_init__(self) -> None:
        _check_finite("a lesion", (*self.centre_mm, self.radius_mm, self.contrast, self.softness_mm, self.evenness))
        if len(self.centre_mm) != 3:
            raise SettingsError(f"a lesion's centre is three numbers (mm to R, A, S), got {self.centre_mm}")
        if self.radius_mm <= 0:
            raise SettingsError(f"a lesion's radius must be more than 0 mm, got {self.radius_mm}")
        if not 0 <= self.softness_mm <= 2 * self.radius_mm:
            raise SettingsError(f"a lesion's edge must be 0 to {2 * self.radius_mm:g} mm wide, got {self.softness_mm}")
        if not 0 <= self.evenness <= 1:
            raise SettingsError(f"a lesion's evenness must be 0 to 1, got {self.evenness}")


@dataclass(frozen=True, kw_only=True)
class PhantomSettings:
    """One made-up scan.

    spacing_mm: one number, or along (columns, rows, slices). whole_head: with skull, face and noise around, else brain
    on 0. bias: largest relative deviation of the coil's gain. noise: standard deviation, 1 = white matter. seed:
    another seed is another brain. lesions: the first is labelled 1; where two overlap the later one counts.
    rotation_degrees: how the grid is turned about the world's right, anterior and superior axis, in this order; the
    head stays where it is.
    """

    spacing_mm: float | tuple[float, float, float] = 1.0
    whole_head: bool = False
    bias: float = 0.2
    noise: float = 0.02
    seed: int = 0
    lesions: tuple[Lesion, ...] = ()
    rotation_degrees: tuple[float, float, float] = (0.0, 0.0, 0.0)

    def __post_init__(self) -> None:
        _check_finite("a phantom", (*self.spacing, self.bias, self.noise, *self.rotation_degrees))
        if len(self.spacing) != 3 or not all(MIN_SPACING_MM <= mm <= MAX_SPACING_MM for mm in self.spacing):
            raise SettingsError(
                f"the spacing must be one or three numbers from {MIN_SPACING_MM} to {MAX_SPACING_MM:g} mm, "
                f"got {self.spacing_mm}"
            )
        if not 0 <= self.bias < 1:
            raise SettingsError(f"the bias must be at least 0 and less than 1, got {self.bias}")
        if self.noise < 0:
            raise SettingsError(f"the noise must not be negative, got {self.noise}")
        if self.seed < 0:
            raise SettingsError(f"the seed must not be negative, got {self.seed}")
        if len(self.rotation_degrees) != 3:
            raise SettingsError(f"the rotation is three angles in degrees, got {self.rotation_degrees}")

    @property
    def spacing(self) -> tuple[float, ...]:
        """mm along (columns, rows, slices)."""
        return (self.spacing_mm,) * 3 if isinstance(self.spacing_mm, int | float) else tuple(self.spacing_mm)


def _check_finite(what: str, numbers: Iterable[float]) -> None:
    for number in numbers:
        if not math.isfinite(number):
            raise SettingsError(f"{what} needs finite numbers, got {number}")
