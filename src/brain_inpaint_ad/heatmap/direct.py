"""One forward pass per window: the paper's loop, slow and obvious; the judge of `incremental`."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from ..nets.unet import UNet
from ..progress import Progress, silent
from .losses import covered, cut, stretch, without_single


def rebuild_direct(
    generator: UNet,
    image: Tensor,
    corners: Tensor,
    *,
    size: int,
    batch: int = 16,
    stretched: bool = False,
    progress: Progress = silent,
) -> Iterator[tuple[Tensor, Tensor]]:
    """What G puts into each window; arguments and answers as `Incremental.rebuild`.

    stretched: take the minmax w(·) of each whole reconstructed frame first, as Nguyen 2020 may be read to the letter. Only
    this loop can: it is the only one that has whole frames.
    """
    generator.eval()
    for start in range(0, len(corners), batch):
        progress(start / len(corners), "erasing and rebuilding")
        which = torch.arange(start, min(start + batch, len(corners)), device=corners.device)
        with torch.inference_mode():
            frames = generator(_erased(image, corners[which], size)).float().unbind(1)
            windows = [cut(stretch(frame) if stretched else frame, _numbered(corners[which]), size) for frame in frames]
        yield which, without_single(torch.stack(windows, dim=1))


def _erased(image: Tensor, corners: Tensor, size: int) -> Tensor:
    """G's input for each window: (n, 2, rows, columns)."""
    window = covered(corners, *image.shape[1:], size=size).to(image.dtype)
    return torch.stack([image[corners[:, 0]] * (1 - window), window], dim=1).contiguous(memory_format=torch.channels_last)


def _numbered(corners: Tensor) -> Tensor:
    """Corners whose first number is the place in the batch instead of the slice."""
    return torch.cat([torch.arange(len(corners), device=corners.device)[:, None], corners[:, 1:]], dim=1)
