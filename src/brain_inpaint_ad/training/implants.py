"""Made-up anomalies implanted in healthy brains, so that a network learns what a change looks like without seeing a lesion.

Six kinds, none copied from a lesion and none on one side of healthy only: another brightness, a plain filling, blurring, a
piece of another place or brain, tissue pushed aside, grain. (Precedent: foreign patch interpolation, Tan 2020.)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter, map_coordinates, zoom

from ..volume import Array

SINGLE_MM = (8.0, 64.0)  # least and largest diameter of an anomaly that comes alone
SEVERAL_MM = (5.0, 28.0)  # the same for two to five of them
NONE_SHARE, SINGLE_SHARE = 0.12, 0.53  # of brains
CORE_SHARE = 0.35  # of anomalies with another anomaly inside
LEAST_CHANGE = 0.025  # mean change of intensity below which an anomaly is taken out again: nobody could see it


@dataclass(frozen=True, slots=True)
class _Place:
    """Where one anomaly lies, in voxels of the cut-out around it."""

    centre: Array
    radius: float


def implant(
    image: Array, brain: Array, other: Array, rng: np.random.Generator, *, spacing_mm: float, diameter_mm: float | None = None
) -> tuple[Array, Array]:
    """A copy of the brain with anomalies, float32 in [0, 1], and where they are, bool; both (slices, rows, columns).

    image: in [0, 1], 0 outside the brain; other: another brain's, for pieces of it; diameter_mm: exactly one anomaly of this
    size (default: none to five of random size).
    """
    changed, where = image.astype(np.float32), np.zeros(image.shape, dtype=bool)
    for diameter in _diameters(rng) if diameter_mm is None else [diameter_mm]:
        _one(changed, brain, other, diameter / 2 / spacing_mm, where, rng)
    return changed, where


def smooth_noise(shape: tuple[int, ...], rng: np.random.Generator, width: float) -> Array:
    """Gaussian noise of unit variance, smoothed by `width` voxels."""
    noise = gaussian_filter(rng.standard_normal(shape).astype(np.float32), width)
    return np.asarray(noise / (noise.std() + 1e-9))


def coarse_noise(shape: tuple[int, ...], rng: np.random.Generator, cell: int) -> Array:
    """Noise of unit variance on knots `cell` voxels apart, linear between them."""
    knots = rng.standard_normal([max(3, size // cell + 2) for size in shape]).astype(np.float32)
    fine = zoom(knots, [(size + cell) / count for size, count in zip(shape, knots.shape, strict=True)], order=1)
    missing = [(0, max(0, size - got)) for size, got in zip(shape, fine.shape, strict=True)]
    return np.asarray(np.pad(fine, missing, mode="edge")[tuple(slice(size) for size in shape)])


def _diameters(rng: np.random.Generator) -> list[float]:
    drawn = rng.random()
    if drawn < NONE_SHARE:
        return []
    if drawn < NONE_SHARE + SINGLE_SHARE:
        return [float(np.exp(rng.uniform(*np.log(SINGLE_MM))))]
    return [float(np.exp(rng.uniform(*np.log(SEVERAL_MM)))) for _ in range(rng.integers(2, 6))]


def _one(changed: Array, brain: Array, other: Array, radius: float, where: Array, rng: np.random.Generator) -> None:
    """Change `changed` and `where` in place, in a cut-out that holds the anomaly."""
    inside = np.argwhere(brain)
    centre = inside[rng.integers(len(inside))]
    reach = int(radius * 1.9) + 4
    low, high = np.maximum(centre - reach, 0), np.minimum(centre + reach + 1, changed.shape)
    box = tuple(slice(start, stop) for start, stop in zip(low, high, strict=True))
    before, here = changed[box], brain[box]
    place = _Place(centre - low, radius)
    shape = _blob(before.shape, place, rng) * here
    after = before
    for _ in range(rng.integers(1, 4)):
        after = _effect(after, shape, here, _piece(other, box, before), place, rng)
    if rng.random() < CORE_SHARE:
        core = _Place(place.centre + rng.normal(0, radius * 0.3, 3), max(1.5, radius * rng.uniform(0.3, 0.7)))
        after = _effect(after, _blob(before.shape, core, rng) * shape, here, after, place, rng)
    hot = shape > 0.5
    if hot.any() and gaussian_filter(np.abs(after - before), 1.0)[hot].mean() > LEAST_CHANGE:
        changed[box] = after
        where[box] |= hot


def _piece(other: Array, box: tuple[slice, ...], image: Array) -> Array:
    """The same cut-out of the other brain, filled up with this one where the other's field ends."""
    piece = image.copy()
    part = other[box]
    piece[tuple(slice(size) for size in part.shape)] = part
    return piece


def _blob(shape: tuple[int, ...], place: _Place, rng: np.random.Generator) -> Array:
    """A soft ellipsoid in any direction with an uneven border, in [0, 1]."""
    turn, _ = np.linalg.qr(rng.standard_normal((3, 3)))
    axes = np.exp(rng.uniform(-0.35, 0.35, 3))
    axes *= place.radius / axes.prod() ** (1 / 3)
    offset = _offsets(shape, place.centre)
    distance = np.sqrt((((np.moveaxis(offset, 0, -1) @ turn.astype(np.float32)) / axes.astype(np.float32)) ** 2).sum(-1))
    distance += rng.uniform(0.05, 0.35) * coarse_noise(shape, rng, max(2, int(place.radius * 0.7)))
    softness = rng.uniform(0.4, 2.0) / place.radius
    return np.asarray(1 / (1 + np.exp(np.clip((distance - 1) / softness * 2, -30, 30))))


def _offsets(shape: tuple[int, ...], centre: Array) -> Array:
    """(3, *shape): voxels from the centre."""
    axes = [np.arange(size, dtype=np.float32) - np.float32(middle) for size, middle in zip(shape, centre, strict=True)]
    return np.stack(np.meshgrid(*axes, indexing="ij"))


def _effect(image: Array, shape: Array, brain: Array, other: Array, place: _Place, rng: np.random.Generator) -> Array:
    effects: tuple[Callable[[], Array], ...] = (
        lambda: image * (rng.uniform(0.5, 0.92) if rng.random() < 0.5 else rng.uniform(1.08, 1.4)),
        lambda: _filled(image, shape, rng),
        lambda: gaussian_filter(image, rng.uniform(1, 3)) * rng.uniform(0.9, 1.1),
        lambda: _moved(other if rng.random() < 0.6 else image, image, rng),
        lambda: _pushed(image, place, rng),
        lambda: image + rng.uniform(0.04, 0.12) * smooth_noise(image.shape, rng, rng.uniform(0.5, 2)),
    )
    chances = (0.25, 0.25, 0.125, 0.125, 0.125, 0.125)
    number = int(rng.choice(len(effects), p=chances))
    new = effects[number]()
    if number == 4:  # pushed as a whole: mixed with what was there, it would show double
        return np.asarray(new * brain)
    return np.asarray(np.clip(image + shape * (new - image), 0, 1) * brain)


def _filled(image: Array, shape: Array, rng: np.random.Generator) -> Array:
    """Towards one brightness, with a little grain."""
    inside = shape > 0.5
    around = float(image[inside].mean()) if inside.any() else 0.5
    level = np.clip(around + rng.uniform(-0.45, 0.35), 0.03, 1.0)
    grain = rng.uniform(0, 0.04) * smooth_noise(image.shape, rng, rng.uniform(1, 3))
    share = rng.uniform(0.4, 1)
    return np.asarray(image * (1 - share) + share * (level + grain))


def _moved(source: Array, image: Array, rng: np.random.Generator) -> Array:
    shifted = np.roll(source, [int(step) for step in rng.integers(-15, 16, 3)], (0, 1, 2))
    return np.where(shifted > 0, shifted, image)


def _pushed(image: Array, place: _Place, rng: np.random.Generator) -> Array:
    """Tissue pushed away from the centre, or drawn towards it."""
    offset = _offsets(image.shape, place.centre)
    distance = np.sqrt((offset**2).sum(0)) + 1e-3
    width, way = rng.uniform(0.6, 1.2) * place.radius, rng.choice([-1, 1])
    far = rng.uniform(0.25, 0.6) * place.radius * way * np.exp(-(distance**2) / (2 * width**2))
    places = offset + np.asarray(place.centre, dtype=np.float32)[:, None, None, None] - far * offset / distance
    return np.asarray(map_coordinates(image, places, order=1, mode="nearest"))
