"""The detector of Nguyen 2020: what the generator cannot rebuild from its surroundings is unusual."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from ..devices import is_fast_in_bfloat16
from ..errors import SettingsError
from ..heatmap.accumulate import Blend, heat_in
from ..heatmap.direct import rebuild_direct
from ..heatmap.incremental import MEMORY_MB, Incremental
from ..heatmap.losses import losses_of, stretch
from ..heatmap.windows import window_corners
from ..nets.unet import UNet
from ..prepare import Prepared
from ..progress import Progress, silent
from ..volume import Array
from ..weights.card import Card

ENGINES = ("incremental", "direct", "paper-strict")


@dataclass(frozen=True, slots=True)
class InpaintingDetector:
    """A generator on its device, and how its windows are laid and compared.

    engine: "incremental" is exact and fast; "direct" runs G once per window, in float32; "paper-strict" does that, too, and
    takes the minmax over the whole reconstructed frame instead of the card's way: as slow, and other heat.
    memory_mb: bound for the features of slices that the incremental engine holds at once.
    """

    generator: UNet
    card: Card
    device: torch.device
    stride_mm: float = 4.0  # k: 4 pixels of 1 mm in the paper
    engine: str = "incremental"
    memory_mb: float = MEMORY_MB

    def __post_init__(self) -> None:
        if self.engine not in ENGINES:
            raise SettingsError(f"the engine must be one of {', '.join(ENGINES)}, got {self.engine!r}")
        self.generator.to(self.device)

    @property
    def network(self) -> nn.Module:
        """What runs."""
        return self.generator

    @property
    def dtype(self) -> torch.dtype:
        """What the windows are rebuilt in: bfloat16 where it is fast, which moves the heat by about 1 in 1,000."""
        fast = self.engine == "incremental" and is_fast_in_bfloat16(self.device)
        return torch.bfloat16 if fast else torch.float32

    @property
    def minmax(self) -> str:
        """How losses are normalised."""
        return "frame" if self.engine == "paper-strict" else self.card.minmax

    def heatmap(self, prepared: Prepared, *, progress: Progress = silent) -> Array:
        """Mean normalised L1 of the windows that cover a voxel; every window that touches the brain is rebuilt once."""
        corners, losses = self.losses(prepared, progress=progress)
        return heat_in(prepared.brain, losses, corners, size=self.card.windows(self.stride_mm).size)

    def explained(self, prepared: Prepared, *, progress: Progress = silent) -> tuple[Array, Array]:
        """The heatmap, and what the model expected: per voxel the mean of all rebuilt windows that cover it.

        Both float32 (slices, rows, columns), 0 outside the brain; what was expected in [0, 1], as the prepared image, unless
        the engine is the strict one, which stretches every frame it rebuilds.
        """
        corners, size = self._corners(prepared), self.card.windows(self.stride_mm).size
        blend = Blend(corners, prepared.brain.shape, size=size)
        losses = self._losses(prepared, corners, progress, blend)
        expected = np.where(prepared.brain, blend.mean().cpu().numpy(), 0).astype(np.float32)
        return heat_in(prepared.brain, losses, corners, size=size), expected

    def losses(self, prepared: Prepared, *, progress: Progress = silent) -> tuple[Tensor, Tensor]:
        """Corners int64 (n, 3) of the windows that touch the brain, and their losses (n,)."""
        corners = self._corners(prepared)
        return corners, self._losses(prepared, corners, progress)

    def _corners(self, prepared: Prepared) -> Tensor:
        return torch.from_numpy(window_corners(prepared.brain, self.card.windows(self.stride_mm))).to(self.device)

    def _losses(self, prepared: Prepared, corners: Tensor, progress: Progress, blend: Blend | None = None) -> Tensor:
        size = self.card.windows(self.stride_mm).size
        image = torch.from_numpy(prepared.image.array).to(self.device)
        rebuilt = self._rebuilt(image, corners, size, progress)
        if blend is not None:
            rebuilt = blend.passing(rebuilt)
        if self.engine == "paper-strict":
            return losses_of(rebuilt, stretch(image), corners, size=size, minmax="slice")
        return losses_of(rebuilt, image, corners, size=size, minmax=self.card.minmax)

    def _rebuilt(self, image: Tensor, corners: Tensor, size: int, progress: Progress) -> Iterator[tuple[Tensor, Tensor]]:
        if self.engine == "incremental":
            engine = Incremental(self.generator, dtype=self.dtype)
            return engine.rebuild(image, corners, size=size, memory_mb=self.memory_mb, progress=progress)
        strict = self.engine == "paper-strict"
        return rebuild_direct(self.generator, image, corners, size=size, stretched=strict, progress=progress)
