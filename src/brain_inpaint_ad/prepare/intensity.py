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
    marks = np.percentile(image[brain], PERCENTILES)
    if not (marks[0] < marks[1] < marks[2]):
        raise InputError(f"{name}: the brain shows hardly any contrast (percentiles {marks.round(3).tolist()}).")
    # One straight piece before the first and behind the last landmark, as steep as their neighbours.
    below = marks[0] - TARGETS[0] * (marks[1] - marks[0]) / (TARGETS[1] - TARGETS[0])
    above = marks[2] + (1 - TARGETS[2]) * (marks[2] - marks[1]) / (TARGETS[2] - TARGETS[1])
    scaled = np.interp(image, (below, *marks, above), (0.0, *TARGETS, 1.0))
    return np.where(brain, scaled, 0).astype(np.float32)
