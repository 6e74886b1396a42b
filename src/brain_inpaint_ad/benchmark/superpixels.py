"""The rows of Felzenszwalb's superpixels: cut cold, cut again at another scale, taken from the cache; scikit-image's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from skimage.metrics import adapted_rand_error
from skimage.segmentation import felzenszwalb as skimage_felzenszwalb

from ..prepare import Prepared
from ..result import make_recutter
from ..segmentation.felzenszwalb import felzenszwalb
from ..segmentation.graph import is_compiled
from ..segmentation.recut import Recutter, snap
from ..segmentation.select import SegmentSettings
from ..volume import Array
from .meters import seconds_of
from .race import Agreement, Sample

SLICES, BRAIN = SegmentSettings(), SegmentSettings(segmentation="volume")
OTHER_SCALE = snap(150.0)
_CPU = torch.device("cpu")
_REFERENCE = "felzenszwalb-slice-scikit-image"
_COLD_BRAIN = "felzenszwalb-brain-cold"


@dataclass(frozen=True, slots=True)
class Cutting:
    """One way of cutting. rand_error: adapted Rand error against scikit-image's regions, None where it has none."""

    name: str
    against: str
    cut: Callable[[], object]
    repeats: int
    rand_error: Callable[[], float | None] = lambda: None
    unit: str = "cuts"
    whole: int = 1

    def warm_up(self) -> None:
        """numba compiles, or reads what it compiled before."""
        self.cut()

    def measure(self, turn: int) -> Sample:
        """Every cut is a sample."""
        return Sample([seconds_of(self.cut, _CPU) for _ in range(self.repeats)], self.repeats)

    def agreement(self) -> Agreement:
        """The Rand error stands in for the difference."""
        return Agreement(self.rand_error())


def cuttings(prepared: Prepared) -> list[Cutting]:
    """Of the slice with most brain, and of the brain as one volume; without numba scikit-image's row alone."""
    index = int(prepared.brain.sum(axis=(1, 2)).argmax())
    image, inside = prepared.image.array[index], prepared.brain[index]
    rows = [Cutting(_REFERENCE, _REFERENCE, lambda: by_skimage(image, SLICES.scale), 5)]
    if not is_compiled():
        return rows
    warm = _without_cache(prepared)
    cached = make_recutter(prepared, prepared.image.array)
    other_slices, other_brain = replace(SLICES, scale=OTHER_SCALE), replace(BRAIN, scale=OTHER_SCALE)
    warm.regions(BRAIN)

    def recut() -> Array:
        labels: Array = warm.slice_regions(index, other_slices).labels[0]
        return labels

    def cold_error() -> float:
        return rand_error(by_skimage(image, SLICES.scale), felzenszwalb(image, scale=SLICES.scale))

    def recut_error() -> float:
        return rand_error(by_skimage(image, OTHER_SCALE)[inside], recut()[inside])

    return [
        *rows,
        Cutting("felzenszwalb-slice-cold", _REFERENCE, lambda: felzenszwalb(image, scale=SLICES.scale), 5, cold_error),
        Cutting("felzenszwalb-slice-recut", _REFERENCE, recut, 5, recut_error),
        Cutting(_COLD_BRAIN, _COLD_BRAIN, lambda: _without_cache(prepared).regions(BRAIN), 1),
        Cutting("felzenszwalb-brain-recut", _COLD_BRAIN, lambda: warm.regions(other_brain), 3),
        Cutting("felzenszwalb-cached", _COLD_BRAIN, lambda: cached.regions(BRAIN), 5),
    ]


def by_skimage(image: Array, scale: float) -> Array:
    """What `felzenszwalb` promises to equal."""
    values = image.astype(np.float64)
    options = {"sigma": SLICES.sigma, "min_size": SLICES.min_size}
    regions: Array = skimage_felzenszwalb(values, scale=scale, channel_axis=None, **options)
    return regions


def rand_error(expected: Array, found: Array) -> float:
    """0 for equal partitions, whatever their labels."""
    # It leaves out label 0.
    return float(adapted_rand_error(expected + 1, found + 1)[0])  # type: ignore[no-untyped-call]


def _without_cache(prepared: Prepared) -> Recutter:
    """Remembers the graph, and no cut."""
    columns, rows, slices = prepared.image.grid.spacing
    heat = prepared.image.array  # any will do
    return Recutter(prepared.image.array, prepared.brain, heat, spacing=(slices, rows, columns), cache_bytes=0)
