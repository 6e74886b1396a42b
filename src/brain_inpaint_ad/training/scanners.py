"""How one brain would look on other scanners: blur, thick slices, contrast, shading, noise."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter

from ..volume import Array
from .implants import coarse_noise, smooth_noise


def other_scanner(image: Array, brain: Array, rng: np.random.Generator) -> Array:
    """image: (slices, rows, columns), 0 outside the brain; returns the same brain with another look, to be normalised again."""
    seen = image
    if rng.random() < 0.6:
        seen = gaussian_filter(seen, rng.uniform(0.2, 0.9))
    if rng.random() < 0.5:
        thick = [0.0, 0.0, 0.0]
        thick[rng.integers(3)] = rng.uniform(0.5, 1.6)
        seen = gaussian_filter(seen, thick)
    if seen is not image:  # the rim was mixed with the dark outside
        seen = seen / np.maximum(gaussian_filter(brain.astype(np.float32), 0.8), 0.3)
    seen = np.clip(np.where(brain, seen, 0), 0, 1.2) ** np.exp(rng.uniform(-0.3, 0.3))
    if rng.random() < 0.7:
        seen = seen * np.exp(rng.uniform(0.02, 0.12) * coarse_noise(seen.shape, rng, 30))
    if rng.random() < 0.7:
        seen = seen + rng.uniform(0.005, 0.035) * smooth_noise(seen.shape, rng, rng.uniform(0.3, 0.9))
    return np.where(brain, np.clip(seen, 0, None), 0).astype(np.float32)
