"""Lesions put into healthy scans: a control with known truth and without any change of scanner."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from ..errors import SettingsError
from ..volume import Array, Volume

KINDS = ("dark", "bright", "pushing")
SIZES_ML = (2.0, 10.0, 40.0)
_DARK = 0.45  # times the median of the brain: like fluid
_BRIGHT = 1.15  # times its 99th percentile: like fresh blood or contrast agent
_BUMPS_MM = 8.0  # standard deviation of the Gaussian that makes a lesion's border uneven
_PUSH = 0.5  # of its radius a pushing lesion moves the tissue in its midst
_REACH = 1.5  # radii from its centre to where that has fallen to 1/e


@dataclass(frozen=True, slots=True)
class Lesion:
    """kind: of KINDS; "pushing" is dark and moves the tissue around it."""

    kind: str
    volume_ml: float

    def __post_init__(self) -> None:
        if self.kind not in KINDS or not self.volume_ml > 0:
            raise SettingsError(f"a lesion is one of {', '.join(KINDS)} of more than 0 ml, got {self.kind}, {self.volume_ml:g}")

    @property
    def name(self) -> str:
        """As rows call it."""
        return f"{self.kind} lesion"


def implant(scan: Volume, brain: Array, lesion: Lesion, rng: np.random.Generator) -> tuple[Volume, Array]:
    """The scan with the lesion somewhere in its brain, and where it is: bool.

    scan: its intensities count from that of no signal; brain: bool on its grid. The lesion has the wanted volume to within a
    voxel, as far as the brain has room, and soft borders; equal `rng` state gives the same place and shape.
    """
    spacing = np.asarray(scan.grid.spacing[::-1])
    radius_mm = (3 * lesion.volume_ml * 1000 / (4 * np.pi)) ** (1 / 3)
    depth = ndimage.distance_transform_edt(brain, sampling=spacing)
    deep = np.argwhere(depth >= min(radius_mm, 0.8 * float(depth.max())))
    centre = deep[rng.integers(len(deep))]
    offset = (np.moveaxis(np.indices(brain.shape), 0, -1) - centre) * spacing
    distance = np.linalg.norm(offset, axis=-1)
    bumps = ndimage.gaussian_filter(rng.normal(size=brain.shape), _BUMPS_MM / spacing)
    uneven = np.where(brain, distance + 0.25 * radius_mm * bumps / bumps.std(), np.inf)
    count = min(round(lesion.volume_ml * 1000 / scan.grid.voxel_mm3), int(brain.sum()))
    edge = float(np.partition(uneven.ravel(), count)[count])
    truth = uneven < edge
    values = scan.array.astype(np.float32)
    if lesion.kind == "pushing":
        values = _pushed(values, offset, distance, radius_mm, spacing)
    tissue = scan.array[brain]
    target = float(_BRIGHT * np.percentile(tissue, 99) if lesion.kind == "bright" else _DARK * np.median(tissue))
    share = np.where(brain, np.clip((edge - uneven) / spacing.max() + 0.5, 0, 1), 0)
    mixed = np.where(brain, values + share * (target - values), scan.array)
    return scan.with_array(mixed.astype(np.float32)), truth


def _pushed(values: Array, offset: Array, distance: Array, radius_mm: float, spacing: Array) -> Array:
    """Tissue away from the centre, by less the further it is; what was at r comes to r + shift."""
    shift = _PUSH * radius_mm * np.exp(-((distance / (_REACH * radius_mm)) ** 2))
    source = (1 - shift / np.maximum(distance, 1e-3))[..., None] * offset
    moved = np.moveaxis(np.indices(values.shape), 0, -1) + (source - offset) / spacing
    return np.asarray(ndimage.map_coordinates(values, np.moveaxis(moved, -1, 0), order=1, mode="nearest"))
