"""From one loss per window to one value per pixel."""

from __future__ import annotations

import torch
from torch import Tensor

from ..errors import SettingsError

MINMAX = ("window", "slice")


def window_losses(original: Tensor, rebuilt: Tensor, *, minmax: str) -> Tensor:
    """Mean absolute difference per window after minmax normalisation w(·) (Nguyen 2020, "Localization System").

    original, rebuilt: (n, size, size) in [0, 1]; returns (n,) in [0, 1].
    minmax "window": each is stretched to [0, 1] by its own least and greatest value, so that only the pattern counts, not
    contrast or level; a flat one becomes 0. "slice": by those of the slice, which a prepared slice already has at 0 and 1.
    """
    if minmax == "window":
        original, rebuilt = _stretch(original), _stretch(rebuilt)
    elif minmax != "slice":
        raise SettingsError(f"minmax must be one of {MINMAX}, got {minmax!r}")
    return (original - rebuilt).abs().mean(dim=(1, 2))


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


def _stretch(patch: Tensor) -> Tensor:
    low, high = patch.amin(dim=(1, 2), keepdim=True), patch.amax(dim=(1, 2), keepdim=True)
    return (patch - low) / (high - low).clamp(min=1e-6)
