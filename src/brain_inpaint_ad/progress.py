"""Progress is one callable; to cancel, it raises `Cancelled`."""

import time
from collections import deque
from collections.abc import Callable

Progress = Callable[[float, str], None]
"""Called as `progress(fraction in [0, 1], short stage text)`; may raise `Cancelled`."""


ITERATION = "iteration"
"""How stages of training begin once there is something to save."""


def silent(fraction: float, stage: str) -> None:
    """The progress of those who do not want to know."""


def part_of(progress: Progress, start: float, stop: float) -> Progress:
    """The progress of a sub-task that fills `start` to `stop` of the whole."""

    def report(fraction: float, stage: str) -> None:
        progress(start + (stop - start) * fraction, stage)

    return report


class TimeLeft:
    """Seconds left, from the pace of the last half minute: stages differ in pace, and a resumed run begins in the middle."""

    def __init__(self, clock: Callable[[], float] = time.monotonic, window_s: float = 30.0) -> None:
        self._clock = clock
        self._window_s = window_s
        self._seen: deque[tuple[float, float]] = deque()

    def seconds(self, fraction: float) -> float | None:
        """Estimated seconds left at `fraction` in [0, 1]; None while there is no pace yet."""
        now = self._clock()
        self._seen.append((now, fraction))
        while len(self._seen) > 2 and now - self._seen[1][0] >= self._window_s:
            self._seen.popleft()
        started, begun = self._seen[0]
        if fraction >= 1:
            return 0.0
        if fraction <= begun or now <= started:
            return None
        return (now - started) * (1 - fraction) / (fraction - begun)
