"""What every command shares: progress on the terminal, one sentence for an error, and a cancel that works at once."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from enum import StrEnum
from typing import NoReturn, TextIO, TypeVar

import typer
from rich.console import Console
from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from ..errors import BrainInpaintError, Cancelled
from ..files import discard_unfinished
from ..memory import full_memory_told
from ..progress import Progress, TimeLeft, silent

CANCELLED = 130  # what a shell calls a program stopped by Ctrl-C
_PATIENCE_S = 0.5  # how long a cancelled run may take to reach its next progress call; the rest of a second is for its end
_Answer = TypeVar("_Answer")


class ProgressStyle(StrEnum):
    """How progress is shown."""

    bar = "bar"
    jsonl = "jsonl"
    none = "none"


def run(
    work: Callable[[Progress], _Answer],
    style: ProgressStyle = ProgressStyle.bar,
    *,
    prints_answer: bool = False,
    patience_s: float = _PATIENCE_S,
    patient_in: str = "",
    when_cancelled: Callable[[], str] = str,
) -> _Answer:
    """Do `work(progress)`; on a refusal print its sentence and leave with 1, on Ctrl-C, SIGTERM or SIGHUP with 130.

    prints_answer: standard output is for the answer alone, so that JSON lines of progress go to standard error.
    when_cancelled: a sentence on how to go on.

    The work runs in a thread, so that a signal is answered while a library is busy in C. If the work does not come to its
    next progress call in time (half a second; patience_s where the stage begins with `patient_in`), the process ends there
    and then: results are moved into place only when they are whole. It ends so also when the work did stop: an interpreter
    that is importing in another thread takes its time to leave.
    """
    cancelled = threading.Event()
    unheard: list[OSError] = []
    outcome: list[_Answer | BaseException] = []
    stage = [""]

    def target() -> None:
        try:
            with full_memory_told(), _reporter(style, sys.stderr if prints_answer else sys.stdout) as report:
                outcome.append(work(_cancellable(report, cancelled, stage, unheard)))
        except BaseException as error:
            outcome.append(error)

    thread = threading.Thread(target=target, daemon=True)
    with _signals_set(cancelled):
        thread.start()
        while thread.is_alive() and not cancelled.is_set():
            thread.join(0.1)
        patience = patience_s if stage[0].startswith(patient_in) else _PATIENCE_S
        thread.join(patience if cancelled.is_set() else None)
    if not outcome or (cancelled.is_set() and isinstance(outcome[0], Cancelled)):
        _leave_at_once(when_cancelled())
    if unheard and isinstance(outcome[0], Cancelled):
        raise unheard[0]  # where no progress can be written, no answer can, see `lost_output_told`
    return _answer(outcome[0])


@contextmanager
def _signals_set(cancelled: threading.Event) -> Iterator[None]:
    """Ctrl-C, SIGTERM and a closed terminal set `cancelled`; before and after they do what they did.

    A closed terminal does not where it was ignored before, as nohup asks for.
    """
    numbers = [signal.SIGINT, signal.SIGTERM]
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        numbers.append(signal.SIGHUP)
    before = [signal.signal(number, lambda *_: cancelled.set()) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def _leave_at_once(how_to_go_on: str) -> NoReturn:
    """The end of a process that was told to stop: no half-written file stays, nor a hidden cursor."""
    discard_unfinished()
    with suppress(OSError):  # a terminal that was closed takes no word
        Console(stderr=True).show_cursor()
        sys.stderr.write(f"Cancelled. {how_to_go_on}".rstrip() + "\n")
        sys.stderr.flush()
    os._exit(CANCELLED)


def _answer(outcome: _Answer | BaseException) -> _Answer:
    if isinstance(outcome, Cancelled):
        typer.echo("Cancelled.", err=True)
        raise typer.Exit(CANCELLED)
    if isinstance(outcome, BrainInpaintError):
        typer.echo(f"Error: {_sentence(str(outcome))}", err=True)
        raise typer.Exit(1)
    if isinstance(outcome, MemoryError):
        typer.echo("Error: this machine has not enough memory for this scan; close other programs and try again.", err=True)
        raise typer.Exit(1)
    if isinstance(outcome, OSError):
        what = outcome.filename or "a file"
        typer.echo(
            f"Error: {what} could not be read or written ({outcome.strerror or outcome}); "
            "see that it is there, may be used and has room, and try again.",
            err=True,
        )
        raise typer.Exit(1)
    if isinstance(outcome, BaseException):
        raise outcome
    return outcome


def _sentence(text: str) -> str:
    """One full stop; the first letter stays, because often it is a file's."""
    return text.rstrip(".") + "."


def _cancellable(report: Progress, cancelled: threading.Event, last: list[str], unheard: list[OSError]) -> Progress:
    """last: gets the latest stage, its only item; unheard: why progress could not be written, and the work was ended."""

    def progress(fraction: float, stage: str) -> None:
        last[0] = stage
        if cancelled.is_set() and fraction < 1:  # whoever reports 1 has finished, and the results are there
            raise Cancelled("cancelled")
        try:
            report(fraction, stage)
        except OSError as error:
            unheard.append(error)
            raise Cancelled("nobody hears of the progress") from error

    return progress


@contextmanager
def _reporter(style: ProgressStyle, lines: TextIO | None) -> Iterator[Progress]:
    """lines: where JSON lines go; None where a user closed it."""
    console = Console(stderr=True)
    if style is ProgressStyle.jsonl and lines is not None:
        yield _json_lines(lines)
    elif style is not ProgressStyle.bar or sys.stderr is None:
        yield silent
    elif not console.is_terminal:
        yield _plain_lines(sys.stderr)
    else:
        columns = (TextColumn("{task.description:<28}", markup=False), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
        with Bar(*columns, console=console, transient=True) as bar:
            task = bar.add_task("starting", total=1.0)
            yield lambda fraction, stage: bar.update(task, completed=fraction, description=stage)


def _plain_lines(out: TextIO, every_s: float = 60.0) -> Progress:
    """For a file or a pipe: a line now and then, none in short work."""
    left = TimeLeft()
    last = [time.monotonic()]

    def report(fraction: float, stage: str) -> None:
        seconds, now = left.seconds(fraction), time.monotonic()
        if now - last[0] >= every_s:
            last[0] = now
            ahead = "" if not seconds else f", about {seconds / 60:.0f} min left"
            with suppress(OSError):  # a full disk behind standard error is no reason to end the work
                out.write(f"{stage} ({fraction:.0%}{ahead})\n")
                out.flush()

    return report


def _json_lines(out: TextIO, every_s: float = 0.2) -> Progress:
    """One JSON object per line, at most one every `every_s` seconds within a stage."""
    left = TimeLeft()
    last: list[tuple[float, str]] = [(-1.0, "")]

    def report(fraction: float, stage: str) -> None:
        now = time.monotonic()
        if stage == last[0][1] and now - last[0][0] < every_s and fraction < 1:
            return
        last[0] = (now, stage)
        seconds = left.seconds(fraction)
        line = {
            "stage": stage,
            "fraction": round(fraction, 4),
            "seconds_left": None if seconds is None else round(seconds, 1),
        }
        out.write(json.dumps(line) + "\n")
        out.flush()

    return report
