"""G: a U-Net (Ronneberger 2015) that rebuilds what was erased from a slice."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..errors import SettingsError

MAX_DEPTH = 4  # deeper, and one window changes nearly every feature: the incremental heatmap would gain nothing


@dataclass(frozen=True, kw_only=True)
class UNetSettings:
    """width: channels of the first level, doubled at each of `depth` poolings up to `max_width` (None: without a limit).

    A deep level sees far, a wide one costs much: the limit makes depth cheap. outputs: channels of what comes out.
    """

    width: int = 16
    depth: int = 4
    max_width: int | None = None
    outputs: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.depth <= MAX_DEPTH:
            raise SettingsError(f"depth must be 1 to {MAX_DEPTH}, got {self.depth}")
        if self.outputs < 1:
            raise SettingsError(f"a U-Net needs at least 1 output, got {self.outputs}")
        if self.width < 1:
            raise SettingsError(f"width must be at least 1, got {self.width}")
        if self.max_width is not None and self.max_width < self.width:
            raise SettingsError(f"no level may have more than {self.max_width} channels, but the first has {self.width}")

    @property
    def channels(self) -> list[int]:
        """Channels of each level, the first to the deepest."""
        doubled = [self.width * 2**level for level in range(self.depth + 1)]
        return doubled if self.max_width is None else [min(channels, self.max_width) for channels in doubled]


class UNet(nn.Module):
    """Generator of Nguyen 2020 ("Architecture Details"): contracting and expanding path with skip connections.

    Input (batch, 2, rows, columns): the slice with the window set to 0, and the window as 1 in a field of 0.
    Output (batch, outputs, rows, columns) in (0, 1). Sides that 2**depth does not divide are padded with zeros inside.

    Only operations with a bounded reach (convolution, BatchNorm, pooling by 2, transposed convolution by 2): the exact
    incremental evaluation in `heatmap.incremental` depends on it.
    """

    def __init__(self, settings: UNetSettings) -> None:
        super().__init__()
        widths = settings.channels
        self.settings = settings
        self.encoder = nn.ModuleList(
            double_conv(before, after) for before, after in zip([2, *widths[:-1]], widths, strict=True)
        )
        self.upsample = nn.ModuleList(nn.ConvTranspose2d(below, here, 2, stride=2) for here, below in pairwise(widths))
        self.decoder = nn.ModuleList(double_conv(2 * here, here) for here in widths[:-1])
        self.head = nn.Conv2d(settings.width, settings.outputs, 1)

    def forward(self, erased: Tensor) -> Tensor:
        skips = []
        features = self.encoder[0](padded_to_multiple(erased, 2**self.settings.depth))
        for encode in self.encoder[1:]:
            skips.append(features)
            features = encode(functional.max_pool2d(features, 2))
        for level in reversed(range(len(self.decoder))):
            features = self.decoder[level](torch.cat([skips[level], self.upsample[level](features)], dim=1))
        return torch.sigmoid(self.head(features))[..., : erased.shape[-2], : erased.shape[-1]]


def padded_to_multiple(image: Tensor, unit: int) -> Tensor:
    """Zeros below and to the right of (…, rows, columns) until `unit` divides both."""
    rows, columns = image.shape[-2:]
    return functional.pad(image, (0, -columns % unit, 0, -rows % unit))


def double_conv(before: int, after: int) -> nn.Sequential:
    """Twice: 3×3 convolution, BatchNorm, ReLU."""
    return nn.Sequential(
        nn.Conv2d(before, after, 3, padding=1, bias=False),
        nn.BatchNorm2d(after),
        nn.ReLU(inplace=True),
        nn.Conv2d(after, after, 3, padding=1, bias=False),
        nn.BatchNorm2d(after),
        nn.ReLU(inplace=True),
    )
