"""One scan of a data set, and the split it falls into.

A folder may hold `subjects.csv` (scan or case, split) and is then read as it says, or lie as it was downloaded: then the name
of a subject decides about its split, always the same way, and all scans of a subject share it.
"""

from __future__ import annotations

import csv
import hashlib
from dataclasses import dataclass
from pathlib import Path

from ..errors import InputError

SHARES = {"train": 0.6, "validation": 0.2, "test": 0.2}  # of healthy sets as downloaded
SHARES_ILL = {"validation": 0.4, "test": 0.6}  # nobody trains on those


@dataclass(frozen=True, slots=True)
class Case:
    """One scan of one subject. truth: labels > 0 where the scan is abnormal; None when the subject is healthy; types: of the
    lesions, where the data set tells them.
    """

    name: str
    scan: Path
    truth: Path | None
    subject: str = ""
    types: tuple[str, ...] = ()

    @property
    def person(self) -> str:
        """Whom to count it for."""
        return self.subject or self.name


def healthy_case(name: str, scan: Path, subject: str = "") -> Case:
    """subject: unless it is given, what stands in the name before the first dash."""
    return Case(name, scan, None, subject or name.partition("-")[0])


def of_split(data: Path, split: str, found: list[Case], shares: dict[str, float]) -> list[Case]:
    """The cases of one split: as subjects.csv says, by subject where there is none. Raises InputError when there are none."""
    by_name = {case.name: case for case in found}
    if len(by_name) < len(found):
        twice = next(case.name for case in found if by_name[case.name] is not case)
        raise InputError(f"two scans below {data} are called {twice}; keep one of them.")
    if table_of(data).is_file():
        _check_no_leak(data, by_name)
        names = [next(iter(row.values())) for row in rows_of(data, split, {"split"})]
        if missing := [name for name in names if name not in by_name]:
            raise InputError(f"the scan of {missing[0]} is missing below {data}, although subjects.csv lists it.")
        cases = [by_name[name] for name in names]
    else:
        if not found:
            raise InputError(f"{data} holds no scan in the layout of this data set; see docs/results/README.md.")
        cases = [case for case in found if split_of(case.person, shares) == split]
        if not cases:
            raise InputError(f"none of the {len(found)} scans below {data} falls into the split {split!r}.")
    for case in cases:
        if case.truth is not None:
            there(case.truth)
    return cases


def split_of(subject: str, shares: dict[str, float]) -> str:
    """The split of a subject whom no table names, by a number in [0, 1) that SHA-256 makes of the name."""
    number = int.from_bytes(hashlib.sha256(subject.encode()).digest()[:8]) / 2**64
    reached = 0.0
    for split, share in shares.items():
        reached += share
        if number < reached:
            return split
    return list(shares)[-1]


def rows_of(data: Path, split: str, columns: set[str]) -> list[dict[str, str]]:
    """The rows of one split in subjects.csv. Raises InputError when there are none, or no such table with these columns."""
    rows = [row for row in _listed(data, columns) if row["split"] == split]
    if not rows:
        raise InputError(f"{table_of(data)} lists no scan of the split {split!r}.")
    return rows


def table_of(data: Path) -> Path:
    """Where the table of subjects is, if there is one."""
    return data / "subjects.csv"


def there(path: Path) -> Path:
    """The path itself. Raises InputError when there is no such file."""
    if not path.is_file():
        raise InputError(f"{path} is missing; every scan that is evaluated here needs it.")
    return path


def _listed(data: Path, columns: set[str]) -> list[dict[str, str]]:
    table = table_of(data)
    if not table.is_file():
        raise InputError(f"{table} is missing; it names the scans of the data set and their split.")
    listed = list(csv.DictReader(table.read_text(encoding="utf-8-sig").splitlines()))
    if listed and (missing := columns - set(listed[0])):
        raise InputError(f"{table} lacks the column {min(missing)}.")
    return listed


def _check_no_leak(data: Path, by_name: dict[str, Case]) -> None:
    splits: dict[str, str] = {}
    for row in _listed(data, {"split"}):
        name = next(iter(row.values()))
        person = by_name[name].person if name in by_name else name
        if splits.setdefault(person, row["split"]) != row["split"]:
            raise InputError(f"{table_of(data)} puts scans of {person} into two splits; a subject may stand in one only.")
