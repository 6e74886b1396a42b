"""Non-contrast head CT, as Simarro 2020 lists its preprocessing: brain mask, soft-tissue window, [0, 1], on the model grid.

The mask is drawn here before registration rather than after it, and by thresholds in place of the paper's commercial software;
registration, smoothing and the cube are `detectors.cube`.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from ..errors import InputError, NoBrainError
from ..progress import Progress, silent
from ..volume import Array, Volume
from . import Prepared
from .brain import find_brain
from .grid import GridSettings, mask_to_grid, model_grid, to_model_grid

WINDOW_HU = (-20.0, 100.0)  # as published
SOFT_HU = (0.0, 100.0)  # brain, blood and cerebrospinal fluid
BONE_HU = 250.0
GAP_MM = 4.0  # half the width of holes in the skull through which the brain is not followed
AIR_HU = -300.0  # a scan in Hounsfield units shows air


def prepare_ct(
    scan: Volume, *, mask: Volume | None = None, settings: GridSettings | None = None, progress: Progress = silent
) -> Prepared:
    """scan: in Hounsfield units, any orientation and spacing; mask: > 0 inside the brain, on the scan's grid.

    Raises InputError when the values are no Hounsfield units, NoBrainError when no brain lies inside a skull.
    """
    progress(0.0, "finding the brain")
    if mask is not None:
        brain, source = find_brain(scan, mask=mask)
    else:
        _check_hounsfield(scan)
        brain, source = inside_skull(scan), "skull"
    progress(0.6, "resampling")
    low, high = WINDOW_HU
    windowed = np.where(brain, (np.clip(scan.array, low, high) - low) / (high - low), 0)
    brain_volume = scan.with_array(brain)
    grid = model_grid(brain_volume, settings or GridSettings())
    model_brain = mask_to_grid(brain_volume, grid)
    values = np.where(model_brain, to_model_grid(scan.with_array(windowed.astype(np.float32)), grid), np.float32(0))
    marks = tuple(low + (high - low) * mark for mark in (0.0, 0.1, 0.62, 0.95, 1.0))
    return Prepared(Volume(values, grid, scan.name), model_brain, scan, brain, source, marks)


def inside_skull(scan: Volume) -> Array:
    """Soft tissue that bone encloses: bool of the scan's shape, its largest part, filled."""
    spacing = scan.grid.spacing[::-1]
    soft = (scan.array > SOFT_HU[0]) & (scan.array < SOFT_HU[1])
    parts, count = ndimage.label(soft & _enclosed(scan, spacing))
    if count == 0:
        raise NoBrainError(f"no brain was found in {scan.name}: no soft tissue lies inside a skull; give a mask with --mask.")
    largest = parts == np.argmax(np.bincount(parts.ravel())[1:]) + 1
    grown = ndimage.distance_transform_edt(~largest, sampling=spacing) <= GAP_MM  # what `_enclosed` kept away from bone
    filled: Array = ndimage.binary_fill_holes(grown & (scan.array < BONE_HU))
    mask = scan.with_array(filled.astype(np.uint8), f"the space inside the skull of {scan.name}")
    return find_brain(scan, mask=mask)[0]


def _enclosed(scan: Volume, spacing: tuple[float, ...]) -> Array:
    """What some view shows inside a ring of bone, gaps of up to twice GAP_MM closed; this far from bone."""
    bone = scan.array >= BONE_HU
    near = ndimage.distance_transform_edt(~bone, sampling=spacing) <= GAP_MM
    enclosed = np.zeros(bone.shape, bool)
    for axis in range(3):  # whichever of them is axial in this file
        views = np.moveaxis(near, axis, 0)
        filled = np.stack([ndimage.binary_fill_holes(view) for view in views])
        enclosed |= np.moveaxis(filled, 0, axis) & ~near
    return enclosed


def _check_hounsfield(scan: Volume) -> None:
    if scan.array.min() > AIR_HU or scan.array.max() < BONE_HU:
        raise InputError(
            f"{scan.name} shows values from {scan.array.min():.0f} to {scan.array.max():.0f}: a CT in Hounsfield units has "
            "air near -1000 and bone above 250; convert it, or give a brain mask."
        )
