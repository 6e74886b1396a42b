"""The same windows as `direct`, exactly, for a small part of the work.

Two windows of a slice differ in γ×γ pixels of G's input, and of G's output only the window is read. So the features of the
unmasked slice are computed once; per window only that part of each level is computed again which the window changes and
its output needs. Both are the same square: with W the window at full resolution,

    inner(0) = W,   outer(l) = inner(l) grown by 2 (two 3×3 convolutions),   inner(l+1) = outer(l) halved, rounded outwards.

On the way down a level's input changes within inner(l) and its features within outer(l); on the way up a level's output is
needed within inner(l) and its input within outer(l). Windows whose corners are equal modulo 2**depth have squares of equal
size at every level: each such phase is one regular batch. (Precedent: Krypton, Nakandala 2019.)
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

from ..nets.unet import UNet
from ..progress import Progress, silent

BATCH = 512  # windows at once: under 300 MB of features for width 16 at 16 pixels
_MARGIN = 16  # pixels of zeros kept around every feature map; more than any square reaches beyond the border


@dataclass(frozen=True, slots=True)
class _Span:
    """Start and stop, at one level, of the squares of one phase relative to that of a window at 0; `shift` halves with it."""

    start: int
    stop: int

    def grown(self, by: int) -> _Span:
        return _Span(self.start - by, self.stop + by)

    def halved(self) -> _Span:
        return _Span(self.start // 2, -(-self.stop // 2))

    def doubled(self) -> _Span:
        return _Span(2 * self.start, 2 * self.stop)

    def within(self, other: _Span) -> slice:
        return slice(self.start - other.start, self.stop - other.start)

    @property
    def length(self) -> int:
        return self.stop - self.start


@dataclass(frozen=True, slots=True)
class _Square:
    """A square of one phase at one level: its rows and columns."""

    rows: _Span
    columns: _Span

    def grown(self, by: int) -> _Square:
        return _Square(self.rows.grown(by), self.columns.grown(by))

    def halved(self) -> _Square:
        return _Square(self.rows.halved(), self.columns.halved())

    def doubled(self) -> _Square:
        return _Square(self.rows.doubled(), self.columns.doubled())

    def within(self, other: _Square) -> tuple[slice, slice]:
        return self.rows.within(other.rows), self.columns.within(other.columns)


@dataclass(frozen=True, slots=True)
class _Batch:
    """Windows of one phase: slice and, in units of 2**depth, how far each lies from the window at the phase's corner."""

    index: Tensor
    steps: Tensor  # (n, 2) rows, columns


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

    def rebuild(self, image: Tensor, corners: Tensor, *, size: int, batch: int = BATCH, progress: Progress = silent) -> Tensor:
        """What G puts into each window; arguments and result as `direct.rebuild_direct`."""
        rebuilt = torch.empty((len(corners), size, size), device=image.device)
        with torch.inference_mode():
            inputs, features = self._whole_slices(image)
            done = 0
            for picked, phase in self._phases(corners):
                for chunk in picked.split(batch):
                    progress(done / len(corners), "erasing and rebuilding")
                    rebuilt[chunk] = self._windows(inputs, features, corners[chunk], phase, size, image.shape)
                    done += len(chunk)
        return rebuilt

    def _whole_slices(self, image: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Input and features of every encoder level for the unmasked slices, padded, channels last."""
        current = torch.stack([image, torch.zeros_like(image)], dim=1).to(self.dtype)
        inputs, features = [], []
        for level, (first, second) in enumerate(self.encoder):
            inputs.append(_padded(current))
            if level == self.depth:
                break
            current = torch.relu(second(torch.relu(first(current, padding=1)), padding=1))
            features.append(_padded(current))
            current = functional.max_pool2d(current, 2)
        return inputs, features

    def _phases(self, corners: Tensor) -> Iterator[tuple[Tensor, tuple[int, int]]]:
        """Indices of the windows of each phase, and the phase (row, column) in [0, 2**depth)."""
        period = 2**self.depth
        number = (corners[:, 1] % period) * period + corners[:, 2] % period
        for phase in number.unique().tolist():
            yield (number == phase).nonzero()[:, 0], (phase // period, phase % period)

    def _windows(
        self,
        inputs: list[Tensor],
        features: list[Tensor],
        corners: Tensor,
        phase: tuple[int, int],
        size: int,
        shape: torch.Size,
    ) -> Tensor:
        steps = (corners[:, 1:] - torch.tensor(phase, device=corners.device)) // 2**self.depth
        where = _Batch(corners[:, 0], steps)
        inner = [_Square(_Span(phase[0], phase[0] + size), _Span(phase[1], phase[1] + size))]
        for _ in range(self.depth):
            inner.append(inner[-1].grown(2).halved())

        fresh = inputs[0].new_zeros((len(corners), 2, size, size))
        fresh[:, 1] = 1  # erased: the image at 0, the window channel at 1
        skips = []
        for level in range(self.depth):
            skip = self._encode(level, inputs[level], fresh, inner[level], where, shape, grow=2)
            skips.append(skip)
            aligned = inner[level + 1].doubled()
            surroundings = self._gather(features[level], aligned, where, level)
            surroundings[(..., *inner[level].grown(2).within(aligned))] = skip
            fresh = functional.max_pool2d(surroundings, 2)
        current = self._encode(self.depth, inputs[self.depth], fresh, inner[self.depth], where, shape, grow=0)
        for level in reversed(range(self.depth)):
            raised = self.upsample[level](current)
            outer = inner[level].grown(2)
            raised = raised[(..., *outer.within(inner[level + 1].doubled()))]
            joined = torch.cat([skips[level], raised], dim=1)
            joined *= self._inside(outer, where, level, shape)
            current = self._pair(self.decoder[level], joined, inner[level], where, level, shape)
        return torch.sigmoid(self.head(current).float())[:, 0]

    def _encode(
        self,
        level: int,
        whole: Tensor,
        fresh: Tensor,
        inner: _Square,
        where: _Batch,
        shape: torch.Size,
        *,
        grow: int,
    ) -> Tensor:
        """Features within `inner` grown by `grow`, from the level's input that is `fresh` within `inner`."""
        target = inner.grown(grow)
        reach = target.grown(2)
        patch = self._gather(whole, reach, where, level)
        patch[(..., *inner.within(reach))] = fresh * self._inside(inner, where, level, shape)
        return self._pair(self.encoder[level], patch, target, where, level, shape)

    def _pair(
        self,
        pair: tuple[_Convolution, _Convolution],
        patch: Tensor,
        target: _Square,
        where: _Batch,
        level: int,
        shape: torch.Size,
    ) -> Tensor:
        """Both convolutions of a block without padding; what lies outside the slice is 0, as G's padding makes it."""
        first, second = pair
        middle = torch.relu(first(patch)) * self._inside(target.grown(1), where, level, shape)
        return torch.relu(second(middle)) * self._inside(target, where, level, shape)

    def _gather(self, whole: Tensor, square: _Square, where: _Batch, level: int) -> Tensor:
        rows, columns = self._places(square, where, level, whole.device)
        patch = whole[where.index[:, None, None], rows[:, :, None] + _MARGIN, columns[:, None, :] + _MARGIN]
        return patch.permute(0, 3, 1, 2)  # memory stays channels last

    def _inside(self, square: _Square, where: _Batch, level: int, shape: torch.Size) -> Tensor:
        """1 inside the slice, 0 outside: (n, 1, rows, columns)."""
        rows, columns = self._places(square, where, level, where.index.device)
        in_rows = (rows >= 0) & (rows < shape[1] >> level)
        in_columns = (columns >= 0) & (columns < shape[2] >> level)
        return (in_rows[:, None, :, None] & in_columns[:, None, None, :]).to(self.dtype)

    def _places(self, square: _Square, where: _Batch, level: int, device: torch.device) -> tuple[Tensor, Tensor]:
        """Rows (n, …) and columns (n, …) of a square for every window, in pixels of the level."""
        offset = where.steps * 2 ** (self.depth - level)
        rows = torch.arange(square.rows.start, square.rows.stop, device=device)
        columns = torch.arange(square.columns.start, square.columns.stop, device=device)
        return offset[:, :1] + rows, offset[:, 1:] + columns


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


def _padded(features: Tensor) -> Tensor:
    """(n, channels, rows, columns) to (n, rows, columns, channels) with a margin of zeros."""
    return functional.pad(features.permute(0, 2, 3, 1), (0, 0, _MARGIN, _MARGIN, _MARGIN, _MARGIN)).contiguous()
