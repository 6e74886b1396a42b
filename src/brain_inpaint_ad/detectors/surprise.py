"""The surprise detector: how far level and texture in a window are from what its surroundings let expect.

A network sees a slice with a window erased, as G of Nguyen 2020 does, and predicts for every pixel of the window not the
intensity but a Gaussian for its level and one for its texture (see `detectors.features`). The heat is the distance
between seen and expected in standard deviations, both tails alike, through the exact engine for all windows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..heatmap.accumulate import Blend
from ..heatmap.incremental import MEMORY_MB, Incremental
from ..heatmap.windows import window_corners
from ..nets.unet import UNet
from ..prepare import Prepared
from ..progress import Progress, silent
from ..volume import Array
from ..weights.card import Card
from .baselines import departure
from .features import features_of
from .networks import NetworkDetector

OUTPUTS = 4  # mean and spread of level, then of texture
_SMOOTHEST = 6.0  # texture, a logarithm of standard deviations above 0.003, goes from −6…0 to 0…1
_LEAST_SPREAD, _MOST_SPREAD = 0.005, 0.5


def as_targets(seen: Array, brain: Array) -> Array:
    """`features` (2, …) on the scale of the network's answers, [0, 1], 0 outside the brain."""
    level, texture = seen
    return np.stack([level, np.where(brain, texture / _SMOOTHEST + 1, 0)]).astype(np.float32)


def expectation(answer: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of level and texture, each (n, 2, …), from the network's (n, 4, …) in (0, 1)."""
    return answer[:, 0::2], answer[:, 1::2] * _MOST_SPREAD + _LEAST_SPREAD


@dataclass(frozen=True, slots=True)
class SurpriseDetector(NetworkDetector):
    """A network on its device, and how its windows are laid."""

    network: UNet
    card: Card
    device: torch.device
    stride_mm: float = 4.0
    memory_mb: float = MEMORY_MB

    def __post_init__(self) -> None:
        self.network.to(self.device)

    @property
    def engine(self) -> str:
        """All windows, exactly."""
        return "incremental"

    def heatmap(self, prepared: Prepared, *, progress: Progress = silent) -> Array:
        """Departure from what was expected, see `baselines.departure`."""
        return self.explained(prepared, progress=progress)[0]

    def explained(self, prepared: Prepared, *, progress: Progress = silent) -> tuple[Array, Array]:
        """The heatmap and the expected level, both float32 (slices, rows, columns), 0 outside the brain.

        Each is the mean over all windows that cover a voxel.
        """
        windows = self.card.windows(self.stride_mm)
        corners = torch.from_numpy(window_corners(prepared.brain, windows)).to(self.device)
        blend = Blend(corners, prepared.brain.shape, size=windows.size, outputs=OUTPUTS)
        engine = Incremental(self.network, dtype=self.dtype)
        image = torch.from_numpy(prepared.image.array).to(self.device)
        rebuilt = engine.rebuild(image, corners, size=windows.size, memory_mb=self.memory_mb, progress=progress)
        for _ in blend.passing(rebuilt):
            pass
        mean, spread = (part.cpu().numpy().swapaxes(0, 1) for part in expectation(blend.mean()))
        seen = as_targets(features_of(prepared), prepared.brain)
        scores = np.where(prepared.brain, (seen - mean) / spread, 0)
        return departure(scores, prepared), np.where(prepared.brain, mean[0], 0).astype(np.float32)
