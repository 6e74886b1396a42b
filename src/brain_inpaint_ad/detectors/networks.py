"""What detectors with a network have in common; see `ModelDetector` for what a detector is."""

from __future__ import annotations

import torch

from ..devices import is_fast_in_bfloat16
from ..prepare import Prepared
from ..progress import Progress, silent
from ..volume import Array
from ..weights.card import Card


class NetworkDetector:
    """One that computes in bfloat16 where that is fast, and takes losses as its card says."""

    __slots__ = ()
    card: Card
    device: torch.device

    @property
    def dtype(self) -> torch.dtype:
        """bfloat16 where it is fast."""
        return torch.bfloat16 if is_fast_in_bfloat16(self.device) else torch.float32

    @property
    def minmax(self) -> str:
        """How losses are normalised: as the card says."""
        return self.card.minmax


class OnePassDetector(NetworkDetector):
    """One without windows: the whole slice or brain at once, heat and what was expected together."""

    __slots__ = ()

    def explained(self, prepared: Prepared, *, progress: Progress = silent) -> tuple[Array, Array]:
        """See `Rebuilder`; each detector's own."""
        raise NotImplementedError

    @property
    def stride_mm(self) -> float:
        """0: there are no windows."""
        return 0.0

    def heatmap(self, prepared: Prepared, *, progress: Progress = silent) -> Array:
        """The first of `explained`."""
        return self.explained(prepared, progress=progress)[0]
