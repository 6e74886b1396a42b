"""Which superpixels are anomalies: the hottest (paper), or those hotter than healthy brains get (calibrated)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import ndimage

from ..errors import SettingsError
from ..volume import Array
from .graph import MAX_SIGMA, MIN_SCALE

RULES = ("calibrated", "paper")
SEGMENTATIONS = ("slices", "volume", "scales", "residual")
# Of a third, 41 % and a half, a third served the BraTS validation cases best.
TRIM = 1 / 3
_TOUCHING = np.ones((3, 3, 3))  # corners count


@dataclass(frozen=True, kw_only=True)
class SegmentSettings:
    """scale, sigma, min_size: Felzenszwalb's (pixels of the model grid, voxels in the volume); rule: one of RULES.

    auto_scale: let the heatmap choose the scale (see `scale.choose_scale`), for "slices" and "volume".
    segmentation: one of SEGMENTATIONS. "slices" cuts every axial slice by itself, "volume" the whole brain at once: an anomaly
    is then a union of 3-D superpixels, and does not flicker between slices. "scales" cuts the volume at several scales, the
    given one the coarsest, and averages the heat of the regions that a voxel belongs to. "residual" takes voxels by themselves,
    as Baur 2018 does: median (side of its cube), erosion (layers taken off the brain), min_voxels (of an anomaly) are its
    steps, in voxels of the model grid; 1, 0 and 0 switch them off. Its threshold is that of residuals in training scans with
    the rule "paper", and one from healthy validation scans with "calibrated".
    """

    scale: float = 75.0  # as published
    sigma: float = 0.8  # scikit-image's default, as published
    min_size: int = 20
    rule: str = "calibrated"
    # Calibrated rule: smaller specks are dropped. Windows of 32 mm see little below 2 cm; most of what healthy validation
    # heads show above the threshold measures 1 to 3 ml.
    min_volume_ml: float = 5.0
    segmentation: str = "slices"
    median: int = 5  # as published
    erosion: int = 1  # "slightly eroded"
    min_voxels: int = 6  # as published
    auto_scale: bool = False

    def __post_init__(self) -> None:
        if self.segmentation not in SEGMENTATIONS:
            raise SettingsError(f"the segmentation must be one of {', '.join(SEGMENTATIONS)}, got {self.segmentation!r}")
        if self.rule not in RULES:
            raise SettingsError(f"the rule must be one of {', '.join(RULES)}, got {self.rule!r}")
        if self.auto_scale and self.segmentation == "scales":
            raise SettingsError("the segmentation scales takes several scales by itself; drop --scale auto.")
        if not (self.median >= 1 and self.median % 2 == 1 and self.erosion >= 0 and self.min_voxels >= 0):
            got = f"{self.median}, {self.erosion}, {self.min_voxels}"
            raise SettingsError(f"median must be odd and 1 or more, erosion and min_voxels 0 or more, got {got}")
        if not MIN_SCALE <= self.scale < math.inf:
            raise SettingsError(f"the scale must be above 0 (from {MIN_SCALE:g}) and finite, got {self.scale:g}")
        if not (0 <= self.sigma <= MAX_SIGMA and self.min_size >= 1 and 0 <= self.min_volume_ml < math.inf):
            got = f"{self.sigma:g}, {self.min_size}, {self.min_volume_ml:g}"
            must = f"sigma must be 0 to {MAX_SIGMA:g}, min_size 1 or more, min_volume_ml 0 or more"
            raise SettingsError(f"{must}, got {got}")

    def as_json(self, threshold: float | None) -> dict[str, Any]:
        """What a report says of a choice by these settings: those that count in it. threshold: the one it was made at."""
        if self.segmentation == "residual":
            steps = {"median": self.median, "erosion": self.erosion, "min_voxels": self.min_voxels}
            return {"segmentation": self.segmentation, "rule": self.rule, **steps, "threshold": threshold}
        return {
            "segmentation": self.segmentation,
            "scale": self.scale,
            "auto_scale": self.auto_scale,
            "sigma": self.sigma,
            "min_size": self.min_size,
            "rule": self.rule,
            "min_volume_ml": self.min_volume_ml,
            "threshold": threshold if self.rule == "calibrated" else None,
        }


@dataclass(frozen=True, slots=True)
class Regions:
    """Superpixels with their heat.

    labels: int32 (slices, rows, columns), 1…N over the whole volume, 0 outside the brain; heat: float (N + 1,), mean over
    the region's brain voxels, heat[0] = 0; slices: int (N + 1,), the slice of each region, all 0 for those of a volume.
    """

    labels: Array
    heat: Array
    slices: Array


def select_anomalies(regions: Regions, settings: SegmentSettings, *, threshold: float, voxel_mm3: float) -> Array:
    """Labelmap int32 of the regions' shape: 0 background, 1…N anomalies, largest first; all 0 when nothing is found.

    threshold: least heat of a region under the calibrated rule, taken from healthy scans; the paper's rule ignores it and
    answers always: the hottest region of every slice, or of the whole volume when that was cut in 3-D. Voxels by themselves
    ("residual") are above the threshold under either rule. "scales", calibrated: an anomaly ends where its heat is below TRIM
    of its hottest region's.
    """
    chosen = _chosen(regions, settings, threshold)[regions.labels]
    if is_trimmed(settings):
        chosen = _trimmed(chosen, regions.heat[regions.labels])
    parts, count = ndimage.label(chosen, structure=_TOUCHING)
    sizes = np.bincount(parts.ravel(), minlength=count + 1)
    sizes[0] = 0
    least = _least_voxels(settings, voxel_mm3)
    kept = [part for part in np.argsort(-sizes, kind="stable") if sizes[part] > 0 and sizes[part] >= least]
    number = np.zeros(count + 1, dtype=np.int32)
    number[kept] = np.arange(1, len(kept) + 1)
    return np.asarray(number[parts])


def is_trimmed(settings: SegmentSettings) -> bool:
    """Whether anomalies lose what is far cooler than their hottest place: only the whole volume tells that."""
    return settings.segmentation == "scales" and settings.rule == "calibrated"


def _trimmed(chosen: Array, heat: Array) -> Array:
    """Each connected part without what is far cooler than its hottest place: brains of other scanners are warm all over.

    A share of the maximum is how PET outlines lesions (Boellaard 2015).
    """
    parts, count = ndimage.label(chosen, structure=_TOUCHING)
    hottest = np.zeros(count + 1)
    np.maximum.at(hottest, parts[chosen], heat[chosen])
    return np.asarray(chosen & (heat >= TRIM * hottest[parts]))


def select_in_slice(regions: Regions, settings: SegmentSettings, *, threshold: float) -> Array:
    """As `select_anomalies` for the regions that one slice shows: int32 (rows, columns), 1…n connected parts of any size.

    Nothing is trimmed: a slice alone does not show the hottest place of an anomaly.
    """
    return parts_of_slice(_chosen(regions, settings, threshold)[regions.labels[0]])


def parts_of_slice(chosen: Array) -> Array:
    """Connected parts of a mask, corners count: int32 (rows, columns), 1…n, 0 outside."""
    parts, _ = ndimage.label(chosen, structure=np.ones((3, 3)))
    return np.asarray(parts, dtype=np.int32)


def _least_voxels(settings: SegmentSettings, voxel_mm3: float) -> float:
    if settings.segmentation == "residual":
        return settings.min_voxels
    return settings.min_volume_ml * 1000 / voxel_mm3 if settings.rule == "calibrated" else 0


def _chosen(regions: Regions, settings: SegmentSettings, threshold: float) -> Array:
    by_rank = settings.rule == "paper" and settings.segmentation != "residual"
    chosen = _hottest_of_each_slice(regions) if by_rank else regions.heat > threshold
    chosen[0] = False
    return chosen


def _hottest_of_each_slice(regions: Regions) -> Array:
    order = np.lexsort((-regions.heat, regions.slices))
    first = np.flatnonzero(np.diff(regions.slices[order], prepend=-1))
    chosen = np.zeros(len(regions.heat), dtype=bool)
    chosen[order[first]] = True
    return chosen
