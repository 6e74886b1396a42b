"""One table over data sets and detectors, and the JSON it is made from. Per-subject results are kept, so a run resumes."""

from __future__ import annotations

import json
import platform
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .. import __version__
from ..detectors import Detector, ModelDetector
from ..detectors.baselines import IntensityDetector
from ..errors import GeometryError, InputError, OutputError, SettingsError, WeightsError
from ..files import write_atomically
from ..io import read_labels, read_scan
from ..pipeline import load_detector
from ..prepare import PREPARATION, GridSettings, Prepared, prepare
from ..progress import Progress, part_of, silent
from ..result import segment, threshold_name
from ..segmentation.graph import is_compiled
from ..segmentation.select import SEGMENTATIONS, SegmentSettings
from ..volume import Array
from ..weights.card import Card
from .datasets import DATASETS, Case
from .metrics import score

Row = dict[str, Any]


def evaluate(
    dataset: str,
    data: Path,
    out: Path,
    *,
    models: list[str],
    split: str = "validation",
    device: str = "auto",
    command: str = "",
    progress: Progress = silent,
) -> list[Row]:
    """Score models and the intensity baseline on one split of a data set; write rows.json and table.md into `out`.

    Returns the rows. Rows of other data sets and splits that `out` already holds stay in the table.
    """
    if dataset not in DATASETS:
        raise InputError(f"there is no data set {dataset!r}; known are {', '.join(sorted(DATASETS))}.")
    cases = DATASETS[dataset](data, split)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{out} cannot be made ({error.strerror}); choose another --out folder.") from error
    kept = _read_rows(out)
    detectors = [load_detector(model, device=device) for model in models]
    check_names(detectors)
    for done, case in enumerate(cases):
        part = part_of(progress, done / len(cases), (done + 1) / len(cases))
        for row in _score_case(case, detectors, {"dataset": dataset, "split": split}, kept, progress=part):
            kept[row["key"]] = row
            _write_rows(out, kept, command)
    return list(kept.values())


def check_names(detectors: list[ModelDetector]) -> None:
    """Raises SettingsError when two models have one name: their rows could not be told apart."""
    names = [detector.card.name for detector in detectors]
    if twice := [name for name in names if names.count(name) > 1]:
        raise SettingsError(f"two models are called {twice[0]}; change the name in the card of one of them.")


def table(rows: list[Row]) -> str:
    """Markdown: one line per detector, rule, data set and split; means over subjects ± standard deviation."""
    lines = [
        "| data (split, n) | detector | AUROC | AUPRC | prevalence | Dice | found, ml | nothing found |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for group in dict.fromkeys(_group(row) for row in rows):
        members = [row["scores"] for row in rows if _group(row) == group]
        nothing = sum(scores["anomalies"] == 0 for scores in members)
        cells = [
            f"{group[0]} ({group[1]}, {len(members)})",
            group[2],
            *(_mean(members, name) for name in ("auroc", "auprc", "prevalence", "dice")),
            _mean(members, "found_ml", digits=1),
            f"{nothing} of {len(members)}",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _score_case(
    case: Case, detectors: list[ModelDetector], place: dict[str, str], kept: dict[str, Row], *, progress: Progress
) -> list[Row]:
    """Rows of the models and, once, of the baseline with the first model's healthy scans behind its threshold.

    A detector has a row per segmentation that it is calibrated for; volumes need numba.
    """
    runs: list[tuple[str, Detector, ModelDetector, dict[str, float]]] = [
        (detector.card.name, detector, detector, detector.card.thresholds) for detector in detectors
    ]
    first = detectors[0]
    baseline = first.card.healthy_validation.get("intensity_baseline_thresholds", {})
    runs.append(("intensity only", IntensityDetector(), first, baseline))
    new: list[Row] = []
    opened: dict[GridSettings, Opened] = {}  # a scan is prepared once per grid
    for number, (name, heater, model, thresholds) in enumerate(runs):
        if threshold_name("slices") not in thresholds:
            raise WeightsError(f"the model {model.card.name} is not calibrated; run brain-inpaint-ad calibrate first.")
        wanted = [row for row in _rows_to_fill(place, case, name, model.card, thresholds) if not _is_kept(row, kept)]
        if wanted:
            part = part_of(progress, number / len(runs), (number + 1) / len(runs))
            if model.card.grid not in opened:
                opened[model.card.grid] = _open(case, model.card.grid)
            new += _filled(wanted, opened[model.card.grid], heater, thresholds, progress=part)
    return new


def _rows_to_fill(place: dict[str, str], case: Case, name: str, card: Card, thresholds: dict[str, float]) -> list[Row]:
    rows = []
    for segmentation in SEGMENTATIONS:
        possible = segmentation == "slices" or is_compiled()
        if possible and threshold_name(segmentation) in thresholds:
            row: Row = {**place, "case": case.name, "detector": name if segmentation == "slices" else f"{name}, {segmentation}"}
            row["key"] = "/".join(row.values())
            threshold = thresholds[threshold_name(segmentation)]
            made_with = {"model_sha256": card.sha256, "threshold": threshold, "preparation": PREPARATION}
            rows.append({**row, "segmentation": segmentation, **made_with})
    return rows


def _is_kept(row: Row, kept: dict[str, Row]) -> bool:
    return row.items() <= kept.get(row["key"], {}).items()


@dataclass(frozen=True, slots=True)
class Opened:
    """A case made ready: the prepared scan, and what is abnormal on the scan's own grid (None: nothing)."""

    prepared: Prepared
    truth: Array | None


def _open(case: Case, grid: GridSettings) -> Opened:
    scan = read_scan(case.scan)
    if case.truth is None:
        return Opened(prepare(scan, settings=grid), None)
    truth = read_labels(case.truth)
    if not truth.grid.is_same_place(scan.grid):
        raise GeometryError(f"the truth {truth.name} does not lie on the grid of {scan.name}.")
    return Opened(prepare(scan, settings=grid), truth.array > 0)


def _filled(
    rows: list[Row], opened: Opened, heater: Detector, thresholds: dict[str, float], *, progress: Progress
) -> list[Row]:
    """The rows of one detector on one scan with their scores; the heatmap is made once."""
    heat = heater.heatmap(opened.prepared, progress=progress)
    filled = []
    for row in rows:
        settings = SegmentSettings(segmentation=row["segmentation"])
        result = segment(opened.prepared, heat, settings=settings, thresholds=thresholds, report={})
        filled.append({**row, "scores": asdict(score(result, opened.truth))})
    return filled


def _group(row: Row) -> tuple[str, str, str]:
    return row["dataset"], row["split"], row["detector"]


def _mean(members: list[dict[str, Any]], name: str, digits: int = 3) -> str:
    values = [scores[name] for scores in members if scores[name] is not None]
    if not values:
        return "–"
    if name == "prevalence":
        return f"{np.mean(values):.{digits}f}"
    return f"{np.mean(values):.{digits}f} ± {np.std(values):.{digits}f}"


def _read_rows(out: Path) -> dict[str, Row]:
    path = out / "rows.json"
    if not path.exists():
        return {}
    try:
        return {row["key"]: row for row in json.loads(path.read_text(encoding="utf-8"))["rows"]}
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} is damaged; move it away to start again.") from error


def _write_rows(out: Path, kept: dict[str, Row], command: str) -> None:
    rows = sorted(kept.values(), key=lambda row: (row["dataset"], row["split"], row["detector"], row["case"]))
    made_by = {"command": command, "version": __version__, "machine": platform.machine()}
    with write_atomically(out / "rows.json") as temporary:
        temporary.write_text(json.dumps({**made_by, "rows": rows}, indent=1) + "\n", encoding="utf-8")
    with write_atomically(out / "table.md") as temporary:
        temporary.write_text(table(rows), encoding="utf-8")
