"""Superpixels of a prepared scan: of every slice by itself, or of the brain as one volume."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from threading import Lock

import numpy as np

from ..progress import Progress, silent
from ..volume import Array
from .felzenszwalb import check_image, check_spacing, felzenszwalb
from .graph import Graph, build_graph, cut, is_compiled, load_kernel
from .residual import smoothed
from .select import SEGMENTATIONS, SegmentSettings

# Of "scales", as multiples of the scale that is set: 9, 19, 38, 75. On the BraTS validation cases (level and texture) they
# had Dice 0.50, and −1 to +1 octaves 0.46.
FINER = (0.125, 0.25, 0.5, 1.0)
_IN_3D = ("volume", "scales")


def possible_segmentations() -> tuple[str, ...]:
    """Those that can be made here: volumes need numba."""
    return tuple(name for name in SEGMENTATIONS if name not in _IN_3D or is_compiled())


def check_kernel(settings: SegmentSettings) -> None:
    """Raises SettingsError when the cut needs numba and it is missing."""
    if settings.segmentation in _IN_3D:
        load_kernel()


@dataclass(frozen=True, slots=True)
class Cut:
    """Regions without the empty space around the brain. labels: int32, of its voxels in raster order."""

    labels: Array
    heat: Array
    slices: Array

    @property
    def nbytes(self) -> int:
        """Memory it takes."""
        return int(self.labels.nbytes + self.heat.nbytes + self.slices.nbytes)


class Cutter:
    """One scan on the model grid, and the graphs of it for the last sigma. May be used from several threads."""

    def __init__(
        self, image: Array, brain: Array, heatmap: Array, *, spacing: tuple[float, float, float] | None = None
    ) -> None:
        """Arrays (slices, rows, columns); image: [0, 1]; spacing: mm along these axes, for the volume (default: equal)."""
        check_image(image)
        check_spacing(spacing, image.ndim)
        self.brain = brain
        self._image, self._spacing, self._heatmap = image, spacing, heatmap
        self._heat = heatmap[brain]
        self._graphs: dict[int | None, Graph] = {}
        self._sigma = -1.0
        self._lock = Lock()

    def cut(self, settings: SegmentSettings, *, progress: Progress = silent) -> Cut:
        """Edges that are sorted already are not sorted again: then this is the union-find pass alone."""
        if settings.segmentation == "volume":
            progress(0.0, "cutting superpixels")
            labels = cut(self._graph(settings.sigma, None), scale=settings.scale, min_size=settings.min_size)
            heat = _mean_heat(labels, self._heat)
            return Cut(labels, heat, np.zeros(len(heat), dtype=np.intp))
        if settings.segmentation == "scales":
            return self._over_scales(settings, progress)
        if settings.segmentation == "residual":
            return self._voxels(settings, progress)
        parts, slices = [np.zeros(0, dtype=np.int32)], [0]
        for index in np.flatnonzero(self.brain.any(axis=(1, 2))).tolist():
            progress(index / len(self.brain), "cutting superpixels")
            within = self._slice_labels(index, settings)
            parts.append(within + np.int32(len(slices) - 1))
            slices += [index] * int(within.max())
        labels = np.concatenate(parts)
        return Cut(labels, _mean_heat(labels, self._heat), np.asarray(slices))

    def cut_slice(self, index: int, settings: SegmentSettings) -> Cut:
        """One slice by itself, its regions numbered from 1."""
        labels = self._slice_labels(index, settings)
        before = np.count_nonzero(self.brain[:index])
        heat = _mean_heat(labels, self._heat[before : before + len(labels)])
        return Cut(labels, heat, np.zeros(len(heat), dtype=np.intp))

    def _over_scales(self, settings: SegmentSettings, progress: Progress) -> Cut:
        """What all the scales' cuts divide: parts that are whole in each, as warm as their regions are on average."""
        labels, heat = np.zeros(len(self._heat), dtype=np.int32), np.zeros(len(self._heat))
        progress(0.0, "cutting superpixels")
        wanted = [replace(settings, segmentation="volume", scale=times * settings.scale) for times in FINER]
        with ThreadPoolExecutor(len(FINER)) as pool:  # the kernel holds no lock: with four cores they take the time of one
            for number, one in enumerate(pool.map(self.cut, wanted)):
                progress(number / len(FINER), "cutting superpixels")
                heat += one.heat[one.labels] / len(FINER)
                labels = load_kernel().number_pairs(labels, one.labels)
        mean = _mean_heat(labels, heat)
        return Cut(labels, mean, np.zeros(len(mean), dtype=np.intp))

    def _voxels(self, settings: SegmentSettings, progress: Progress) -> Cut:
        """Every voxel a region of its own, as warm as the median around it."""
        steps = {"median": settings.median, "erosion": settings.erosion}
        heat = np.append(0, smoothed(self._heatmap, self.brain, **steps, progress=progress)).astype(np.float32)
        heat.setflags(write=False)
        return Cut(np.arange(1, len(heat), dtype=np.int32), heat, np.zeros(len(heat), dtype=np.intp))

    def _slice_labels(self, index: int, settings: SegmentSettings) -> Array:
        """Of the brain's pixels, 1…n. The whole slice is cut, background included: thresholds are calibrated on that."""
        inside, scale, min_size = self.brain[index], settings.scale, settings.min_size
        if is_compiled():
            labels = cut(self._graph(settings.sigma, index), scale=scale, min_size=min_size)[inside.ravel()]
        else:
            labels = felzenszwalb(self._image[index], scale=scale, sigma=settings.sigma, min_size=min_size)[inside]
        rank: Array = np.cumsum(np.bincount(labels) > 0, dtype=np.int32)
        return np.asarray(rank[labels])

    def _graph(self, sigma: float, index: int | None) -> Graph:
        """Of one slice, or of the brain's voxels when index is None."""
        with self._lock:
            if sigma != self._sigma:
                self._graphs.clear()
                self._sigma = sigma
            if index not in self._graphs:
                self._graphs[index] = self._build(sigma, index)
            return self._graphs[index]

    def _build(self, sigma: float, index: int | None) -> Graph:
        if index is not None:
            return build_graph(self._image[index], sigma=sigma, neighbours=8)
        return build_graph(self._image, sigma=sigma, neighbours=6, spacing=self._spacing, mask=self.brain)


def _mean_heat(labels: Array, heat: Array) -> Array:
    """Of each label; 0 for label 0. Read-only, as a cache may hand it out twice."""
    counts = np.bincount(labels, minlength=1)
    mean: Array = np.bincount(labels, weights=heat, minlength=1) / np.maximum(counts, 1)
    mean.setflags(write=False)
    return mean
