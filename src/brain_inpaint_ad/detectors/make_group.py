"""Make a group of healthy brains: register them to their own symmetric mean, and take statistics there."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import SimpleITK as sitk

from ..errors import InputError
from ..progress import Progress, part_of, silent
from ..volume import Array, Grid, Volume
from .features import features
from .healthy import HealthyGroup, carry_features, centred_grid
from .register import carry, register

LEAST_SHARE = 0.1  # of the group that must show brain at a place for its statistics to count there
COMPONENTS = 10
PASSES = 2  # of registration to a sharper mean; a third moves nothing


def build_group(brains: Sequence[tuple[str, Array, Array]], *, spacing_mm: float, progress: Progress = silent) -> HealthyGroup:
    """Register the brains to their mean, take statistics there.

    brains: name, image in [0, 1] and brain mask on the model grid of each. The mean begins as that of the brains laid middle
    on middle, and is averaged with its mirror image, so that it favours nobody and no side. Source: Guimond 2000.
    """
    if len(brains) < 2:
        raise InputError(f"a healthy group needs two scans or more, got {len(brains)}.")
    volumes = [Volume(image.astype(np.float32), centred_grid(image.shape, spacing_mm), name) for name, image, _ in brains]
    template, transforms = mean_brain(volumes, progress=part_of(progress, 0.0, 0.9))
    grid = template.grid
    progress(0.9, "healthy statistics")
    masks = [brain for _, _, brain in brains]
    mean, spread, known = _statistics(volumes, masks, grid, transforms)
    components = _components(volumes, masks, transforms, template, mean, known)
    arrays = HealthyGroup(template, mean, spread, known, components, tuple(name for name, _, _ in brains)).to_arrays()
    return HealthyGroup.from_arrays(arrays)  # as it will be read again


def mean_brain(volumes: Sequence[Volume], *, progress: Progress = silent) -> tuple[Volume, list[sitk.Transform]]:
    """The symmetric mean of brains on centred grids of one spacing, and from its points to those of each of them."""
    slices = max(volume.grid.shape[0] for volume in volumes) + 4
    grid = centred_grid((slices, *volumes[0].grid.shape[1:]), volumes[0].grid.spacing[0])
    transforms: list[sitk.Transform] = [sitk.Transform(3, sitk.sitkIdentity)] * len(volumes)
    steps = np.linspace(0, 1, PASSES + 1).tolist()
    for start, stop in pairwise(steps):
        template = _symmetric_mean(volumes, grid, transforms)
        transforms = _registered(template, volumes, part_of(progress, start, stop))
    return _symmetric_mean(volumes, grid, transforms), transforms


def _registered(template: Volume, volumes: Sequence[Volume], progress: Progress) -> list[sitk.Transform]:
    transforms = []
    for done, volume in enumerate(volumes):
        progress(done / len(volumes), "registering healthy brains")
        transforms.append(register(template, volume))
    return transforms


def _symmetric_mean(volumes: Sequence[Volume], grid: Grid, transforms: list[sitk.Transform]) -> Volume:
    total = np.zeros(grid.shape)
    for volume, transform in zip(volumes, transforms, strict=True):
        total += carry(volume, grid, transform)
    mean = total / len(volumes)
    return Volume(((mean + mean[:, :, ::-1]) / 2).astype(np.float32), grid, "healthy group")


def _statistics(
    volumes: list[Volume], masks: list[Array], grid: Grid, transforms: list[sitk.Transform]
) -> tuple[Array, Array, Array]:
    """Mean and spread (2, *grid.shape), and where enough brains lie: known."""
    count = np.zeros(grid.shape)
    total, squares = np.zeros((2, *grid.shape)), np.zeros((2, *grid.shape))
    for volume, brain, transform in zip(volumes, masks, transforms, strict=True):
        seen = features(volume.array, brain, spacing_mm=grid.spacing[0])
        values, shown = carry_features(seen, volume, brain, grid, transform)
        count += shown
        total += values * shown
        squares += values**2 * shown
    known = count >= max(2, LEAST_SHARE * len(volumes))
    mean = total / np.maximum(count, 1)
    spread = np.sqrt(np.maximum(squares / np.maximum(count, 1) - mean**2, 1e-8))
    return mean.astype(np.float32), spread.astype(np.float32), known


def _components(
    volumes: list[Volume], masks: list[Array], transforms: list[sitk.Transform], template: Volume, mean: Array, known: Array
) -> Array:
    """Principal components of the level about its mean, by the small matrix of inner products between brains."""
    rows = []
    for volume, brain, transform in zip(volumes, masks, transforms, strict=True):
        seen = features(volume.array, brain, spacing_mm=template.grid.spacing[0])[:1]
        level, shown = carry_features(seen, volume, brain, template.grid, transform)
        rows.append(np.where(shown, level[0] - mean[0], 0)[known].astype(np.float32))
    data = np.stack(rows)
    count = min(COMPONENTS, len(data) - 1)
    _, vectors = np.linalg.eigh(data @ data.T)  # ascending
    components = vectors[:, ::-1][:, :count].T @ data
    return np.asarray(components / np.linalg.norm(components, axis=1, keepdims=True))
