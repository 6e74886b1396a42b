"""One loss per window: how far the reconstruction is from the slice."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from ..errors import SettingsError
from ..volume import Array

MINMAX = ("window", "slice")


def losses_of(rebuilt: Iterable[tuple[Tensor, Tensor]], image: Tensor, corners: Tensor, *, size: int, minmax: str) -> Tensor:
    """The loss of every window, (n,), from what `Incremental.rebuild` or `rebuild_direct` yields.

    image: (slices, rows, columns), with corners (n, 3) into it; minmax: see `window_losses`.
    """
    losses = torch.zeros(len(corners), device=image.device)
    for which, windows in rebuilt:
        losses[which] = window_losses(cut(image, corners[which], size), windows, minmax=minmax)
    return losses


def window_losses(original: Tensor, rebuilt: Tensor, *, minmax: str) -> Tensor:
    """Mean absolute difference per window after minmax normalisation w(·) (Nguyen 2020, "Localization System").

    original, rebuilt: (n, size, size) in [0, 1]; returns (n,) in [0, 1].
    minmax "window": each is stretched to [0, 1] by its own least and greatest value, so that only the pattern counts, not
    contrast or level; a flat one becomes 0. "slice": by those of the slice, which a prepared slice already has at 0 and 1.
    """
    if minmax == "window":
        original, rebuilt = stretch(original), stretch(rebuilt)
    elif minmax != "slice":
        raise SettingsError(f"minmax must be one of {MINMAX}, got {minmax!r}")
    return (original - rebuilt).abs().mean(dim=(1, 2))


def stretch(images: Tensor) -> Tensor:
    """w(·): each image (n, rows, columns) to [0, 1] by its own least and greatest value; a flat one becomes 0."""
    low, high = images.amin(dim=(1, 2), keepdim=True), images.amax(dim=(1, 2), keepdim=True)
    return (images - low) / (high - low).clamp(min=1e-6)


def covered(corners: Tensor, rows: int, columns: int, *, size: int) -> Tensor:
    """Where each window lies in its slice: bool (n, rows, columns). corners: (n, 3) slice, row, column."""
    _, top, left = corners.unbind(1)
    row, column = torch.arange(rows, device=corners.device), torch.arange(columns, device=corners.device)
    in_rows = (row >= top[:, None]) & (row < top[:, None] + size)
    in_columns = (column >= left[:, None]) & (column < left[:, None] + size)
    return in_rows[:, :, None] & in_columns[:, None, :]


def cut(image: Tensor, corners: Tensor, size: int) -> Tensor:
    """The windows of an image (slices, rows, columns): (n, size, size)."""
    reach = torch.arange(size, device=image.device)
    index, top, left = corners.unbind(1)
    return image[index[:, None, None], (top[:, None] + reach)[:, :, None], (left[:, None] + reach)[:, None, :]]


def without_single(frames: Tensor) -> Tensor:
    """(n, outputs, rows, columns) as it is, (n, rows, columns) for one output."""
    return frames[:, 0] if frames.shape[1] == 1 else frames


def rank_correlation(first: Tensor | Array, second: Tensor | Array) -> float:
    """Spearman's ρ; 0 when one of them is constant, where it is not defined."""
    from scipy.stats import spearmanr

    first, second = np.asarray(first), np.asarray(second)
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return 0.0
    return float(spearmanr(first, second).statistic)
