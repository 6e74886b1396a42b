"""Ψ(x, γ): erase a square from a slice, where there is brain."""

from __future__ import annotations

import torch
from torch import Tensor


def sample_windows(brain: Tensor, size: int, rng: torch.Generator) -> Tensor:
    """One window per slice, centred on a random brain voxel and pushed inside the slice.

    brain: bool (batch, rows, columns), each with some brain; size: side γ in pixels. Returns float (batch, 1, rows, columns),
    1 inside the window. Equal `rng` state gives equal windows.
    """
    _, rows, columns = brain.shape
    noise = torch.rand(brain.shape, generator=rng, device=rng.device).to(brain.device)
    centres = (noise * brain).flatten(1).argmax(dim=1)
    top = (centres // columns - size // 2).clamp(0, rows - size)[:, None]
    left = (centres % columns - size // 2).clamp(0, columns - size)[:, None]
    row, column = torch.arange(rows, device=brain.device), torch.arange(columns, device=brain.device)
    inside_rows = (row >= top) & (row < top + size)
    inside_columns = (column >= left) & (column < left + size)
    return (inside_rows[:, :, None] & inside_columns[:, None, :]).float()[:, None]


def erase(image: Tensor, window: Tensor) -> Tensor:
    """What G sees: the slice with the window at 0, and the window itself. (batch, 1, …) twice to (batch, 2, …)."""
    return torch.cat([image * (1 - window), window], dim=1)


def paste(filled: Tensor, image: Tensor, window: Tensor) -> Tensor:
    """The reconstruction inside the window, the slice outside."""
    return filled * window + image * (1 - window)


def around(image: Tensor, window: Tensor) -> Tensor:
    """Squares of twice the window's side with the window in their middle (off it at the border of the slice).

    image, window: (batch, 1, rows, columns), windows of equal side γ; returns (batch, 1, 2γ, 2γ).
    """
    rows, columns = image.shape[2:]
    in_row, in_column = window[:, 0].amax(dim=2), window[:, 0].amax(dim=1)
    size = int(in_row[0].sum())
    top = (in_row.argmax(dim=1) - size // 2).clamp(0, rows - 2 * size)
    left = (in_column.argmax(dim=1) - size // 2).clamp(0, columns - 2 * size)
    reach = torch.arange(2 * size, device=image.device)
    which = torch.arange(len(image), device=image.device)[:, None, None]
    return image[which, 0, (top[:, None] + reach)[:, :, None], (left[:, None] + reach)[:, None, :]][:, None]
