"""From one loss per window to one value per pixel."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import torch
from torch import Tensor

from ..volume import Array
from .losses import without_single


def heat_in(brain: Array, losses: Tensor, corners: Tensor, *, size: int) -> Array:
    """The heatmap of window losses: float32 of the shape of `brain`, 0 outside it."""
    heat = accumulate(losses.cpu(), corners.cpu(), brain.shape, size=size).numpy()
    return np.where(brain, heat, 0).astype(np.float32)


def accumulate(losses: Tensor, corners: Tensor, shape: tuple[int, int, int], *, size: int) -> Tensor:
    """Mean loss of the windows that cover each pixel, 0 where none does.

    losses: (n,); corners: (n, 3) slice, row, column; shape: (slices, rows, columns). A window adds its loss at four
    corners of a difference table, whose running sums are the totals: work does not grow with the window.
    """
    totals = _cover(losses.double(), corners, shape, size=size)
    counts = _cover(torch.ones_like(losses, dtype=torch.float64), corners, shape, size=size).round()
    return torch.where(counts > 0, totals / counts.clamp(min=1), 0).float()


def _cover(values: Tensor, corners: Tensor, shape: tuple[int, int, int], *, size: int) -> Tensor:
    slices, rows, columns = shape
    table = torch.zeros((slices, rows + 1, columns + 1), dtype=torch.float64, device=values.device)
    index, top, left = corners.unbind(1)
    for row, column, sign in ((0, 0, 1), (0, size, -1), (size, 0, -1), (size, size, 1)):
        table.index_put_((index, top + row, left + column), sign * values, accumulate=True)
    return table.cumsum(1).cumsum(2)[:, :rows, :columns]


class Blend:
    """What windows hold where they lie over each other: their mean, summed up as they come."""

    def __init__(self, corners: Tensor, shape: tuple[int, int, int], *, size: int, outputs: int = 1) -> None:
        """corners: (n, 3) of all windows that will come; shape: (slices, rows, columns); outputs: of the network."""
        self._corners, self._shape, self._size = corners, shape, size
        self._total = torch.zeros((shape[0], outputs, *shape[1:]), device=corners.device)

    def passing(self, rebuilt: Iterable[tuple[Tensor, Tensor]]) -> Iterator[tuple[Tensor, Tensor]]:
        """The same windows, each added on its way; `rebuilt` as `Incremental.rebuild` yields it."""
        for which, windows in rebuilt:
            self._add(self._corners[which], windows)
            yield which, windows

    def mean(self) -> Tensor:
        """Of the windows that came, float32 (slices, rows, columns) or (slices, outputs, …); 0 where none lies."""
        ones = torch.ones(len(self._corners), dtype=torch.float64, device=self._corners.device)
        counts = _cover(ones, self._corners, self._shape, size=self._size).round()
        return without_single((self._total / counts.clamp(min=1)[:, None]).float())

    def _add(self, corners: Tensor, windows: Tensor) -> None:
        places, place_of = corners[:, 1:].unique(dim=0, return_inverse=True)  # the exact engine's come from one place
        for number, (top, left) in enumerate(places.tolist()):
            here = place_of == number
            field = self._total[:, :, top : top + self._size, left : left + self._size]
            field.index_add_(0, corners[here, 0], windows[here].reshape(-1, *field.shape[1:]).to(field.dtype))
