"""Progress is one callable; to cancel, it raises `Cancelled`."""

import time
from collections.abc import Callable

Progress = Callable[[float, str], None]
"""Called as `progress(fraction in [0, 1], short stage text)`; may raise `Cancelled`."""


def silent(fraction: float, stage: str) -> None:
    """The progress of those who do not want to know."""


def part_of(progress: Progress, start: float, stop: float) -> Progress:
    """The progress of a sub-task that fills `start` to `stop` of the whole."""

    def report(fraction: float, stage: str) -> None:
        progress(start + (stop - start) * fraction, stage)

    return report


class TimeLeft:
    """Seconds left, from the fraction done and the time it took."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._started = clock()
        self._first: float | None = None

    def seconds(self, fraction: float) -> float | None:
        """Estimated seconds left at `fraction` in [0, 1]; None while nothing is done yet."""
        if self._first is None:  # a resumed run begins in the middle
            self._first, self._started = fraction, self._clock()
        if fraction <= self._first:
            return None
        elapsed = self._clock() - self._started
        return elapsed * (1 - min(fraction, 1.0)) / (fraction - self._first)
