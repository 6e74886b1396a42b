"""What to do when a detector runs out of memory: smaller batches, then the CPU, each with a warning; then give up."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any, TypeVar

import torch

from ..memory import full_memory_told
from ..prepare import Prepared
from ..progress import Progress
from ..volume import Array
from . import Detector

LEAST_MB = 1.0  # for the maps of slices; one slice is always in work
_LOG = logging.getLogger(__name__)
_Detector = TypeVar("_Detector", bound=Detector)
_Answer = TypeVar("_Answer")


def heat_within_memory(detector: Detector, prepared: Prepared, *, progress: Progress) -> Array:
    """The detector's heatmap, by smaller steps where memory is full."""
    return within_memory(detector, lambda smaller: smaller.heatmap(prepared, progress=progress))[0]


def within_memory(detector: _Detector, work: Callable[[_Detector], _Answer]) -> tuple[_Answer, _Detector]:
    """`work` done with the detector, or with one that takes less memory; and the detector it was done with.

    Raises MemoryError when none fits. Other batches round otherwise in bfloat16, and so does another device: heat then
    differs by about 1 in 1,000.
    """
    try:
        return _tried(detector, work), detector
    except MemoryError as error:
        full = error
    for smaller, how in _smaller(detector):
        _LOG.warning("Memory was full; trying again %s.", how)
        try:
            return _tried(smaller, work), smaller
        except MemoryError as error:
            full = error
        finally:
            with suppress(torch.OutOfMemoryError):
                _with(detector)  # whose network may have been moved to the CPU, and may be asked again
    raise full


def _tried(detector: _Detector, work: Callable[[_Detector], _Answer]) -> _Answer:
    try:
        with full_memory_told():
            return work(detector)
    except MemoryError:
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        raise


def _smaller(detector: _Detector) -> Iterator[tuple[_Detector, str]]:
    """With ever smaller batches, where the detector has any; at last on the CPU, with those of the beginning."""
    bound = float(getattr(detector, "memory_mb", 0.0))
    while bound / 4 >= LEAST_MB:
        bound /= 4
        yield _with(detector, memory_mb=bound), f"with smaller batches (maps of {bound:.0f} MB)"
    batch = int(getattr(detector, "batch", 0))
    while batch > 1:
        batch //= 4
        yield _with(detector, batch=max(1, batch)), f"with smaller batches ({max(1, batch)} slices)"
    device = getattr(detector, "device", None)  # baselines have none
    if device is not None and device.type != "cpu":
        yield _with(detector, device=torch.device("cpu")), "on the CPU, which is slower"


def _with(detector: _Detector, **changes: Any) -> _Detector:
    return replace(detector, **changes)  # type: ignore[type-var]
