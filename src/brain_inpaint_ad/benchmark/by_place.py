"""Rows of what works by position through all slices: the incremental engine, and R made incremental."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..progress import Progress, silent
from .meters import now
from .race import Agreement, Sample
from .scene import SEED, Judged, Plan

_GPU_WORKERS = 16  # a GPU does a position in milliseconds

Losses = Callable[[Tensor, Tensor, Progress], Tensor]
"""Called with image (slices, rows, columns), corners (n, 3) and progress, which is told at every batch; returns (n,)."""


@dataclass(frozen=True, slots=True)
class ByPlace:
    """All windows, or those that touch the brain; timed are all windows of some positions.

    The pass over the untouched slices is the same for few windows and for many: seconds = pass + seconds per window × whole.
    comparable: whether the losses mean the same as those of the judged windows.
    """

    name: str
    against: str
    losses: Losses
    image: Tensor
    judged: Judged
    whole: int
    drawn: list[Tensor]  # corners for each turn
    comparable: bool = True
    unit: str = "windows"

    def warm_up(self) -> None:
        """What is compared in the end."""
        self._losses_of_judged()

    def measure(self, turn: int) -> Sample:
        """One run, with the time at which its first windows came."""
        picked, pace = self.drawn[turn], Pace(self.image.device)
        begun = now(self.image.device)
        self.losses(self.image, picked, pace)
        ended = now(self.image.device)
        first = round(pace.fraction * len(picked))
        per_window = (ended - pace.stamp) / max(1, len(picked) - first)
        before_windows = max(0.0, pace.stamp - begun - per_window * first)
        return Sample([before_windows + per_window * self.whole], len(picked))

    def agreement(self) -> Agreement:
        """With the naive loop."""
        return self.judged.compare(self._losses_of_judged()) if self.comparable else Agreement()

    def _losses_of_judged(self) -> Tensor:
        return self.losses(self.judged.image, self.judged.corners, silent)


class Pace:
    """A progress that remembers when every thread had done its first batch: from then on all of them are at work.

    stamp: that time in seconds; fraction: of the windows, what was done by then.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._first = torch.get_num_threads() if device.type == "cpu" else 1
        self._batches = 0
        self.stamp, self.fraction = now(device), 0.0

    def __call__(self, fraction: float, stage: str) -> None:
        """Called when a batch has come; `fraction` does not count it yet."""
        self._batches += 1
        if self._batches == self._first:
            self.stamp = now(self._device)
        if self._batches == self._first + 1:
            self.fraction = fraction


def split_in_turns(corners: Tensor, plan: Plan) -> list[Tensor]:
    """For each turn all windows at some positions: of equal strips of the slice one position each, at random."""
    position = corners[:, 1] * (int(corners[:, 2].max()) + 1) + corners[:, 2]
    known = position.unique()
    workers = torch.get_num_threads() if corners.device.type == "cpu" else _GPU_WORKERS
    wanted = min(plan.turns * plan.places * workers, len(known))
    borders = np.linspace(0, len(known), wanted + 1).astype(int)
    drawn = np.random.default_rng(SEED).integers(borders[:-1], borders[1:])
    chosen = known[torch.from_numpy(drawn).to(known.device)]
    return [corners[torch.isin(position, chosen[turn :: plan.turns])] for turn in range(plan.turns)]
