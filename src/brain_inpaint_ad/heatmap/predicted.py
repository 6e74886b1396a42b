"""Window losses without rebuilding a window: by R from each painted slice, or by R′ from the slice as it is, all at once."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..devices import autocast
from ..errors import SettingsError
from ..nets.predictor import SIDE, LossPredictor
from ..nets.unet import UNet
from ..progress import Progress, silent
from .incremental import MEMORY_MB
from .losses import covered
from .places import Place, Submit, counted, framed, places_of, refreshed, slices_within, workers
from .region import Region, padded

_R_SLICE_VALUES = 4_700_000  # of one slice while R's first maps are made: 64 × 128² three times, and what follows


def predict_losses(
    predictor: LossPredictor,
    image: Tensor,
    corners: Tensor,
    *,
    size: int,
    dtype: torch.dtype = torch.float32,
    memory_mb: float = MEMORY_MB,
    progress: Progress = silent,
) -> Tensor:
    """R's guess for every window, float32 (n,): those of `predict_losses_direct`, with the maps of R's first two blocks kept.

    predictor: R in evaluation mode; image: (slices, rows, columns) on its device; corners: (n, 3); dtype: to compute in;
    memory_mb: as for `Incremental.rebuild`. A window changes a part of each map only: about 80 MFLOP remain of 810.
    """
    losses = torch.zeros(len(corners), device=image.device)
    network = _Blocks(copy.deepcopy(predictor).to(dtype, memory_format=torch.channels_last))  # type: ignore[call-overload]
    held = slices_within(memory_mb, _R_SLICE_VALUES * dtype.itemsize, len(image))
    report = counted(progress, len(corners), "predicting the loss")
    report(0)
    with workers(image.device) as submit:
        for first in range(0, len(image), held):
            here = ((corners[:, 0] >= first) & (corners[:, 0] < first + held)).nonzero()[:, 0].cpu()
            places = list(places_of(corners, here, first, image.device))
            for place, guesses in network.of(image[first : first + held].to(dtype), places, size, submit):
                losses[place.which] = guesses
                report(len(place.which))
    return losses


def predict_losses_direct(
    predictor: LossPredictor, image: Tensor, corners: Tensor, *, size: int, batch: int = 64, progress: Progress = silent
) -> Tensor:
    """R's guess for every window, one forward pass each as in the thesis, but `batch` at a time; judge of `predict_losses`."""
    losses = torch.zeros(len(corners), device=image.device)
    for start in range(0, len(corners), batch):
        progress(start / len(corners), "predicting the loss")
        with torch.inference_mode():
            painted = paint(image, corners[start : start + batch], size=size)
            losses[start : start + batch] = predictor(painted.contiguous(memory_format=torch.channels_last)).float()
    return losses


@dataclass(frozen=True, slots=True)
class _Known:
    """Of every unpainted slice: the enlarged slice and what R's first and second block make of it, each with a margin of 0."""

    field: Tensor
    first: Tensor
    second: Tensor


class _Blocks:
    """R in pieces."""

    def __init__(self, predictor: LossPredictor) -> None:
        layers = predictor.layers
        self.conv_1, self.conv_2, self.after_2 = layers[0], layers[2], layers[3:6]
        self.conv_3, self.after_3 = layers[6], layers[7:9]
        self.rest = layers[9:]
        self.slope = cast(nn.LeakyReLU, layers[1]).negative_slope

    def of(
        self, image: Tensor, places: list[Place], size: int, submit: Submit[Place, tuple[Place, Tensor]]
    ) -> Iterator[tuple[Place, Tensor]]:
        """Some slices and their windows; the maps of these slices are gone when it ends."""
        if not places:
            return
        with torch.inference_mode():
            known = self.of_slices(enlarge(image))
        yield from submit(partial(self.of_windows, known, size=size, factor=_factor(image)), places)

    def of_slices(self, field: Tensor) -> _Known:
        """field: (slices, 1, 256, 256)."""
        first = self.after_2(self.conv_2(functional.leaky_relu(self.conv_1(field), self.slope)))
        return _Known(framed(field), framed(first), framed(self.after_3(self.conv_3(first))))

    def of_windows(self, known: _Known, place: Place, *, size: int, factor: int) -> tuple[Place, Tensor]:
        """R's guess for the windows of one place, (n,)."""
        with torch.inference_mode():
            window = Region(*(factor * side for side in (place.top, place.top + size, place.left, place.left + size)))
            pooled = window.strided().clipped(SIDE // 2, SIDE // 2).strided().clipped(SIDE // 4, SIDE // 4).halved()
            needed = pooled.doubled().source()
            inside = needed.clipped(SIDE // 2, SIDE // 2)
            white = known.field.new_ones((len(place.slices), 1, size * factor, size * factor))
            painted = refreshed(known.field, place, inside.source(), white, window)
            current = functional.leaky_relu(_unpadded(self.conv_1, painted), self.slope)
            current = self.after_2(_unpadded(self.conv_2, padded(current, inside, needed)))
            pooled_2 = pooled.strided().clipped(SIDE // 16, SIDE // 16).halved()
            current = refreshed(known.first, place, pooled_2.doubled().source(), current, pooled)
            current = self.after_3(_unpadded(self.conv_3, current))
            whole = Region(0, SIDE // 32, 0, SIDE // 32)
            return place, self.rest(refreshed(known.second, place, whole, current, pooled_2)).flatten().float()


def _unpadded(convolution: nn.Module, patch: Tensor) -> Tensor:
    convolution = cast(nn.Conv2d, convolution)
    return functional.conv2d(patch, convolution.weight, convolution.bias, stride=2)


def predict_loss_map(
    predictor: UNet,
    image: Tensor,
    brain: Tensor,
    *,
    batch: int = 8,
    progress: Progress = silent,
) -> Tensor:
    """R′'s guess for the window around every pixel of every slice, float32 (slices, rows, columns)."""
    maps = []
    for start in range(0, len(image), batch):
        progress(start / len(image), "predicting the loss")
        with torch.inference_mode(), autocast(image.device):
            seen = unmasked(image[start : start + batch], brain[start : start + batch])
            maps.append(predictor(seen.contiguous(memory_format=torch.channels_last))[:, 0].float())
    return torch.cat(maps)


def read_losses(loss_map: Tensor, corners: Tensor, *, size: int) -> Tensor:
    """The loss of each window (n,) from a map that holds it at the window's middle (row and column + size // 2)."""
    index, top, left = corners.unbind(1)
    return loss_map[index, top + size // 2, left + size // 2]


def unmasked(image: Tensor, brain: Tensor) -> Tensor:
    """What R′ sees: slice and brain. (n, rows, columns) twice to (n, 2, rows, columns)."""
    return torch.stack([image, brain.to(image.dtype)], dim=1)


def enlarge(image: Tensor) -> Tensor:
    """(n, rows, columns) to the field R takes, (n, 1, 256, 256): pixels repeated, 0 beside the slice."""
    enlarged = functional.interpolate(image[:, None], scale_factor=_factor(image), mode="nearest")
    rows, columns = enlarged.shape[2:]
    return functional.pad(enlarged, (0, SIDE - columns, 0, SIDE - rows))


def paint(image: Tensor, corners: Tensor, *, size: int) -> Tensor:
    """What R sees: each window white on its slice, enlarged."""
    window = covered(corners, *image.shape[1:], size=size)
    return enlarge(image[corners[:, 0]].masked_fill(window, 1.0))


def _factor(image: Tensor) -> int:
    """How many times a pixel is repeated. Raises SettingsError for slices larger than R's field."""
    if max(image.shape[1:]) > SIDE:
        raise SettingsError(f"R takes slices of up to {SIDE} × {SIDE} pixels, got {image.shape[1]} × {image.shape[2]}")
    return SIDE // max(image.shape[1:])
