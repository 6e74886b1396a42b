"""What scores of scans are worth: AUROC, Youden point, accuracy without one's own threshold, limits of quality."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..detectors.quality import MEANING, QualityNorm
from ..detectors.whole_scan import ScanNorm
from ..errors import InputError
from ..volume import Array
from .scan_trials import CLEAN, LESIONS, Trial


@dataclass(frozen=True, slots=True)
class Operation:
    """What a threshold on the score does: the paper's three figures."""

    accuracy: float
    recall: float
    specificity: float


def auroc(clean: Sequence[float], other: Sequence[float]) -> float:
    """How often a scan of `other` has the higher score than one of `clean`, ties counting half."""
    first, second = np.asarray(clean)[:, None], np.asarray(other)[None]
    return float((second > first).mean() + 0.5 * (second == first).mean())


def youden(clean: Sequence[float], abnormal: Sequence[float]) -> float:
    """The threshold with the greatest recall + specificity − 1; between the two scores where it lies, the middle."""
    scores = np.unique([*clean, *abnormal])
    cuts = np.concatenate([scores[:1], (scores[1:] + scores[:-1]) / 2])
    gains = [np.mean(np.asarray(abnormal) >= cut) + np.mean(np.asarray(clean) < cut) for cut in cuts]
    return float(cuts[int(np.argmax(gains))])


def operate(clean: Sequence[float], abnormal: Sequence[float], threshold: float) -> Operation:
    """A scan is called abnormal at or above the threshold."""
    hits, passes = np.asarray(abnormal) >= threshold, np.asarray(clean) < threshold
    return Operation(float(np.concatenate([hits, passes]).mean()), float(hits.mean()), float(passes.mean()))


def norm_of(trials: Sequence[Trial]) -> ScanNorm:
    """Healthy scores, the Youden point of clean scans against those with lesions, and the limits of quality."""
    clean = [trial for trial in trials if trial.kind == CLEAN and not trial.refused]
    if len(clean) < 2:
        raise InputError("fewer than two healthy scans could be judged; more are needed to say what is healthy.")

    quality = QualityNorm.of([{name: trial.measures[name] for name in MEANING} for trial in clean])
    return ScanNorm(tuple(sorted(values_of(trials, CLEAN, "score"))), _youden_of(trials), quality)


def _youden_of(trials: Sequence[Trial]) -> float:
    return youden(values_of(trials, CLEAN, "score"), [v for kind in LESIONS for v in values_of(trials, kind, "score")])


def values_of(trials: Sequence[Trial], kind: str, measure: str, size_ml: float | None = None) -> list[float]:
    """Of all scans of a kind, and a size where one is given; refused ones are left out."""
    return [
        trial.measures[measure]
        for trial in trials
        if trial.kind == kind and not trial.refused and (size_ml is None or trial.size_ml == size_ml)
    ]


def left_out(trials: Sequence[Trial]) -> Operation:
    """The Youden point of all other subjects, applied to each: accuracy, recall, specificity over all scans."""
    hits: list[bool] = []
    passes: list[bool] = []
    for scan in sorted({trial.scan for trial in trials if trial.kind == CLEAN}):
        others = [trial for trial in trials if trial.scan != scan]
        mine = [trial for trial in trials if trial.scan == scan]
        threshold = _youden_of(others)
        hits += [value >= threshold for kind in LESIONS for value in values_of(mine, kind, "score")]
        passes += [value < threshold for value in values_of(mine, CLEAN, "score")]
    return Operation(float(np.mean([*hits, *passes])), float(np.mean(hits)), float(np.mean(passes)))


def said_of(trial: Trial, norm: ScanNorm) -> str:
    """What is said of a scan's quality."""
    return "unusable" if trial.refused else norm.quality.words(trial.measures)


def without(trials: Sequence[Trial], norm: ScanNorm, scan: str) -> ScanNorm:
    """The norm that a clean scan which is part of it is judged by: the quality of the other clean scans, where two are left."""
    others = [trial.measures for trial in trials if trial.kind == CLEAN and not trial.refused and trial.scan != scan]
    if len(others) < 2:
        return norm
    return replace(norm, quality=QualityNorm.of([{name: measures[name] for name in MEANING} for measures in others]))


def doubts_of(trials: Sequence[Trial], norm: ScanNorm, kind: str, *, own: bool) -> list[float]:
    """The measure of doubt of all scans of a kind that were judged. own: the norm is that of these clean scans."""
    return [
        (without(trials, norm, trial.scan) if own and kind == CLEAN else norm).quality.doubt(trial.measures)
        for trial in trials
        if trial.kind == kind and not trial.refused
    ]


def roc(clean: Sequence[float], other: Sequence[float]) -> tuple[Array, Array]:
    """False-positive and true-positive rate at every threshold, from none called abnormal to all."""
    cuts = np.unique([*clean, *other])[::-1]
    rates = [[0.0, *(float(np.mean(np.asarray(values) >= cut)) for cut in cuts)] for values in (clean, other)]
    return np.asarray(rates[0]), np.asarray(rates[1])


def average_precision(trials: Sequence[Trial]) -> dict[str, float]:
    """Of the score, by kind of lesion, among the clean scans of the same subjects."""
    from sklearn.metrics import average_precision_score

    found = {}
    for kind in LESIONS:
        lesions = values_of(trials, kind, "score")
        subjects = {trial.scan for trial in trials if trial.kind == kind}
        clean = values_of([trial for trial in trials if trial.scan in subjects], CLEAN, "score")
        if lesions and clean:
            truth = [True] * len(lesions) + [False] * len(clean)
            found[kind] = float(average_precision_score(truth, [*lesions, *clean]))
    return found
