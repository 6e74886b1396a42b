"""Affine registration of one prepared brain to another, and values carried along it. All of it is SimpleITK's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, get_args

import numpy as np
import SimpleITK as sitk

from ..errors import SettingsError
from ..io import to_image
from ..volume import Array, Grid, Volume

SHRINK = (4, 2)  # coarse, then fine: 8 and 4 mm on the 2 mm model grid
SMOOTH_MM = (8.0, 4.0)
ITERATIONS = 100  # at most, at each of the two
LEAST_STEP = 1e-3
SCALES = (0.5, 1.8)  # of a head against the mean adult, along its own axes; infants have 0.6
MOST_DEGREES = 60.0
Metric = Literal["correlation", "mutual information"]
BINS = 32  # of the joint histogram of mutual information
_THREADS = 2  # the last digits depend on it


def register(fixed: Volume, moving: Volume, *, metric: Metric = "correlation") -> sitk.Transform:
    """Affine transform from points of `fixed` to points of `moving` (LPS mm), by a metric over all voxels of the field.

    Both hold 0 outside the brain, so that the outline counts, too. The start lays the middles of the two grids together.
    metric: "correlation" where both show one contrast; "mutual information" (Mattes 2003) where they may differ. Which is
    better for what: docs/results, registration. Raises SettingsError for another metric.
    """
    if metric not in get_args(Metric):
        raise SettingsError(f"the metric of a registration is {' or '.join(get_args(Metric))}, got {metric!r}.")
    target, source = (sitk.Cast(to_image(volume), sitk.sitkFloat32) for volume in (fixed, moving))
    start = sitk.CenteredTransformInitializer(
        target, source, sitk.AffineTransform(3), sitk.CenteredTransformInitializerFilter.GEOMETRY
    )
    method = sitk.ImageRegistrationMethod()
    if metric == "correlation":
        method.SetMetricAsCorrelation()
    else:
        method.SetMetricAsMattesMutualInformation(BINS)
    method.SetInterpolator(sitk.sitkLinear)
    method.SetInitialTransform(start, inPlace=False)
    method.SetOptimizerAsRegularStepGradientDescent(1.0, LEAST_STEP, ITERATIONS)
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetShrinkFactorsPerLevel(SHRINK)
    method.SetSmoothingSigmasPerLevel(SMOOTH_MM)
    method.SmoothingSigmasAreSpecifiedInPhysicalUnitsOn()
    with _fixed_threads():
        found: sitk.Transform = method.Execute(target, source)
    return found


def is_plausible(found: sitk.Transform) -> bool:
    """Whether an affine transform could lay one head over another.

    Not when it mirrors, stretches or shrinks an axis beyond SCALES, or turns by more than MOST_DEGREES.
    """
    middle, *ends = (np.array(found.TransformPoint(point)) for point in [(0.0, 0.0, 0.0), *np.eye(3).tolist()])
    matrix = np.stack([end - middle for end in ends], axis=1)  # whatever ITK wraps the affine transform into
    left, scales, right = np.linalg.svd(matrix)
    degrees = np.degrees(np.arccos(np.clip((np.trace(left @ right) - 1) / 2, -1, 1)))
    return bool(np.linalg.det(matrix) > 0 and SCALES[0] <= scales[2] and scales[0] <= SCALES[1] and degrees <= MOST_DEGREES)


def carry(values: Volume, grid: Grid, transform: sitk.Transform) -> Array:
    """`values` at the places to which `transform` takes the voxels of `grid`: linear, 0 beyond; float32 of `grid.shape`."""
    reference = sitk.Image(grid.size, sitk.sitkUInt8)
    reference.SetSpacing(grid.spacing)
    reference.SetOrigin(grid.origin)
    reference.SetDirection(grid.direction)
    image = to_image(values.with_array(values.array.astype(np.float32)))
    return np.asarray(sitk.GetArrayFromImage(sitk.Resample(image, reference, transform, sitk.sitkLinear, 0.0)))


@contextmanager
def _fixed_threads() -> Iterator[None]:
    before = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(_THREADS)
    try:
        yield
    finally:
        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(before)
