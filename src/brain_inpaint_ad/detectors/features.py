"""Level and texture of a brain at every voxel: what healthy brains are compared by."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter

from ..prepare import Prepared
from ..volume import Array

LEVEL_MM = 2.0  # standard deviation of the Gaussian under which the mean intensity is taken
TEXTURE_MM = 3.0  # the same for the standard deviation around that mean
LEAST_VARIANCE = 1e-5  # of intensities in [0, 1]: what 8 bits resolve


def features(image: Array, brain: Array, *, spacing_mm: float) -> Array:
    """Level and texture of every voxel, float32 (2, slices, rows, columns), 0 outside the brain.

    level: local mean; texture: logarithm of the local standard deviation. Only voxels inside the brain count.
    """
    level = local_mean(image, brain, LEVEL_MM / spacing_mm)
    wide = TEXTURE_MM / spacing_mm
    variance = local_mean(image**2, brain, wide) - local_mean(image, brain, wide) ** 2
    texture = np.where(brain, 0.5 * np.log(np.maximum(variance, LEAST_VARIANCE)), 0)
    return np.stack([level, texture]).astype(np.float32)


def features_of(prepared: Prepared) -> Array:
    """`features` of a prepared scan."""
    return features(prepared.image.array, prepared.brain, spacing_mm=prepared.image.grid.spacing[0])


def local_mean(values: Array, brain: Array, width: float) -> Array:
    """Gaussian mean over brain voxels only, 0 outside. width: standard deviation in voxels."""
    inside = np.where(brain, values, 0)
    weight = gaussian_filter(brain.astype(np.float32), width)
    return np.asarray(np.where(brain, gaussian_filter(inside, width) / np.maximum(weight, 1e-3), 0))


def own_scale(scores: Array, brain: Array) -> Array:
    """Each map (n, slices, rows, columns) minus its median in the brain, by its median absolute deviation.

    × 1.4826: a Gaussian's standard deviation. The scan's own median and spread take out what scanners do to a whole brain:
    BraTS brains as a whole are smoother than those of IXI.
    """
    inside = scores[:, brain]
    middle = np.median(inside, axis=1, keepdims=True)
    spread = np.median(np.abs(inside - middle), axis=1, keepdims=True) * 1.4826
    scaled = np.zeros(scores.shape)
    scaled[:, brain] = (inside - middle) / np.maximum(spread, 1e-6)
    return scaled
