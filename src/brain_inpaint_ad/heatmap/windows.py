"""φ(x, γ, k): the squares that are erased one after the other."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..errors import SettingsError
from ..volume import Array


@dataclass(frozen=True, kw_only=True)
class WindowSettings:
    """size: side γ; stride: step k between windows; both in pixels of the model grid."""

    size: int = 16  # 32 mm at 2 mm: the best of 8, 16, 32, 64 in Nguyen 2020
    stride: int = 2  # 4 mm

    def __post_init__(self) -> None:
        if self.size < 1:
            raise SettingsError(f"the window must be at least 1 pixel, got {self.size}")
        if not 1 <= self.stride <= self.size:
            raise SettingsError(f"the stride must be 1 to {self.size} pixels (the window), got {self.stride}")


def window_corners(brain: Array, settings: WindowSettings) -> Array:
    """Upper left corners of all windows that touch the brain, in raster order.

    brain: bool (slices, rows, columns). Returns int64 (n, 3): slice, row, column. The last window of a row or column ends at
    the border even where the stride does not divide the way there, so that every pixel is covered.
    """
    _, rows, columns = brain.shape
    if settings.size > min(rows, columns):
        raise SettingsError(f"a window of {settings.size} pixels does not fit slices of {rows} × {columns}")
    tops, lefts = _starts(rows, settings), _starts(columns, settings)
    # Summed-area table: brain pixels in a window are four look-ups.
    table = np.pad(brain.astype(np.int64), ((0, 0), (1, 0), (1, 0))).cumsum(1).cumsum(2)
    upper, lower = table[:, tops], table[:, tops + settings.size]
    right, left = lefts + settings.size, lefts
    inside = lower[:, :, right] - lower[:, :, left] - upper[:, :, right] + upper[:, :, left]
    where = np.argwhere(inside > 0)
    return np.stack([where[:, 0], tops[where[:, 1]], lefts[where[:, 2]]], axis=1)


def _starts(length: int, settings: WindowSettings) -> Array:
    last = length - settings.size
    return np.unique(np.append(np.arange(0, last + 1, settings.stride), last))
