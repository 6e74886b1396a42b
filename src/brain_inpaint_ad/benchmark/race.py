"""Contenders take turns, so that noise of the machine hits all of them alike; the median of their turns counts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from statistics import median
from typing import Protocol

import torch

from ..progress import Progress, silent
from .meters import peak_memory, seconds_of


@dataclass(frozen=True, slots=True)
class Sample:
    """What one turn told. seconds: estimates of the time for the whole, one or more; timed: units that were run for them."""

    seconds: list[float]
    timed: int


@dataclass(frozen=True, slots=True)
class Agreement:
    """With the reference on the same units: greatest absolute difference, Spearman's rank correlation; None: not compared."""

    max_difference: float | None = None
    rank_correlation: float | None = None


class Contender(Protocol):
    """One way of doing the work."""

    @property
    def name(self) -> str:
        """Of its row."""

    @property
    def against(self) -> str:
        """The row its ratio refers to: itself when it is a reference."""

    @property
    def unit(self) -> str:
        """What is counted: windows, slices, cuts."""

    @property
    def whole(self) -> int:
        """How many of them a whole volume has."""

    def warm_up(self) -> None:
        """Run once, so that nothing is compiled or loaded in a turn."""

    def measure(self, turn: int) -> Sample:
        """Run on the part of the work that belongs to this turn."""

    def agreement(self) -> Agreement:
        """Called after the last turn."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """seconds: for the whole volume; ratio: seconds of the row `against` ÷ these; timed of whole `unit`s were run.

    threads: on the CPU, the number of those that were tried with which it was fastest.
    """

    name: str
    seconds: float
    ratio: float
    against: str
    max_difference: float | None
    rank_correlation: float | None
    peak_mb: float | None
    timed: int
    whole: int
    unit: str
    threads: int


@dataclass(slots=True)
class _Record:
    threads: int
    seconds: list[float] = field(default_factory=list)
    timed: int = 0
    peaks_mb: list[float] = field(default_factory=list)


def race(
    contenders: Sequence[Contender],
    *,
    turns: int,
    device: torch.device,
    threads: Sequence[int],
    progress: Progress = silent,
) -> list[Row]:
    """One row per contender, in their order.

    device: where they work; threads: numbers of them to try on the CPU: each contender runs with what suits it best. Many
    threads that share cores with other programs wait for each other: measured up to 50 times slower than one.
    """
    steps = len(contenders) * (turns + 1)
    records = {}
    with _threads_kept():
        for place, contender in enumerate(contenders):
            progress(place / steps, f"warming up {contender.name}")
            records[contender.name] = _Record(_best_threads(contender, threads, device))
        for turn in range(turns):
            for place, contender in enumerate(contenders, start=(turn + 1) * len(contenders)):
                progress(place / steps, f"timing {contender.name}")
                _take_turn(contender, turn, device, records[contender.name])
        progress(1.0, "comparing")
        seconds = {name: rounded(median(record.seconds)) for name, record in records.items()}
        return [_row(contender, seconds, records[contender.name]) for contender in contenders]


@contextmanager
def _threads_kept() -> Iterator[None]:
    """Afterwards torch works with as many threads as before."""
    before = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _best_threads(contender: Contender, threads: Sequence[int], device: torch.device) -> int:
    """By warming up twice with each number, of which the second time counts."""
    seconds = {}
    for number in threads:
        torch.set_num_threads(number)
        contender.warm_up()
        if len(threads) > 1:
            seconds[number] = seconds_of(contender.warm_up, device)
    return min(seconds, key=seconds.__getitem__, default=threads[0])


def rounded(value: float) -> float:
    """To four digits: more were never measured."""
    return float(f"{value:.4g}")


def _take_turn(contender: Contender, turn: int, device: torch.device, record: _Record) -> None:
    torch.set_num_threads(record.threads)
    with peak_memory(device) as peak:
        sample = contender.measure(turn)
    record.seconds += sample.seconds
    record.timed += sample.timed
    record.peaks_mb += [] if peak.mb is None else [peak.mb]


def _row(contender: Contender, seconds: dict[str, float], record: _Record) -> Row:
    agreement = contender.agreement()
    return Row(
        name=contender.name,
        seconds=seconds[contender.name],
        ratio=rounded(seconds[contender.against] / seconds[contender.name]),
        against=contender.against,
        max_difference=None if agreement.max_difference is None else rounded(agreement.max_difference),
        rank_correlation=None if agreement.rank_correlation is None else rounded(agreement.rank_correlation),
        peak_mb=round(max(record.peaks_mb), 1) if record.peaks_mb else None,
        timed=record.timed,
        whole=contender.whole,
        unit=contender.unit,
        threads=record.threads,
    )
