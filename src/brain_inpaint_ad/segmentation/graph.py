"""The graph that Felzenszwalb's algorithm merges: pixels and what each pair of neighbours differs by, sorted once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from types import ModuleType

import numpy as np
from scipy.ndimage import gaussian_filter

from ..errors import SettingsError
from ..volume import Array

MIN_SCALE = 1e-30  # below, the algorithm's float32 numbers could not tell it from 0
MAX_SIGMA = 100.0  # pixels; beyond, a slice is one grey, and the filter takes more memory than there is

# One of the two directions of every pair, in scikit-image's order: how ties between costs fall depends on it.
_IN_PLANE = ((0, 1), (1, 0), (1, 1), (1, -1))
_OFFSETS: dict[tuple[int, int], tuple[tuple[int, ...], ...]] = {
    (2, 8): _IN_PLANE,
    (3, 6): ((0, 0, 1), (0, 1, 0), (1, 0, 0)),
    (3, 26): (*((0, *offset) for offset in _IN_PLANE), *product((1,), (-1, 0, 1), (-1, 0, 1))),
}


@dataclass(frozen=True, slots=True)
class Graph:
    """Nodes are the pixels inside a mask, in raster order.

    forest: int32 (nodes,), see kernel: edges of cost 0, which join at every scale, are in it and nowhere else;
    ends: int32 (edges, 2), nodes; costs: float64 (edges,), ascending.
    """

    forest: Array
    ends: Array
    costs: Array


def build_graph(
    image: Array,
    *,
    sigma: float,
    neighbours: int,
    spacing: tuple[float, ...] | None = None,
    mask: Array | None = None,
) -> Graph:
    """Every pair of neighbours inside the mask, with the difference of their smoothed intensities as its cost.

    image: in [0, 1], 2-D or 3-D; outside the mask it counts as 0. neighbours: 8 in 2-D, 6 or 26 in 3-D.
    spacing: mm along each axis of the image (default: equal); the smallest is the unit of sigma, and costs are
    differences per step of that length along the same direction, so that thick slices do not tear regions apart.
    In 2-D without spacing and mask this is scikit-image's graph, ties between costs included.
    """
    relative = np.ones(image.ndim) if spacing is None else np.asarray(spacing, float) / min(spacing)
    inside = np.ones(image.shape, bool) if mask is None else mask
    smooth = gaussian_filter(np.where(inside, image, 0).astype(np.float64), sigma / relative)[inside]
    pairs, costs = [], []
    for offset, here, there in _neighbours(inside, _OFFSETS[image.ndim, neighbours]):
        difference = smooth[here] - smooth[there]
        distance = np.linalg.norm(relative * offset) / np.linalg.norm(offset)  # 1 with equal spacing
        costs.append(np.sqrt(difference * difference) / distance)
        pairs.append(np.stack([here, there], axis=1))
    cost = np.concatenate(costs)
    order = np.argsort(cost)
    zeros = len(cost) - np.count_nonzero(cost)
    ends = np.concatenate(pairs)
    forest = load_kernel().join_all(ends[order[:zeros]], len(smooth))
    return Graph(forest, ends[order[zeros:]], cost[order[zeros:]])


def cut(graph: Graph, *, scale: float, min_size: int) -> Array:
    """The union-find pass alone: labels int32 (nodes,), 1…N in raster order of their first pixel.

    scale: as scikit-image counts it, in 255ths of the intensity range. Raises SettingsError where numba is missing.
    """
    least = int(min(min_size, len(graph.forest)))  # more than all there are changes nothing
    labels: Array = load_kernel().merge(graph.forest.copy(), graph.ends, graph.costs, float(scale) / 255.0, least)
    return labels


def load_kernel() -> ModuleType:
    """The compiled loops; numba is imported here and compiles, or reads what it compiled before, on first use."""
    try:
        from . import kernel
    except (ImportError, OSError) as error:  # OSError: its own libraries do not load
        raise SettingsError(
            f"superpixels in 3-D or within a mask need numba, which cannot be imported ({error}); run pip install numba, "
            "or cut whole slices (--segmentation slices)."
        ) from error
    return kernel


def is_compiled() -> bool:
    """Whether numba is there."""
    try:
        load_kernel()
    except SettingsError:
        return False
    return True


def _neighbours(inside: Array, offsets: tuple[tuple[int, ...], ...]) -> Iterator[tuple[Array, Array, Array]]:
    """For each offset: it, the nodes that have a neighbour there, and these neighbours (int32, numbers of nodes)."""
    padded = np.pad(inside, 1)
    places = np.flatnonzero(padded)
    number = np.full(padded.size, -1, np.int32)
    number[places] = np.arange(len(places), dtype=np.int32)
    strides = np.array(padded.strides) // padded.itemsize
    for offset in np.array(offsets):
        there = number[places + offset @ strides]
        here = np.flatnonzero(there >= 0).astype(np.int32)
        yield offset, here, there[here]
