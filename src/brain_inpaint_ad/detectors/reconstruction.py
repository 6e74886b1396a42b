"""Detectors that rebuild whole slices as a healthy brain's, and call unusual what comes out different: |x − x̂|."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from ..devices import autocast
from ..nets.gan import Gan
from ..prepare import Prepared
from ..progress import Progress, silent
from ..volume import Array
from ..weights.card import Card
from .latent import SearchSettings, search_slices
from .networks import OnePassDetector

BATCH = 16


@dataclass(frozen=True, slots=True)
class ReconstructionDetector(OnePassDetector):
    """A network on its device, and how it comes from x to x̂.

    network: slices (n, 1, rows, columns) to slices, in one pass; or, where `search` is given, a GAN whose z is searched for.
    batch: slices in work at once; a search takes twice as many.
    """

    network: nn.Module
    card: Card
    device: torch.device
    search: SearchSettings | None = None
    batch: int = BATCH

    def __post_init__(self) -> None:
        self.network.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]

    @property
    def engine(self) -> str:
        """One pass, or the search and its settings."""
        return "one pass" if self.search is None else str(self.search)

    def explained(self, prepared: Prepared, *, progress: Progress = silent) -> tuple[Array, Array]:
        """The heatmap |x − x̂| and x̂, both float32 (slices, rows, columns), 0 outside the brain. Slices without brain are passed
        over.
        """
        shown = np.flatnonzero(prepared.brain.any(axis=(1, 2)))
        image = torch.from_numpy(prepared.image.array[shown]).to(self.device)
        expected = np.zeros(prepared.brain.shape, np.float32)
        expected[shown] = self._rebuilt(image, progress).cpu().numpy()
        expected = np.where(prepared.brain, expected, np.float32(0))
        return np.where(prepared.brain, np.abs(prepared.image.array - expected), np.float32(0)), expected

    def _rebuilt(self, image: Tensor, progress: Progress) -> Tensor:
        if isinstance(self.network, Gan) and self.search is not None:
            search = replace(self.search, batch=min(self.search.batch, 2 * self.batch))  # 32 unless memory is short
            return search_slices(self.network, image, search, progress=progress)
        return rebuild_slices(self.network, image, batch=self.batch, progress=progress)


def rebuild_slices(network: nn.Module, image: Tensor, *, batch: int = BATCH, progress: Progress = silent) -> Tensor:
    """What an autoencoder in evaluation mode makes of slices (n, rows, columns): float32 of the same shape."""
    rebuilt = torch.zeros_like(image, dtype=torch.float32)
    with torch.inference_mode(), autocast(image.device):
        for begin in range(0, len(image), batch):
            progress(begin / len(image), "rebuilding slices")
            rebuilt[begin : begin + batch] = network(image[begin : begin + batch, None]).float()[:, 0]
    return rebuilt
