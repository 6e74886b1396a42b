"""Where a NIfTI header says that the patient lies: it may say so twice, and differently."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from .intact import nifti_header
from .volume import Array, Grid

_SAME_MM = 1.0  # places of a scan that are no further apart are the same
_FAR_MM = 1000.0
_LEAST_REST = 1e-7
_MM = {1: 1000.0, 3: 1e-3}  # by the code of the unit of length: metres, micrometres


def doubt_of_place(path: Path, grid: Grid) -> str:
    """What a readable file's header leaves open about left, right and place, "" for nothing and for files of other kinds.

    grid: ITK's reading. ITK takes the sform where that says "scanner" (code 1) or is alone, else the qform.
    """
    if not path.name.lower().endswith((".nii", ".nii.gz")):
        return ""
    _, fields = nifti_header(path)
    codes = fields["qform_code"][0], fields["sform_code"][0]
    if codes == (0, 0):
        return "its header does not say how the patient lies (no qform, no sform); left and right may be swapped."
    if 0 in codes:
        return ""
    in_mm = _MM.get(fields["xyzt_units"][0] & 7, 1.0)  # the other bits are of time
    ends = np.array(np.meshgrid(*((0, size - 1) for size in grid.size), indexing="ij")).reshape(3, -1).T
    taken = grid.to_world(ends[:, ::-1]) * (-1, -1, 1)  # LPS to RAS
    forms = {"qform": _qform(fields), "sform": np.reshape(fields["srow"], (3, 4))}
    if broken := [name for name, form in forms.items() if not np.isfinite(form).all()]:
        return f"its {broken[0]} is no place (NaN or infinite); programs that take it will show scan and results elsewhere."
    # ITK takes axes and origin of one of them, and voxel sizes from elsewhere.
    resized = {name: _apart(_resized(form, np.divide(grid.spacing, in_mm)), in_mm, ends, taken) for name, form in forms.items()}
    used, other = sorted(resized, key=lambda name: resized[name])
    apart = _apart(forms[other], in_mm, ends, taken)
    if apart <= _SAME_MM:
        return ""
    far = f"up to {apart:.0f} mm" if apart < _FAR_MM else "more than a metre"
    return (
        f"its header gives two places that lie {far} apart (qform, sform); the {used} was taken, as 3D "
        f"Slicer does, and programs that take the {other} will show scan and results elsewhere."
    )


def _resized(form: Array, sizes: Array) -> Array:
    """The same place and axes with voxels of these sizes."""
    lengths = np.linalg.norm(form[:, :3], axis=0)
    return np.asarray(form * [*np.where(lengths > 0, sizes / np.where(lengths > 0, lengths, 1.0), 1.0), 1.0])


def _apart(form: Array, in_mm: float, ends: Array, taken: Array) -> float:
    """Most millimetres between where a form puts the field's corners and where they were taken to be."""
    return float(np.linalg.norm(in_mm * (ends @ form[:, :3].T + form[:, 3]) - taken, axis=1).max())


def _qform(fields: dict[str, tuple[Any, ...]]) -> Array:
    """(3, 4) from (column, row, slice, 1) to RAS, in the file's unit: nifti1.h, method 2."""
    b, c, d = fields["quatern"]
    rest = 1 - (b * b + c * c + d * d)
    a = np.sqrt(max(0.0, rest))
    if rest < _LEAST_REST:  # a half turn, or more than there is: as nifti1_io does
        a, (b, c, d) = 0.0, np.divide((b, c, d), np.sqrt(b * b + c * c + d * d))
    turned = np.array(
        [
            [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
            [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
            [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - c * c - b * b],
        ]
    )
    flip = -1.0 if fields["pixdim"][0] < 0 else 1.0
    sizes = np.multiply(fields["pixdim"][1:4], (1.0, 1.0, flip))
    return np.column_stack([turned * sizes, fields["qoffset"]])
