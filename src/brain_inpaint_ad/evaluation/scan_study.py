"""Does a whole-scan score notice lesions and bad scans? One command: trials, AUROC per kind and size, Youden point, picture."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from .. import __version__
from ..detectors import ModelDetector
from ..detectors.load import load_detector
from ..detectors.quality import OK
from ..detectors.whole_scan import WHOLE_SCAN, ScanNorm, WholeScanDetector
from ..errors import InputError, OutputError, SettingsError
from ..files import write_atomically
from ..hardware import describe
from ..progress import Progress, part_of, silent
from ..scan_score import load_whole_scan
from ..weights.folders import find_model
from ..weights.store import write_card
from .datasets import DATASETS, Case, ixi
from .healthy import HealthyFolder
from .scan_figures import draw_examples, draw_roc, draw_scores, name_of
from .scan_metrics import auroc, average_precision, doubts_of, left_out, norm_of, operate, said_of, values_of, without
from .scan_trials import CLEAN, LESIONS, SLICES, SPOILT, WITH_INTENSITIES, Judge, Trial, as_rows, run_trials
from .store import Store
from .tables import Table

CONTENDERS = {  # measures of a trial, and how rows call them
    "score": "score",
    "image": "L_img alone",
    "features": "L_feat alone",
    "mean |z|": "mean abs. z",
    "PCA residual": "PCA residual",
    SLICES: "2-D, middle slices",
}
DOMAINS = (
    "Patients come from other scanners than the healthy scans, and were prepared by others: a high AUROC against them is no "
    "proof that lesions were noticed. The rows of healthy scans with the patients' intensities show how much of it intensities "
    "alone explain; the implanted lesions are the control without any change of scanner."
)


def study(
    model: str,
    data: Path,
    out: Path,
    *,
    split: str = "validation",
    kinds: Sequence[str] | None = None,
    most: int | None = None,
    against: Sequence[str] = (),
    slices_model: str | None = None,
    calibrate: bool = False,
    cache: Path | None = None,
    device: str = "auto",
    command: str = "",
    progress: Progress = silent,
) -> str:
    """Judge healthy scans clean, with lesions and spoilt; write rows.json, table.md and pictures into `out`.

    data: healthy scans, laid out as `ixi`; its train split makes the baselines' group. kinds: of LESIONS and SPOILT (None:
    all); most: healthy scans to spoil (all are judged clean); against: patients as DATASET=FOLDER; slices_model: a 2-D model
    that rebuilds slices, to compare with; calibrate: put healthy scores, Youden point and measures of quality into the model's
    card (validation only). What was judged is kept in `cache`: a study that was cut goes on. Returns the table.
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
    judge = Judge(detector, group, store, None if slices_model is None else _slices_of(slices_model, detector, device))
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
        stored = {WHOLE_SCAN: {**own.to_json(), "scans": [case.name for case in healthy]}}
        card = replace(detector.card, healthy_validation={**detector.card.healthy_validation, **stored})
        write_card(card, find_model(model).with_suffix(".json"))
        detector = replace(detector, card=card)
    norm = ScanNorm.from_card(detector.card)
    _write(out, trials, norm, split=split, detector=detector, command=command)
    return (out / "table.md").read_text(encoding="utf-8")


def table_of(trials: Sequence[Trial], norm: ScanNorm, *, own: bool) -> Table:
    """A line per kind and size: AUROC against the clean scans by contender, how many are abnormal, what is said of the quality.

    own: the norm was made from these clean scans; then each of them is judged by the quality of the others.
    """
    contenders = {name: title for name, title in CONTENDERS.items() if any(name in trial.measures for trial in trials)}
    doubts = doubts_of(trials, norm, CLEAN, own=own)
    lines = []
    for kind, size_ml in dict.fromkeys((trial.kind, trial.size_ml) for trial in trials):
        mine = [trial for trial in trials if (trial.kind, trial.size_ml) == (kind, size_ml)]
        judged = [trial for trial in mine if not trial.refused]
        cells = ["–"] * (len(contenders) + 1)
        if kind != CLEAN and judged:
            pairs = [(values_of(trials, CLEAN, name), values_of(mine, kind, name)) for name in contenders]
            cells = [f"{auroc(*pair):.2f}" for pair in (*pairs, (doubts, doubts_of(mine, norm, kind, own=own)))]
        abnormal = sum(trial.measures["score"] >= norm.abnormal_from for trial in judged)
        said = Counter(said_of(trial, without(trials, norm, trial.scan) if own and kind == CLEAN else norm) for trial in mine)
        fine = said.pop(OK, 0)
        most = "; ".join(f"{text} ({count})" for text, count in said.most_common())
        label = name_of(kind, size_ml)
        lines.append([label, str(len(mine)), *cells, f"{abnormal}/{len(judged)}", f"{len(mine) - fine}/{len(mine)}", most])
    note = (
        "AUROC of each kind against the clean healthy scans, by the score and its parts, by baselines on the same scans, and "
        "by the measure of doubt in the quality. Refused scans count as doubted and are in no AUROC."
    )
    head = ["kind", "scans", *contenders.values(), "doubt in quality", "abnormal", "doubted", "as"]
    return Table("Scan scores", note, head, lines)


def _write(out: Path, trials: list[Trial], norm: ScanNorm, *, split: str, detector: WholeScanDetector, command: str) -> None:
    own = split == "validation"
    clean, lesions = (_of_kinds(trials, kinds, "score") for kinds in ((CLEAN,), LESIONS))
    operation = left_out(trials) if own else operate(clean, lesions, norm.abnormal_from)
    how = "each subject by the point of the others" if own else "the point stored in the model's card"
    precision = average_precision(trials)
    card = detector.card
    text = (
        f"Split {split}; model {card.name}, SHA-256 {card.sha256[:12]}; made by `{command}`.\n\n"
        f"{table_of(trials, norm, own=own).markdown()}\n"
        f"All lesions: AUROC {auroc(clean, lesions):.2f}; Youden point ({how}): accuracy {operation.accuracy:.2f}, recall "
        f"{operation.recall:.2f}, specificity {operation.specificity:.2f}. Average precision: "
        + ", ".join(f"{kind} {value:.2f}" for kind, value in precision.items())
        + ".\n"
    )
    if any(trial.kind.startswith(WITH_INTENSITIES) for trial in trials):
        text += f"\n{DOMAINS}\n"
    record: dict[str, Any] = {
        "version": __version__,
        "command": command,
        "split": split,
        "model": {"name": card.name, "sha256": card.sha256},
        "hardware": describe(detector.device),
        "norm": norm.to_json(),
        "operation": asdict(operation),
        "average_precision": precision,
        "trials": as_rows(trials),
    }
    for name, content in (("table.md", text), ("rows.json", json.dumps(record, indent=1) + "\n")):
        with write_atomically(out / name) as temporary:
            temporary.write_text(content, encoding="utf-8")
    pictures = {
        "scores.png": draw_scores(trials, norm),
        "roc.png": draw_roc(_curves(trials, norm, own=own), norm.abnormal_from),
        "examples.png": draw_examples(trials),
    }
    for name, picture in pictures.items():
        with write_atomically(out / name) as temporary:
            temporary.write_bytes(picture)


def _curves(trials: Sequence[Trial], norm: ScanNorm, *, own: bool) -> dict[str, dict[str, tuple[list[float], list[float]]]]:
    """Clean values and others, by panel and contender."""

    def of(kinds: Sequence[str]) -> dict[str, tuple[list[float], list[float]]]:
        there = [name for name in ("score", "mean |z|", "PCA residual", SLICES) if any(name in t.measures for t in trials)]
        return {CONTENDERS[name]: (_of_kinds(trials, [CLEAN], name), _of_kinds(trials, kinds, name)) for name in there}

    panels = {"implanted lesions": of(LESIONS)}
    if any(trial.kind in SPOILT and not trial.refused for trial in trials):
        doubts = [value for kind in SPOILT for value in doubts_of(trials, norm, kind, own=own)]
        panels["spoilt scans"] = {"doubt in quality": (doubts_of(trials, norm, CLEAN, own=own), doubts), **of(SPOILT)}
    return panels


def _of_kinds(trials: Sequence[Trial], kinds: Sequence[str], measure: str) -> list[float]:
    return [value for kind in kinds for value in values_of(trials, kind, measure)]


def _check_unseen(detector: WholeScanDetector, healthy: Sequence[Case]) -> None:
    learned = set(detector.card.training.get("subjects", {}).get("train", []))
    if seen := sorted(learned & {case.name for case in healthy}):
        raise InputError(f"{seen[0]} was trained on; a study needs scans the model has never seen.")


def _slices_of(model: str, detector: WholeScanDetector, device: str) -> ModelDetector:
    slices = load_detector(model, device=device)
    if slices.card.window_mm or isinstance(slices, WholeScanDetector) or slices.card.grid != detector.card.grid:
        raise SettingsError(
            f"{slices.card.name} rebuilds no slices of this grid; name a 2-D model such as one of train fanogan."
        )
    return slices


def _pair(entry: str) -> tuple[str, str]:
    name, _, folder = entry.partition("=")
    if name not in DATASETS or not folder:
        raise SettingsError(f"--against wants DATASET=FOLDER with one of {', '.join(sorted(DATASETS))}, got {entry!r}")
    return name, folder
