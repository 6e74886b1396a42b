"""Affine registration of one prepared brain to another, and values carried along it. All of it is SimpleITK's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Literal, get_args

import numpy as np
import SimpleITK as sitk

from ..errors import SettingsError
from ..io import to_image
from ..volume import Array, Grid, Volume

REGISTRATION = 2  # goes up when the same brains would be laid elsewhere; so do the versions of what is made with it
SHRINK = (4, 2)  # coarse, then fine: 8 and 4 mm on the 2 mm model grid
SMOOTH_MM = (8.0, 4.0)
ITERATIONS = 100  # at most, at each of the two
LEAST_STEP = 1e-3
# A first result is doubted where a rigid registration that goes on from it turns the head by more degrees, or has turned it by
# more in all. The 26 straight validation scans had 1 to 6° and 1 to 14°, 24 of them neither.
MOST_TURNED_ON = 6.0
MOST_TURNED = 13.0
# A second result is taken where the head is turned by more than the one, or correlates better by the other: the two straight
# scans that got one gained 0.001 and 0.006, one with a glioma, turned by 15 to 20°, 0.009 to 0.017.
SURELY_TURNED = 15.0
LEAST_GAIN = 0.0075
TURNS = tuple(tuple(row) for row in (30.0 * np.concatenate([np.eye(3), -np.eye(3)])).tolist())  # to begin with, about x, y, z
SLOWLY = 0.8  # of a step is left where it went too far; with the usual half, turns end too early
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

    From that start alone, a turned head is sheared rather than turned back. So by correlation, a coarse rigid registration goes
    on from there: where it turns the head by more than MOST_TURNED_ON, or by more than MOST_TURNED in all, the best of several
    rigid ones (from here, and from TURNS) starts a second affine one, which is taken where it is better: by LEAST_GAIN for
    heads that are not SURELY_TURNED. Straight ones keep the first result. By mutual information there is one start only.
    """
    if metric not in get_args(Metric):
        raise SettingsError(f"the metric of a registration is {' or '.join(get_args(Metric))}, got {metric!r}.")
    target, source = (sitk.Cast(to_image(volume), sitk.sitkFloat32) for volume in (fixed, moving))
    start = _middle_on_middle(target, source, sitk.AffineTransform(3))
    with _fixed_threads():
        found, value = _affine(target, source, start, metric)
        if metric != "correlation":
            return found
        try:
            return _turned_back(target, source, found, value)
        except RuntimeError:  # ITK's only kind: no second opinion on a first result that no head allows
            return found


def _turned_back(target: sitk.Image, source: sitk.Image, found: sitk.Transform, value: float) -> sitk.Transform:
    """A better affine transform where the one that was found leaves the head turned; else the same. value: its metric's."""
    coarse = _coarse(target, SHRINK[0]), _coarse(source, SHRINK[1])
    onward = _rigid(*coarse, _rigid_part(found, target))
    if degrees_of(found.GetInverse(), onward[0]) <= MOST_TURNED_ON and degrees_of(onward[0]) <= MOST_TURNED:
        return found
    found_too = [onward]
    for turn in TURNS:
        with suppress(RuntimeError):  # ITK's only kind: a start from which brains do not meet
            found_too.append(_rigid(*coarse, _turned_by(target, source, turn)))
    best, _ = min(found_too, key=lambda pair: pair[1])
    again, better = _affine(target, source, _as_affine(best, target), "correlation", relaxation=SLOWLY)
    gain = 0.0 if degrees_of(best) > SURELY_TURNED else LEAST_GAIN
    return again if value - better > gain else found


def _affine(
    target: sitk.Image, source: sitk.Image, start: sitk.Transform, metric: Metric, *, relaxation: float = 0.5
) -> tuple[sitk.Transform, float]:
    """With the metric's value, the lower the better."""
    method = sitk.ImageRegistrationMethod()
    if metric == "correlation":
        method.SetMetricAsCorrelation()
    else:
        method.SetMetricAsMattesMutualInformation(BINS)
    method.SetInterpolator(sitk.sitkLinear)
    method.SetInitialTransform(start, inPlace=False)
    method.SetOptimizerAsRegularStepGradientDescent(1.0, LEAST_STEP, ITERATIONS, relaxationFactor=relaxation)
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetShrinkFactorsPerLevel(SHRINK)
    method.SetSmoothingSigmasPerLevel(SMOOTH_MM)
    method.SmoothingSigmasAreSpecifiedInPhysicalUnitsOn()
    found: sitk.Transform = method.Execute(target, source)
    return found, method.GetMetricValue()


def _rigid(target: sitk.Image, source: sitk.Image, start: sitk.Euler3DTransform) -> tuple[sitk.Transform, float]:
    """The same, of coarse images, by correlation."""
    method = sitk.ImageRegistrationMethod()
    method.SetMetricAsCorrelation()
    method.SetInterpolator(sitk.sitkLinear)
    method.SetInitialTransform(start, inPlace=False)
    method.SetOptimizerAsRegularStepGradientDescent(4.0, 0.05, ITERATIONS, relaxationFactor=SLOWLY)
    method.SetOptimizerScalesFromPhysicalShift()
    found: sitk.Transform = method.Execute(target, source)
    return found, method.GetMetricValue()


def _middle_on_middle(target: sitk.Image, source: sitk.Image, kind: sitk.Transform) -> sitk.Transform:
    start: sitk.Transform = sitk.CenteredTransformInitializer(
        target, source, kind, sitk.CenteredTransformInitializerFilter.GEOMETRY
    )
    return start


def _turned_by(target: sitk.Image, source: sitk.Image, degrees: tuple[float, ...]) -> sitk.Euler3DTransform:
    start = sitk.Euler3DTransform(_middle_on_middle(target, source, sitk.Euler3DTransform()))
    start.SetRotation(*np.radians(degrees).tolist())
    return start


def _coarse(image: sitk.Image, shrink: int) -> sitk.Image:
    smaller: sitk.Image = sitk.Shrink(sitk.SmoothingRecursiveGaussian(image, SMOOTH_MM[0]), [shrink] * 3)
    return smaller


def _rigid_part(found: sitk.Transform, target: sitk.Image) -> sitk.Euler3DTransform:
    """The rotation nearest to an affine transform, about the middle of `target`, whose place it keeps."""
    rigid = sitk.Euler3DTransform()
    middle = _middle(target)
    rigid.SetCenter(middle)
    rigid.SetMatrix(_rotation(_matrix(found)).ravel().tolist(), 1e-6)
    rigid.SetTranslation(np.subtract(found.TransformPoint(middle), middle).tolist())
    return rigid


def _as_affine(found: sitk.Transform, target: sitk.Image) -> sitk.AffineTransform:
    affine = sitk.AffineTransform(3)
    middle = _middle(target)
    affine.SetCenter(middle)
    affine.SetMatrix(_matrix(found).ravel().tolist())
    affine.SetTranslation(np.subtract(found.TransformPoint(middle), middle).tolist())
    return affine


def _middle(image: sitk.Image) -> tuple[float, ...]:
    where: tuple[float, ...] = image.TransformContinuousIndexToPhysicalPoint([(size - 1) / 2 for size in image.GetSize()])
    return where


def degrees_of(*transforms: sitk.Transform) -> float:
    """By how much affine transforms, the last done first, turn a head, whatever else they do to it."""
    turn = _rotation(np.linalg.multi_dot([np.eye(3), *(_matrix(one) for one in transforms)]))
    return float(np.degrees(np.arccos(np.clip((np.trace(turn) - 1) / 2, -1, 1))))


def _rotation(matrix: Array) -> Array:
    """The orthogonal matrix nearest to a matrix."""
    left, _, right = np.linalg.svd(matrix)
    return np.asarray(left @ right)


def _matrix(found: sitk.Transform) -> Array:
    """Of an affine transform, whatever ITK wraps it into."""
    middle, *ends = (np.array(found.TransformPoint(point)) for point in [(0.0, 0.0, 0.0), *np.eye(3).tolist()])
    return np.stack([end - middle for end in ends], axis=1)


def is_plausible(found: sitk.Transform) -> bool:
    """Whether an affine transform could lay one head over another.

    Not when it mirrors, stretches or shrinks an axis beyond SCALES, or turns by more than MOST_DEGREES.
    """
    matrix = _matrix(found)
    scales = np.linalg.svd(matrix, compute_uv=False)
    fits = np.linalg.det(matrix) > 0 and SCALES[0] <= scales[2] and scales[0] <= SCALES[1]
    return bool(fits and degrees_of(found) <= MOST_DEGREES)


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
