"""What is printed: tables whose names can be copied whole, and one sentence where nothing more can be printed."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

import typer
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table


@contextmanager
def lost_output_told() -> Iterator[None]:
    """Leave with 1 where standard output takes nothing: a full disk is told in one sentence, a reader that went is not."""
    try:
        try:
            yield
        finally:
            for stream in (sys.stdout, sys.stderr):
                if stream is not None:
                    stream.flush()
    except OSError as error:
        with suppress(OSError):  # standard error may be lost, too
            if error.errno != errno.EPIPE:
                typer.echo(
                    f"Error: what there is to print could not be written ({error.strerror or error}); make room or send it "
                    "elsewhere.",
                    err=True,
                )
        nowhere = os.open(os.devnull, os.O_WRONLY)  # Python would try again to write what is left, and say so
        for number in (1, 2):
            os.dup2(nowhere, number)
        sys.exit(1)


def print_table(table: Table) -> None:
    """As wide as the terminal, or wider where columns that are not to be wrapped would be cut."""
    console = Console()
    console.width = max(console.width, Measurement.get(console, console.options.update(width=10_000), table).minimum)
    console.print(table)


def in_columns(rows: Sequence[Sequence[str]]) -> str:
    """One line each, as long as it needs to be: a terminal wraps it, and what is copied is whole."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows)
