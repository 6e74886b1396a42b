"""What a study of scan scores says: tables, rows and pictures in a folder."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from .. import __version__
from ..detectors.quality import OK
from ..detectors.whole_scan import WholeScanDetector
from ..files import write_atomically
from ..hardware import describe
from .scan_figures import draw_examples, draw_roc, draw_scores
from .scan_metrics import Group, Norms, auroc, groups_of, held_against, judged, name_of, operate
from .scan_trials import CLEAN, IN_MIDDLE, LESIONS, SLICES, SPOILT, WITH_INTENSITIES, Trial, as_rows
from .tables import Table

CONTENDERS = {  # measures of a trial, and how rows call them
    "score": "score",
    "image": "L_img alone",
    "features": "L_feat alone",
    "mean |z|": "mean abs. z",
    "PCA residual": "PCA residual",
    SLICES: "2-D, middle slices",
}
LEAST_IN_MIDDLE = 0.5  # of a lesion's volume, for the comparison with slices
DOMAINS = (
    "Patients come from other scanners than the healthy scans, and were prepared by others: a high AUROC against them is no "
    "proof that lesions were noticed. The rows of healthy scans with the patients' intensities show how much of it intensities "
    "alone explain; the implanted lesions are the control without any change of scanner."
)


@dataclass(frozen=True, slots=True)
class Study:
    """What was measured, and what it is judged by. measured_here: the norms were made of these very clean scans; left_out:
    scans that were not judged at all, and why.
    """

    trials: Sequence[Trial]
    norms: Norms
    measured_here: bool
    detector: WholeScanDetector
    split: str
    command: str
    left_out: Sequence[str] = ()

    @property
    def norm_in_words(self) -> str:
        """What is healthy, and from where on a scan is abnormal."""
        norm = self.norms.norm
        if self.measured_here:
            count = len(judged(self.trials, [CLEAN]))
            return (
                f"What is healthy, the Youden point ({norm.abnormal_from:.4g}) and the limits of quality come from these "
                f"{count} clean scans and the lesions in them; each scan is judged by the others, without itself."
            )
        return (
            f"What is healthy, the Youden point ({norm.abnormal_from:.4g}) and the limits of quality are those stored in the "
            f"model's card, from {len(norm.scores)} other healthy scans; these scans set none of them."
        )


def table_of(trials: Sequence[Trial], norms: Norms) -> Table:
    """A line per kind and size: AUROC against healthy scans, how many are abnormal, what is said of the quality."""
    contenders = {name: title for name, title in CONTENDERS.items() if any(name in trial.measures for trial in trials)}
    lines = []
    for kind, size_ml in dict.fromkeys((trial.kind, trial.size_ml) for trial in trials):
        mine = [trial for trial in trials if (trial.kind, trial.size_ml) == (kind, size_ml)]
        there = [trial for trial in mine if not trial.refused]
        cells = ["–"] * (len(contenders) + 1)
        healthy, _ = held_against(trials, kind)
        if kind != CLEAN and healthy and there:
            pairs = [([t.measures[name] for t in healthy], [t.measures[name] for t in there]) for name in contenders]
            pairs.append(([norms.doubt(t) for t in healthy], [norms.doubt(t) for t in there]))
            cells = [f"{auroc(*pair):.2f}" for pair in pairs]
        said = Counter(norms.said(trial) for trial in mine)
        fine = said.pop(OK, 0)
        most = "; ".join(f"{text} ({count})" for text, count in said.most_common())
        abnormal = f"{sum(norms.abnormal(trial) for trial in there)}/{len(there)}"
        lines.append([name_of(kind, size_ml), str(len(mine)), *cells, abnormal, f"{len(mine) - fine}/{len(mine)}", most])
    note = (
        "AUROC of each kind against all clean scans, of patients against the healthy ones of their own data set where it has "
        "any: by the score and its parts, by baselines on the same scans, and by the measure of doubt in the quality. Refused "
        "scans count as doubted and are in no AUROC."
    )
    head = ["kind", "scans", *contenders.values(), "doubt in quality", "abnormal", "doubted", "as"]
    return Table("Scan scores", note, head, lines)


def operations_table(groups: Sequence[Group], norms: Norms) -> Table:
    """What the score is worth as a detector of each kind, and what the Youden point makes of it."""
    lines = []
    for group in groups:
        found = operate(group.healthy, group.abnormal, norms)
        figures = [f"{value:.2f}" for value in (found.accuracy, found.recall, found.specificity)]
        precision = f"{group.precision:.2f} ({group.prevalence:.2f})"
        counts = [str(len(group.abnormal)), f"{len(group.healthy)} {group.against}"]
        lines.append([group.name, *counts, f"{group.auroc:.2f}", precision, *figures])
    note = (
        "The score against all clean scans, of patients against the healthy ones of their own data set where it has any. In "
        "brackets: the average precision of a guess."
    )
    head = ["kind", "scans", "against", "AUROC", "average precision", "accuracy", "recall", "specificity"]
    return Table("At the Youden point", note, head, lines)


def slices_table(groups: Sequence[Group]) -> Table:
    """The paper's comparison: of lesions that the middle slices show, 3-D score against 2-D score."""
    lines = []
    for group in groups:
        seen = [trial for trial in group.abnormal if trial.measures.get(IN_MIDDLE, 0.0) >= LEAST_IN_MIDDLE]
        if not seen:
            continue
        pairs = [
            ([trial.measures[name] for trial in group.healthy], [trial.measures[name] for trial in seen])
            for name in ("score", SLICES)
        ]
        lines.append([group.name, f"{len(seen)} of {len(group.abnormal)}", *(f"{auroc(*pair):.2f}" for pair in pairs)])
    note = (
        "AUROC against the same healthy scans as above, of those scans alone whose lesion lies by half or more in the middle "
        "slices, the only ones the 2-D model is shown; both scores are those of equation 6 (of an autoencoder: the mean error)."
    )
    return Table("3-D against 2-D", note, ["kind", "lesion in the middle slices", "3-D", "2-D"], lines)


def left_out(trials: Sequence[Trial]) -> str:
    """A line for each scan that could not be judged, and why."""
    return "".join(
        f"Left out: {trial.scan}, {name_of(trial.kind, trial.size_ml)} ({trial.refused.rstrip('.')}).\n"
        for trial in trials
        if trial.refused
    )


def write_study(out: Path, study: Study) -> str:
    """table.md, rows.json and pictures; returns the table."""
    text, record = _text(study), _record(study)
    for name, content in (("table.md", text), ("rows.json", json.dumps(record, indent=1) + "\n")):
        with write_atomically(out / name) as temporary:
            temporary.write_text(content, encoding="utf-8")
    norms = study.norms
    pictures = {
        "scores.png": draw_scores(study.trials, norms.norm),
        "roc.png": draw_roc(_curves(study), norms.norm.abnormal_from),
        "examples.png": draw_examples(study.trials),
    }
    for name, picture in pictures.items():
        with write_atomically(out / name) as temporary:
            temporary.write_bytes(picture)
    return text


def _text(study: Study) -> str:
    card, groups = study.detector.card, groups_of(study.trials)
    parts = [
        f"Split {study.split}; model {card.name}, SHA-256 {card.sha256[:12]}; made by `{study.command}`.",
        study.norm_in_words,
    ]
    for table in (table_of(study.trials, study.norms), operations_table(groups, study.norms), slices_table(groups)):
        if table.lines:
            parts.append(f"### {table.title}\n{table.note}\n\n{table.markdown().rstrip()}")
    if any(trial.kind.startswith(WITH_INTENSITIES) for trial in study.trials):
        parts.append(DOMAINS)
    if missing := "".join(f"Left out: {text}.\n" for text in study.left_out) + left_out(study.trials):
        parts.append(missing.rstrip())
    return "\n\n".join(parts) + "\n"


def _record(study: Study) -> dict[str, Any]:
    card, norms = study.detector.card, study.norms
    operations = [
        {
            "kind": group.name,
            "scans": len(group.abnormal),
            "healthy": len(group.healthy),
            "against": group.against,
            "auroc": group.auroc,
            "average_precision": group.precision,
            "prevalence": group.prevalence,
            **asdict(operate(group.healthy, group.abnormal, norms)),
        }
        for group in groups_of(study.trials)
    ]
    return {
        "version": __version__,
        "command": study.command,
        "split": study.split,
        "model": {"name": card.name, "sha256": card.sha256},
        "hardware": describe(study.detector.device),
        "norm": norms.norm.to_json(),
        "norm_from": "these scans, each judged by the others" if study.measured_here else "the model's card",
        "operations": operations,
        "left_out": list(study.left_out),
        "trials": as_rows(study.trials),
    }


def _curves(study: Study) -> dict[str, dict[str, tuple[list[float], list[float]]]]:
    """Clean values and others, by panel and contender."""
    trials, norms = study.trials, study.norms
    clean = judged(trials, [CLEAN])
    shown = [name for name in ("score", "mean |z|", "PCA residual", SLICES) if any(name in t.measures for t in trials)]

    def of(others: Sequence[Trial]) -> dict[str, tuple[list[float], list[float]]]:
        return {CONTENDERS[name]: tuple([t.measures[name] for t in some] for some in (clean, others)) for name in shown}  # type: ignore[misc]

    panels = {"implanted lesions": of(judged(trials, LESIONS))}
    if spoilt := judged(trials, SPOILT):
        doubts = ([norms.doubt(trial) for trial in clean], [norms.doubt(trial) for trial in spoilt])
        panels["spoilt scans"] = {"doubt in quality": doubts, **of(spoilt)}
    for group in groups_of(trials):
        if group.abnormal[0].kind not in (*LESIONS, *SPOILT) and group.name == group.abnormal[0].kind:
            pairs = {
                CONTENDERS[name]: ([t.measures[name] for t in group.healthy], [t.measures[name] for t in group.abnormal])
                for name in shown
            }
            panels[group.name] = pairs
    return panels
