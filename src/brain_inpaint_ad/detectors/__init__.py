"""Detectors: prepared scan in, heatmap out."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from ..prepare import Prepared
from ..progress import Progress
from ..volume import Array
from ..weights.card import Card


class Detector(Protocol):
    """Explains what is unusual in one prepared brain."""

    def heatmap(self, prepared: Prepared, *, progress: Progress) -> Array:
        """Heat per voxel of the model grid, float32 (slices, rows, columns), 0 outside the brain."""


class ModelDetector(Detector, Protocol):
    """A detector with a network, and what a report says about it."""

    @property
    def card(self) -> Card:
        """The model."""

    @property
    def network(self) -> nn.Module:
        """What runs."""

    @property
    def device(self) -> torch.device:
        """Where it runs."""

    @property
    def dtype(self) -> torch.dtype:
        """What it computes in."""

    @property
    def stride_mm(self) -> float:
        """Step between windows; 0 for detectors without."""

    @property
    def engine(self) -> str:
        """How it comes to the heat; with the card and the stride, all that the heat depends on."""

    @property
    def minmax(self) -> str:
        """How window losses are normalised."""


@runtime_checkable
class WindowDetector(ModelDetector, Protocol):
    """A detector that looks at windows."""

    def losses(self, prepared: Prepared, *, progress: Progress) -> tuple[Tensor, Tensor]:
        """Corners int64 (n, 3) of the windows that touch the brain, and their losses (n,)."""


@runtime_checkable
class Rebuilder(ModelDetector, Protocol):
    """A detector that can show what it expected."""

    def explained(self, prepared: Prepared, *, progress: Progress) -> tuple[Array, Array]:
        """The heatmap, and what was expected in [0, 1], as the prepared image: both float32, 0 outside the brain."""
