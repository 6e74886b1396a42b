"""From a scan as it comes to brain-only slices on the model grid, and the way back."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..io import resample
from ..progress import Progress, silent
from ..volume import Array, Volume
from .bias import correct_bias
from .brain import find_brain
from .grid import GridSettings, mask_to_grid, model_grid, to_model_grid
from .intensity import normalise

__all__ = ["PREPARATION", "GridSettings", "Prepared", "prepare"]

PREPARATION = 2  # goes up whenever the same scan would be prepared otherwise: caches and kept results of before do not count


@dataclass(frozen=True, slots=True)
class Prepared:
    """A scan made ready for a model.

    image: float32 in [0, 1], 0 outside the brain, and brain: bool, both (slices, rows, columns) on the model grid;
    scan and scan_brain: the original and its brain mask on the scan's own grid; brain_source: how the mask was found.
    """

    image: Volume
    brain: Array
    scan: Volume
    scan_brain: Array
    brain_source: str

    def to_scan(self, heatmap: Array) -> Volume:
        """A float map from the model grid to the scan's grid, linear, 0 outside the brain.

        The map knows nothing outside the model grid's brain, so its zeros there are kept out of the mean at the rim.
        """
        grid = self.scan.grid
        values = resample(self.image.with_array(heatmap.astype(np.float32)), grid)
        known = resample(self.image.with_array(self.brain.astype(np.float32)), grid)
        spread = np.where(self.scan_brain, values / np.maximum(known, 1e-3), 0)
        return self.scan.with_array(spread.astype(np.float32), "heatmap")


def prepare(
    scan: Volume,
    *,
    mask: Volume | None = None,
    settings: GridSettings | None = None,
    use_gpu: bool = False,
    progress: Progress = silent,
) -> Prepared:
    """Brain mask, bias field, model grid, intensity: in this order.

    scan: any orientation and spacing. mask: > 0 inside the brain, on the scan's grid. use_gpu: for brain extraction.
    Raises InputError and its kin when there is no usable brain.
    """
    progress(0.0, "finding the brain")
    brain, source = find_brain(scan, mask=mask, use_gpu=use_gpu)
    progress(0.5, "correcting the bias field")
    corrected = scan.with_array(correct_bias(scan, brain))
    progress(0.9, "resampling")
    brain_volume = scan.with_array(brain)
    grid = model_grid(brain_volume, settings or GridSettings())
    model_brain = mask_to_grid(brain_volume, grid)
    values = normalise(to_model_grid(corrected, grid), model_brain, name=scan.name)
    return Prepared(Volume(values, grid, scan.name), model_brain, scan, brain, source)
