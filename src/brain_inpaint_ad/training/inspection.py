"""What a generator does with windows it never learned from: figures and a picture, while it trains and in tables."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..nets.unet import UNet
from .data import Slices
from .erase import erase, paste, sample_windows
from .run import save_picture

_SEED = 20201


def rebuild_windows(generator: UNet, image: Tensor, window: Tensor) -> Tensor:
    """The slices with their windows inpainted, by a generator in evaluation mode. Shapes (n, 1, rows, columns)."""
    generator.eval()
    device = next(generator.parameters()).device
    with torch.inference_mode():
        parts = [
            paste(generator(erase(i.to(device), w.to(device))).float(), i.to(device), w.to(device)).cpu()
            for i, w in zip(image.split(32), window.split(32), strict=True)
        ]
    return torch.cat(parts)


def sharpness(rebuilt: Tensor, image: Tensor, inside: Tensor) -> float:
    """How steep the rebuilt texture is beside the true one: 1 is as sharp, less is blurred; NaN where nothing varies.

    Ratio of the root mean square differences between neighbours in a row or column. rebuilt, image: (n, 1, rows, columns);
    inside: bool, same shape: the pixels of windows that show brain. Only pairs inside count, so neither the seam of the
    window nor the outline of the brain does.
    """
    rises = [_rises(values, inside) for values in (rebuilt, image)]
    return float((rises[0] / rises[1]).sqrt())


def _rises(values: Tensor, inside: Tensor) -> Tensor:
    """Sum of squared differences between neighbours that both lie inside."""
    down = (values[:, :, 1:] - values[:, :, :-1])[inside[:, :, 1:] & inside[:, :, :-1]]
    right = (values[..., 1:] - values[..., :-1])[inside[..., 1:] & inside[..., :-1]]
    return down.square().sum() + right.square().sum()


def make_inspector(
    generator: UNet, validation: Slices, sizes: dict[float, int], *, board: Any, folder: Path
) -> Callable[[int], dict[float, dict[str, float]]]:
    """Validation figures by size of the window, and a picture, always on the same 64 windows of each.

    sizes: sides in mm and in pixels, the model's own first.
    """
    scenes = {size: _scene(validation, pixels) for size, pixels in sizes.items()}

    def inspect(iteration: int) -> dict[float, dict[str, float]]:
        told, pictures = {}, []
        for size, (image, brain, window) in scenes.items():
            pasted = rebuild_windows(generator, image, window)
            error = (pasted - image)[window.bool()]
            figures = {
                "l1_inside": float(error.abs().mean()),
                "psnr_inside_db": float(-10 * torch.log10(error.square().mean())),
                "sharpness_inside": sharpness(pasted, image, window.bool() & brain),
            }
            for tag, value in figures.items():
                board.add_scalar(f"validation/{tag}" if len(sizes) == 1 else f"validation/{size:g}mm/{tag}", value, iteration)
            told[size] = {tag: round(value, 4) for tag, value in figures.items()}
            strip = torch.cat([image * (1 - window), pasted, image], dim=2)[
                :8, 0
            ]  # erased, rebuilt, truth: one below the other
            pictures.append(torch.cat(list(strip), dim=1))
        picture = torch.cat(pictures).clamp(0, 1).numpy()
        board.add_image("validation/erased_rebuilt_truth", picture, iteration, dataformats="HW")
        save_picture(picture, folder / "samples.png")
        return told

    return inspect


def _scene(validation: Slices, pixels: int) -> tuple[Tensor, Tensor, Tensor]:
    """Slices, where there is brain, and windows: (64, 1, rows, columns) each, or as many as there are."""
    rng = torch.Generator().manual_seed(_SEED)
    picked = torch.randperm(len(validation), generator=rng)[:64]
    image, brain = validation.images[picked].float()[:, None], validation.brain[picked]
    return image, brain[:, None], sample_windows(brain, pixels, rng)
