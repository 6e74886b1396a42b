"""Solid shapes as functions of the place, from which the made-up head is built.

A shape is a depth: millimetres below its surface, positive inside, near the surface exact to some percent. Points
are float32 arrays (3, n): millimetres to the right, to anterior and to superior of the brain's centre.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..volume import Array

Place = tuple[float, float, float]


def column(place: Sequence[float] | Array) -> Array:
    """Three numbers as a float32 column that goes with (3, n) points."""
    return np.asarray(place, dtype=np.float32)[:, None]


def ellipsoid(points: Array, *, centre: Place, radii: Place, power: float = 2.0) -> Array:
    """Depth in an ellipsoid of half-axes `radii` mm along right, anterior, superior; `power` > 2 makes it boxier."""
    scaled = np.abs(points - column(centre)) / column(radii)
    reach = (scaled**power).sum(axis=0) ** np.float32(1 / power)
    slope = np.sqrt(((scaled ** (power - 1) / column(radii)) ** 2).sum(axis=0))
    return np.asarray((1 - reach) * reach ** (power - 1) / np.maximum(slope, 1e-6))


def tube(points: Array, *, ends: tuple[Place, Place], radius: float, flat: float = 1.0) -> Array:
    """Depth in a rod with round ends, `radius` mm thick; `flat` > 1: thinner from left to right by this factor."""
    stretch = column((flat, 1.0, 1.0))
    start, end = (column(place) * stretch for place in ends)
    along = end - start
    relative = points * stretch - start
    share = np.clip((relative * along).sum(axis=0) / (along**2).sum(), 0, 1)
    return np.asarray(radius - np.sqrt(((relative - share * along) ** 2).sum(axis=0)))


def union(first: Array, second: Array, *, round_mm: float = 0.0) -> Array:
    """Depth in either shape; the edge where they meet is filled over about `round_mm`."""
    larger = np.maximum(first, second)
    if round_mm <= 0:
        return np.asarray(larger)
    near = np.clip(1 - np.abs(first - second) / round_mm, 0, None)
    return np.asarray(larger + near * near * (round_mm / 4))


def intersection(first: Array, second: Array, *, round_mm: float = 0.0) -> Array:
    """Depth in both shapes; the edge where they meet is rounded over about `round_mm`."""
    return -union(-first, -second, round_mm=round_mm)


def coverage(depth: Array, *, edge_mm: float) -> Array:
    """Share of a voxel inside a shape: 0 outside, 1 inside, a straight ramp `edge_mm` wide across the surface."""
    return np.asarray(np.clip(depth * np.float32(1 / edge_mm) + np.float32(0.5), 0, 1))


def paint(below: Array, above: Array | float, share: Array) -> Array:
    """`above` over `below` where `share` is 1, their mixture where it is less."""
    return np.asarray(below + (above - below) * share)


@dataclass(frozen=True, slots=True)
class Waves:
    """A smooth random field of mean 0 and variance 1: plane waves of about one length in random directions.

    steps: radians per mm, float32 (count, 3); phases: radians, float32 (count, 1).
    """

    steps: Array
    phases: Array

    @classmethod
    def draw(cls, rng: np.random.Generator, *, length_mm: float, count: int, squeeze: Place = (1.0, 1.0, 1.0)) -> Waves:
        """`count` waves of `length_mm` ± 15 %; `squeeze`: factors on the directions, > 1 where they shall be denser."""
        directions = rng.normal(size=(count, 3)) * squeeze
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        lengths = length_mm * rng.uniform(0.85, 1.15, size=(count, 1))
        phases = rng.uniform(0, 2 * np.pi, size=(count, 1))
        return cls((directions * (2 * np.pi / lengths)).astype(np.float32), phases.astype(np.float32))

    def value(self, points: Array) -> Array:
        """The field at `points`; (n,)."""
        return np.asarray(np.cos(self._angles(points)).sum(axis=0) * self._gain)

    def distance(self, points: Array) -> Array:
        """About how many mm lie between a point and the nearest zero of the field; (n,), never negative."""
        angles = self._angles(points)
        value = np.cos(angles).sum(axis=0)
        slope = self.steps.T @ np.sin(angles)
        usual = (self.steps**2).sum() / 2  # mean of the squared slope
        return np.asarray(np.abs(value) / np.sqrt((slope**2).sum(axis=0) + 0.15 * usual))

    @property
    def _gain(self) -> np.float32:
        return np.float32(np.sqrt(2 / len(self.steps)))

    def _angles(self, points: Array) -> Array:
        return np.asarray(self.steps @ points + self.phases)
