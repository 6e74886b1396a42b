"""One forward pass per window: the paper's loop, slow and obvious; the judge of `incremental`."""

from __future__ import annotations

import torch
from torch import Tensor

from ..nets.unet import UNet
from ..progress import Progress, silent


def rebuild_direct(
    generator: UNet, image: Tensor, corners: Tensor, *, size: int, batch: int = 64, progress: Progress = silent
) -> Tensor:
    """What G puts into each window.

    image: float (slices, rows, columns) on the generator's device; corners: (n, 3) slice, row, column.
    Returns float32 (n, size, size).
    """
    generator.eval()
    parts = []
    with torch.inference_mode():
        for start in range(0, len(corners), batch):
            progress(start / len(corners), "erasing and rebuilding")
            chunk = corners[start : start + batch]
            filled = generator(_erased(image, chunk, size)).float()[:, 0]
            parts.append(cut(filled, _numbered(chunk), size))
    return torch.cat(parts)


def cut(image: Tensor, corners: Tensor, size: int) -> Tensor:
    """The windows of an image (slices, rows, columns): (n, size, size)."""
    reach = torch.arange(size, device=image.device)
    index, top, left = corners.unbind(1)
    return image[index[:, None, None], (top[:, None] + reach)[:, :, None], (left[:, None] + reach)[:, None, :]]


def _erased(image: Tensor, corners: Tensor, size: int) -> Tensor:
    """G's input for each window: (n, 2, rows, columns)."""
    index, top, left = corners.unbind(1)
    row = torch.arange(image.shape[1], device=image.device)
    column = torch.arange(image.shape[2], device=image.device)
    in_rows = (row >= top[:, None]) & (row < top[:, None] + size)
    in_columns = (column >= left[:, None]) & (column < left[:, None] + size)
    window = (in_rows[:, :, None] & in_columns[:, None, :]).to(image.dtype)
    return torch.stack([image[index] * (1 - window), window], dim=1).contiguous(memory_format=torch.channels_last)


def _numbered(corners: Tensor) -> Tensor:
    """Corners whose first number is the place in the batch instead of the slice."""
    return torch.cat([torch.arange(len(corners), device=corners.device)[:, None], corners[:, 1:]], dim=1)
