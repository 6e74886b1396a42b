"""From which heat on a superpixel is an anomaly: what healthy brains hardly ever reach."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..segmentation.select import Regions
from ..volume import Array

SHARES = {"healthy_voxels_1_percent": 0.01, "healthy_voxels_5_percent": 0.05}


@dataclass(frozen=True, slots=True)
class RegionHeats:
    """Heat and size of every superpixel of one or more healthy scans. Both (n,)."""

    heat: Array
    voxels: Array


def region_heats(regions: Regions) -> RegionHeats:
    """Superpixels of one scan."""
    voxels = np.bincount(regions.labels.ravel(), minlength=len(regions.heat))
    return RegionHeats(regions.heat[1:], voxels[1:])


def pooled(scans: list[RegionHeats]) -> RegionHeats:
    """Superpixels of several scans together."""
    return RegionHeats(np.concatenate([s.heat for s in scans]), np.concatenate([s.voxels for s in scans]))


def threshold_for(healthy: RegionHeats, share: float) -> float:
    """Least threshold above which the regions hold at most `share` of all healthy brain voxels."""
    order = np.argsort(-healthy.heat, kind="stable")
    reached = np.cumsum(healthy.voxels[order])
    allowed = int(np.searchsorted(reached, share * healthy.voxels.sum(), side="right"))
    # regions are taken when hotter than the threshold, so the first one that is too much sets it
    return float(healthy.heat[order[min(allowed, len(order) - 1)]])
