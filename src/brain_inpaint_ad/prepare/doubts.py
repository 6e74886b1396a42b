"""What looks wrong about a brain mask. Doubts are told, never acted on: a brain may be unlike others."""

from __future__ import annotations

import logging
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from scipy import ndimage, optimize
from scipy.spatial import ConvexHull, QhullError

from ..io import from_image, resample, to_image
from ..volume import Array, Grid, Volume
from . import Prepared

USUAL_ML = (900.0, 2000.0)  # adults, masks' margins included
MOST_HOLES_ML = 1.0
MOST_BESIDE_ML = 1.0
MOST_CUT_MM2 = 1000.0  # of the mask on the faces of the volume; a spinal cord has 200
MOST_UNEVEN = 0.08
LEAST_FULL = 0.85
_COARSE_MM = 4.0
_LOG = logging.getLogger(__name__)
_AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)


def with_doubts(prepared: Prepared) -> Prepared:
    """With what looks wrong about its brain mask, told as one warning."""
    doubts = mask_doubts(prepared.scan_brain, prepared.scan.grid)
    if doubts:
        _LOG.warning(
            "The brain mask of %s (%s) is unusual: %s; look at brain_mask.nii.gz, and if it is wrong, "
            "correct it and give it with --mask.",
            Path(prepared.scan.name).name,
            prepared.brain_source,
            "; ".join(doubts),
        )
    return replace(prepared, doubts=tuple(doubts))


def mask_doubts(brain: Array, grid: Grid) -> list[str]:
    """Phrases, each with its figure; none for a mask as they usually are. brain: bool of grid.shape."""
    voxel_ml = grid.voxel_mm3 / 1000
    volume_ml = float(brain.sum() * voxel_ml)
    doubts = []
    if not USUAL_ML[0] <= volume_ml <= USUAL_ML[1]:
        doubts.append(f"it holds {volume_ml:.0f} ml, adults have {USUAL_ML[0]:.0f} to {USUAL_ML[1]:.0f} ml")
    box = ndimage.find_objects(brain.view(np.uint8))[0]
    inside = sitk.GetImageFromArray(np.pad(brain[box], 1).view(np.uint8))
    sizes = np.bincount(sitk.GetArrayFromImage(sitk.ConnectedComponent(inside)).ravel())[1:]
    if (beside_ml := float((sizes.sum() - sizes.max()) * voxel_ml)) > MOST_BESIDE_ML:
        doubts.append(f"it has {len(sizes)} parts, {beside_ml:.1f} ml beside the largest")
    holes_ml = float((sitk.GetArrayFromImage(sitk.BinaryFillhole(inside)).sum() - sizes.sum()) * voxel_ml)
    if holes_ml > MOST_HOLES_ML:
        doubts.append(f"it has holes of {holes_ml:.1f} ml")
    if (cut_mm2 := _cut_mm2(brain, grid)) > MOST_CUT_MM2:
        doubts.append(f"the volume's edge cuts it over {cut_mm2 / 100:.0f} cm²")
    if (uneven := unevenness(brain, grid)) > MOST_UNEVEN:
        doubts.append(f"{uneven:.0%} of it has no counterpart on the other side")
    if (full := fullness(brain, grid)) < LEAST_FULL:
        doubts.append(f"it fills {full:.0%} of the shape around it, so that large parts may be missing")
    return doubts


def fullness(brain: Array, grid: Grid) -> float:
    """Volume of the mask over that of its convex hull. Whole brains (65 of IXI, 3 with gliomas, 2 with MS) had 0.93 to 0.98."""
    _, points = _coarse(brain, grid)
    with suppress(QhullError, ValueError):  # too thin a mask for a hull
        return len(points) * _COARSE_MM**3 / float(ConvexHull(points).volume)
    return 1.0


def unevenness(brain: Array, grid: Grid) -> float:
    """Share of the mask that its own mirror image does not cover, for the best of all planes near the middle, upright ones.

    0: symmetric. Healthy brains (49 masks of IXI) had 0.02 to 0.06, gliomas 0.04; with a twentieth cut off at one side 0.08.
    """
    table, points = _coarse(brain, grid)
    if not len(points):
        return 1.0
    low = points.min(axis=0) - _COARSE_MM * np.argwhere(table).min(axis=0)
    middle = points.mean(axis=0)
    points, low = points - middle, low - middle

    def uncovered(plane: Array) -> float:
        normal = np.array([1.0, plane[0], plane[1]])
        normal /= np.linalg.norm(normal)
        mirrored = points - 2 * np.outer(points @ normal - plane[2], normal)
        places = np.clip(np.round((mirrored - low) / _COARSE_MM).astype(int), -1, np.array(table.shape) - 1)
        return 1 - float((table[tuple(places.T)] & (places >= 0).all(axis=1)).mean())

    # Turns of about 10° and shifts of a centimetre to begin with.
    start = np.array([[0.0, 0.0, 0.0], [0.2, 0.0, 0.0], [0.0, 0.2, 0.0], [0.0, 0.0, 10.0]])
    found = optimize.minimize(
        uncovered, start[0], method="Nelder-Mead", options={"initial_simplex": start, "maxfev": 80, "xatol": 1e-3}
    )
    return float(found.fun)


def _coarse(brain: Array, grid: Grid) -> tuple[Array, Array]:
    """The mask on cubes of _COARSE_MM along the world's axes, indexed (x, y, z), and LPS mm of those inside: (n, 3)."""
    box = ndimage.find_objects(brain.view(np.uint8))[0]
    part = Volume(brain[box].astype(np.float32), grid.part(box), "brain")
    factors = [max(1, int(_COARSE_MM / spacing)) for spacing in grid.spacing]
    shrunk = sitk.BinShrink(sitk.ConstantPad(to_image(part), factors, factors), factors)
    ends = np.array(np.meshgrid(*((0, size - 1) for size in part.grid.shape), indexing="ij")).reshape(3, -1).T
    corners = part.grid.to_world(ends)
    x, y, z = (corners.min(axis=0) - _COARSE_MM).tolist()
    columns, rows, slices = (int(mm // _COARSE_MM) + 4 for mm in np.ptp(corners, axis=0))
    coarse = Grid((columns, rows, slices), (_COARSE_MM,) * 3, (x, y, z), _AXIAL)
    table = resample(from_image(shrunk), coarse) >= 0.5
    return table.transpose(2, 1, 0), coarse.to_world(np.argwhere(table))


def _cut_mm2(brain: Array, grid: Grid) -> float:
    """Area of the mask on the six faces of the volume."""
    spacing = grid.spacing[::-1]
    total = 0.0
    for axis in range(3):
        area = float(np.prod([spacing[other] for other in range(3) if other != axis]))
        total += float(np.take(brain, [0, -1], axis=axis).sum()) * area
    return total
