"""The segmentation of Baur 2018 ("Postprocessing"): voxels whose residual, smoothed by a median, is above a threshold."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from ..progress import Progress, silent
from ..volume import Array

TRAINING_RESIDUALS = "training_residuals_98_percent"  # the published threshold: 98 % of residuals in training scans are below
_SLAB = 8  # slices between two progress calls


def smoothed(heatmap: Array, brain: Array, *, median: int, erosion: int, progress: Progress = silent) -> Array:
    """Heat of each brain voxel, float (n,) in raster order, after the median; 0 where erosion took the voxel away.

    heatmap, brain: (slices, rows, columns); median: side of its cube in voxels of the model grid, odd, 1 for none; erosion: how
    many layers of voxels (those with a face outside) are taken off the brain, 0 for none.
    """
    inside = ndimage.binary_erosion(brain, iterations=erosion) if erosion else brain
    return np.where(inside, _median(heatmap, brain, median, progress), 0)[brain]


def _median(heatmap: Array, brain: Array, side: int, progress: Progress) -> Array:
    """Within the box around the brain; beyond the volume its last voxels go on."""
    if side == 1 or not brain.any():
        return heatmap
    reach, found = side // 2, np.zeros_like(heatmap)
    levels, rows, columns = (np.flatnonzero(brain.any(axis=axes)) for axes in ((1, 2), (0, 2), (0, 1)))
    wide = np.pad(heatmap, reach, mode="edge")
    box = slice(rows[0], rows[-1] + 2 * reach + 1), slice(columns[0], columns[-1] + 2 * reach + 1)
    for first in range(levels[0], levels[-1] + 1, _SLAB):
        progress((first - levels[0]) / len(levels), "smoothing residuals")
        last = min(first + _SLAB, levels[-1] + 1)
        slab = ndimage.median_filter(wide[(slice(first, last + 2 * reach), *box)], size=side)
        inner = slab[reach:-reach, reach:-reach, reach:-reach]
        found[first:last, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] = inner
    return found
