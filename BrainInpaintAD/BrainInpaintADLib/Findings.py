"""The table of anomalies the core writes, and the sentence the user reads."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


class FindingsError(ValueError):
    """The table does not hold what it should."""


@dataclass(frozen=True)
class Finding:
    """One anomaly."""

    label: int  # its value in the labelmap
    volumeMl: float
    meanHeat: float | None = None
    peakHeat: float | None = None
    centreRasMm: tuple[float, float, float] | None = None  # world coordinates


def readFindings(path: Path) -> list[Finding]:
    """The rows of a `findings.csv` in their own order. `label` and `volume_ml` must be there, the rest may be."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    try:
        return [_finding(row) for row in rows]
    except (KeyError, TypeError, ValueError) as error:
        raise FindingsError(f"{path.name} is damaged ({error}); run the detection again.") from error


def summary(findings: Sequence[Finding]) -> str:
    """One line: how many, how much, where the hottest is."""
    if not findings:
        return "Nothing found"
    count = "1 anomaly" if len(findings) == 1 else f"{len(findings)} anomalies"
    text = f"{count}, {sum(finding.volumeMl for finding in findings):.1f} ml"
    placed = [finding for finding in findings if finding.peakHeat is not None and finding.centreRasMm is not None]
    if not placed:
        return text
    hottest = max(placed, key=lambda finding: finding.peakHeat)
    return f"{text}; hottest at {placeText(hottest.centreRasMm)}"


def placeText(rasMm: tuple[float, float, float]) -> str:
    """A point as radiologists write it, in mm: "R 31 P 12 S 44"."""
    letters = (("R", "L"), ("A", "P"), ("S", "I"))
    return " ".join(
        f"{positive if mm >= 0 else negative} {abs(mm):.0f}" for (positive, negative), mm in zip(letters, rasMm, strict=True)
    )


def _finding(row: dict[str, str]) -> Finding:
    centre = tuple(_optional(row, name) for name in ("r_mm", "a_mm", "s_mm"))
    return Finding(
        label=int(row["label"]),
        volumeMl=float(row["volume_ml"]),
        meanHeat=_optional(row, "mean_heat"),
        peakHeat=_optional(row, "peak_heat"),
        centreRasMm=None if None in centre else centre,
    )


def _optional(row: dict[str, str], name: str) -> float | None:
    text = row.get(name) or ""
    return float(text) if text.strip() else None
