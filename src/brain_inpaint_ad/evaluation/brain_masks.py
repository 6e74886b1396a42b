"""How far brain extraction agrees with brain masks that are known: Dice, what it misses, what it adds, and tumours it cuts."""

from __future__ import annotations

import json
import platform
import time
from pathlib import Path

import numpy as np

from .. import __version__
from ..errors import GeometryError, NoBrainError, OutputError, SettingsError
from ..files import write_atomically
from ..io import read_labels, read_scan
from ..prepare.brain import find_brain
from ..prepare.doubts import mask_doubts
from ..prepare.extraction import AUTO, check_choice
from ..progress import Progress, part_of, silent
from ..volume import Array, Volume
from .cases import Case
from .datasets import DATASETS
from .report import read_rows
from .tables import Row, Table

SOURCES = ("ixi-heads", "brats")  # data sets with brain masks
_NOTE = (
    "Dice of the mask with the reference; missed, added: ml of the reference outside the mask, and the reverse; lesion kept: "
    "share of the tumour inside the mask. ixi-heads: whole heads of 2 mm; the reference comes from DLMUSE, good but not "
    "manual. brats: the scans show brain only, so extraction has nothing to take off and may only spoil; the reference is what "
    "is not background."
)


def evaluate_masks(
    dataset: str,
    data: Path,
    out: Path,
    *,
    brain: str = "deepbet",
    split: str = "validation",
    command: str = "",
    progress: Progress = silent,
) -> str:
    """Extract the brain of each scan of one split, compare with its mask; write rows.json and table.md into `out`.

    brain: see prepare.extraction; rows of other sets, splits and extractions in `out` stay. Returns the table (Markdown).
    """
    if dataset not in SOURCES:
        raise SettingsError(f"there are no brain masks in the data set {dataset!r}; known are {', '.join(SOURCES)}.")
    if brain == AUTO:
        raise SettingsError("name the brain extraction to measure: deepbet, hd-bet or a SynthStrip weights file.")
    check_choice(brain)
    cases = DATASETS[dataset](data, split)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{out} cannot be made ({error.strerror}); choose another --out folder.") from error
    kept = read_rows(out)
    for done, case in enumerate(cases):
        part = part_of(progress, done / len(cases), (done + 1) / len(cases))
        part(0.0, case.name)
        row = _measured(case, _reference(dataset, data, case), brain, part)
        place = {"dataset": dataset, "split": split, "case": case.name, "brain": Path(brain).name}
        key = "/".join(place.values())
        kept[key] = {**place, "key": key, **row}
    rows = sorted(kept.values(), key=lambda row: row["key"])
    made_by = {"command": command, "version": __version__, "machine": platform.machine()}
    made = table(rows)
    with write_atomically(out / "rows.json") as temporary:
        temporary.write_text(json.dumps({**made_by, "rows": rows}, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    with write_atomically(out / "table.md") as temporary:
        temporary.write_text(f"### {made.title}\n{made.note}\n\n{made.markdown()}", encoding="utf-8")
    return made.markdown()


def table(rows: list[Row]) -> Table:
    """One line per scan, and the mean of each data set, split and extraction."""
    lines = []
    for group in dict.fromkeys((row["dataset"], row["split"], row["brain"]) for row in rows):
        members = [row for row in rows if (row["dataset"], row["split"], row["brain"]) == group]
        lines += [[f"{group[0]} ({group[1]})", group[2], row["case"], *_cells(row)] for row in members]
        dices = [row["dice"] for row in members if row["dice"] is not None]
        if dices:
            mean = f"{np.mean(dices):.3f} ± {np.std(dices):.3f}"
            lines.append([f"{group[0]} ({group[1]})", group[2], f"mean of {len(dices)}", mean, *[""] * 6])
    header = [
        "data (split)",
        "extraction",
        "scan",
        "Dice",
        "reference, ml",
        "missed, ml",
        "added, ml",
        "lesion kept",
        "s",
        "doubts",
    ]
    return Table("Brain masks", _NOTE, header, lines)


def _measured(case: Case, reference: Volume, brain: str, progress: Progress) -> Row:
    scan = read_scan(case.scan)
    if not reference.grid.is_same_place(scan.grid):
        raise GeometryError(f"the mask {reference.name} does not lie on the grid of {scan.name}.")
    started = time.perf_counter()
    try:
        found, _ = find_brain(scan, extraction=brain, progress=progress)
    except NoBrainError as error:
        return {"dice": None, "doubts": [str(error)]}
    seconds = time.perf_counter() - started
    truth, ml = reference.array > 0, scan.grid.voxel_mm3 / 1000
    row: Row = {
        "dice": round(float(2 * (found & truth).sum() / (found.sum() + truth.sum())), 4),
        "reference_ml": round(float(truth.sum() * ml), 1),
        "missed_ml": round(float((truth & ~found).sum() * ml), 1),
        "added_ml": round(float((found & ~truth).sum() * ml), 1),
        "seconds": round(seconds, 1),
        "doubts": mask_doubts(found, scan.grid),
    }
    if case.truth is not None:
        lesion = read_labels(case.truth).array > 0
        row["lesion_kept"] = round(float((found & lesion).sum() / lesion.sum()), 4)
    return row


def _reference(dataset: str, data: Path, case: Case) -> Volume:
    if dataset == "ixi-heads":
        return read_labels(data / "brainmask" / f"{case.name}_brainmask.nii.gz")
    scan = read_scan(case.scan)
    brain: Array = scan.array != 0
    return scan.with_array(brain, f"what {scan.name} shows")


def _cells(row: Row) -> list[str]:
    if row["dice"] is None:
        return ["–"] * 6 + ["; ".join(row["doubts"])]
    kept = f"{row['lesion_kept']:.3f}" if "lesion_kept" in row else "–"
    figures = [f"{row[key]:.0f}" for key in ("reference_ml", "missed_ml", "added_ml")]
    return [f"{row['dice']:.3f}", *figures, kept, f"{row['seconds']:.0f}", "; ".join(row["doubts"]) or "none"]
