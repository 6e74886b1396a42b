"""One table over data sets and detectors, and the JSON it is made from. Per-subject results are kept, so a run resumes."""

from __future__ import annotations

import hashlib
import json
import platform
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from ..detectors import Detector
from ..detectors.baselines import IntensityDetector
from ..detectors.inpainting import InpaintingDetector
from ..errors import InputError, WeightsError
from ..files import write_atomically
from ..io import read_labels, read_scan
from ..pipeline import THRESHOLD, load_detector
from ..prepare import prepare
from ..progress import Progress, part_of, silent
from ..result import segment
from ..segmentation.select import SegmentSettings
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
    out.mkdir(parents=True, exist_ok=True)
    kept = _read_rows(out)
    detectors = [load_detector(model, device=device) for model in models]
    for done, case in enumerate(cases):
        part = part_of(progress, done / len(cases), (done + 1) / len(cases))
        for row in _score_case(case, detectors, {"dataset": dataset, "split": split}, kept, progress=part):
            kept[row["key"]] = row
            _write_rows(out, kept, command)
    return list(kept.values())


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
    case: Case, detectors: list[InpaintingDetector], place: dict[str, str], kept: dict[str, Row], *, progress: Progress
) -> list[Row]:
    new = []
    prepared = truth = None
    for number, detector in enumerate(detectors):
        part = part_of(progress, number / len(detectors), (number + 1) / len(detectors))
        baseline = detector.card.healthy_validation.get("intensity_baseline_thresholds", {})
        runs: list[tuple[str, Detector, dict[str, float]]] = [
            (detector.card.name, detector, detector.card.thresholds),
            ("intensity only", IntensityDetector(), baseline),
        ]
        for name, heater, thresholds in runs:
            if THRESHOLD not in thresholds:
                raise WeightsError(f"the model {detector.card.name} is not calibrated; run brain-inpaint-ad calibrate first.")
            row: Row = {**place, "case": case.name, "detector": name, "model_sha256": detector.card.sha256}
            row["threshold"] = thresholds[THRESHOLD]
            key = hashlib.sha256(json.dumps(row, sort_keys=True).encode()).hexdigest()[:16]
            if key in kept:
                continue
            if prepared is None:
                prepared = prepare(read_scan(case.scan), settings=detector.grid)
                truth = read_labels(case.truth).array > 0 if case.truth else None
            heat = heater.heatmap(prepared, progress=part)
            result = segment(prepared, heat, settings=SegmentSettings(), threshold=row["threshold"], report={})
            new.append({**row, "key": key, "scores": asdict(score(result, truth))})
    return new


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
    made_by = {"command": command, "version": version("brain-inpaint-ad"), "machine": platform.machine()}
    with write_atomically(out / "rows.json") as temporary:
        temporary.write_text(json.dumps({**made_by, "rows": rows}, indent=1) + "\n", encoding="utf-8")
    with write_atomically(out / "table.md") as temporary:
        temporary.write_text(table(rows), encoding="utf-8")
