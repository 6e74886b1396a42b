"""The brain that is worked on, which of its windows are timed, and what the naive loop says of them."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import torch
from scipy.stats import spearmanr
from torch import Tensor

from ..heatmap.windows import WindowSettings, window_corners
from ..nets.unet import UNet
from ..weights.card import Card
from .race import Agreement

STRIDE_MM = 4.0  # as detect does
SEED = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """How much is timed; turns: times that every row is measured; the other numbers are per turn.

    judged: windows that run through the naive loop and are compared, from `judged_slices` slices, and patience_s: after
    which it takes no further one; places: positions of windows, with all their slices, for each thread of the incremental
    engine; predicted: windows for R; dense_slices: slices for R′; complete: with the rows that nobody waits for.
    """

    turns: int
    judged: int
    judged_slices: int
    patience_s: float
    places: int
    predicted: int
    dense_slices: int
    complete: bool


QUICK = Plan(turns=3, judged=8, judged_slices=4, patience_s=0.6, places=3, predicted=64, dense_slices=8, complete=False)
FULL = Plan(turns=5, judged=60, judged_slices=24, patience_s=6.0, places=12, predicted=512, dense_slices=64, complete=True)


@dataclass(frozen=True, slots=True)
class Scene:
    """generator: in evaluation mode; image: float32 and brain: bool, (slices, rows, columns); all on one device."""

    generator: UNet
    card: Card
    image: Tensor
    brain: Tensor
    plan: Plan

    @property
    def device(self) -> torch.device:
        """Where the work is done."""
        return self.image.device

    def size(self, window_mm: float) -> int:
        """Side of a window in pixels."""
        return round(window_mm / self.card.spacing_mm)

    def corners(self, window_mm: float, *, skipping: bool) -> Tensor:
        """Windows of the volume, (n, 3): those that touch the brain, or, not skipping, all."""
        brain = self.brain.cpu().numpy()
        where = brain if skipping else np.ones_like(brain)
        windows = WindowSettings(size=self.size(window_mm), stride=self.card.windows(STRIDE_MM).stride)
        return torch.from_numpy(window_corners(where, windows)).to(self.device)


@dataclass(slots=True)
class Judged:
    """Some windows on the brain of one size, and their losses by the naive loop, NaN until it has done them.

    image, brain: the slices they lie in; corners: (n, 3) into these; turns: which turn each window belongs to.
    """

    window_mm: float
    size: int
    minmax: str
    image: Tensor
    brain: Tensor
    corners: Tensor
    losses: Tensor = field(init=False)

    def __post_init__(self) -> None:
        self.losses = torch.full((len(self.corners),), math.nan)

    def compare(self, losses: Tensor) -> Agreement:
        """losses: (n,), of the same windows by another way."""
        done = self.losses.isfinite()
        expected, found = self.losses[done].double().numpy(), losses.cpu()[done].double().numpy()
        if len(expected) == 0:
            return Agreement()
        difference = float(np.abs(expected - found).max())
        if len(expected) < 3 or np.ptp(expected) == 0 or np.ptp(found) == 0:
            return Agreement(difference)
        return Agreement(difference, float(spearmanr(expected, found).statistic))


def judged_windows(scene: Scene, window_mm: float) -> Judged:
    """Drawn at random from slices evenly through the brain; equal scenes give equal windows."""
    corners = scene.corners(window_mm, skipping=True)
    slices = corners[:, 0].unique()
    spread = torch.linspace(0, len(slices) - 1, min(scene.plan.judged_slices, len(slices))).round().long()
    slices = slices[spread.to(slices.device)]
    corners = corners[torch.isin(corners[:, 0], slices)]
    picked = corners[_shuffled(len(corners)).to(corners.device)][: scene.plan.judged * scene.plan.turns].clone()
    picked[:, 0] = torch.searchsorted(slices, picked[:, 0].contiguous())
    return Judged(window_mm, scene.size(window_mm), scene.card.minmax, scene.image[slices], scene.brain[slices], picked)


def _shuffled(count: int) -> Tensor:
    return torch.randperm(count, generator=torch.Generator().manual_seed(SEED))
