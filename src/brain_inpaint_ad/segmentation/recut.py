"""The same scan cut again and again: with another scale only the union-find pass runs, or nothing at all."""

from __future__ import annotations

import math
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from threading import Event, Thread
from typing import Any

import numpy as np

from ..errors import Cancelled, SettingsError
from ..progress import Progress, silent
from ..volume import Array
from .cache import Cache
from .regions import Cut, Cutter, check_kernel
from .select import Regions, SegmentSettings

STEPS_PER_OCTAVE = 12  # neighbouring scales differ by 6 %
DEFAULT_SCALE = SegmentSettings().scale


def snap(scale: float) -> float:
    """The nearest of the scales 75·2^(n/12): a slider that stops only there finds its cuts in the cache again.

    Raises SettingsError for a scale that is none.
    """
    if not 0 < scale < math.inf:
        raise SettingsError(f"the scale must be above 0 and finite, got {scale:g}")
    steps = round(STEPS_PER_OCTAVE * math.log2(scale / DEFAULT_SCALE))
    return float(DEFAULT_SCALE * 2.0 ** (steps / STEPS_PER_OCTAVE))


def cut_regions(
    image: Array,
    brain: Array,
    heatmap: Array,
    settings: SegmentSettings,
    *,
    spacing: tuple[float, float, float] | None = None,
    progress: Progress = silent,
) -> Regions:
    """One cut, where no other will follow. Arguments as those of Recutter."""
    return Recutter(image, brain, heatmap, spacing=spacing, cache_bytes=0).regions(settings, progress=progress)


class Recutter:
    """Superpixels of one prepared scan with its heatmap, at any settings; exact, whatever was cut before.

    Holds the sorted edges for the last sigma, 16 bytes each (60 MB for all slices of a head at 2 mm, 72 MB for a brain as one
    volume at 1 mm), and the last cuts up to `cache_bytes` (at 1 mm 6 MB each). May be used from several threads. A copy,
    pickled ones included, begins with nothing cut.
    """

    def __init__(
        self,
        image: Array,
        brain: Array,
        heatmap: Array,
        *,
        spacing: tuple[float, float, float] | None = None,
        cache_bytes: int = 256 * 2**20,
    ) -> None:
        """Arrays (slices, rows, columns); image: [0, 1], 0 outside the brain; spacing: mm along these axes."""
        self._made_from = image, brain, heatmap, spacing, cache_bytes
        self._cutter = Cutter(image, brain, heatmap, spacing=spacing)
        self._cuts: Cache[Cut] = Cache(cache_bytes)
        self._stop = Event()

    def __reduce__(self) -> tuple[Any, ...]:
        return _remade, self._made_from

    def is_made_from(self, image: Array, brain: Array, heatmap: Array) -> bool:
        """Whether it cuts these very arrays."""
        return all(own is given for own, given in zip(self._made_from, (image, brain, heatmap), strict=False))

    def regions(self, settings: SegmentSettings, *, progress: Progress = silent) -> Regions:
        """Superpixels of every slice that shows brain, or of the volume, as the settings say."""
        return _spread(self._cut(settings, progress), self._cutter.brain)

    def slice_regions(self, index: int, settings: SegmentSettings) -> Regions:
        """Superpixels that one slice shows, labels (1, rows, columns): quick enough to follow a slider.

        Slices are cut by themselves and their regions numbered from 1; of a volume the slice is taken from its cut.
        """
        brain = self._cutter.brain[index : index + 1]
        if settings.segmentation == "slices":
            return _spread(self._cutter.cut_slice(index, settings), brain)
        whole, before = self._cut(settings, silent), np.count_nonzero(self._cutter.brain[:index])
        return _spread(replace(whole, labels=whole.labels[before : before + np.count_nonzero(brain)]), brain)

    def warm(self, scales: Iterable[float], settings: SegmentSettings) -> Thread:
        """Cut at these scales in the background, in this order, until the cache is full; ends what was being warmed.

        Returns the thread, for those who want to wait for it. Raises SettingsError when a scale is none.
        """
        check_kernel(settings)
        wanted = [replace(settings, scale=scale) for scale in scales]
        self.cancel()
        stop = self._stop = Event()
        thread = Thread(target=self._warm, args=(wanted, stop), name="superpixels", daemon=True)
        thread.start()
        return thread

    def cancel(self) -> None:
        """Stop warming, after the slice or volume it is at."""
        self._stop.set()

    def _cut(self, settings: SegmentSettings, progress: Progress) -> Cut:
        found = self._cuts.get(_key(settings))
        if found is None:
            found = self._cutter.cut(settings, progress=progress)
            self._cuts.put(_key(settings), found)
        return found

    def _warm(self, settings: list[SegmentSettings], stop: Event) -> None:
        def go_on(_fraction: float, _stage: str) -> None:
            if stop.is_set():
                raise Cancelled

        with suppress(Cancelled):
            for wanted in settings:
                go_on(0.0, "")
                if self._cuts.get(_key(wanted)) is not None:
                    continue
                if not self._cuts.put(_key(wanted), self._cutter.cut(wanted, progress=go_on), evict=False):
                    return


def _remade(
    image: Array, brain: Array, heatmap: Array, spacing: tuple[float, float, float] | None, cache_bytes: int
) -> Recutter:
    return Recutter(image, brain, heatmap, spacing=spacing, cache_bytes=cache_bytes)


def _key(settings: SegmentSettings) -> tuple[str | float, ...]:
    if settings.segmentation == "residual":
        return settings.segmentation, settings.median, settings.erosion
    return settings.segmentation, settings.scale, settings.sigma, settings.min_size


def _spread(cut: Cut, brain: Array) -> Regions:
    labels = np.zeros(brain.shape, dtype=np.int32)
    labels[brain] = cut.labels
    return Regions(labels, cut.heat, cut.slices)
