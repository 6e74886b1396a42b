"""The one loop that numba compiles: graph merging over edges that are already sorted.

Importing this module imports numba, and fails as that fails; `graph.load_kernel` is the way in.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, cast

import numpy as np
from numba import njit

from ..volume import Array

Function = TypeVar("Function", bound=Callable[..., object])


def _compiled(function: Function) -> Function:
    """nogil, so that other threads go on; kept on disk, where there is a place that can be written."""
    try:
        return cast(Function, njit(cache=True, nogil=True)(function))
    except RuntimeError:  # numba found no such place
        return cast(Function, njit(nogil=True)(function))


@_compiled
def _root(forest: Array, node: int) -> int:
    """forest: the parent of a node, or, at a root, minus the number of nodes below it. Halves the path it goes."""
    parent: int = forest[node]
    while parent >= 0:
        above: int = forest[parent]
        if above < 0:
            return parent
        forest[node] = above
        node = above
        parent = forest[node]
    return node


@_compiled
def _join(forest: Array, a: int, b: int) -> int:
    """Make one tree of two; its root is the first node in raster order."""
    if a > b:
        a, b = b, a
    forest[a] += forest[b]
    forest[b] = a
    return a


@_compiled
def join_all(ends: Array, nodes: int) -> Array:
    """The forest, int32 (nodes,), in which every edge lies within a tree. ends: int32 (edges, 2)."""
    forest = np.full(nodes, -1, np.int32)
    for edge in range(len(ends)):
        a, b = _root(forest, ends[edge, 0]), _root(forest, ends[edge, 1])
        if a != b:
            _join(forest, a, b)
    return forest


@_compiled
def merge(forest: Array, ends: Array, costs: Array, scale: float, min_size: int) -> Array:
    """Labels int32 (nodes,), 1…N in the order of the nodes. Felzenszwalb & Huttenlocher 2004, algorithm 1.

    forest: what edges of cost 0 have joined, overwritten; ends: int32 (edges, 2); costs: float64 (edges,), ascending;
    scale: in units of the costs. Limits are rounded to float32 as scikit-image rounds them: the partition depends on it.
    """
    limits = np.empty(len(forest), np.float32)  # below which cost a root takes part in a merger
    for node in range(len(forest)):
        limits[node] = np.float32(-scale / forest[node]) if forest[node] < 0 else np.float32(0)
    refused = np.empty(len(costs), np.int32)
    count = 0
    for edge in range(len(costs)):
        a, b = _root(forest, ends[edge, 0]), _root(forest, ends[edge, 1])
        if a == b:
            continue
        cost = costs[edge]
        if cost < limits[a] and cost < limits[b]:
            a = _join(forest, a, b)
            limits[a] = np.float32(cost - scale / forest[a])
        else:
            refused[count] = edge
            count += 1
    _join_small(forest, ends, refused[:count], min_size)
    return _numbered(forest)


@_compiled
def _join_small(forest: Array, ends: Array, refused: Array, min_size: int) -> None:
    """Trees below min_size join the neighbour of least cost. Edges that were not refused lie within a tree already."""
    small = 0
    for node in range(len(forest)):
        if -min_size < forest[node] < 0:
            small += 1
    for edge in refused:
        if small == 0:
            break
        a, b = _root(forest, ends[edge, 0]), _root(forest, ends[edge, 1])
        if a != b and (forest[a] > -min_size or forest[b] > -min_size):
            small -= (forest[a] > -min_size) + (forest[b] > -min_size)
            a = _join(forest, a, b)
            small += forest[a] > -min_size


@_compiled
def number_pairs(first: Array, second: Array) -> Array:
    """Labels int32 (nodes,), 1…N in the order of the nodes, alike where both are. first, second: int32 (nodes,), 0 or more."""
    slots = 2
    while slots < 2 * len(first):
        slots *= 2
    keys, numbers = np.full(slots, -1, np.int64), np.empty(slots, np.int32)  # an open hash table
    labels = np.empty(len(first), np.int32)
    count = 0
    for node in range(len(first)):
        key = np.int64(first[node]) << 32 | np.int64(second[node])
        slot = (first[node] * np.int64(73856093) ^ second[node] * np.int64(19349663)) & (slots - 1)
        while keys[slot] != key and keys[slot] >= 0:
            slot = (slot + 1) & (slots - 1)
        if keys[slot] < 0:
            count += 1
            keys[slot], numbers[slot] = key, count
        labels[node] = numbers[slot]
    return labels


@_compiled
def _numbered(forest: Array) -> Array:
    labels = np.empty(len(forest), np.int32)
    count = 0
    for node in range(len(forest)):  # a parent comes before its children
        if forest[node] < 0:
            count += 1
            labels[node] = count
        else:
            labels[node] = labels[forest[node]]
    return labels
