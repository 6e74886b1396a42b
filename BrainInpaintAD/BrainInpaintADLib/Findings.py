"""The anomalies of a result: the core's file, the table node that is saved with the scene, and the user's sentence."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import slicer
import vtk
from slicer.i18n import tr as _

PEAK = ("peak_r_mm", "peak_a_mm", "peak_s_mm")
SHARES = ("right_share", "dark_share")
COLUMNS = ("label", "name", "volume_ml", "mean_heat", "peak_heat", "r_mm", "a_mm", "s_mm", *PEAK, *SHARES, "keep")
_TEXT, _WHOLE = ("name",), ("label", "keep")  # the other columns hold decimal numbers
_BOTH = 0.1  # of an anomaly on its smaller side, from which on it lies on both; as in the core


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
    name: str = ""  # of its segment
    keep: bool = True  # False: discarded by the user
    peakRasMm: tuple[float, float, float] | None = None  # of its hottest voxel, world coordinates
    rightShare: float | None = None  # to the right of the brain's middle, in [0, 1]; the patient's right, whatever was moved
    darkShare: float | None = None  # as dark as fluid, in [0, 1]

    @property
    def hottestRasMm(self) -> tuple[float, float, float] | None:
        """Where to look: at its hottest voxel, or at its centre where that is not known."""
        return self.peakRasMm or self.centreRasMm


def readFindings(path: Path) -> list[Finding]:
    """The rows of a `findings.csv` in their own order. `label` and `volume_ml` must be there, the rest may be."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return _findings(rows, path.name)


def fillTable(tableNode: slicer.vtkMRMLTableNode, findings: Iterable[Finding]) -> None:
    """Replace the columns and rows of the node; the columns are COLUMNS, with empty cells for what is not known."""
    rows = [_cells(finding) for finding in findings]
    table = vtk.vtkTable()
    for name in COLUMNS:
        column = vtk.vtkStringArray() if name in _TEXT else vtk.vtkIntArray() if name in _WHOLE else vtk.vtkDoubleArray()
        column.SetName(name)
        for row in rows:
            value = row[name]
            column.InsertNextValue(vtk.vtkMath.Nan() if value is None else value)
        table.AddColumn(column)
    tableNode.SetAndObserveTable(table)
    tableNode.SetUseColumnTitleAsColumnHeader(True)
    tableNode.SetLocked(True)  # the panel's keep column is the way to change it


def readTable(tableNode: slicer.vtkMRMLTableNode) -> list[Finding]:
    """What `fillTable` wrote, also when it comes back from a file, where every column is text."""
    table = tableNode.GetTable()
    columns = {name: table.GetColumnByName(name) for name in COLUMNS}
    rows = [
        {name: column.GetVariantValue(row).ToString() for name, column in columns.items() if column is not None}
        for row in range(table.GetNumberOfRows())
    ]
    return _findings(rows, tableNode.GetName())


def csvText(findings: Iterable[Finding]) -> str:
    """The table as text with a header, also when nothing was found; `keep` is left out, for discarded ones should be."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS[:-1], extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(_cells(finding) for finding in findings)
    return text.getvalue()


def summary(findings: Sequence[Finding]) -> str:
    """One line about the findings that are kept: how many, how much, where the hottest is."""
    kept = [finding for finding in findings if finding.keep]
    if not kept:
        return _("All findings discarded") if findings else _("Nothing found")
    volume = sum(finding.volumeMl for finding in kept)
    count = _("1 anomaly") if len(kept) == 1 else _("{count} anomalies").format(count=len(kept))
    text = _("{anomalies}, {volume} ml").format(anomalies=count, volume=volumeText(volume))
    placed = [finding for finding in kept if finding.peakHeat is not None and finding.hottestRasMm is not None]
    if not placed:
        return text
    hottest = max(placed, key=lambda finding: finding.peakHeat)
    return _("{found}; hottest at {place}").format(found=text, place=placeText(hottest.hottestRasMm))


def volumeText(volumeMl: float) -> str:
    """With one decimal, or the first figure that is not 0, as the core tells volumes."""
    return f"{volumeMl:.1f}" if volumeMl >= 0.05 else f"{volumeMl:.1g}"


def placeText(rasMm: tuple[float, float, float]) -> str:
    """Millimetres to the right, front and top, as the core writes them: "R 31 A -12 S 44"."""
    return " ".join(f"{letter} {round(mm)}" for letter, mm in zip("RAS", rasMm, strict=True))


def sideText(rightShare: float) -> str:
    """Left, right or both sides of the brain's middle, as the core says it."""
    if min(rightShare, 1 - rightShare) >= _BOTH:
        return _("both")
    return _("right") if rightShare > 0.5 else _("left")


def _findings(rows: Iterable[dict[str, str]], source: str) -> list[Finding]:
    try:
        return [_finding(row) for row in rows]
    except (KeyError, TypeError, ValueError) as error:
        text = _("{name} is damaged ({error}); run the detection again.")
        raise FindingsError(text.format(name=source, error=error)) from error


def _finding(row: dict[str, str]) -> Finding:
    centre, peak = (tuple(_optional(row, name) for name in names) for names in (("r_mm", "a_mm", "s_mm"), PEAK))
    return Finding(
        label=int(row["label"]),
        volumeMl=float(row["volume_ml"]),
        meanHeat=_optional(row, "mean_heat"),
        peakHeat=_optional(row, "peak_heat"),
        centreRasMm=None if None in centre else centre,
        name=row.get("name") or "",
        keep=row.get("keep", "1") != "0",
        peakRasMm=None if None in peak else peak,
        rightShare=_optional(row, "right_share"),
        darkShare=_optional(row, "dark_share"),
    )


def _optional(row: dict[str, str], name: str) -> float | None:
    text = (row.get(name) or "").strip()
    return None if text.lower() in ("", "nan") else float(text)


def _cells(finding: Finding) -> dict[str, str | int | float | None]:
    places = [place or (None, None, None) for place in (finding.centreRasMm, finding.peakRasMm)]
    values = (finding.label, finding.name, finding.volumeMl, finding.meanHeat, finding.peakHeat, *places[0], *places[1])
    return dict(zip(COLUMNS, (*values, finding.rightShare, finding.darkShare, int(finding.keep)), strict=True))
