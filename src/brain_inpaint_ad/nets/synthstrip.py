"""The network of SynthStrip (Hoopes 2022): from a head to the signed distance from the brain's surface, in mm.

Layers and the names of their weights are those of the published file `synthstrip.1.pt`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

ENCODER = (16, 32, 64, 64, 64, 64)  # channels of the levels, full resolution first; each level has two convolutions
DECODER = (64, 64, 64, 64, 64, 32)  # from the deepest level upwards
REMAINING = (16, 16)  # at full resolution, before the answer
UNIT = 2 ** len(ENCODER)  # voxels; sides must be multiples of it


class _Conv(nn.Module):
    """3×3×3 convolution; LeakyReLU 0.2 unless it gives the answer."""

    def __init__(self, before: int, after: int, *, is_answer: bool = False) -> None:
        super().__init__()
        self.conv = nn.Conv3d(before, after, 3, padding=1)
        self.is_answer = is_answer

    def forward(self, maps: Tensor) -> Tensor:
        found: Tensor = self.conv(maps)
        return found if self.is_answer else functional.leaky_relu(found, 0.2)


class SynthStrip(nn.Module):
    """Input (batch, 1, i, j, k) in [0, 1], sides multiples of UNIT; output of that shape: mm, negative inside the brain."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.ModuleList()
        channels = 1
        for width in ENCODER:
            self.encoder.append(nn.ModuleList([_Conv(channels, width), _Conv(width, width)]))
            channels = width
        self.decoder = nn.ModuleList()
        for width, beside in zip(DECODER, reversed(ENCODER), strict=True):
            self.decoder.append(nn.ModuleList([_Conv(channels, width), _Conv(width, width)]))
            channels = width + beside
        self.remaining = nn.ModuleList()
        for width in REMAINING:
            self.remaining.append(_Conv(channels, width))
            channels = width
        self.remaining.append(_Conv(channels, 1, is_answer=True))

    def forward(self, head: Tensor) -> Tensor:
        maps, beside = head, []
        for convolutions in self.encoder:
            maps = _through(convolutions, maps)
            beside.append(maps)
            maps = functional.max_pool3d(maps, 2)
        for convolutions in self.decoder:
            maps = functional.interpolate(_through(convolutions, maps), scale_factor=2.0, mode="nearest")
            maps = torch.cat([maps, beside.pop()], dim=1)
        return _through(self.remaining, maps)


def _through(convolutions: nn.Module, maps: Tensor) -> Tensor:
    for convolution in convolutions.children():
        maps = convolution(maps)
    return maps
