"""N4 bias correction (Tustison 2010), SimpleITK's, on a shrunken image so that time is bounded."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import SimpleITK as sitk

from ..io import to_image
from ..volume import Array, Volume

WORK_SPACING_MM = 4.0  # a bias field varies over centimetres; 4 mm keeps N4 at one to three seconds
ITERATIONS = (30, 30, 20)


def correct_bias(scan: Volume, brain: Array) -> Array:
    """`scan` divided by its estimated bias field inside `brain`, 0 outside; float32, scan's shape."""
    values = scan.array.astype(np.float32)
    top = np.percentile(values[brain], 99)
    # N4 works on logarithms: bring the scale to a fixed one and keep away from zero.
    positive = np.clip(values * (1000.0 / top), 1.0, None) if top > 0 else np.ones_like(values)
    image = to_image(scan.with_array(positive))
    mask = to_image(scan.with_array(brain))
    factors = [max(1, round(WORK_SPACING_MM / spacing)) for spacing in scan.grid.spacing]
    factors = [min(factor, size // 4) for factor, size in zip(factors, scan.grid.size, strict=True)]
    n4 = sitk.N4BiasFieldCorrectionImageFilter()
    n4.SetMaximumNumberOfIterations(ITERATIONS)
    with _one_thread():
        n4.Execute(sitk.Shrink(image, factors), sitk.Shrink(mask, factors))
        field = np.exp(sitk.GetArrayFromImage(n4.GetLogBiasFieldAsImage(image)))
    return np.where(brain, values / field, 0).astype(np.float32)


@contextmanager
def _one_thread() -> Iterator[None]:
    """More are not faster here, and the last digits of the field would depend on how many a machine has."""
    before = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()  # N4's own setting does not reach the filters within
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    try:
        yield
    finally:
        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(before)
