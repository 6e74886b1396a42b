"""An array and the place it has in the world, as one value.

Arrays are (slices, rows, columns), as SimpleITK hands them out. A `Grid` keeps SimpleITK's own numbers
in SimpleITK's own order (columns first), so that a geometry read from a file is written back bit for bit.
World coordinates are LPS millimetres, as in files; Slicer's RAS differs in the sign of the first two.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import GeometryError

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Grid:
    """Where the voxels of a volume lie.

    size: voxels along (columns, rows, slices); spacing: mm in the same order;
    origin: LPS mm of the centre of the first voxel; direction: nine numbers, row-major, whose columns
    are the world directions of the three index axes.
    """

    size: tuple[int, int, int]
    spacing: tuple[float, float, float]
    origin: tuple[float, float, float]
    direction: tuple[float, ...]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Array shape (slices, rows, columns)."""
        return self.size[2], self.size[1], self.size[0]

    @property
    def voxel_mm3(self) -> float:
        """Volume of one voxel in mm³."""
        return float(np.prod(self.spacing))

    @property
    def affine(self) -> Array:
        """4×4 matrix from (column, row, slice, 1) to LPS mm."""
        matrix = np.eye(4)
        matrix[:3, :3] = np.reshape(self.direction, (3, 3)) * np.asarray(self.spacing)
        matrix[:3, 3] = self.origin
        return matrix

    def to_world(self, indices: Array) -> Array:
        """LPS mm of array indices. indices: (n, 3) as (slice, row, column); returns (n, 3)."""
        columns_first = np.asarray(indices, dtype=float)[:, ::-1]
        return columns_first @ self.affine[:3, :3].T + self.affine[:3, 3]

    def part(self, box: tuple[slice, ...]) -> Grid:
        """The grid of the voxels in `box`: a slice with start and stop for each axis of an array on this grid."""
        slices, rows, columns = (part.stop - part.start for part in box)
        x, y, z = self.to_world(np.array([[part.start for part in box]]))[0].tolist()
        return Grid((columns, rows, slices), self.spacing, (x, y, z), self.direction)

    def is_same_place(self, other: Grid, *, tolerance_mm: float = 1e-2) -> bool:
        """Whether both grids have equal size and no corner further apart than `tolerance_mm`."""
        if self.size != other.size:
            return False
        slices, rows, columns = (n - 1 for n in self.shape)
        corners = np.array([[s, r, c] for s in (0, slices) for r in (0, rows) for c in (0, columns)])
        apart = np.abs(self.to_world(corners) - other.to_world(corners)).max()
        return bool(apart <= tolerance_mm)


@dataclass(frozen=True, slots=True)
class Volume:
    """array: (slices, rows, columns) on `grid`; name: what to call it in messages (usually the file name).

    origin: what it was read from, for those who can refer to it (dicom.seg); other values have none.
    """

    array: Array
    grid: Grid
    name: str = "volume"
    origin: object = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.array.shape != self.grid.shape:
            raise GeometryError(
                f"{self.name}: array of shape {self.array.shape} does not fit a grid of shape {self.grid.shape}"
            )

    def nearest(self, world: Array) -> Array:
        """Values of the voxels nearest to LPS mm, (n, 3); beyond the edge those at the edge. Returns (n,)."""
        columns_first = (world - self.grid.affine[:3, 3]) @ np.linalg.inv(self.grid.affine[:3, :3]).T
        indices = np.clip(np.rint(columns_first[:, ::-1]).astype(int), 0, np.array(self.grid.shape) - 1)
        values: Array = self.array[tuple(indices.T)]
        return values

    def with_array(self, array: Array, name: str | None = None) -> Volume:
        """Other values on the same grid."""
        return Volume(array, self.grid, name or self.name)
