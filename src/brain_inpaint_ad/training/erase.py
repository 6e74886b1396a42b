"""Ψ(x, γ): erase a square from a slice, where there is brain."""

from __future__ import annotations

import torch
from torch import Tensor

from ..heatmap.losses import covered


def sample_corners(brain: Tensor, size: int, rng: torch.Generator) -> Tensor:
    """One window per slice, centred on a random brain voxel and pushed inside the slice.

    brain: bool (batch, rows, columns), each with some brain; size: side γ in pixels. Returns int64 (batch, 3): slice, row,
    column of the upper left corner. Equal `rng` state gives equal windows.
    """
    _, rows, columns = brain.shape
    noise = torch.rand(brain.shape, generator=rng, device=rng.device).to(brain.device)
    centres = (noise * brain).flatten(1).argmax(dim=1)
    top = (centres // columns - size // 2).clamp(0, rows - size)
    left = (centres % columns - size // 2).clamp(0, columns - size)
    return torch.stack([torch.arange(len(brain), device=brain.device), top, left], dim=1)


def middle_corners(brain: Tensor, size: int, rng: torch.Generator) -> Tensor:
    """As `sample_corners`, but anywhere in the middle third of rows and columns (Mavropoulos 2021, "Proposed Model")."""
    count, rows, columns = brain.shape
    parts = [torch.arange(count, device=brain.device)]
    for length in (rows, columns):
        first, room = length // 3, max(length // 3 - size, 0)
        start = torch.randint(first, first + room + 1, (count,), generator=rng, device=rng.device).to(brain.device)
        parts.append(start.clamp(max=length - size))
    return torch.stack(parts, dim=1)


def sample_windows(brain: Tensor, size: int, rng: torch.Generator) -> Tensor:
    """The windows of `sample_corners` as float (batch, 1, rows, columns), 1 inside."""
    _, rows, columns = brain.shape
    return covered(sample_corners(brain, size, rng), rows, columns, size=size).float()[:, None]


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
