"""Labels of the model grid on the scan's grid, computed where labels are: at 1 mm that is a twentieth of the voxels.

A voxel gets a label when more than half of it, interpolated linearly, has that label: what SimpleITK's LabelLinear does for
parts that do not touch each other, there over the whole grid and for every label.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from ..volume import Array, Grid

_TIE = 1e-9  # a half is no majority, whatever rounding made of it


def resample_labels(labels: Array, grid: Grid, target: Grid, *, within: Array) -> Array:
    """Labels on `target`, int16 1…N in the order of the old ones without gaps, 0 outside `within`.

    labels: whole numbers on `grid`, parts that do not touch each other; within: bool, of target.shape.
    """
    # Array indices of target to those of grid; affines have columns first.
    matrix = (np.linalg.inv(grid.affine) @ target.affine)[:3][::-1, [2, 1, 0, 3]]
    found, count = np.zeros(target.shape, np.int16), 0
    for label, box in enumerate(ndimage.find_objects(labels), start=1):
        if box is None:
            continue
        source = tuple(slice(max(0, part.start - 1), part.stop + 1) for part in box)
        area = _reached(matrix, box, target.shape)
        inside = within[area] & _majority(labels[source] == label, source, area, matrix)
        if inside.any():  # a label can vanish between thick slices
            count += 1
            found[area][inside] = count
    return found


def _reached(matrix: Array, box: tuple[slice, ...], shape: tuple[int, ...]) -> tuple[slice, ...]:
    """The part of the target where interpolation sees something of the box."""
    corners = np.stack(np.meshgrid(*((part.start - 1, part.stop) for part in box), indexing="ij"), axis=-1).reshape(-1, 3)
    there = np.linalg.solve(matrix[:, :3], (corners - matrix[:, 3]).T)
    first, last = np.floor(there.min(axis=1)), np.ceil(there.max(axis=1)) + 1
    return tuple(
        slice(int(np.clip(low, 0, size)), int(np.clip(high, 0, size)))
        for low, high, size in zip(first, last, shape, strict=True)
    )


def _majority(mask: Array, source: tuple[slice, ...], area: tuple[slice, ...], matrix: Array) -> Array:
    """Where in `area` more than half of the voxel lies in the mask, which is that of `source`."""
    shape = tuple(part.stop - part.start for part in area)
    if 0 in shape:
        return np.zeros(shape, bool)
    offset = matrix[:, :3] @ [part.start for part in area] + matrix[:, 3] - [part.start for part in source]
    # "nearest": at the border of the grid the last voxel counts to its end.
    share = ndimage.affine_transform(
        mask.view(np.uint8), matrix[:, :3], offset, shape, output=np.float64, order=1, mode="nearest", prefilter=False
    )
    return np.asarray(share > 0.5 + _TIE)
