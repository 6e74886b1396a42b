"""Curves of a training run as a table and a picture, besides TensorBoard; a resumed run goes on where its checkpoint was."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from ..files import write_atomically

_FIELDS = ("iteration", "name", "value")
_VALIDATION = "validation/"
_POINTS = 40  # of a curve in a card, at most


class Curves:
    """A logger for the loop: every scalar goes to `board` (TensorBoard's writer) and to curves.csv in `folder`."""

    def __init__(self, board: Any, folder: Path, *, since: int) -> None:
        """since: iterations the checkpoint has seen; what was noted after it was lost and is forgotten."""
        self._board = board
        self._path = folder / "curves.csv"
        self._rows: list[tuple[int, str, float]] = []
        if self._path.exists():
            with self._path.open(newline="", encoding="utf-8") as stream:
                read = [(int(row["iteration"]), row["name"], float(row["value"])) for row in csv.DictReader(stream)]
            self._rows = [row for row in read if row[0] <= since]

    def add_scalar(self, tag: str, value: float, step: int) -> None:
        """Note `value` under `tag` at iteration `step`."""
        self._board.add_scalar(tag, value, step)
        self._rows.append((step, tag, float(value)))

    def write(self) -> None:
        """curves.csv and, beside it, curves.png: a panel per name."""
        with write_atomically(self._path) as temporary, temporary.open("w", newline="", encoding="utf-8") as stream:
            writer = csv.writer(stream)
            writer.writerow(_FIELDS)
            writer.writerows(self._rows)
        if self._rows:
            self._draw(self._path.with_suffix(".png"))

    def validation(self) -> dict[str, list[float]]:
        """For the model's card: "iteration" and every validation figure at it, thinned to about 40 points, the last kept."""
        found: dict[int, dict[str, float]] = {}
        for step, name, value in self._rows:
            if name.startswith(_VALIDATION):
                found.setdefault(step, {})[name.removeprefix(_VALIDATION)] = round(value, 4)
        steps = sorted(found)[::-1][:: len(found) // _POINTS + 1][::-1]
        names = sorted({name for step in steps for name in found[step]})
        return {"iteration": [float(step) for step in steps]} | {name: [found[step][name] for step in steps] for name in names}

    def _draw(self, path: Path) -> None:
        from matplotlib.figure import Figure

        names = sorted({name for _, name, _ in self._rows})
        figure = Figure(figsize=(4 * len(names), 3), layout="constrained")
        for axes, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
            points = [(step, value) for step, other, value in self._rows if other == name]
            axes.plot(*zip(*points, strict=True), linewidth=1)
            axes.set(title=name, xlabel="iteration")
        with write_atomically(path) as temporary:
            figure.savefig(temporary, dpi=100)
