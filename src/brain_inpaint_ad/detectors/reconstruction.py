"""Detectors that rebuild whole slices as a healthy brain's, and call unusual what comes out different: |x − x̂|."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from ..devices import autocast, is_fast_in_bfloat16
from ..nets.gan import Gan
from ..prepare import Prepared
from ..progress import Progress, silent
from ..volume import Array
from ..weights.card import Card
from .latent import SearchSettings, search_slices

_BATCH = 16  # slices in work at once


@dataclass(frozen=True, slots=True)
class ReconstructionDetector:
    """A network on its device, and how it comes from x to x̂.

    network: slices (n, 1, rows, columns) to slices, in one pass; or, where `search` is given, a GAN whose z is searched for.
    """

    network: nn.Module
    card: Card
    device: torch.device
    search: SearchSettings | None = None

    def __post_init__(self) -> None:
        self.network.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]

    @property
    def dtype(self) -> torch.dtype:
        """bfloat16 where it is fast."""
        return torch.bfloat16 if is_fast_in_bfloat16(self.device) else torch.float32

    @property
    def stride_mm(self) -> float:
        """0: there are no windows."""
        return 0.0

    @property
    def engine(self) -> str:
        """One pass, or the search and its settings."""
        return "one pass" if self.search is None else str(self.search)

    @property
    def minmax(self) -> str:
        """Nothing is stretched."""
        return self.card.minmax

    def heatmap(self, prepared: Prepared, *, progress: Progress = silent) -> Array:
        """|x − x̂| of each brain voxel."""
        return self.explained(prepared, progress=progress)[0]

    def explained(self, prepared: Prepared, *, progress: Progress = silent) -> tuple[Array, Array]:
        """The heatmap and x̂, both float32 (slices, rows, columns), 0 outside the brain. Slices without brain are left out."""
        shown = np.flatnonzero(prepared.brain.any(axis=(1, 2)))
        image = torch.from_numpy(prepared.image.array[shown]).to(self.device)
        expected = np.zeros(prepared.brain.shape, np.float32)
        expected[shown] = self._rebuilt(image, progress).cpu().numpy()
        expected = np.where(prepared.brain, expected, np.float32(0))
        return np.where(prepared.brain, np.abs(prepared.image.array - expected), np.float32(0)), expected

    def _rebuilt(self, image: Tensor, progress: Progress) -> Tensor:
        if isinstance(self.network, Gan) and self.search is not None:
            return search_slices(self.network, image, self.search, progress=progress)
        return rebuild_slices(self.network, image, progress=progress)


def rebuild_slices(network: nn.Module, image: Tensor, *, progress: Progress = silent) -> Tensor:
    """What an autoencoder in evaluation mode makes of slices (n, rows, columns): float32 of the same shape."""
    rebuilt = torch.zeros_like(image, dtype=torch.float32)
    with torch.inference_mode(), autocast(image.device):
        for begin in range(0, len(image), _BATCH):
            progress(begin / len(image), "rebuilding slices")
            rebuilt[begin : begin + _BATCH] = network(image[begin : begin + _BATCH, None]).float()[:, 0]
    return rebuilt
