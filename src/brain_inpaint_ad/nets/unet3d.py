"""A small 3-D U-Net (Çiçek 2016) that sees a whole brain at once."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..errors import SettingsError


@dataclass(frozen=True, kw_only=True)
class UNet3dSettings:
    """inputs: channels that go in; channels: of each level, the first to the deepest."""

    inputs: int
    channels: tuple[int, ...] = (8, 16, 32, 48)

    def __post_init__(self) -> None:
        if self.inputs < 1 or len(self.channels) < 2 or min(self.channels) < 1:
            raise SettingsError(f"a 3-D U-Net needs inputs and two levels or more, got {self.inputs} and {self.channels}")

    @property
    def unit(self) -> int:
        """What sides are padded to a multiple of."""
        return int(2 ** (len(self.channels) - 1))


class UNet3d(nn.Module):
    """Input (batch, inputs, slices, rows, columns); output (batch, 1, slices, rows, columns): logits.

    Sides that `settings.unit` does not divide are padded with zeros inside.
    """

    def __init__(self, settings: UNet3dSettings) -> None:
        super().__init__()
        widths = settings.channels
        self.settings = settings
        self.encoder = nn.ModuleList(_double_conv(before, after) for before, after in pairwise((settings.inputs, *widths)))
        self.upsample = nn.ModuleList(nn.ConvTranspose3d(below, here, 2, stride=2) for here, below in pairwise(widths))
        self.decoder = nn.ModuleList(_double_conv(2 * here, here) for here in widths[:-1])
        self.head = nn.Conv3d(widths[0], 1, 1)

    def forward(self, maps: Tensor) -> Tensor:
        unit = self.settings.unit
        slices, rows, columns = maps.shape[2:]
        features = self.encoder[0](functional.pad(maps, (0, -columns % unit, 0, -rows % unit, 0, -slices % unit)))
        skips = []
        for encode in self.encoder[1:]:
            skips.append(features)
            features = encode(functional.max_pool3d(features, 2))
        for level in reversed(range(len(self.decoder))):
            features = self.decoder[level](torch.cat([skips[level], self.upsample[level](features)], dim=1))
        logits: Tensor = self.head(features)
        return logits[:, :, :slices, :rows, :columns]


def _double_conv(before: int, after: int) -> nn.Sequential:
    """Twice: 3×3×3 convolution, BatchNorm, ReLU."""
    return nn.Sequential(
        nn.Conv3d(before, after, 3, padding=1, bias=False),
        nn.BatchNorm3d(after),
        nn.ReLU(inplace=True),
        nn.Conv3d(after, after, 3, padding=1, bias=False),
        nn.BatchNorm3d(after),
        nn.ReLU(inplace=True),
    )
