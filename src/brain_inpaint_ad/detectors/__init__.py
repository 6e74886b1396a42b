"""Detectors: prepared scan in, heatmap out."""

from __future__ import annotations

from typing import Protocol

from ..prepare import Prepared
from ..progress import Progress
from ..volume import Array


class Detector(Protocol):
    """Explains what is unusual in one prepared brain."""

    def heatmap(self, prepared: Prepared, *, progress: Progress) -> Array:
        """Heat per voxel of the model grid, float32 (slices, rows, columns), 0 outside the brain."""
