"""Where the brain is: a mask the user gives, a scan that holds only brain, or what a brain extraction draws."""

from __future__ import annotations

import logging

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from ..errors import GeometryError, InputError, NoBrainError
from ..io import to_image
from ..progress import Progress, silent
from ..volume import Array, Grid, Volume
from .bias import background
from .extraction import AUTO, extractor_of

_LOG = logging.getLogger(__name__)
MIN_BRAIN_ML, MAX_BRAIN_ML = 350.0, 2400.0  # an infant's to a very large adult's, brain stem and masks' margins included
MIN_STRUCTURE = 0.16  # see _structure
_COARSE_MM = 3.0
_FEATURES_MM = (4.0, 15.0)  # standard deviations of the Gaussians between which features are measured


def find_brain(
    scan: Volume, *, mask: Volume | None = None, extraction: str = AUTO, use_gpu: bool = False, progress: Progress = silent
) -> tuple[Array, str]:
    """Brain mask on the scan's grid and where it comes from: "given", "brain-only scan" or the name of the extraction.

    extraction: see extraction.extractor_of; one that is named is used for brain-only scans, too.
    Raises GeometryError (mask on another grid), NoBrainError, and what the extraction raises.
    """
    if mask is not None:
        return _given(mask, scan), "given"
    if extraction == AUTO and (brain := _already_extracted(scan)) is not None:
        return brain, "brain-only scan"
    name, extract = extractor_of(extraction)
    try:
        brain = extract(scan, use_gpu=use_gpu, progress=progress)
    except MemoryError:
        if not use_gpu:
            raise
        _LOG.warning("The GPU's memory was full; the brain is extracted on the CPU, which is slower.")
        brain = extract(scan, use_gpu=False, progress=progress)
    _check_plausible(brain, scan, "brain extraction (T1 only)" if name == "deepbet" else f"brain extraction ({name})")
    if _structure(scan, brain) < MIN_STRUCTURE:
        raise NoBrainError(
            f"nothing in {scan.name} looks like a brain: it shows noise or one even material; "
            "if it does show a brain, give its mask with --mask."
        )
    return brain, name


def _given(mask: Volume, scan: Volume) -> Array:
    if not mask.grid.is_same_place(scan.grid):
        raise GeometryError(
            f"the mask {mask.name} ({_describe(mask.grid)}) does not lie on the grid of {scan.name} ({_describe(scan.grid)}); "
            "resample the mask to the scan first."
        )
    brain = mask.array > 0
    _check_plausible(brain, scan, f"the mask {mask.name}")
    return brain


def _already_extracted(scan: Volume) -> Array | None:
    """The brain when everything outside it has one constant value, else None.

    Heads with a zeroed background are told apart by their volume: 3 to 6 litres.
    """
    signal = _signal(scan)
    foreground = signal > 1e-3 * float(np.percentile(signal, 99))
    if foreground.mean() > 0.9:
        return None
    brain = _solid(_largest_part(foreground))
    volume_ml = brain.sum() * scan.grid.voxel_mm3 / 1000
    if not MIN_BRAIN_ML <= volume_ml <= MAX_BRAIN_ML:
        return None
    return brain if _structure(scan, brain) >= MIN_STRUCTURE else None


def _check_plausible(brain: Array, scan: Volume, source: str) -> None:
    volume_ml = brain.sum() * scan.grid.voxel_mm3 / 1000
    if not MIN_BRAIN_ML <= volume_ml <= MAX_BRAIN_ML:
        raise NoBrainError(
            f"no plausible brain in {scan.name}: {source} marks {volume_ml:.0f} ml, a brain has {MIN_BRAIN_ML:.0f} to "
            f"{MAX_BRAIN_ML:.0f} ml; check the scan and its voxel spacing, or give a brain mask with --mask."
        )
    values = scan.array[brain]
    if values.min() == values.max():
        raise InputError(f"{scan.name} holds one single value inside the brain; there is nothing to see in it.")


def _signal(scan: Volume) -> Array:
    """How far each voxel is from the background."""
    return np.asarray(np.abs(scan.array - scan.array.dtype.type(background(scan))))


def _structure(scan: Volume, brain: Array) -> float:
    """How much of the spread of the tissue's values lies in features of centimetres, as white matter and ventricles are.

    Share of the standard deviation: 0.3 to 0.5 in T1, from 0.19 in FLAIR, about 0.1 in noise, ramps and things of one
    material.
    """
    signal = _signal(scan)
    brain = brain & (signal > 0.2 * np.median(signal[brain]))  # else a thing's outline would count as its structure
    inside = scan.array[brain]
    low, high = np.percentile(inside, (1, 99)) if inside.size else (0.0, 0.0)
    spread = float(np.clip(inside, low, high).std()) if high > low else 0.0
    if spread == 0:
        return 0.0
    factors = [max(1, round(_COARSE_MM / spacing)) for spacing in scan.grid.spacing]
    values = np.where(brain, np.clip(scan.array, low, high) - low, 0)
    coarse = sitk.BinShrink(to_image(scan.with_array(values.astype(np.float32))), factors)
    share = sitk.BinShrink(to_image(scan.with_array(brain.astype(np.float32))), factors)
    spacing = coarse.GetSpacing()[::-1]
    fine, wide = (_mean_around(coarse, share, np.divide(mm, spacing)) for mm in _FEATURES_MM)
    within = sitk.GetArrayFromImage(share) > 0.5
    return float((fine - wide)[within].std()) / spread


def _mean_around(values: sitk.Image, share: sitk.Image, widths: Array) -> Array:
    """Gaussian means of what lies inside the brain only; widths: standard deviations in voxels."""
    total, weight = (ndimage.gaussian_filter(sitk.GetArrayFromImage(i), widths, mode="constant") for i in (values, share))
    return np.asarray(total / np.maximum(weight, 1e-6))


def _largest_part(foreground: Array) -> Array:
    """The largest connected part: specks beside the brain go."""
    labels, count = ndimage.label(foreground)
    if count <= 1:
        return foreground
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    return np.asarray(labels == sizes.argmax())


def _solid(brain: Array) -> Array:
    """Holes filled: ventricles that were scanned as exactly 0 belong to the brain."""
    filled = sitk.BinaryFillhole(sitk.GetImageFromArray(brain.astype(np.uint8)))
    return sitk.GetArrayFromImage(filled).astype(bool)


def _describe(grid: Grid) -> str:
    sizes = "×".join(map(str, grid.size))
    spacing = "×".join(f"{s:.3g}" for s in grid.spacing)
    origin = ", ".join(f"{o:.1f}" for o in grid.origin)
    return f"{sizes} voxels of {spacing} mm from ({origin})"
