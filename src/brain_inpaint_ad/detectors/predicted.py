"""Detectors that guess G's reconstruction loss instead of rebuilding: R (Mavropoulos 2021) and the dense R′."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..heatmap.accumulate import heat_in
from ..heatmap.incremental import MEMORY_MB
from ..heatmap.predicted import predict_loss_map, predict_losses, read_losses
from ..heatmap.windows import window_corners
from ..nets.predictor import LossPredictor
from ..nets.unet import UNet
from ..prepare import Prepared
from ..progress import Progress, silent
from ..volume import Array
from ..weights.card import Card
from .networks import NetworkDetector


@dataclass(frozen=True, slots=True)
class PredictedDetector(NetworkDetector):
    """A predictor on its device; windows are laid and averaged as for G.

    predictor: R, which sees each window painted over, or R′ (a U-Net), which sees the slice as it is, once.
    """

    predictor: LossPredictor | UNet
    card: Card
    device: torch.device
    stride_mm: float = 4.0
    memory_mb: float = MEMORY_MB  # R only: R′ has eight slices in work

    def __post_init__(self) -> None:
        self.predictor.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]

    @property
    def network(self) -> nn.Module:
        """What runs."""
        return self.predictor

    @property
    def engine(self) -> str:
        """The card's method: there is one way to predict."""
        return self.card.method

    def heatmap(self, prepared: Prepared, *, progress: Progress = silent) -> Array:
        """Mean predicted loss of the windows that cover a voxel."""
        corners, losses = self.losses(prepared, progress=progress)
        return heat_in(prepared.brain, losses, corners, size=self.card.windows(self.stride_mm).size)

    def losses(self, prepared: Prepared, *, progress: Progress = silent) -> tuple[Tensor, Tensor]:
        """Corners int64 (n, 3) of the windows that touch the brain, and their predicted losses (n,)."""
        windows = self.card.windows(self.stride_mm)
        corners = torch.from_numpy(window_corners(prepared.brain, windows)).to(self.device)
        image = torch.from_numpy(prepared.image.array).to(self.device)
        if isinstance(self.predictor, LossPredictor):
            return corners, predict_losses(
                self.predictor, image, corners, size=windows.size, dtype=self.dtype, memory_mb=self.memory_mb, progress=progress
            )
        brain = torch.from_numpy(prepared.brain).to(self.device)
        loss_map = predict_loss_map(self.predictor, image, brain, progress=progress)
        return corners, read_losses(loss_map, corners, size=windows.size)
