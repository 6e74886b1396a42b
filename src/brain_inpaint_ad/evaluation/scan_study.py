"""Does a whole-scan score notice lesions and bad scans? One command: trials, AUROC per kind and size, Youden point, picture."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from .. import __version__
from ..detectors.whole_scan import WHOLE_SCAN, ScanNorm, WholeScanDetector
from ..errors import InputError, OutputError, SettingsError
from ..files import write_atomically
from ..progress import Progress, part_of, silent
from ..scan_score import load_whole_scan
from ..weights.folders import find_model
from ..weights.store import write_card
from .datasets import DATASETS, Case, ixi
from .healthy import HealthyFolder
from .scan_metrics import auroc, average_precision, in_doubt, left_out, norm_of, operate, values_of
from .scan_trials import CLEAN, LESIONS, SPOILT, Judge, Trial, as_rows, run_trials
from .store import Store
from .tables import Table

CONTENDERS = ("score", "image", "features", "mean |z|", "PCA residual")


def study(
    model: str,
    data: Path,
    out: Path,
    *,
    split: str = "validation",
    kinds: Sequence[str] | None = None,
    most: int | None = None,
    against: Sequence[str] = (),
    calibrate: bool = False,
    cache: Path | None = None,
    device: str = "auto",
    command: str = "",
    progress: Progress = silent,
) -> str:
    """Judge healthy scans clean, with lesions and spoilt; write rows.json, table.md and scores.png into `out`.

    data: healthy scans, laid out as `ixi`; its train split makes the baselines' group. kinds: of LESIONS and SPOILT (None:
    all); most: healthy scans to spoil (all are judged clean); against: patients as DATASET=FOLDER; calibrate: put healthy
    scores, Youden point and limits of quality into the model's card (validation only). Returns the table.
    """
    if calibrate and split != "validation":
        raise SettingsError("a model is calibrated on the split validation only; leave --calibrate or --split away.")
    if most is not None and most < 2:
        raise SettingsError(f"lesions must go into two scans or more, so that nobody is judged by their own; got {most}.")
    unknown = sorted(set(kinds or ()) - {*LESIONS, *SPOILT})
    if unknown:
        raise SettingsError(f"there is no kind {unknown[0]!r}; known are {', '.join((*LESIONS, *SPOILT))}.")
    if kinds and not set(kinds) & set(LESIONS):
        raise SettingsError(f"one kind of lesion at least is needed for the Youden point; add one of {', '.join(LESIONS)}.")
    patients = {name: DATASETS[name](Path(folder), split) for name, folder in map(_pair, against)}
    detector = load_whole_scan(model, device=device)
    if not calibrate:
        ScanNorm.from_card(detector.card)  # refused before the work starts
    healthy = ixi(data, split)
    _check_unseen(detector, healthy)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{out} cannot be made ({error.strerror}); choose another --out folder.") from error
    store = Store(cache or out / "cache")
    folder = data / "brain" if (data / "brain").is_dir() else data  # beside it, ours has whole heads of the same names
    group = HealthyFolder(folder, store, detector.card.grid).group(progress=part_of(progress, 0, 0.3))
    judge = Judge(detector, group, store)
    trials = run_trials(
        judge,
        healthy,
        kinds=kinds or (*LESIONS, *SPOILT),
        most=most,
        patients=patients,
        progress=part_of(progress, 0.3, 1),
    )
    own = norm_of(trials)
    if calibrate:
        stored = {WHOLE_SCAN: {**asdict(own), "scans": [case.name for case in healthy]}}
        card = replace(detector.card, healthy_validation={**detector.card.healthy_validation, **stored})
        write_card(card, find_model(model).with_suffix(".json"))
        detector = replace(detector, card=card)
    norm = ScanNorm.from_card(detector.card)
    _write(out, trials, norm, split=split, detector=detector, command=command)
    return (out / "table.md").read_text(encoding="utf-8")


def table_of(trials: Sequence[Trial], norm: ScanNorm) -> Table:
    """A line per kind and size: AUROC against the clean scans, by contender, and how many have their quality doubted."""
    lines = []
    for kind, size_ml in dict.fromkeys((trial.kind, trial.size_ml) for trial in trials):
        mine = [trial for trial in trials if (trial.kind, trial.size_ml) == (kind, size_ml)]
        judged = [trial for trial in mine if not trial.refused]
        cells = ["–"] * len(CONTENDERS)
        if kind != CLEAN and judged:
            cells = [f"{auroc(values_of(trials, CLEAN, name), values_of(mine, kind, name)):.2f}" for name in CONTENDERS]
        doubted = sum(in_doubt(trial, norm) for trial in mine)
        abnormal = sum(trial.measures["score"] >= norm.abnormal_from for trial in judged)
        label = kind if size_ml is None else f"{kind}, {size_ml:g} ml"
        lines.append([label, str(len(mine)), *cells, f"{abnormal}/{len(judged)}", f"{doubted}/{len(mine)}"])
    note = "AUROC of each kind against the clean healthy scans. Refused scans count as doubted and are in no AUROC."
    head = [
        "kind",
        "scans",
        "score",
        "L_img alone",
        "L_feat alone",
        "mean abs. z",
        "PCA residual",
        "abnormal",
        "quality doubted",
    ]
    return Table("Scan scores", note, head, lines)


def _write(out: Path, trials: list[Trial], norm: ScanNorm, *, split: str, detector: WholeScanDetector, command: str) -> None:
    from .scan_figures import draw_scores

    clean = values_of(trials, CLEAN, "score")
    lesions = [value for kind in LESIONS for value in values_of(trials, kind, "score")]
    operation = left_out(trials) if split == "validation" else operate(clean, lesions, norm.abnormal_from)
    how = "each subject by the point of the others" if split == "validation" else "the point stored in the model's card"
    precision = average_precision(trials)
    text = (
        f"{table_of(trials, norm).markdown()}\n"
        f"All lesions: AUROC {auroc(clean, lesions):.2f}; Youden point ({how}): accuracy {operation.accuracy:.2f}, recall "
        f"{operation.recall:.2f}, specificity {operation.specificity:.2f}. Average precision: "
        + ", ".join(f"{kind} {value:.2f}" for kind, value in precision.items())
        + ".\n"
    )
    card = detector.card
    record: dict[str, Any] = {
        "version": __version__,
        "command": command,
        "split": split,
        "model": {"name": card.name, "sha256": card.sha256},
        "norm": asdict(norm),
        "operation": asdict(operation),
        "average_precision": precision,
        "trials": as_rows(trials),
    }
    for name, content in (("table.md", text), ("rows.json", json.dumps(record, indent=1) + "\n")):
        with write_atomically(out / name) as temporary:
            temporary.write_text(content, encoding="utf-8")
    with write_atomically(out / "scores.png") as temporary:
        temporary.write_bytes(draw_scores(trials, norm))


def _check_unseen(detector: WholeScanDetector, healthy: Sequence[Case]) -> None:
    learned = set(detector.card.training.get("subjects", {}).get("train", []))
    if seen := sorted(learned & {case.name for case in healthy}):
        raise InputError(f"{seen[0]} was trained on; a study needs scans the model has never seen.")


def _pair(entry: str) -> tuple[str, str]:
    name, _, folder = entry.partition("=")
    if name not in DATASETS or not folder:
        raise SettingsError(f"--against wants DATASET=FOLDER with one of {', '.join(sorted(DATASETS))}, got {entry!r}")
    return name, folder
