"""What scores of scans are worth: AUROC, Youden point, accuracy without one's own threshold, limits of quality."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from ..detectors.quality import MEANING, QualityNorm
from ..detectors.whole_scan import ScanNorm
from ..errors import InputError
from ..volume import Array
from .scan_trials import CLEAN, LESIONS, OF_HEALTHY, SPOILT, WITH_INTENSITIES, Trial

LEAST_SCANS = 3  # healthy ones, so that two are left for the norm of each


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


@dataclass(frozen=True, slots=True)
class Norms:
    """What each scan is judged by: what healthy scans show, always without the scan itself.

    norm: of all healthy scans; without: by the name of one of them, of the others.
    """

    norm: ScanNorm
    without: Mapping[str, ScanNorm] = field(default_factory=dict)

    def of(self, trial: Trial) -> ScanNorm:
        """For a healthy scan and all that was made of it the norm of the others."""
        return self.without.get(trial.scan, self.norm)

    def abnormal(self, trial: Trial) -> bool:
        """At or above the Youden point."""
        return trial.measures["score"] >= self.of(trial).abnormal_from

    def doubt(self, trial: Trial) -> float:
        """The measure of doubt in the quality."""
        return self.of(trial).quality.doubt(trial.measures)

    def said(self, trial: Trial) -> str:
        """What is said of the quality."""
        return "unusable" if trial.refused else self.of(trial).quality.words(trial.measures)


def norm_of(trials: Sequence[Trial]) -> ScanNorm:
    """Healthy scores, the Youden point of clean scans against those with lesions, and the limits of quality."""
    clean, lesions = judged(trials, [CLEAN]), judged(trials, LESIONS)
    if len(clean) < 2 or not lesions:
        raise InputError("fewer than two healthy scans, or none with a lesion, could be judged; more are needed for a norm.")
    quality = QualityNorm.of([{name: trial.measures[name] for name in MEANING} for trial in clean])
    scores = _scores(clean)
    return ScanNorm(tuple(sorted(scores)), youden(scores, _scores(lesions)), quality)


def own_norms(trials: Sequence[Trial]) -> Norms:
    """Of these very scans: each is judged by the others. Raises InputError where too few are left for that."""
    clean, struck = ({trial.scan for trial in judged(trials, kinds)} for kinds in ([CLEAN], LESIONS))
    if len(clean) < LEAST_SCANS or len(struck) < 2:
        raise InputError(
            f"every healthy scan is judged by the others, which takes {LEAST_SCANS} or more, and lesions in two or more; "
            f"{len(clean)} could be judged, {len(struck)} with a lesion. Add healthy scans."
        )
    without = {scan: norm_of([trial for trial in trials if trial.scan != scan]) for scan in clean | struck}
    return Norms(norm_of(trials), without)


def judged(trials: Sequence[Trial], kinds: Sequence[str]) -> list[Trial]:
    """Those of some kinds that were not refused."""
    return [trial for trial in trials if trial.kind in kinds and not trial.refused]


def operate(clean: Sequence[Trial], abnormal: Sequence[Trial], norms: Norms) -> Operation:
    """Of scans that were judged, one of either at least: a scan is called abnormal at or above its Youden point."""
    hits, passes = [norms.abnormal(trial) for trial in abnormal], [not norms.abnormal(trial) for trial in clean]
    return Operation(float(np.mean([*hits, *passes])), float(np.mean(hits)), float(np.mean(passes)))


def _scores(trials: Sequence[Trial]) -> list[float]:
    return [trial.measures["score"] for trial in trials]


def roc(clean: Sequence[float], other: Sequence[float]) -> tuple[Array, Array]:
    """False-positive and true-positive rate at every threshold, from none called abnormal to all."""
    cuts = np.unique([*clean, *other])[::-1]
    rates = [[0.0, *(float(np.mean(np.asarray(values) >= cut)) for cut in cuts)] for values in (clean, other)]
    return np.asarray(rates[0]), np.asarray(rates[1])


@dataclass(frozen=True, slots=True)
class Group:
    """Scans that should be called abnormal, and the healthy ones they are held against.

    against: what these are called in tables.
    """

    name: str
    abnormal: Sequence[Trial]
    healthy: Sequence[Trial]
    against: str = CLEAN

    @property
    def auroc(self) -> float:
        """Of the score."""
        return auroc(_scores(self.healthy), _scores(self.abnormal))

    @property
    def precision(self) -> float:
        """Average precision of the score."""
        from sklearn.metrics import average_precision_score

        truth = [True] * len(self.abnormal) + [False] * len(self.healthy)
        return float(average_precision_score(truth, [*_scores(self.abnormal), *_scores(self.healthy)]))

    @property
    def prevalence(self) -> float:
        """What an average precision of a score that tells nothing would be."""
        return len(self.abnormal) / (len(self.abnormal) + len(self.healthy))


def held_against(trials: Sequence[Trial], kind: str) -> tuple[list[Trial], str]:
    """The healthy scans that scans of a kind are held against, and what these are called: of their own data set where it has
    any, else all clean ones.
    """
    own = f"{OF_HEALTHY}{kind}"
    healthy = judged(trials, [own])
    return (healthy, own) if healthy else (judged(trials, [CLEAN]), CLEAN)


def groups_of(trials: Sequence[Trial]) -> list[Group]:
    """All lesions, lesions by kind and by kind and size, faults by kind, patients by data set and by type of lesion.

    They are held against all clean scans; patients against the healthy scans of their own data set where it has any.
    """
    clean = judged(trials, [CLEAN])
    made = {CLEAN, *LESIONS, *SPOILT}
    brought = [t.kind for t in trials if t.kind not in made and not t.kind.startswith((WITH_INTENSITIES, OF_HEALTHY))]
    lesions = judged(trials, LESIONS)
    parts: dict[str, list[Trial]] = {"all lesions": lesions}
    for kind in LESIONS:
        parts[kind] = [trial for trial in lesions if trial.kind == kind]
    for trial in lesions:
        if trial.size_ml is not None:
            parts.setdefault(name_of(trial.kind, trial.size_ml), []).append(trial)
    for trial in judged(trials, SPOILT):
        parts.setdefault(trial.kind, []).append(trial)
    groups = [Group(name, members, clean) for name, members in parts.items()]
    for name in dict.fromkeys(brought):
        mine, held = judged(trials, [name]), held_against(trials, name)
        groups.append(Group(name, mine, *held))
        for kind in dict.fromkeys(kind for trial in mine for kind in trial.types):
            groups.append(Group(f"{name}: {kind}", [trial for trial in mine if kind in trial.types], *held))
    return [group for group in groups if group.abnormal and group.healthy]


def name_of(kind: str, size_ml: float | None) -> str:
    """As rows of tables and pictures call it."""
    return kind if size_ml is None else f"{kind}, {size_ml:g} ml"
