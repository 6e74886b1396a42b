"""The detector of Nguyen 2020: what the generator cannot rebuild from its surroundings is unusual."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch

from ..devices import is_fast_in_bfloat16
from ..errors import SettingsError
from ..heatmap.accumulate import accumulate, window_losses
from ..heatmap.direct import cut
from ..heatmap.incremental import Incremental
from ..heatmap.windows import WindowSettings, window_corners
from ..nets.unet import UNet
from ..prepare import GridSettings, Prepared
from ..progress import Progress, silent
from ..volume import Array
from ..weights.card import Card


@dataclass(frozen=True, slots=True)
class InpaintingDetector:
    """A generator on its device, and how its windows are laid and compared."""

    generator: UNet
    card: Card
    device: torch.device
    stride_mm: float = 4.0  # k: 4 pixels of 1 mm in the paper

    def __post_init__(self) -> None:
        self.generator.to(self.device)

    @property
    def grid(self) -> GridSettings:
        """The grid scans must be prepared on."""
        return GridSettings(spacing_mm=self.card.spacing_mm, rows=self.card.rows, columns=self.card.columns)

    @property
    def dtype(self) -> torch.dtype:
        """What the windows are rebuilt in: bfloat16 where it is fast, which moves the heat by about 1 in 1,000."""
        return torch.bfloat16 if is_fast_in_bfloat16(self.device) else torch.float32

    @property
    def windows(self) -> WindowSettings:
        """Window and stride in pixels of the model grid. Raises SettingsError when the stride is no whole number of them."""
        stride = self.stride_mm / self.card.spacing_mm
        if not (math.isfinite(stride) and stride >= 1 and stride == round(stride)):
            raise SettingsError(
                f"the stride must be a multiple of the model's voxels ({self.card.spacing_mm:g} mm), got {self.stride_mm:g} mm"
            )
        return WindowSettings(size=round(self.card.window_mm / self.card.spacing_mm), stride=round(stride))

    def heatmap(self, prepared: Prepared, *, progress: Progress = silent) -> Array:
        """Mean normalised L1 of the windows that cover a voxel; every window that touches the brain is rebuilt once."""
        windows = self.windows
        corners = torch.from_numpy(window_corners(prepared.brain, windows)).to(self.device)
        image = torch.from_numpy(prepared.image.array).to(self.device)
        rebuilt = Incremental(self.generator, dtype=self.dtype).rebuild(image, corners, size=windows.size, progress=progress)
        losses = window_losses(cut(image, corners, windows.size), rebuilt, minmax=self.card.minmax)
        heat = accumulate(losses.cpu(), corners.cpu(), prepared.image.grid.shape, size=windows.size).numpy()
        return np.where(prepared.brain, heat, 0).astype(np.float32)
