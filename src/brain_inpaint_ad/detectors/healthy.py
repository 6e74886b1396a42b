"""What healthy brains show at every place, and a group of them laid over a scan; `make_group` makes one."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from scipy.ndimage import distance_transform_edt

from ..errors import FitError
from ..prepare import Prepared
from ..volume import Array, Grid, Volume
from .features import features_of
from .register import carry, is_plausible, register

_LOG = logging.getLogger(__name__)
LEAST_SPREAD = 0.3  # of the median spread: a place where a small group happens to agree is no proof
# Below, places are doubted. Straight validation scans had 0.752 and more, a patient may have a little less; of 12 turned ones
# that an earlier registration laid 6 mm off or more, 7 had less than this (docs/results, registration).
DOUBTED_AGREEMENT = 0.73
_DARK = 0.05  # of intensities in [0, 1]
_AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)


@dataclass(frozen=True, slots=True)
class HealthyGroup:
    """Statistics of registered healthy brains on one grid, which is symmetric about its middle column.

    template: mean intensity; mean, spread: (2, slices, rows, columns) of `features`, continued outwards where too few of the
    group show brain; known: bool, where they do; components: (k, known voxels) orthonormal, of the level about its mean;
    scans: who they are.
    """

    template: Volume
    mean: Array
    spread: Array
    known: Array
    components: Array
    scans: tuple[str, ...]
    _aligned: dict[int, tuple[Prepared, Aligned]] = field(default_factory=dict, repr=False, compare=False)

    @property
    def sha256(self) -> str:
        """Of the statistics, to tell groups apart."""
        digest = hashlib.sha256()
        for array in self.to_arrays().values():
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()

    def align(self, prepared: Prepared) -> Aligned:
        """The group laid over a scan; the last scan is remembered, as several detectors ask for it."""
        if id(prepared) not in self._aligned:
            self._aligned.clear()
            aligned = align(self, prepared.image)
            aligned.warn_of_doubt(prepared.scan.name)
            self._aligned[id(prepared)] = prepared, aligned
        return self._aligned[id(prepared)][1]

    def unexplained(self, prepared: Prepared) -> Array:
        """What the components leave of the scan's level: float32 on the model grid, 0 outside the brain."""
        there = self.align(prepared).there
        seen = features_of(prepared)
        level, shown = carry_features(seen, prepared.image, prepared.brain, self.template.grid, there)
        difference = np.where(shown, level[0] - self.mean[0], 0)[self.known]
        rest = np.zeros(self.template.grid.shape, dtype=np.float32)
        rest[self.known] = difference - self.components.T @ (self.components @ difference)
        back = carry(self.template.with_array(rest), prepared.image.grid, there.GetInverse())
        return np.asarray(np.where(prepared.brain, back, 0))

    def to_arrays(self) -> dict[str, Array]:
        """Half-precision arrays for a file of a few MB."""
        return {
            "template": self.template.array.astype(np.float16),
            "spacing_mm": np.asarray(self.template.grid.spacing[0]),
            "known": self.known,
            "mean": self.mean[:, self.known].astype(np.float16),
            "spread": self.spread[:, self.known].astype(np.float16),
            "components": self.components.astype(np.float16),
            "scans": np.asarray(self.scans, dtype=np.str_),
        }

    @classmethod
    def from_arrays(cls, arrays: dict[str, Array]) -> HealthyGroup:
        """The inverse of `to_arrays`."""
        known = arrays["known"]
        template = Volume(
            arrays["template"].astype(np.float32), centred_grid(known.shape, float(arrays["spacing_mm"])), "healthy group"
        )
        mean, spread = (_continued(arrays[name].astype(np.float32), known) for name in ("mean", "spread"))
        components = arrays["components"].astype(np.float32)
        return cls(template, mean, spread, known, components, tuple(arrays["scans"].tolist()))


@dataclass(frozen=True, slots=True)
class Aligned:
    """A healthy group laid over one scan.

    there: from points of the group to points of the scan; grid: of the scan; mean, spread: (2, slices, rows, columns) of
    `features` of the group at the scan's places; known: bool, where the group's grid reaches; agreement: correlation of the
    scan with the group's mean image, over both brains.
    """

    agreement: float
    there: sitk.Transform
    grid: Grid
    mean: Array
    spread: Array
    known: Array

    def warn_of_doubt(self, name: str) -> None:
        """Tell the user where the healthy brains fit badly; name: of the scan."""
        if not self.agreement >= DOUBTED_AGREEMENT:  # NaN, too
            _LOG.warning(
                "The healthy brains fit %s badly (agreement %.2f, whole brains have %.2f or more), so places may be compared "
                "with others than their own: look at brain_mask.nii.gz, turn a head that lies crooked upright (register it to "
                "a template), or choose a model that compares with none.",
                Path(name).name,
                self.agreement,
                DOUBTED_AGREEMENT,
            )

    def z_scores(self, seen: Array, brain: Array) -> Array:
        """In standard deviations of the healthy group at that place, 0 outside the brain. seen: `features` of the scan."""
        return np.where(brain, (seen - self.mean) / self.spread, 0).astype(np.float32)

    def mirrored_differences(self, seen: Array, brain: Array) -> Array:
        """`features` minus those of the mirror-image place, 0 outside the brain and where the mirror image leaves it."""
        flip = sitk.AffineTransform(3)
        flip.SetMatrix((-1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0))  # the group's grid is centred on 0
        across = sitk.CompositeTransform([self.there, flip, self.there.GetInverse()])  # the last is done first
        share = carry(Volume(brain, self.grid, "brain"), self.grid, across)
        both = brain & (share > 0.5)
        others = [carry(Volume(values, self.grid, "seen"), self.grid, across) / np.maximum(share, 0.5) for values in seen]
        return np.where(both, seen - np.stack(others), 0).astype(np.float32)


def align(group: HealthyGroup, image: Volume) -> Aligned:
    """Register the group to a prepared scan. Raises FitError when that fails."""
    try:
        there = register(group.template, image)
        back = there.GetInverse()
    except RuntimeError as error:  # ITK's only kind
        raise FitError(f"healthy brains cannot be laid over {image.name}: check its orientation and brain mask.") from error
    if not is_plausible(there):
        raise FitError(
            f"{image.name} does not look like the healthy brains (they fit only when stretched or turned as no head is): check "
            "orientation and brain mask, or choose a model that compares with none."
        )
    means, spreads = (
        np.stack([carry(group.template.with_array(part), image.grid, back) for part in maps])
        for maps in (group.mean, group.spread)
    )
    template = carry(group.template, image.grid, back)
    either = (template > _DARK) | (image.array > _DARK)
    agreement = float(np.corrcoef(template[either], image.array[either])[0, 1])
    least = LEAST_SPREAD * np.median(group.spread[:, group.known], axis=1)
    known = carry(group.template.with_array(np.ones(group.template.grid.shape)), image.grid, back) > 0.5
    return Aligned(agreement, there, image.grid, means, np.maximum(spreads, least[:, None, None, None]), known)


def carry_features(seen: Array, image: Volume, brain: Array, grid: Grid, transform: sitk.Transform) -> tuple[Array, Array]:
    """Features on the group's grid, and where they lie inside the brain; zeros outside are kept out of the mean at the rim."""
    share = carry(image.with_array(brain), grid, transform)
    carried = [carry(image.with_array(values), grid, transform) / np.maximum(share, 0.5) for values in seen]
    return np.stack(carried), share > 0.5


def centred_grid(shape: Sequence[int], spacing_mm: float) -> Grid:
    """Axial, its middle at 0."""
    columns_first = (int(shape[2]), int(shape[1]), int(shape[0]))
    x, y, z = (-(size - 1) / 2 * spacing_mm for size in columns_first)
    return Grid(columns_first, (spacing_mm,) * 3, (x, y, z), _AXIAL)


def _continued(values: Array, known: Array) -> Array:
    """(n, known voxels) to (n, *known.shape): elsewhere the value of the nearest known place."""
    nearest = distance_transform_edt(~known, return_distances=False, return_indices=True)
    full = np.zeros((len(values), *known.shape), dtype=np.float32)
    full[:, known] = values
    return np.asarray(full[(slice(None), *nearest)])
