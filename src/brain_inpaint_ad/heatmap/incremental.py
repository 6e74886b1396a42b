"""The same windows as `direct`, exactly, for a small part of the work.

Two windows of a slice differ in γ×γ pixels of G's input, and of G's output only the window is read. So everything G
computes on the unmasked slice is kept; per window only that is computed again which the window changes and its output
needs. With W the window at full resolution, at each level l

    changed(0) = W,   after one 3×3 convolution changed(l) grown by 1, after two by 2,   changed(l+1) = that halved outwards,

and on the way up a level's output is needed within changed(l) and its input within changed(l) grown by 2. Windows at one
place in different slices need the same rectangles: each place is one regular batch, cut off at the border of the slice.
(Precedent: Krypton, Nakandala 2019.)
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

from ..nets.unet import UNet, padded_to_multiple
from ..progress import Progress, silent
from .losses import without_single
from .places import MARGIN, Place, Submit, counted, framed, places_of, refreshed, slices_within, workers
from .region import Region, padded

MEMORY_MB = 1000  # features of 250 slices of 128 × 96 in bfloat16 at width 16: whole brains fit at once


@dataclass(frozen=True, slots=True)
class _Level:
    """One level of the unmasked slices, (slices, rows, columns, channels) with a margin of zeros.

    entering: input of the level; between: after its first convolution; leaving: after its second. The deepest level needs
    its input only.
    """

    rows: int
    columns: int
    entering: Tensor
    between: Tensor | None
    leaving: Tensor | None


class Incremental:
    """A generator prepared for incremental evaluation: BatchNorm folded, dtype chosen.

    dtype: float32 is exact to rounding (1e-6); bfloat16 is faster where the hardware has it.
    """

    def __init__(self, generator: UNet, *, dtype: torch.dtype = torch.float32) -> None:
        generator = copy.deepcopy(generator).eval()
        self.depth = generator.settings.depth
        self.dtype = dtype
        self.encoder = [_folded_pair(cast(nn.Sequential, block), dtype) for block in generator.encoder]
        self.decoder = [_folded_pair(cast(nn.Sequential, block), dtype) for block in generator.decoder]
        self.upsample = [layer.to(dtype) for layer in generator.upsample]
        self.head = generator.head.to(dtype)

    def rebuild(
        self, image: Tensor, corners: Tensor, *, size: int, memory_mb: float = MEMORY_MB, progress: Progress = silent
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """What G puts into each window.

        image: float (slices, rows, columns) on the generator's device; corners: int (n, 3) slice, row, column;
        memory_mb: bound for the maps of unmasked slices at once, those in the making included; windows in work come on top:
        at width 16 about 5 MB per thread on the CPU, 300 MB on a GPU.
        Yields (which, windows): numbers of windows, and float32 (len(which), outputs, size, size), without the second
        dimension for one output; each window once.
        """
        held = slices_within(memory_mb, self._slice_bytes(image), len(image))
        report = counted(progress, len(corners), "erasing and rebuilding")
        report(0)
        with workers(image.device) as submit:
            for first in range(0, len(image), held):
                here = ((corners[:, 0] >= first) & (corners[:, 0] < first + held)).nonzero()[:, 0].cpu()
                places = list(places_of(corners, here, first, image.device))
                for place, windows in self._of_slices(image[first : first + held], places, size, submit):
                    yield place.which, windows
                    report(len(place.which))

    def _of_slices(
        self, image: Tensor, places: list[Place], size: int, submit: Submit[Place, tuple[Place, Tensor]]
    ) -> Iterator[tuple[Place, Tensor]]:
        """Some slices and their windows; the maps of these slices are gone when it ends."""
        if not places:
            return
        with torch.inference_mode():
            levels = self._whole_slices(image)
        yield from submit(partial(self._windows, levels, size=size), places)

    def _slice_bytes(self, image: Tensor) -> int:
        """Memory that one unmasked slice takes while its maps are made; half of it stays."""
        channels = [2] + [first.weight.shape[0] for first, _ in self.encoder]
        rows, columns = image.shape[1:]
        values = sum(
            (channels[level] + 2 * channels[level + 1]) * ((rows >> level) + 2 * MARGIN) * ((columns >> level) + 2 * MARGIN)
            for level in range(self.depth + 1)
        )
        return 2 * values * self.dtype.itemsize

    def _whole_slices(self, image: Tensor) -> list[_Level]:
        image = padded_to_multiple(image, 2**self.depth)
        current = torch.stack([image, torch.zeros_like(image)], dim=1).to(self.dtype)
        current = current.contiguous(memory_format=torch.channels_last)
        levels: list[_Level] = []
        for first, second in self.encoder:
            rows, columns = current.shape[2:]
            if len(levels) == self.depth:
                levels.append(_Level(rows, columns, framed(current), None, None))
                break
            between = torch.relu_(first(current, padding=1))
            leaving = torch.relu_(second(between, padding=1))
            levels.append(_Level(rows, columns, framed(current), framed(between), framed(leaving)))
            current = functional.max_pool2d(leaving, 2)
        return levels

    def _windows(self, levels: list[_Level], place: Place, *, size: int) -> tuple[Place, Tensor]:
        """One place through G: down with what changed, up with what is needed."""
        with torch.inference_mode():
            changed = [Region(place.top, place.top + size, place.left, place.left + size)]
            erased = levels[0].entering.new_zeros((len(place.slices), size, size, 2)).permute(0, 3, 1, 2)
            erased[:, 1] = 1  # the image at 0, the window channel at 1
            current, skips = erased, []
            for level, (first, second) in zip(levels, self.encoder, strict=True):
                inner = changed[-1]
                middle = inner.grown(1).clipped(level.rows, level.columns)
                current = first(refreshed(level.entering, place, middle.grown(1), current, inner)).relu_()
                if level.between is None or level.leaving is None:
                    current = second(padded(current, middle, inner.grown(1))).relu_()
                    break
                outer = inner.grown(2).clipped(level.rows, level.columns)
                current = second(refreshed(level.between, place, outer.grown(1), current, middle)).relu_()
                skips.append((current, outer))
                changed.append(outer.halved())
                pooled = changed[-1].doubled()
                current = functional.max_pool2d(refreshed(level.leaving, place, pooled, current, outer), 2)
            for number in reversed(range(self.depth)):
                skip, outer = skips[number]
                middle = changed[number].grown(1).clipped(levels[number].rows, levels[number].columns)
                raised = self.upsample[number](current)[(..., *outer.within(changed[number + 1].doubled()))]
                first, second = self.decoder[number]
                current = first(padded(torch.cat([skip, raised], dim=1), outer, middle.grown(1))).relu_()
                current = second(padded(current, middle, changed[number].grown(1))).relu_()
            return place, without_single(torch.sigmoid(self.head(current).float()))


@dataclass(frozen=True, slots=True)
class _Convolution:
    """A convolution with its BatchNorm folded in."""

    weight: Tensor
    bias: Tensor

    def __call__(self, x: Tensor, padding: int = 0) -> Tensor:
        return functional.conv2d(x, self.weight, self.bias, padding=padding)


def _folded_pair(block: nn.Sequential, dtype: torch.dtype) -> tuple[_Convolution, _Convolution]:
    first, norm_1, _, second, norm_2, _ = block  # the layers of unet.double_conv
    return (
        _folded(cast(nn.Conv2d, first), cast(nn.BatchNorm2d, norm_1), dtype),
        _folded(cast(nn.Conv2d, second), cast(nn.BatchNorm2d, norm_2), dtype),
    )


def _folded(convolution: nn.Conv2d, norm: nn.BatchNorm2d, dtype: torch.dtype) -> _Convolution:
    fused = fuse_conv_bn_eval(convolution, norm)
    weight = fused.weight.detach().to(dtype).contiguous(memory_format=torch.channels_last)
    bias = fused.bias.detach() if fused.bias is not None else weight.new_zeros(len(weight))
    return _Convolution(weight, bias.to(dtype))
