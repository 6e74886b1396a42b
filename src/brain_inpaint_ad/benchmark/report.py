"""What a benchmark says: JSON, and a table of plain text."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from .race import Row

_HEADINGS = ("row", "whole volume", "ratio", "difference", "ranks", "peak MB", "threads", "timed")


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """hardware: see hardware.describe; made_by: command, version, scan, model; notes: sentences on single rows."""

    hardware: dict[str, Any]
    made_by: dict[str, Any]
    notes: list[str]
    rows: list[Row]

    def to_json(self) -> str:
        """Readable JSON."""
        content = {"hardware": self.hardware, "made_by": self.made_by, "notes": self.notes}
        return json.dumps({**content, "rows": [asdict(row) for row in self.rows]}, indent=1, ensure_ascii=False) + "\n"

    def to_text(self) -> str:
        """For the terminal: hardware, aligned columns, notes."""
        lines = [hardware_in_words(self.hardware), "Ratios are to the first row of each block.", ""]
        heading, *rows = _aligned([_HEADINGS, *map(_cells, self.rows)])
        lines.append(heading)
        for row, line in zip(self.rows, rows, strict=True):
            lines += ["", line] if row.name == row.against else [line]
        return "\n".join([*lines, "", *(f"- {note}" for note in self.notes)])


def hardware_in_words(hardware: dict[str, Any]) -> str:
    """One line."""
    gpu = hardware["gpu"] or "no GPU"
    cpu = f"{hardware['cpu']}, {hardware['cores']} cores, {hardware['threads']} threads"
    return f"{cpu}, {gpu}; torch {hardware['torch']}; {hardware['date']}"


def duration(seconds: float) -> str:
    """ "2.1 h", "3.4 min", "12.3 s" or "4.1 ms": three digits."""
    for unit, length in (("h", 3600.0), ("min", 60.0), ("s", 1.0), ("ms", 1e-3)):
        if seconds >= length:
            return f"{_three_digits(seconds / length)} {unit}"
    return f"{_three_digits(seconds / 1e-6)} µs"


def times(ratio: float) -> str:
    """ "12.3×"."""
    return f"{_three_digits(ratio)}×"


def _three_digits(value: float) -> str:
    if value >= 99.95:
        return f"{value:.0f}"
    return f"{value:.1f}" if value >= 9.995 else f"{value:.2f}"


def _cells(row: Row) -> tuple[str, ...]:
    return (
        row.name,
        duration(row.seconds),
        times(row.ratio),
        "" if row.max_difference is None else f"{row.max_difference:.1e}",
        "" if row.rank_correlation is None else f"{row.rank_correlation:.4f}",
        "" if row.peak_mb is None else f"{row.peak_mb:.0f}",
        str(row.threads),
        f"{row.timed} {row.unit}",
    )


def _aligned(table: Sequence[Sequence[str]]) -> list[str]:
    """Names to the left, numbers to the right."""
    widths = [max(len(cells[column]) for cells in table) for column in range(len(table[0]))]
    to_the_left = (0, 7)
    return [
        "  ".join(
            cell.ljust(width) if column in to_the_left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ).rstrip()
        for cells in table
    ]
