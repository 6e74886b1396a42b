"""The model grid and the way to it: axial slices in world (LPS) axes, centred on the brain.

World axes make the result independent of how the scan is stored: sagittal, coronal, flipped or oblique files of one
head give the same slices.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy.ndimage import gaussian_filter

from ..errors import InputError
from ..io import resample
from ..volume import Array, Grid, Volume
from .intensity import THREE, Standard

_AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)
_FWHM = 2.3548  # full width at half maximum of a Gaussian, in standard deviations


@dataclass(frozen=True, kw_only=True)
class GridSettings:
    """128 rows × 96 columns of 2 mm are the papers' field of 256 × 192 mm.

    standard: of the intensities that go with it.
    """

    spacing_mm: float = 2.0
    rows: int = 128
    columns: int = 96
    standard: Standard = THREE

    def identity(self) -> dict[str, Any]:
        """What tells prepared scans apart, as plain JSON; the usual standard is not named."""
        content = asdict(self)
        if self.standard == THREE:
            del content["standard"]
        else:
            content["standard"] = {name: list(marks) for name, marks in content["standard"].items()}
        return content

    @classmethod
    def at(cls, spacing_mm: float) -> GridSettings:
        """The papers' field with other pixels."""
        return cls(spacing_mm=spacing_mm, rows=round(256 / spacing_mm), columns=round(192 / spacing_mm))


def model_grid(brain: Volume, settings: GridSettings) -> Grid:
    """Axial grid around the brain mask: rows run to posterior, columns to the left, slices to superior.

    brain: bool (slices, rows, columns). Raises InputError when the brain does not fit the field of view.
    """
    world = brain.grid.to_world(np.argwhere(brain.array))
    low, high = world.min(axis=0), world.max(axis=0)
    field_mm = np.array([settings.columns, settings.rows]) * settings.spacing_mm
    extent_mm = high - low
    if (extent_mm[:2] > field_mm).any():
        raise InputError(
            f"{brain.name}: the brain measures {extent_mm[0]:.0f} × {extent_mm[1]:.0f} mm, more than the model's field of "
            f"{field_mm[0]:.0f} × {field_mm[1]:.0f} mm; check the voxel spacing of the file."
        )
    slices = int(np.ceil(extent_mm[2] / settings.spacing_mm)) + 1
    size = (settings.columns, settings.rows, slices)
    origin = (low + high) / 2 - (np.array(size) - 1) / 2 * settings.spacing_mm
    return Grid(size, (settings.spacing_mm,) * 3, (float(origin[0]), float(origin[1]), float(origin[2])), _AXIAL)


def to_model_grid(scan: Volume, grid: Grid) -> Array:
    """`scan` on the coarser `grid`, smoothed first where its voxels are finer; float32."""
    return resample(scan.with_array(smoothed_for(scan, grid)), grid)


def smoothed_for(scan: Volume, grid: Grid) -> Array:
    """`scan` as smooth as the voxels of `grid` along its axes, which are taken to be those of the scan; float32."""
    target = np.asarray(grid.spacing[::-1])
    spacing = np.asarray(scan.grid.spacing[::-1])
    width_mm = np.sqrt(np.clip(target**2 - spacing**2, 0, None)) / _FWHM
    smooth: Array = gaussian_filter(scan.array.astype(np.float32), width_mm / spacing, mode="constant")
    return smooth


def mask_to_grid(mask: Volume, grid: Grid) -> Array:
    """A bool mask on another grid: True where at least half of the voxel is inside."""
    return to_model_grid(mask.with_array(mask.array.astype(np.float32)), grid) >= 0.5
