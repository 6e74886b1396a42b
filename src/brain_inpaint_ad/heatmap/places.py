"""Windows of one place in many slices: how they are batched, shared out to threads, and laid into what is already known."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.nn import functional

from ..progress import Progress
from .region import Region

MARGIN = 1  # zeros around every feature map: what the next convolution sees beyond the border
_CPU_BATCH = 32  # windows at once and thread: their features stay in the cache (measured: 16 to 64 are alike, more is slower)
_GPU_BATCH = 1024
_Job = TypeVar("_Job")
_Answer = TypeVar("_Answer")
Submit = Callable[[Callable[[_Job], _Answer], Iterable[_Job]], Iterator[_Answer]]  # as map


@dataclass(frozen=True, slots=True)
class Place:
    """Windows with the same corner: which of them, and the slices they lie in."""

    top: int
    left: int
    which: Tensor
    slices: Tensor


def refreshed(whole: Tensor, place: Place, wanted: Region, fresh: Tensor, region: Region) -> Tensor:
    """`wanted` of a level of the unmasked slices, with `fresh` in its `region`: (n, channels, rows, columns)."""
    if region == wanted:
        return fresh
    rows, columns = slice(wanted.top + MARGIN, wanted.bottom + MARGIN), slice(wanted.left + MARGIN, wanted.right + MARGIN)
    patch = whole[:, rows, columns].index_select(0, place.slices).permute(0, 3, 1, 2)  # memory stays channels last
    patch[(..., *region.within(wanted))] = fresh
    return patch


def places_of(corners: Tensor, picked: Tensor, first_slice: int, device: torch.device) -> Iterator[Place]:
    """The picked windows by corner, in batches."""
    batch = _CPU_BATCH if device.type == "cpu" else _GPU_BATCH
    chosen = corners[picked.to(corners.device)].cpu()
    _, place_of, counts = chosen[:, 1:].unique(dim=0, return_inverse=True, return_counts=True)
    for group in place_of.argsort(stable=True).split(counts.tolist()):
        top, left = chosen[group[0], 1:].tolist()
        for part in group.split(batch):
            slices = (chosen[part, 0] - first_slice).to(device)
            yield Place(top, left, picked[part].to(corners.device), slices)


def slices_within(memory_mb: float, bytes_per_slice: int, slices: int) -> int:
    """How many slices' maps fit at once, 1 at least."""
    return int(max(1, min(slices, memory_mb * 1e6 / bytes_per_slice)))


def counted(progress: Progress, total: int, stage: str) -> Callable[[int], None]:
    """Reports how many of `total` are done, told how many more each time."""
    done = 0

    def report(more: int) -> None:
        nonlocal done
        done += more
        progress(done / total if total else 1.0, stage)

    return report


@contextmanager
def workers(device: torch.device) -> Iterator[Submit[Any, Any]]:
    """How jobs are done: on the CPU one per core at a time, because single windows are too small to share out."""
    threads = torch.get_num_threads()
    if device.type != "cpu" or threads == 1:
        yield map
        return
    pool = ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,))
    try:
        yield lambda work, jobs: _in_order(pool, work, jobs, ahead=2 * threads)
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(threads)


def _in_order(
    pool: ThreadPoolExecutor, work: Callable[[_Job], _Answer], jobs: Iterable[_Job], *, ahead: int
) -> Iterator[_Answer]:
    """As map, with at most `ahead` answers waiting."""
    waiting: deque[Future[_Answer]] = deque()
    for job in jobs:
        waiting.append(pool.submit(work, job))
        if len(waiting) > ahead:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def framed(features: Tensor) -> Tensor:
    """(n, channels, rows, columns) to (n, rows, columns, channels) with a margin of zeros."""
    return functional.pad(features.permute(0, 2, 3, 1), (0, 0, MARGIN, MARGIN, MARGIN, MARGIN)).contiguous()
