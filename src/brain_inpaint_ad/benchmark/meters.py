"""Seconds and megabytes."""

from __future__ import annotations

import ctypes
import gc
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

_PROCESS = Path("/proc/self")


def now(device: torch.device) -> float:
    """Seconds on a clock, read when the device has done all it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
    return time.perf_counter()


def seconds_of(work: Callable[[], object], device: torch.device) -> float:
    """How long `work` takes, until the device has done all of it."""
    begun = now(device)
    work()
    return now(device) - begun


@dataclass(slots=True)
class Peak:
    """mb: most memory taken at once, beyond what was taken before; None where the system does not tell."""

    mb: float | None = None


@contextmanager
def peak_memory(device: torch.device) -> Iterator[Peak]:
    """Memory that the block takes on the device: resident memory of the process (Linux), or what torch holds on CUDA."""
    peak = Peak()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        yield peak
        peak.mb = (torch.cuda.max_memory_allocated(device) - before) / 1e6
    elif device.type == "cpu" and _forget_peak():
        before = _status_bytes("VmRSS")
        yield peak
        peak.mb = max(0, _status_bytes("VmHWM") - before) / 1e6
    else:
        yield peak


def _forget_peak() -> bool:
    """Give unused memory back and start the high-water mark anew; False where that is not possible."""
    if not sys.platform.startswith("linux"):
        return False
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's
    if trim is not None:
        trim(0)
    try:
        (_PROCESS / "clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return False
    return True


def _status_bytes(name: str) -> int:
    for line in (_PROCESS / "status").read_text(encoding="ascii", errors="replace").splitlines():
        key, _, value = line.partition(":")
        if key == name:
            return int(value.split()[0]) * 1024
    return 0
