"""Superpixels of one slice or of every slice, by graph merging (Felzenszwalb & Huttenlocher, IJCV 2004)."""

from __future__ import annotations

import numpy as np
from skimage.segmentation import felzenszwalb as skimage_felzenszwalb

from ..errors import InputError, SettingsError
from ..volume import Array


def felzenszwalb(image: Array, *, scale: float = 75.0, sigma: float = 0.8, min_size: int = 20) -> Array:
    """Regions of one slice.

    image: float (rows, columns) in [0, 1]; anything else raises InputError, because scikit-image divides `scale` by 255 of
    that range: the same picture in [0, 255] gives other regions.
    scale: larger gives larger regions; sigma: pixels, of the Gaussian that smooths first; min_size: pixels.
    Returns int32 (rows, columns), labels 1…N in raster order of their first pixel.
    Source: skimage.segmentation.felzenszwalb, whose partition this is.
    """
    if image.ndim != 2:
        raise InputError(f"felzenszwalb takes one slice (rows, columns), got {image.ndim} dimensions")
    if not (np.isfinite(image).all() and image.min() >= 0 and image.max() <= 1):
        raise InputError(f"felzenszwalb takes intensities in [0, 1], got {np.min(image):g} to {np.max(image):g}")
    if not (scale > 0 and sigma >= 0 and min_size >= 1):
        raise SettingsError(f"scale > 0, sigma ≥ 0, min_size ≥ 1 expected, got {scale:g}, {sigma:g}, {min_size}")
    regions = skimage_felzenszwalb(image.astype(np.float64), scale=scale, sigma=sigma, min_size=min_size, channel_axis=None)
    return _in_raster_order(regions)


def _in_raster_order(regions: Array) -> Array:
    _, first, inverse = np.unique(regions, return_index=True, return_inverse=True)
    rank = np.empty(len(first), dtype=np.int32)
    rank[np.argsort(first)] = np.arange(1, len(first) + 1)
    return rank[inverse.reshape(regions.shape)]
