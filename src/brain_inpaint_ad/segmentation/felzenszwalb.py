"""Superpixels by graph merging (Felzenszwalb & Huttenlocher, IJCV 2004), of a slice or of a volume."""

from __future__ import annotations

import math

import numpy as np
from skimage.segmentation import felzenszwalb as skimage_felzenszwalb

from ..errors import InputError, SettingsError
from ..volume import Array
from .graph import MAX_SIGMA, MIN_SCALE, build_graph, cut, is_compiled

NEIGHBOURS = {2: (8,), 3: (6, 26)}  # by dimensions; the first is the default


def felzenszwalb(
    image: Array,
    *,
    scale: float = 75.0,
    sigma: float = 0.8,
    min_size: int = 20,
    spacing: tuple[float, ...] | None = None,
    mask: Array | None = None,
    neighbours: int | None = None,
) -> Array:
    """Regions of one slice, or 3-D regions of a volume.

    image: (rows, columns) or (slices, rows, columns) in [0, 1]; anything else raises InputError, because `scale` is divided
    by 255 of that range: the same picture in [0, 255] gives other regions.
    scale: larger gives larger regions; sigma: of the Gaussian that smooths first, in pixels (of the smallest spacing);
    min_size: pixels or voxels; spacing: mm along each axis of the image (default: equal); mask: only its pixels are cut,
    the others count as 0; neighbours: 8 in 2-D, 6 (default) or 26 in 3-D.
    Returns int32 of the image's shape, labels 1…N in raster order of their first pixel, 0 outside the mask.

    A slice without mask and spacing is cut into exactly the regions of skimage.segmentation.felzenszwalb, and by it
    where numba is missing; all else needs numba (SettingsError).
    """
    check_image(image)
    _check_mask(mask, image.shape)
    _check_settings(scale=scale, sigma=sigma, min_size=min_size)
    neighbours = _checked_neighbours(image.ndim, neighbours)
    check_spacing(spacing, image.ndim)
    min_size = min(min_size, image.size)
    if image.ndim == 2 and spacing is None and mask is None and not is_compiled():
        values = image.astype(np.float64)
        return _in_raster_order(skimage_felzenszwalb(values, scale=scale, sigma=sigma, min_size=min_size, channel_axis=None))
    inside = np.ones(image.shape, dtype=bool) if mask is None else mask.astype(bool)
    graph = build_graph(image, sigma=sigma, neighbours=neighbours, spacing=spacing, mask=inside)
    labels = np.zeros(image.shape, dtype=np.int32)
    labels[inside] = cut(graph, scale=scale, min_size=min_size)
    return labels


def check_image(image: Array) -> None:
    """Raises InputError unless it is a slice or a volume of intensities in [0, 1]."""
    if image.ndim not in NEIGHBOURS or image.size == 0:
        raise InputError(f"felzenszwalb takes a slice (rows, columns) or a volume, got an array of shape {image.shape}.")
    if not (np.isfinite(image).all() and image.min() >= 0 and image.max() <= 1):
        raise InputError(f"felzenszwalb takes intensities in [0, 1], got {np.min(image):g} to {np.max(image):g}.")


def _check_mask(mask: Array | None, shape: tuple[int, ...]) -> None:
    if mask is not None and mask.shape != shape:
        raise InputError(f"felzenszwalb takes a mask of the image's shape {shape}, got one of {mask.shape}.")


def _check_settings(*, scale: float, sigma: float, min_size: int) -> None:
    if not (MIN_SCALE <= scale < math.inf and 0 <= sigma <= MAX_SIGMA and min_size >= 1):
        expected = f"scale from {MIN_SCALE:g}, sigma from 0 to {MAX_SIGMA:g}, min_size from 1"
        raise SettingsError(f"{expected} expected, got {scale:g}, {sigma:g}, {min_size}.")


def _checked_neighbours(dimensions: int, neighbours: int | None) -> int:
    known = NEIGHBOURS[dimensions]
    if neighbours is not None and neighbours not in known:
        raise SettingsError(f"in {dimensions}-D neighbours must be {' or '.join(map(str, known))}, got {neighbours}.")
    return neighbours or known[0]


def check_spacing(spacing: tuple[float, ...] | None, dimensions: int) -> None:
    """Raises SettingsError unless it is None or one length in mm for each dimension."""
    if spacing is None:
        return
    try:
        lengths = [float(length) for length in spacing]
    except (TypeError, ValueError):
        lengths = []
    if len(lengths) != dimensions or not all(0 < length < math.inf for length in lengths):
        raise SettingsError(f"spacing must be {dimensions} lengths in mm above 0, got {spacing}.")


def _in_raster_order(regions: Array) -> Array:
    _, first, inverse = np.unique(regions, return_index=True, return_inverse=True)
    rank = np.empty(len(first), dtype=np.int32)
    rank[np.argsort(first)] = np.arange(1, len(first) + 1)
    return rank[inverse.reshape(regions.shape)]
