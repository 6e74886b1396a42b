"""Does the heatmap do the work, or the superpixels? One segment per slice, chosen with the truth, by chance, by brightness.

All on the model grid, where superpixels live. A heatmap has earned its keep by what its hottest segment adds to these.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..segmentation.select import Regions
from ..volume import Array

CONTROLS = ("oracle segment", "random segment", "darkest segment", "brightest segment")
LEAST_TUMOUR_MM2 = 100.0  # a slice must show that much of the tumour to count, as in the paper's choice of slices
DRAWS = 100  # of the random segment
SEED = 0


@dataclass(frozen=True, slots=True)
class Pick:
    """One segment per slice. slice_dice: mean over tumour slices; slices: how many; volume_dice: of all picks together."""

    slice_dice: float
    slices: int
    volume_dice: float


@dataclass(frozen=True, slots=True)
class Overlaps:
    """Per region 1…N of a cut, all (N,): voxels, those of them in the truth, slice; truth_in: of its whole slice."""

    voxels: Array
    inside: Array
    slices: Array
    truth_in: Array

    @property
    def dice(self) -> Array:
        """Of each region with the truth of its slice."""
        return np.asarray(2 * self.inside / np.maximum(self.voxels + self.truth_in, 1))


def overlaps(regions: Regions, truth: Array) -> Overlaps:
    """regions: cut by slices; truth: bool of the same shape."""
    count = len(regions.heat)
    voxels = np.bincount(regions.labels.ravel(), minlength=count)[1:]
    inside = np.bincount(regions.labels[truth], minlength=count)[1:]
    slices = regions.slices[1:]
    return Overlaps(voxels, inside, slices, truth.sum(axis=(1, 2))[slices])


def pick_by(score: Array, of: Overlaps, truth: Array, *, pixel_mm2: float) -> Pick:
    """The region of the highest score in every slice; none where all are −∞. score: (N,); the earlier region wins a tie."""
    order = np.lexsort((-score, of.slices))
    first = order[np.flatnonzero(np.diff(of.slices[order], prepend=-1))]
    first = first[np.isfinite(score[first])]
    shown = of.truth_in[first] * pixel_mm2 >= LEAST_TUMOUR_MM2
    per_slice = of.dice[first][shown]
    total = of.voxels[first].sum() + truth.sum()
    volume = 2 * of.inside[first].sum() / total if total else 1.0
    return Pick(float(per_slice.mean()) if shown.any() else 0.0, int(shown.sum()), float(volume))


def control_picks(regions: Regions, image: Array, truth: Array, *, pixel_mm2: float) -> dict[str, Pick]:
    """By CONTROLS. image: [0, 1]; the oracle takes the region of the best Dice in its slice, random is a mean over DRAWS."""
    of = overlaps(regions, truth)
    count = len(regions.heat)
    bright = np.bincount(regions.labels.ravel(), weights=image.ravel(), minlength=count)[1:] / np.maximum(of.voxels, 1)
    rng = np.random.default_rng(SEED)
    draws = [pick_by(rng.random(count - 1), of, truth, pixel_mm2=pixel_mm2) for _ in range(DRAWS)]
    chance = Pick(
        float(np.mean([draw.slice_dice for draw in draws])), draws[0].slices, float(np.mean([d.volume_dice for d in draws]))
    )
    oracle = np.where(of.inside > 0, of.dice, -np.inf)
    by_score = [pick_by(score, of, truth, pixel_mm2=pixel_mm2) for score in (oracle, -bright, bright)]
    return dict(zip(CONTROLS, (by_score[0], chance, *by_score[1:]), strict=True))


def hottest_pick(regions: Regions, truth: Array, *, pixel_mm2: float) -> Pick:
    """The published rule: the hottest region of every slice."""
    return pick_by(regions.heat[1:], overlaps(regions, truth), truth, pixel_mm2=pixel_mm2)
