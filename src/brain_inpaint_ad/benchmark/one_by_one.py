"""Rows of what takes every window by itself: the naive loop, one window at a time or many at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from ..heatmap.direct import rebuild_direct
from ..heatmap.losses import losses_of
from ..nets.unet import UNet
from .meters import seconds_of
from .race import Agreement, Sample
from .scene import Judged, Plan


@dataclass(frozen=True, slots=True)
class Naive:
    """One forward pass per window, one at a time; what it says of the judged windows is what others are compared with."""

    name: str
    generator: UNet
    judged: Judged
    whole: int
    plan: Plan
    unit: str = "windows"

    @property
    def against(self) -> str:
        """It is the reference."""
        return self.name

    def warm_up(self) -> None:
        """One window."""
        self._losses(self.judged.corners[:1])

    def measure(self, turn: int) -> Sample:
        """Every window is a sample by itself."""
        seconds: list[float] = []
        for number in range(turn, len(self.judged.corners), self.plan.turns):
            if sum(seconds) > self.plan.patience_s:
                break
            seconds.append(seconds_of(partial(self._judge, number), self.judged.corners.device))
        return Sample([each * self.whole for each in seconds], len(seconds))

    def agreement(self) -> Agreement:
        """With itself: none."""
        return Agreement()

    def _judge(self, number: int) -> None:
        self.judged.losses[number] = self._losses(self.judged.corners[number : number + 1])[0]

    def _losses(self, corners: Tensor) -> Tensor:
        judged = self.judged
        rebuilt = rebuild_direct(self.generator, judged.image, corners, size=judged.size, batch=1)
        return losses_of(rebuilt, judged.image, corners, size=judged.size, minmax=judged.minmax)


@dataclass(frozen=True, slots=True)
class Batched:
    """`batch` windows at once. losses: of windows by their corners (n, 3), in the slices of the judged ones.

    comparable: whether they mean the same as those of the judged windows.
    """

    name: str
    against: str
    losses: Callable[[Tensor], Tensor]
    judged: Judged
    whole: int
    batch: int
    comparable: bool = True
    unit: str = "windows"

    def warm_up(self) -> None:
        """One batch."""
        self.losses(self._one_batch())

    def measure(self, turn: int) -> Sample:
        """One batch, however many windows are judged."""
        corners = self._one_batch()
        seconds = seconds_of(lambda: self.losses(corners), corners.device)
        return Sample([seconds / len(corners) * self.whole], len(corners))

    def agreement(self) -> Agreement:
        """With one window at a time."""
        return self.judged.compare(self.losses(self.judged.corners)) if self.comparable else Agreement()

    def _one_batch(self) -> Tensor:
        corners = self.judged.corners
        return corners[torch.arange(self.batch, device=corners.device) % len(corners)]
