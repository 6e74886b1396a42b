"""From a scan as it comes to brain-only slices on the model grid, and the way back."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..io import resample
from ..progress import Progress, part_of, silent
from ..volume import Array, Volume
from .bias import box_around, correct_bias, counted_from, zero_of
from .brain import find_brain
from .extraction import AUTO
from .grid import GridSettings, mask_to_grid, model_grid, to_model_grid
from .intensity import THREE, landmarks, scaled, unscaled

__all__ = ["PREPARATION", "GridSettings", "Prepared", "prepare"]

# Goes up whenever ordinary scans would be prepared otherwise: caches and kept results of before do not count. It did not when
# shifted intensities came to be corrected from their zero: all others are prepared as before.
PREPARATION = 2


@dataclass(frozen=True, slots=True)
class Prepared:
    """A scan made ready for a model.

    image: float32 in [0, 1], 0 outside the brain, and brain: bool, both (slices, rows, columns) on the model grid;
    scan and scan_brain: the original and its brain mask on the scan's own grid; brain_source: how the mask was found;
    landmarks: the scan's intensities, without its bias field, that became `places`, both ascending (default: themselves, for
    images that come from no scan); doubts: of `mask_doubts`, where somebody looked.
    """

    image: Volume
    brain: Array
    scan: Volume
    scan_brain: Array
    brain_source: str
    landmarks: tuple[float, ...] = THREE.places
    doubts: tuple[str, ...] = ()
    places: tuple[float, ...] = THREE.places

    def in_scan_units(self, image: Array) -> Array:
        """Values as `self.image` has them, [0, 1], to intensities of the bias-corrected scan; float32, 0 outside the brain."""
        return np.where(self.brain, unscaled(image, self.landmarks, self.places), np.float32(0))

    def to_scan(self, heatmap: Array, name: str = "heatmap") -> Volume:
        """A float map from the model grid to the scan's grid, linear, 0 outside the brain.

        The map knows nothing outside the model grid's brain, so its zeros there are kept out of the mean at the rim.
        """
        box = box_around(self.scan_brain, (0, 0, 0))
        grid = self.scan.grid.part(box)
        values = resample(self.image.with_array(heatmap.astype(np.float32)), grid)
        known = resample(self.image.with_array(self.brain.astype(np.float32)), grid)
        spread = np.zeros(self.scan.grid.shape, np.float32)
        spread[box] = np.where(self.scan_brain[box], values / np.maximum(known, 1e-3), 0)
        return self.scan.with_array(spread, name)


def prepare(
    scan: Volume,
    *,
    mask: Volume | None = None,
    settings: GridSettings | None = None,
    extraction: str = AUTO,
    use_gpu: bool = False,
    progress: Progress = silent,
) -> Prepared:
    """Brain mask, bias field, model grid, intensity: in this order.

    scan: any orientation and spacing. mask: > 0 inside the brain, on the scan's grid. extraction: for scans without a mask, see
    extraction.extractor_of; use_gpu: for it.
    Raises InputError and its kin when there is no usable brain.
    """
    progress(0.0, "finding the brain")
    brain, source = find_brain(scan, mask=mask, extraction=extraction, use_gpu=use_gpu, progress=part_of(progress, 0.0, 0.5))
    progress(0.5, "correcting the bias field")
    zero = zero_of(scan, brain)
    counted = counted_from(zero, scan)
    corrected = scan.with_array(correct_bias(counted, brain))
    progress(0.9, "resampling")
    brain_volume = scan.with_array(brain)
    settings = settings or GridSettings()
    grid = model_grid(brain_volume, settings)
    model_brain = mask_to_grid(brain_volume, grid)
    coarse = to_model_grid(corrected, grid)
    marks, places = landmarks(coarse, model_brain, name=scan.name, standard=settings.standard), settings.standard.places
    values = scaled(coarse, model_brain, marks, places)
    gain = _gain(counted.array[brain], corrected.array[brain])
    marks = tuple(gain * mark + zero for mark in marks)
    return Prepared(Volume(values, grid, scan.name), model_brain, scan, brain, source, marks, places=places)


def _gain(values: Array, corrected: Array) -> float:
    """The factor that brings corrected values nearest to those of the scan: N4 leaves the scale of its field open."""
    values, corrected = values.astype(np.float64), corrected.astype(np.float64)
    return float(values @ corrected / (corrected @ corrected))
