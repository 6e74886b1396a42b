"""Windows of one healthy scan: drawn, filled in without a network, and measured against the truth."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..errors import InputError
from ..prepare import Prepared
from ..training.data import MIN_BRAIN_MM2
from ..training.erase import sample_windows
from ..training.inspection import sharpness


@dataclass(frozen=True, slots=True)
class Inpainted:
    """Windows of one scan. Means over `windows` windows; sharpness: of them together, None where nothing varies."""

    windows: int
    psnr_window_db: float
    ssim_window: float
    psnr_slice_db: float
    ssim_slice: float
    l1_window: float
    sharpness: float | None


@dataclass(frozen=True, slots=True)
class Scene:
    """Slices of a scan with one window each: image, window float, brain bool, all (n, 1, rows, columns)."""

    image: Tensor
    brain: Tensor
    window: Tensor


def draw_scene(name: str, prepared: Prepared, pixels: int, windows: int) -> Scene:
    """Slices as for training, drawn by the scan's name; the windows of one scan have the same centres at all sizes.

    pixels: side of the windows. Raises InputError when the scan shows too little brain.
    """
    rng = torch.Generator().manual_seed(int.from_bytes(hashlib.sha256(name.encode()).digest()[:4]))
    columns_mm, rows_mm, _ = prepared.image.grid.spacing
    shown = np.flatnonzero(prepared.brain.sum(axis=(1, 2)) * columns_mm * rows_mm >= MIN_BRAIN_MM2)
    if len(shown) == 0:
        raise InputError(f"{name}: no slice shows enough brain; check the scan.")
    picked = shown[torch.randint(len(shown), (windows,), generator=rng).numpy()]
    image, brain = (torch.from_numpy(array[picked]) for array in (prepared.image.array, prepared.brain))
    return Scene(image.float()[:, None], brain[:, None], sample_windows(brain, pixels, rng))


def interpolated(scene: Scene) -> Tensor:
    """What smooth interpolation from the surroundings gives, without any network."""
    from skimage.restoration import inpaint_biharmonic

    pairs = zip(scene.image[:, 0].numpy(), scene.window[:, 0].numpy() > 0, strict=True)
    filled = np.stack([inpaint_biharmonic(image, window) for image, window in pairs]).clip(0, 1).astype(np.float32)
    return torch.from_numpy(filled)[:, None]


def measure(scene: Scene, pasted: Tensor) -> Inpainted:
    """pasted: the scene's slices with their windows inpainted. Metrics: scikit-image's, SSIM as in Wang 2004."""
    from skimage.metrics import peak_signal_noise_ratio as psnr
    from skimage.metrics import structural_similarity

    found: dict[str, list[float]] = {}
    for image, made, window in zip(*(values[:, 0].numpy() for values in (scene.image, pasted, scene.window)), strict=True):
        inside = window > 0
        whole, ssim = structural_similarity(  # type: ignore[no-untyped-call]
            image, made, data_range=1.0, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, full=True
        )
        figures = {
            "psnr_window_db": psnr(image[inside], made[inside], data_range=1.0),  # type: ignore[no-untyped-call]
            "ssim_window": ssim[inside].mean(),
            "psnr_slice_db": psnr(image, made, data_range=1.0),  # type: ignore[no-untyped-call]
            "ssim_slice": whole,
            "l1_window": np.abs(image - made)[inside].mean(),
        }
        for name, figure in figures.items():
            found.setdefault(name, []).append(float(figure))
    means = {name: round(float(np.mean(figures)), 5) for name, figures in found.items()}
    steep = sharpness(pasted, scene.image, scene.window.bool() & scene.brain)
    return Inpainted(windows=len(pasted), **means, sharpness=round(steep, 5) if math.isfinite(steep) else None)
