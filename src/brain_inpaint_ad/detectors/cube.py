"""From a prepared brain to the cube that a whole-scan model reads, registered to a template, and the way back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk

from ..errors import FitError
from ..prepare import Prepared
from ..prepare.grid import smoothed_for
from ..progress import Progress, silent
from ..volume import Array, Grid, Volume
from .make_group import mean_brain
from .register import carry, register

CUBE_VERSION = 2  # goes up when the same brain would give another cube
MARGIN_MM = 2.0  # around the template's brain
ROUND_MM = 8.0  # fields are whole multiples of this
BRAIN = 0.3  # of the template's intensity: where about half of the brains it is a mean of have tissue
_AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)


@dataclass(frozen=True, slots=True)
class Cube:
    """A brain in the template's space.

    values: float32 (size, size, size) in [−1, 1], −1 outside the brain; brain: bool of the same shape; transform: from points
    of the template to points of the scan; match: correlation of the two over the cube; cover: share of the template's brain
    that the scan's brain fills; stretch: volume of the scan's brain over that in the template's space.
    """

    values: Array
    brain: Array
    transform: sitk.Transform
    match: float
    cover: float
    stretch: float


def cube_grid(size: int, field_mm: Sequence[float]) -> Grid:
    """`size` voxels along each axis of the field, its middle at 0, axial. field_mm: as the card has it."""
    x, y, z = (length / size for length in field_mm)
    left, front, low = (-(size - 1) / 2 * spacing for spacing in (x, y, z))
    return Grid((size, size, size), (x, y, z), (left, front, low), _AXIAL)


def field_around(template: Volume) -> tuple[float, float, float]:
    """The box of a template that is centred on 0 and holds 0 outside the brain: paper, preprocessing step 4.

    It lies symmetrically about 0, so that mirroring the cube mirrors the brain.
    """
    shown = template.grid.to_world(np.argwhere(template.array > BRAIN / 3))
    reach = np.abs(shown).max(axis=0) + MARGIN_MM
    x, y, z = (np.ceil(2 * reach / ROUND_MM) * ROUND_MM).tolist()
    return x, y, z


def mean_template(brains: Sequence[Volume], *, progress: Progress = silent) -> Volume:
    """The symmetric mean of healthy brains (prepared images on centred grids), its brain's middle at 0."""
    return centred(mean_brain(brains, progress=progress)[0])


def centred(template: Volume) -> Volume:
    """The same brain with the middle of its box at 0."""
    grid = template.grid
    shown = grid.to_world(np.argwhere(template.array > BRAIN / 3))
    x, y, z = (np.asarray(grid.origin) - (shown.min(axis=0) + shown.max(axis=0)) / 2).tolist()
    return Volume(template.array, Grid(grid.size, grid.spacing, (x, y, z), grid.direction), template.name)


def on_cube(template: Volume, *, size: int, field_mm: Sequence[float]) -> Volume:
    """A centred template on the cube's grid: what scans are registered to."""
    grid = cube_grid(size, field_mm)
    smooth = template.with_array(smoothed_for(template, grid))
    return Volume(carry(smooth, grid, sitk.Transform(3, sitk.sitkIdentity)), grid, template.name)


def to_cube(image: Volume, brain: Array, template: Volume, *, transform: sitk.Transform | None = None) -> Cube:
    """Register, smooth, resample linearly, bring to [−1, 1] (paper, preprocessing steps 1, 4 to 7; the rest is `prepare`).

    image: prepared, in [0, 1], 0 outside `brain` (bool, the same shape); template: as `on_cube` gives it;
    transform: from its points to the image's, where it is known already. Raises FitError when they cannot be registered.
    """
    try:
        transform = transform or register(template, image)
    except RuntimeError as error:  # ITK's only kind
        raise FitError(f"{image.name} cannot be laid over the template: check its orientation and brain mask.") from error
    smooth = image.with_array(smoothed_for(image, template.grid))
    values = np.clip(carry(smooth, template.grid, transform), 0, 1)
    share = carry(image.with_array(brain), template.grid, transform)
    inside = share >= 0.5
    core = template.array > BRAIN
    filled = inside.sum() * template.grid.voxel_mm3
    return Cube(
        values=2 * values - 1,
        brain=inside,
        transform=transform,
        match=_correlation(values, template.array),
        cover=float(inside[core].mean()),
        stretch=float(brain.sum() * image.grid.voxel_mm3 / filled) if filled else float("inf"),
    )


def from_cube(values: Array, cube: Cube, template: Volume, prepared: Prepared) -> Array:
    """A map on the cube to the model grid of the scan: float32, linear, 0 outside the brain and beyond the cube."""
    back = carry(template.with_array(values.astype(np.float32)), prepared.image.grid, cube.transform.GetInverse())
    return np.where(prepared.brain, back, np.float32(0))


def _correlation(first: Array, second: Array) -> float:
    """0 where one of them is even."""
    one, other = first.ravel() - first.mean(), second.ravel() - second.mean()
    size = float(np.linalg.norm(one) * np.linalg.norm(other))
    return float(one @ other) / size if size else 0.0
