"""Detectors without a network: what a model must beat. All but the first know healthy brains as a registered group."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..prepare import Prepared
from ..progress import Progress, silent
from ..volume import Array
from . import Detector
from .features import features_of, local_mean, own_scale
from .healthy import HealthyGroup

# Standard deviation of the Gaussian over which departures are gathered. Of 2, 4, 6, 8 and 12 mm, 8 mm had the best Dice at the
# healthy 1 % threshold on the three BraTS validation cases.
GATHER_MM = 8.0


class IntensityDetector:
    """How far a voxel's intensity lies from the brain's median, in either direction."""

    def heatmap(self, prepared: Prepared, *, progress: Progress = silent) -> Array:
        """|intensity − median| of the prepared scan, float32 (slices, rows, columns), 0 outside the brain."""
        progress(0.0, "comparing intensities")
        image, brain = prepared.image.array, prepared.brain
        return np.where(brain, np.abs(image - np.median(image[brain])), 0).astype(np.float32)


@dataclass(frozen=True, slots=True)
class ZScoreDetector:
    """How unusual the intensity is for that place, in either direction (as in Saase 2020)."""

    group: HealthyGroup

    def heatmap(self, prepared: Prepared, *, progress: Progress = silent) -> Array:
        """|z| of the level, in standard deviations of the group."""
        progress(0.0, "comparing with healthy brains")
        level, _ = _z_scores(self.group, prepared)
        return np.asarray(np.abs(level))


@dataclass(frozen=True, slots=True)
class PcaDetector:
    """What the principal components of healthy brains cannot rebuild (as in Saase 2020)."""

    group: HealthyGroup

    def heatmap(self, prepared: Prepared, *, progress: Progress = silent) -> Array:
        """|level − its projection|, in intensity."""
        progress(0.0, "comparing with healthy brains")
        return np.asarray(np.abs(self.group.unexplained(prepared)))


@dataclass(frozen=True, slots=True)
class AsymmetryDetector:
    """How much level and texture differ from those of the mirror-image place; both sides of a lesion are hot."""

    group: HealthyGroup

    def heatmap(self, prepared: Prepared, *, progress: Progress = silent) -> Array:
        """Departure from symmetry, see `departure`."""
        progress(0.0, "comparing left and right")
        seen = features_of(prepared)
        return departure(self.group.align(prepared).mirrored_differences(seen, prepared.brain), prepared)


@dataclass(frozen=True, slots=True)
class LevelTextureDetector:
    """How unusual level and texture are for that place.

    one_sided: only what is darker and smoother than in healthy brains is hot, z(−level) − z(texture) as in the project's first
    probe, its signs chosen by looking at tumours; otherwise all departures are.
    """

    group: HealthyGroup
    one_sided: bool = False

    def heatmap(self, prepared: Prepared, *, progress: Progress = silent) -> Array:
        """Departure from the group, see `departure`; one-sided: log(1 + exp) of the sum, which keeps order and is positive."""
        progress(0.0, "comparing with healthy brains")
        scores = _z_scores(self.group, prepared)
        if not self.one_sided:
            return departure(scores, prepared)
        level, texture = own_scale(scores, prepared.brain)
        total = local_mean(-level - texture, prepared.brain, _gather_voxels(prepared))
        return np.where(prepared.brain, np.logaddexp(0, total), 0).astype(np.float32)


def departure(scores: Array, prepared: Prepared) -> Array:
    """Root of the local mean of the squared scores, each on the scan's own scale; float32, 0 outside the brain.

    scores: (n, slices, rows, columns).
    """
    total = (own_scale(scores, prepared.brain) ** 2).sum(axis=0)
    gathered = local_mean(total, prepared.brain, _gather_voxels(prepared))
    return np.sqrt(np.maximum(gathered, 0)).astype(np.float32)


def _z_scores(group: HealthyGroup, prepared: Prepared) -> Array:
    return group.align(prepared).z_scores(features_of(prepared), prepared.brain)


def _gather_voxels(prepared: Prepared) -> float:
    return GATHER_MM / prepared.image.grid.spacing[0]


# Baselines that need a healthy group, by the name of their row.
WITH_GROUP: dict[str, Callable[[HealthyGroup], Detector]] = {
    "left–right asymmetry": AsymmetryDetector,
    "voxel-wise z-score": ZScoreDetector,
    "PCA": PcaDetector,
    "darker and smoother": lambda group: LevelTextureDetector(group, one_sided=True),
    "level and texture": LevelTextureDetector,
}
