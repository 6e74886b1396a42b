"""Does a whole-scan score notice lesions and bad scans? One command: trials, what they are judged by, tables and pictures."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

from ..detectors import ModelDetector
from ..detectors.load import load_detector
from ..detectors.reconstruction import ReconstructionDetector
from ..detectors.whole_scan import WHOLE_SCAN, ScanNorm, WholeScanDetector
from ..errors import InputError, OutputError, SettingsError
from ..extras import check_installed
from ..progress import Progress, part_of, silent
from ..scan_score import load_whole_scan
from ..training.data import Subject
from ..weights.card import Card
from ..weights.folders import find_model
from ..weights.store import write_card
from .cases import Case
from .corruptions import check_torchio
from .datasets import DATASETS, modality_of
from .healthy import HealthyFolder
from .scan_judge import Judge, run_trials
from .scan_metrics import LEAST_SCANS, Norms, judged, own_norms
from .scan_report import Study, write_study
from .scan_trials import CLEAN, LESIONS, OF_HEALTHY, SPOILT
from .store import Store

_LOG = logging.getLogger(__name__)


def study(
    model: str,
    data: Path,
    out: Path,
    *,
    dataset: str = "ixi",
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

    data: healthy scans, laid out as `dataset` (its patients are left out); its train split makes the baselines' group. kinds:
    of LESIONS and SPOILT (None: all); most: healthy scans to spoil (all are judged clean); against: other scans as
    DATASET=FOLDER; slices_model: a 2-D model that rebuilds slices, to compare with; calibrate: put healthy scores, Youden point
    and measures of quality into the model's card (validation only). What was judged is kept in `cache`: a study that was cut
    goes on. Returns the tables.

    Scans that the model's card was calibrated on are judged by each other, each without itself; all else by the card. Where the
    card judges, healthy scans of `against` that it was calibrated on are left out with a warning.
    """
    kinds = kinds or (*LESIONS, *SPOILT)
    _check_settings(split, kinds, most, calibrate=calibrate)
    check_installed("sklearn", "scikit-learn", purpose="evaluation")
    detector = load_whole_scan(model, device=device)
    if not calibrate:
        ScanNorm.from_card(detector.card)  # refused before the work starts
    modality_of(dataset, [detector.card])
    healthy = _healthy(dataset, data, split)
    others = _others(against, split, detector, healthy)
    _check_unseen(detector.card, [*healthy, *(case for cases in others.values() for case in cases)])
    stored = set(detector.card.healthy_validation.get(WHOLE_SCAN, {}).get("scans", ()))
    measured_here = calibrate or not stored.isdisjoint(case.name for case in healthy)
    if measured_here and len(healthy) < LEAST_SCANS:
        raise InputError(
            f"{data} holds {len(healthy)} healthy scans of the split {split!r}; each is judged by the others, which takes "
            f"{LEAST_SCANS} or more."
        )
    left_out = [] if measured_here else _without_norms_own(others, stored)
    slices = None if slices_model is None else _slices_of(slices_model, detector, device)
    if slices is not None:
        _check_unseen(slices.card, healthy)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{out} cannot be made ({error.strerror}); choose another --out folder.") from error
    store = Store(cache or out / "cache")
    group = _folder(dataset, data, store, detector.card).group(progress=part_of(progress, 0, 0.3))
    trials = run_trials(
        Judge(detector, group, store, slices),
        healthy,
        kinds=kinds,
        most=most,
        others=others,
        progress=part_of(progress, 0.3, 1),
    )
    norms = own_norms(trials) if measured_here else Norms(ScanNorm.from_card(detector.card))
    if calibrate:
        scans = [trial.scan for trial in judged(trials, [CLEAN])]
        known = detector.card.healthy_validation | {WHOLE_SCAN: {**norms.norm.to_json(), "scans": scans}}
        write_card(replace(detector.card, healthy_validation=known), find_model(model).with_suffix(".json"))
    return write_study(out, Study(trials, norms, measured_here, detector, split, command, left_out))


def _check_settings(split: str, kinds: Sequence[str], most: int | None, *, calibrate: bool) -> None:
    if calibrate and split != "validation":
        raise SettingsError("a model is calibrated on the split validation only; leave --calibrate or --split away.")
    if most is not None and most < 2:
        raise SettingsError(f"lesions must go into two scans or more, so that nobody is judged by their own; got {most}.")
    if unknown := sorted(set(kinds) - {*LESIONS, *SPOILT}):
        raise SettingsError(f"there is no kind {unknown[0]!r}; known are {', '.join((*LESIONS, *SPOILT))}.")
    if not set(kinds) & set(LESIONS):
        raise SettingsError(f"one kind of lesion at least is needed for the Youden point; add one of {', '.join(LESIONS)}.")
    check_torchio(kinds)


def _healthy(dataset: str, data: Path, split: str) -> list[Case]:
    if dataset not in DATASETS:
        raise SettingsError(f"there is no data set {dataset!r}; known are {', '.join(sorted(DATASETS))}.")
    healthy = [case for case in DATASETS[dataset](data, split) if case.truth is None]
    if not healthy:
        raise InputError(f"{data} holds no healthy scan of the split {split!r}; the score is measured on healthy scans.")
    return healthy


def _others(against: Sequence[str], split: str, detector: WholeScanDetector, healthy: Sequence[Case]) -> dict[str, list[Case]]:
    """Cases by data set, without those that are judged as healthy scans already."""
    ours = {case.scan.resolve() for case in healthy}
    others: dict[str, list[Case]] = {}
    for name, folder in map(_pair, against):
        if name in others:
            raise SettingsError(f"--against names {name} twice; put its scans into one folder.")
        modality_of(name, [detector.card])
        others[name] = [case for case in DATASETS[name](Path(folder), split) if case.scan.resolve() not in ours]
    return others


def _without_norms_own(others: dict[str, list[Case]], stored: Collection[str]) -> list[str]:
    """Takes healthy scans out of `others` that set the card's norm; what tables say of them."""
    left_out = []
    for name, cases in others.items():
        for case in [case for case in cases if case.truth is None and case.name in stored]:
            cases.remove(case)
            left_out.append(f"{case.name}, {OF_HEALTHY}{name} (the model's card was calibrated on it)")
            _LOG.warning("%s (%s) was left out: the model's card was calibrated on it", case.name, f"{OF_HEALTHY}{name}")
    return left_out


def _folder(dataset: str, data: Path, store: Store, card: Card) -> HealthyFolder:
    """Whose train split makes the baselines' group."""
    if dataset == "ixi" and (data / "subjects.csv").is_file():
        folder = data / "brain" if (data / "brain").is_dir() else data  # beside it, ours has whole heads of the same names
        return HealthyFolder(folder, store, card.grid, modality=card.modality)
    listed = tuple(Subject(case.name, case.scan, "train") for case in _healthy(dataset, data, "train"))
    return HealthyFolder(data, store, card.grid, modality=card.modality, listed=listed)


def _check_unseen(card: Card, cases: Sequence[Case]) -> None:
    learned = set(card.training.get("subjects", {}).get("train", []))
    if seen := sorted(learned & {case.name for case in cases}):
        raise InputError(f"{seen[0]} was trained on by {card.name}; a study needs scans the model has never seen.")


def _slices_of(model: str, detector: WholeScanDetector, device: str) -> ModelDetector:
    slices = load_detector(model, device=device)
    card, own = slices.card, detector.card
    if not isinstance(slices, ReconstructionDetector) or (card.grid, card.modality) != (own.grid, own.modality):
        raise SettingsError(f"{card.name} rebuilds no slices of this grid; name a 2-D model such as one of train fanogan.")
    return slices


def _pair(entry: str) -> tuple[str, str]:
    name, _, folder = entry.partition("=")
    if name not in DATASETS or not folder:
        raise SettingsError(f"--against wants DATASET=FOLDER with one of {', '.join(sorted(DATASETS))}, got {entry!r}")
    return name, folder
