"""Healthy scans for training: which file belongs to which subject and split, and their prepared slices."""

from __future__ import annotations

import csv
import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import InputError, TrainingError
from ..files import digest_of, write_atomically
from ..io import SUFFIXES, read_scan
from ..prepare import PREPARATION, GridSettings
from ..prepare.kinds import prepare_as
from ..progress import Progress, silent
from ..volume import Array

SPLITS = ("train", "validation", "test")
MIN_BRAIN_MM2 = 800.0  # the tips of the brain hold nothing to inpaint from


@dataclass(frozen=True, slots=True)
class Subject:
    """One scan of one subject and the split it belongs to."""

    name: str
    path: Path
    split: str


@dataclass(frozen=True, slots=True)
class Slices:
    """images: float16 (n, rows, columns) in [0, 1]; brain: bool, same shape."""

    images: Tensor
    brain: Tensor

    def __len__(self) -> int:
        return len(self.images)


@dataclass(frozen=True, slots=True)
class Scan:
    """A prepared scan. image: float16 (slices, rows, columns) in [0, 1]; brain: bool, same shape."""

    name: str
    image: Array
    brain: Array


def find_subjects(data: Path, table: Path | None = None) -> list[Subject]:
    """Scans below `data` that a CSV lists, with their split.

    table: CSV with a header; its first column names the scan (the start of the file's name), its column `split` is train,
    validation or test. Default: subjects.csv in `data` or its parent. Raises TrainingError or InputError.
    """
    table = table or next((p for p in (data / "subjects.csv", data.parent / "subjects.csv") if p.is_file()), None)
    if table is None or not table.is_file():
        raise TrainingError(
            f"no subjects.csv in {data} or above it; write one with the columns scan,split (train, validation, test) "
            "or name yours with --subjects."
        )
    files = sorted(p for p in data.rglob("*") if p.name.lower().endswith(SUFFIXES))
    rows = list(csv.DictReader(table.read_text(encoding="utf-8-sig").splitlines()))
    if not rows or "split" not in rows[0]:
        raise TrainingError(f"{table} needs a header with a column named split.")
    key = next(iter(rows[0]))
    found = [_subject(row[key], row["split"], files, table) for row in rows]
    _check_no_leak([row[key] for row in rows], table)
    present = [subject for subject in found if subject is not None]
    _check_no_leak([str(subject.path) for subject in present], table)
    if not present:
        raise InputError(f"none of the {len(rows)} scans listed in {table} lies below {data}.")
    return present


def load_scans(subjects: list[Subject], cache: Path, grid: GridSettings, *, progress: Progress = silent) -> list[Scan]:
    """All subjects, each prepared once and kept in `cache`."""
    scans = []
    for done, subject in enumerate(subjects):
        progress(done / len(subjects), f"preparing {subject.name}")
        scans.append(Scan(subject.name, *load_prepared(subject, cache, grid)))
    return scans


def load_slices(
    subjects: list[Subject], cache: Path, *, grid: GridSettings | None = None, progress: Progress = silent
) -> Slices:
    """Prepared slices of all subjects that show enough brain."""
    grid = grid or GridSettings()
    images, brains = [], []
    for scan in load_scans(subjects, cache, grid, progress=progress):
        shown = scan.brain.sum(axis=(1, 2)) * grid.spacing_mm**2 >= MIN_BRAIN_MM2
        images.append(scan.image[shown])
        brains.append(scan.brain[shown])
    return Slices(torch.from_numpy(np.concatenate(images)), torch.from_numpy(np.concatenate(brains)))


def draw_batch(slices: Slices, count: int, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """Random slices, half of them mirrored left to right, moved by up to 4 pixels, contrast bent by up to 20 %.

    Returns image float32 (count, 1, rows, columns) and brain bool (count, rows, columns), on the CPU.
    """
    picked = torch.randint(len(slices), (count,), generator=rng)
    image, brain = slices.images[picked].float(), slices.brain[picked]
    mirrored = torch.rand(count, generator=rng) < 0.5
    image = torch.where(mirrored[:, None, None], image.flip(2), image)
    brain = torch.where(mirrored[:, None, None], brain.flip(2), brain)
    rows, columns = (int(n) for n in torch.randint(-4, 5, (2,), generator=rng))
    image, brain = image.roll((rows, columns), (1, 2)), brain.roll((rows, columns), (1, 2))
    gamma = torch.empty(count, 1, 1).uniform_(-0.18, 0.18, generator=rng).exp()
    return (image**gamma)[:, None], brain


def _subject(name: str, split: str, files: list[Path], table: Path) -> Subject | None:
    if split not in SPLITS:
        raise TrainingError(f"{table}: the split of {name} is {split!r}; it must be one of {', '.join(SPLITS)}.")
    matches = [path for path in files if re.match(re.escape(name) + r"([._-]|$)", path.name)]
    exact = [path for path in matches if path.name.partition(".")[0] == name]
    matches = exact or matches
    if len(matches) > 1:
        listed = ", ".join(str(path) for path in matches[:3])
        raise TrainingError(f"{len(matches)} files belong to {name} ({listed}); point --data at a folder with one scan each.")
    return Subject(name, matches[0], split) if matches else None


def _check_no_leak(names: list[str], table: Path) -> None:
    """A subject that appears twice could sit in two splits."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise TrainingError(f"{table} lists {name} twice; each subject may stand in one split only.")
        seen.add(name)


def load_prepared(subject: Subject, cache: Path, grid: GridSettings, *, modality: str = "T1") -> tuple[Array, Array]:
    """Image float16 in [0, 1] and brain bool on the model grid; prepared once and kept in `cache`."""

    def make() -> dict[str, Array]:
        prepared = prepare_as(modality, read_scan(subject.path), settings=grid)
        return {"image": prepared.image.array.astype(np.float16), "brain": prepared.brain}

    others = [] if modality == "T1" else [modality]
    arrays = kept(cache, subject.name, [*identity_of(subject), grid.identity(), *others], make)
    return arrays["image"], arrays["brain"]


def identity_of(subject: Subject) -> tuple[str, int]:
    """What tells one prepared scan from another: the file's bytes and the version of the preparation."""
    return digest_of(subject.path), PREPARATION


def kept(cache: Path, name: str, made_from: list[Any], make: Callable[[], dict[str, Array]]) -> dict[str, Array]:
    """What `make` makes, made once: kept in `cache` under `name` and a hash of `made_from` (plain JSON)."""
    path = cache / f"{name}-{hashlib.sha256(json.dumps(made_from).encode()).hexdigest()[:16]}.npz"
    if not path.exists():
        arrays = make()
        cache.mkdir(parents=True, exist_ok=True)
        with write_atomically(path) as temporary, temporary.open("wb") as stream:
            np.savez_compressed(stream, allow_pickle=False, **arrays)
    with np.load(path, allow_pickle=False) as stored:
        return dict(stored)
