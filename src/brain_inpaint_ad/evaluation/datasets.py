"""Which scans a data set holds, with their truth and split. Layouts: see each function."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ..errors import InputError


@dataclass(frozen=True, slots=True)
class Case:
    """One scan of one subject. truth: labels > 0 where the scan is abnormal; None when the subject is healthy."""

    name: str
    scan: Path
    truth: Path | None


def ixi(data: Path, split: str) -> list[Case]:
    """Healthy, brain only: subjects.csv (scan, split) and brain/<scan>_brain.nii.gz."""
    return [
        Case(row["scan"], _there(data / "brain" / f"{row['scan']}_brain.nii.gz"), None)
        for row in _rows(data, split, {"scan", "split"})
    ]


def ixi_heads(data: Path, split: str) -> list[Case]:
    """Healthy, whole heads: subjects.csv (scan, split, whole_head) and head/<scan>.nii.gz."""
    rows = [row for row in _rows(data, split, {"scan", "split", "whole_head"}) if row["whole_head"] == "1"]
    return [Case(row["scan"], _there(data / "head" / f"{row['scan']}.nii.gz"), None) for row in rows]


def brats(data: Path, split: str) -> list[Case]:
    """Gliomas, brain only: subjects.csv (case, split) and <case>/<case>_t1.nii.gz, _seg.nii.gz (whole tumour: > 0)."""
    folders = [(row["case"], data / row["case"]) for row in _rows(data, split, {"case", "split"})]
    return [Case(name, _there(f / f"{name}_t1.nii.gz"), _there(f / f"{name}_seg.nii.gz")) for name, f in folders]


DATASETS: dict[str, Callable[[Path, str], list[Case]]] = {"brats": brats, "ixi": ixi, "ixi-heads": ixi_heads}


def _rows(data: Path, split: str, columns: set[str]) -> list[dict[str, str]]:
    table = data / "subjects.csv"
    if not table.is_file():
        raise InputError(f"{table} is missing; it names the scans of the data set and their split.")
    listed = list(csv.DictReader(table.read_text(encoding="utf-8").splitlines()))
    if listed and (missing := columns - set(listed[0])):
        raise InputError(f"{table} lacks the column {min(missing)}.")
    rows = [row for row in listed if row["split"] == split]
    if not rows:
        raise InputError(f"{table} lists no scan of the split {split!r}.")
    return rows


def _there(path: Path) -> Path:
    if not path.is_file():
        raise InputError(f"{path} is missing, although subjects.csv lists it.")
    return path
