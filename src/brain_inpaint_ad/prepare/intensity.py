"""Intensities of any scanner to one scale in [0, 1].

T1 scanners differ in gain and in the contrast of grey to white matter, so three percentiles of the brain are mapped to
fixed places by straight pieces (Nyúl & Udupa 1999, with three landmarks).
"""

from __future__ import annotations

import numpy as np

from ..errors import InputError
from ..volume import Array

PERCENTILES = (1.0, 50.0, 99.0)
TARGETS = (0.10, 0.62, 0.95)  # near the means of the IXI training scans after division by their maximum


def normalise(image: Array, brain: Array, *, name: str = "scan") -> Array:
    """Brain voxels to [0, 1], 0 outside. image: float, brain: bool of the same shape; returns float32."""
    return scaled(image, brain, landmarks(image, brain, name=name))


def landmarks(image: Array, brain: Array, *, name: str = "scan") -> tuple[float, ...]:
    """The five intensities that go to 0, TARGETS and 1, ascending."""
    marks = np.percentile(image[brain], PERCENTILES)
    if not (marks[0] < marks[1] < marks[2]):
        raise InputError(f"{name}: the brain shows hardly any contrast (percentiles {marks.round(3).tolist()}).")
    # One straight piece before the first and behind the last landmark, as steep as their neighbours.
    below = marks[0] - TARGETS[0] * (marks[1] - marks[0]) / (TARGETS[1] - TARGETS[0])
    above = marks[2] + (1 - TARGETS[2]) * (marks[2] - marks[1]) / (TARGETS[2] - TARGETS[1])
    return tuple(float(mark) for mark in (below, *marks, above))


def scaled(image: Array, brain: Array, marks: tuple[float, ...]) -> Array:
    """Intensities to [0, 1] inside the brain, 0 outside; marks: those of `landmarks`; returns float32."""
    return np.where(brain, np.interp(image, marks, (0.0, *TARGETS, 1.0)), 0).astype(np.float32)


def unscaled(values: Array, marks: tuple[float, ...]) -> Array:
    """The way back: values in [0, 1] to intensities of the scan, float32."""
    return np.interp(values, (0.0, *TARGETS, 1.0), marks).astype(np.float32)
