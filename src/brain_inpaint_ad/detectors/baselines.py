"""Detectors without a network: what a model must beat."""

from __future__ import annotations

import numpy as np

from ..prepare import Prepared
from ..progress import Progress, silent
from ..volume import Array


class IntensityDetector:
    """How far a voxel's intensity lies from the brain's median, in either direction."""

    def heatmap(self, prepared: Prepared, *, progress: Progress = silent) -> Array:
        """|intensity − median| of the prepared scan, float32 (slices, rows, columns), 0 outside the brain."""
        progress(0.0, "comparing intensities")
        image, brain = prepared.image.array, prepared.brain
        return np.where(brain, np.abs(image - np.median(image[brain])), 0).astype(np.float32)
