"""N4 bias correction (Tustison 2010), SimpleITK's, on a shrunken image so that time is bounded.

The bound is one of work, not of seconds: at most ITERATIONS over MOST_VOXELS, by larger shrinking. A clock would end N4
elsewhere on another day, and the same scan would no longer give the same result.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import SimpleITK as sitk

from ..volume import Array, Volume

WORK_SPACING_MM = 4.0  # a bias field varies over centimetres; 4 mm keeps N4 at one to three seconds
ITERATIONS = (30, 30, 20)
MOST_VOXELS = 300_000  # after shrinking; a brain of 4 mm with its margin has 40,000 to 110,000
LEAST_SHIFT = 0.02  # below 0, of the way from the brain's 1st to its 99th percentile
MOST_BELOW = 1.0  # the background, in the same measure; further below it is a fill value (−1000, −32768) and no intensity
DARKEST = 0.15  # where a brain's 1st percentile lies above zero, in the same measure: 0.1 to 0.2 on T1
_THREADS = 2
_MARGIN_MM = 10.0  # as the brain-only training scans have


def correct_bias(scan: Volume, brain: Array) -> Array:
    """`scan` divided by its estimated bias field inside `brain`, 0 outside; float32, scan's shape.

    N4 sees the brain with a margin, whatever lies around it in the file: its splines span what it is given, and brain-only
    scans come cut to the brain or in wide fields of zeros.
    """
    box = box_around(brain, [_MARGIN_MM / spacing for spacing in scan.grid.spacing[::-1]])
    values = scan.array[box].astype(np.float32)
    top = np.percentile(values[brain[box]], 99)
    # N4 works on logarithms: bring the scale to a fixed one and keep away from zero.
    positive = np.clip(values * (1000.0 / top), 1.0, None) if top > 0 else np.ones_like(values)
    image, mask = sitk.GetImageFromArray(positive), sitk.GetImageFromArray(brain[box].astype(np.uint8))
    for part in (image, mask):
        part.SetSpacing(scan.grid.spacing)
    factors = shrink_factors(scan.grid.spacing, image.GetSize())
    n4 = sitk.N4BiasFieldCorrectionImageFilter()
    n4.SetMaximumNumberOfIterations(ITERATIONS)
    with _fixed_threads():
        n4.Execute(sitk.Shrink(image, factors), sitk.Shrink(mask, factors))
        field = np.exp(sitk.GetArrayFromImage(n4.GetLogBiasFieldAsImage(image)))
    corrected = np.zeros(scan.array.shape, dtype=np.float32)
    corrected[box] = np.where(brain[box], values / field, 0)
    return corrected


def zero_of(scan: Volume, brain: Array) -> float:
    """The intensity of `scan` that stands for no signal: 0, but for scans whose intensities were shifted below it.

    N4 divides, so that it must know. Shifted as a whole: the background lies below 0, and is it. Shifted within the brain (a
    z-score, 0 around it): as far below the darkest brain as in scans that were not. Both where it matters only, so that
    ringing about 0 moves nothing.
    """
    low, high = np.percentile(scan.array[brain], (1, 99))
    least = -LEAST_SHIFT * (high - low)
    around = background(scan)
    if around < least and low - MOST_BELOW * (high - low) <= around < low:
        return around
    return float(low - DARKEST * (high - low)) if low < least else 0.0


def counted_from(zero: float, scan: Volume) -> Volume:
    """The scan with `zero` as its intensity of no signal taken away; the scan itself where that is 0."""
    return scan.with_array(scan.array - np.float32(zero)) if zero else scan


def background(scan: Volume) -> float:
    """The median of the scan's faces."""
    faces = [np.take(scan.array, [0, -1], axis=axis).ravel() for axis in range(3)]
    return float(np.median(np.concatenate(faces)))


def shrink_factors(spacing: Sequence[float], size: Sequence[int]) -> list[int]:
    """For each axis, how many voxels become one: to about WORK_SPACING_MM, further where MOST_VOXELS would be passed.

    spacing: mm; size: voxels. Four voxels stay along an axis, where there are as many.
    """
    most = [max(1, voxels // 4) for voxels in size]
    factors = [min(limit, max(1, round(WORK_SPACING_MM / mm))) for limit, mm in zip(most, spacing, strict=True)]
    while math.prod(voxels // factor for voxels, factor in zip(size, factors, strict=True)) > MOST_VOXELS:
        finest = min(
            range(len(size)), key=lambda axis: factors[axis] * spacing[axis] if factors[axis] < most[axis] else math.inf
        )
        factors[finest] += 1
    return factors


def box_around(brain: Array, margin: Sequence[float]) -> tuple[slice, ...]:
    """The part of the array that holds the brain and, where there is that much, `margin` voxels along each axis."""
    box = []
    for axis, extra in enumerate(margin):
        others = tuple(other for other in range(brain.ndim) if other != axis)
        present = np.flatnonzero(brain.any(axis=others))
        box.append(slice(max(0, int(present[0] - extra)), min(brain.shape[axis], int(present[-1] + extra) + 2)))
    return tuple(box)


@contextmanager
def _fixed_threads() -> Iterator[None]:
    """As many on every machine: the last digits of the field depend on it. Two are nearly twice as fast as one."""
    before = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()  # N4's own setting does not reach the filters within
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(_THREADS)
    try:
        yield
    finally:
        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(before)
