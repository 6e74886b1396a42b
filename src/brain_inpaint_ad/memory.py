"""How much memory a scan will take, known from its size before a voxel is read."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from .errors import InputError, SettingsError

BASE_MB = 1300.0  # Python, torch, brain extraction and all that happens on the model's grid
BYTES_PER_VOXEL = 40.0  # at the peak of a run: measured, rounded up (docs/robustness.md)
SMALL = 1.0  # million voxels, a head at 2 mm; with room for less, no resampling helps
# How ITK, torch, cuDNN and cuBLAS say so, beside MemoryError.
_FULL = re.compile(r"(?i)\ballocat|bad_alloc|alloc_failed|out of memory|not enough memory")


@dataclass(frozen=True, slots=True)
class MemoryBound:
    """What a run may take. limit_mb: in all; is_free: it is what this machine has free, not what the user said."""

    limit_mb: float
    is_free: bool = False

    def check(self, size: Sequence[int], name: str) -> None:
        """Raises InputError when a scan of this size (voxels along each axis) would take more. name: for the message."""
        needed = needed_mb(size)
        if needed <= self.limit_mb:
            return
        sizes = "×".join(map(str, size))
        whose = "this machine has free" if self.is_free else "that are allowed"
        most = math.floor(10 * (self.limit_mb - BASE_MB) / BYTES_PER_VOXEL) / 10 if self.limit_mb < math.inf else math.inf
        smaller = f"resample it to {most:.1f} million voxels first (models work at 2 mm) or " if most >= SMALL else ""
        raise InputError(
            f"{name} holds {sizes} voxels and would take about {needed:.0f} MB of memory, more than the {self.limit_mb:.0f} MB "
            f"{whose}; {smaller}{'close other programs' if self.is_free else 'allow more with --max-memory'}."
        )

    def maps_mb(self, usual_mb: float) -> float:
        """For the maps of slices: as usual, less where the user allows little. What is free by chance changes no result."""
        return usual_mb if self.is_free else min(usual_mb, self.limit_mb / 4)


def memory_bound(wish_mb: float | None) -> MemoryBound:
    """The user's wish, or what is free. Raises SettingsError for a wish that is none."""
    if wish_mb is None:
        return MemoryBound(free_mb(), is_free=True)
    if not wish_mb > 0:
        raise SettingsError(f"the memory must be above 0 MB, got {wish_mb:g}.")
    return MemoryBound(wish_mb)


def needed_mb(size: Sequence[int]) -> float:
    """Peak of a run in MB (1e6 bytes). size: voxels along each axis."""
    return BASE_MB + BYTES_PER_VOXEL * math.prod(size) / 1e6


def free_mb() -> float:
    """Free for this process, a container's bound included; infinite where the system does not tell."""
    known = [_of_machine(), _of_container()]
    return min((mb for mb in known if mb is not None), default=math.inf)


@contextmanager
def full_memory_told() -> Iterator[None]:
    """Libraries' own ways to say that there is no memory left become MemoryError."""
    try:
        yield
    except RuntimeError as error:
        if _FULL.search(str(error)):
            raise MemoryError from error
        raise


def _of_machine() -> float | None:
    with suppress(OSError, ValueError, AttributeError):
        found = re.search(r"MemAvailable:\s+(\d+) kB", Path("/proc/meminfo").read_text(encoding="ascii"))
        if found:
            return int(found[1]) * 1024 / 1e6
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e6
    return None


def _of_container() -> float | None:
    """Linux control groups, version 2; files that were read and can be forgotten do not count as used."""
    folder = Path("/sys/fs/cgroup")
    with suppress(OSError, ValueError):
        limit, used = (int((folder / f"memory.{name}").read_text(encoding="ascii")) for name in ("max", "current"))
        cached = re.search(r"^inactive_file (\d+)$", (folder / "memory.stat").read_text(encoding="ascii"), re.MULTILINE)
        return max(0.0, (limit - used + (int(cached[1]) if cached else 0)) / 1e6)
    return None
