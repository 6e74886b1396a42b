"""Intensities of any scanner to one scale in [0, 1].

T1 scanners differ in gain and in the contrast of grey to white matter, so percentiles of the brain are mapped to fixed places
by straight pieces (Nyúl & Udupa 1999): three of them, or as many as a training set taught.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from ..errors import InputError, SettingsError
from ..volume import Array

PERCENTILES = (1.0, 50.0, 99.0)
TARGETS = (0.10, 0.62, 0.95)  # near the means of the IXI training scans after division by their maximum
DECILES = (1.0, 10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0, 80.0, 90.0, 99.0)  # as Nyúl 2000 takes them
_LEAST_STEP = 1e-6  # between two landmarks, of the way from the first to the last


@dataclass(frozen=True, kw_only=True)
class Standard:
    """Which percentiles of a brain's intensities go to which targets in (0, 1), both ascending; checked at birth."""

    percentiles: tuple[float, ...] = PERCENTILES
    targets: tuple[float, ...] = TARGETS

    def __post_init__(self) -> None:
        inside = all(0 < place < 1 for place in self.targets) and all(0 <= share <= 100 for share in self.percentiles)
        ascending = all(low < high for marks in (self.percentiles, self.targets) for low, high in pairwise(marks))
        if not (inside and ascending and len(self.percentiles) == len(self.targets) >= 2):
            raise SettingsError("landmarks of intensity are as many percentiles (0 to 100) as targets (0 to 1), ascending.")

    @property
    def places(self) -> tuple[float, ...]:
        """Where `landmarks` go: 0, the targets, 1."""
        return (0.0, *self.targets, 1.0)


THREE = Standard()


def learn_standard(brains: Iterable[tuple[Array, Array]]) -> Standard:
    """The landmarks that a training set has in common (Nyúl 2000): ends as in TARGETS, between them the mean of each decile.

    brains: image (float, any scale) and brain mask (bool, the same shape) of each. Raises InputError for a brain without
    contrast and when there is none.
    """
    low, high = TARGETS[0], TARGETS[-1]
    found = []
    for image, brain in brains:
        marks = _percentiles(image, brain, DECILES, "a training scan")
        found.append(low + (high - low) * (marks - marks[0]) / (marks[-1] - marks[0]))
    if not found:
        raise InputError("landmarks of intensity are learned from one scan or more, got none.")
    targets = np.mean(found, axis=0).round(5)
    return Standard(percentiles=DECILES, targets=tuple(targets.tolist()))


def normalise(image: Array, brain: Array, *, name: str = "scan", standard: Standard = THREE) -> Array:
    """Brain voxels to [0, 1], 0 outside. image: float, brain: bool of the same shape; returns float32."""
    return scaled(image, brain, landmarks(image, brain, name=name, standard=standard), standard.places)


def landmarks(image: Array, brain: Array, *, name: str = "scan", standard: Standard = THREE) -> tuple[float, ...]:
    """The intensities that go to `standard.places`, ascending."""
    marks, targets = _percentiles(image, brain, standard.percentiles, name), standard.targets
    # One straight piece before the first and behind the last landmark, as steep as their neighbours.
    below = marks[0] - targets[0] * (marks[1] - marks[0]) / (targets[1] - targets[0])
    above = marks[-1] + (1 - targets[-1]) * (marks[-1] - marks[-2]) / (targets[-1] - targets[-2])
    return tuple(float(mark) for mark in (below, *marks, above))


def scaled(image: Array, brain: Array, marks: tuple[float, ...], places: tuple[float, ...] = THREE.places) -> Array:
    """Intensities to [0, 1] inside the brain, 0 outside; marks: those of `landmarks`, which go to `places`; float32."""
    return np.where(brain, np.interp(image, marks, places), 0).astype(np.float32)


def unscaled(values: Array, marks: tuple[float, ...], places: tuple[float, ...] = THREE.places) -> Array:
    """The way back: values in [0, 1] to intensities of the scan, float32."""
    return np.interp(values, places, marks).astype(np.float32)


def _percentiles(image: Array, brain: Array, shares: tuple[float, ...], name: str) -> Array:
    """Strictly ascending. Raises InputError where the brain shows no contrast to speak of."""
    marks = np.percentile(image[brain], shares)
    flat = marks[0] >= marks[-1] if len(shares) > len(PERCENTILES) else not (np.diff(marks) > 0).all()
    if flat:
        raise InputError(f"{name}: the brain shows hardly any contrast (percentiles {marks.round(3).tolist()}).")
    if (np.diff(marks) <= 0).any():  # few grey levels: neighbouring deciles can coincide
        marks = np.maximum.accumulate(marks) + np.arange(len(marks)) * _LEAST_STEP * (marks[-1] - marks[0])
    return np.asarray(marks)
