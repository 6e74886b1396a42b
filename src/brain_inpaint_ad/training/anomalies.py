"""Made-up anomalies in healthy slices, so that R′ learns what G's loss does at things G has never seen.

Four kinds, none copied from a lesion: a piece of another brain, another brightness, another texture, tissue pushed aside.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

RADIUS_PX = (4.0, 20.0)  # 8 to 40 mm on the 2 mm grid


def add_anomalies(image: Tensor, brain: Tensor, rng: torch.Generator, *, share: float = 0.5) -> Tensor:
    """`share` of the slices get one anomaly, and half of these another one on top.

    image: float (batch, 1, rows, columns) in [0, 1]; brain: bool (batch, rows, columns), each with some brain; both on the CPU.
    Returns slices of the same shape, 0 outside the brain. Equal `rng` state gives equal anomalies.
    """
    struck = _once(image, brain, torch.rand(len(image), generator=rng) < share, rng)
    again = (struck != image).flatten(1).any(dim=1) & (torch.rand(len(image), generator=rng) < 0.5)
    return _once(struck, brain, again, rng)


def _once(image: Tensor, brain: Tensor, chosen: Tensor, rng: torch.Generator) -> Tensor:
    centre = _centres(brain, rng)
    blob = _blobs(centre, image, rng)
    variants = torch.stack([_foreign(image, rng), _brightness(image, rng), _texture(image, rng), _pushed(image, centre, rng)])
    kind = torch.randint(len(variants), (len(image),), generator=rng)
    changed = variants[kind, torch.arange(len(image))]
    mixed = (image + blob * (changed - image)).clamp(0, 1) * brain[:, None]
    return torch.where(chosen[:, None, None, None], mixed, image)


def _foreign(image: Tensor, rng: torch.Generator) -> Tensor:
    """The next slice of the batch, moved."""
    rows, columns = (int(n) for n in torch.randint(-24, 25, (2,), generator=rng))
    return image.roll(1, 0).roll((rows, columns), (2, 3))


def _brightness(image: Tensor, rng: torch.Generator) -> Tensor:
    """Darker or brighter, by a factor of 0.4 to 1.5."""
    return image * _uniform(len(image), 0.4, 1.5, rng)


def _texture(image: Tensor, rng: torch.Generator) -> Tensor:
    """Blurred, with grain of random strength."""
    smooth = functional.avg_pool2d(image, 7, stride=1, padding=3, count_include_pad=False)
    fine = torch.randn(image.shape, generator=rng)
    coarse = functional.interpolate(fine[..., ::4, ::4], size=image.shape[2:], mode="bilinear", align_corners=False)
    grain = torch.where(torch.rand(len(image), 1, 1, 1, generator=rng) < 0.5, fine, coarse)
    return smooth * _uniform(len(image), 0.7, 1.3, rng) + grain * _uniform(len(image), 0.0, 0.12, rng)


def _pushed(image: Tensor, centre: Tensor, rng: torch.Generator) -> Tensor:
    """Pushed away from the centre, or drawn towards it, by up to 8 pixels."""
    offset = _offsets(centre, image)  # (batch, rows, columns, 2)
    width = _uniform(len(image), 6.0, 16.0, rng)
    strength = _uniform(len(image), -8.0, 8.0, rng) * torch.exp(-offset.square().sum(-1, keepdim=True) / (2 * width**2))
    rows, columns = image.shape[2:]
    moved = offset - strength * functional.normalize(offset, dim=-1) + centre[:, None, None]
    unit = (moved + 0.5) * 2 / torch.tensor([rows, columns]) - 1
    return functional.grid_sample(image, unit.flip(-1), align_corners=False)


def _blobs(centre: Tensor, image: Tensor, rng: torch.Generator) -> Tensor:
    """Soft ellipses with uneven borders: (batch, 1, rows, columns) in [0, 1]."""
    offset = _offsets(centre, image)
    radius = _uniform(len(image), *RADIUS_PX, rng)
    ratio = _uniform(len(image), 0.6, 1.6, rng)[..., 0]
    distance = torch.hypot(offset[..., 0] * ratio, offset[..., 1] / ratio)[:, None] / radius
    bumps = functional.interpolate(torch.randn(len(image), 1, 8, 6, generator=rng), size=image.shape[2:], mode="bicubic")
    return torch.sigmoid((1 - distance + 0.25 * bumps) * _uniform(len(image), 3.0, 12.0, rng))


def _centres(brain: Tensor, rng: torch.Generator) -> Tensor:
    """A random brain pixel per slice: float (batch, 2) row, column."""
    place = (torch.rand(brain.shape, generator=rng) * brain).flatten(1).argmax(dim=1)
    return torch.stack([place // brain.shape[2], place % brain.shape[2]], dim=1).float()


def _offsets(centre: Tensor, image: Tensor) -> Tensor:
    rows, columns = image.shape[2:]
    places = torch.stack(torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij"), dim=-1)
    return places - centre[:, None, None]


def _uniform(count: int, low: float, high: float, rng: torch.Generator) -> Tensor:
    """(count, 1, 1, 1)"""
    return torch.empty(count, 1, 1, 1).uniform_(low, high, generator=rng)
