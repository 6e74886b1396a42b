"""The evaluation: rows per scan and detector, the tables and the page made from them. What is kept is not computed again."""

from __future__ import annotations

import json
import logging
import platform
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import __version__
from ..detectors.load import load_detector
from ..errors import FitError, InputError, OutputError, SettingsError
from ..extras import check_installed
from ..files import write_atomically
from ..prepare import PREPARATION, GridSettings
from ..progress import Progress, part_of, silent
from ..segmentation.regions import possible_segmentations
from ..segmentation.thresholds import threshold_name
from ..weights.card import Card
from .cases import Case
from .contenders import BASELINES, INTENSITY, Contender, check_names, make_contenders
from .controls import CONTROLS
from .datasets import DATASETS, modality_of
from .healthy import HealthyFolder
from .page import view_of, write_page
from .scoring import CaseScorer, Opened, control_scores, heat_of, open_case
from .store import Store
from .tables import Row, all_tables, main_table

__all__ = ["check_names", "evaluate", "table"]

_LOG = logging.getLogger(__name__)
METRICS = 4  # goes up whenever the same heat would be scored otherwise: rows of before are computed again


@dataclass(frozen=True, slots=True)
class Run:
    """What all rows of one run share."""

    dataset: str
    split: str
    contenders: list[Contender]
    store: Store
    modality: str = "T1"

    @property
    def kind(self) -> dict[str, str]:
        """Of the scans, for what is kept of them: of T1 nothing is told, as before there was anything else."""
        return {} if self.modality == "T1" else {"modality": self.modality}


def evaluate(
    dataset: str,
    data: Path,
    out: Path,
    *,
    models: list[str],
    split: str = "validation",
    healthy: Path | None = None,
    healthy_scans: int | None = None,
    baselines: list[str] | None = None,
    cache: Path | None = None,
    stride_mm: float = 4.0,
    device: str = "auto",
    command: str = "",
    progress: Progress = silent,
) -> list[Row]:
    """Score models, baselines and controls on one split of a data set; write rows.json, table.md and report.html into `out`.

    healthy: folder of healthy scans with subjects.csv: its training scans make the group that baselines need, its first
    `healthy_scans` validation scans (None: all) the thresholds. Without it, models bring their own thresholds, and of the
    baselines there is "intensity only". cache: where heat and statistics are kept (default: `out`/cache).
    Returns the rows. Rows of other data sets and splits that `out` already holds stay.
    """
    if dataset not in DATASETS:
        raise InputError(f"there is no data set {dataset!r}; known are {', '.join(sorted(DATASETS))}.")
    wanted = _baselines(baselines, healthy)
    if not models and not wanted:
        raise SettingsError("there is nothing to evaluate; name a model or a baseline.")
    check_installed("sklearn", "scikit-learn", purpose="evaluation")
    detectors = [load_detector(model, stride_mm=stride_mm, device=device) for model in models]
    check_names(detectors)
    modality = modality_of(dataset, [detector.card for detector in detectors])
    cases = DATASETS[dataset](data, split)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{out} cannot be made ({error.strerror}); choose another --out folder.") from error
    kept, left_out = read_rows(out), read_noted(out, "left_out")
    store = Store(cache or out / "cache")
    grid = detectors[0].card.grid if detectors else GridSettings()
    folder = None if healthy is None else HealthyFolder(healthy, store, grid, healthy_scans, modality)
    contenders = make_contenders(detectors, wanted, folder, progress=part_of(progress, 0.0, 0.5 if folder else 0.0))
    run = Run(dataset, split, contenders, store, modality)
    made_by = {"command": command, "version": __version__, "machine": platform.machine()}
    known = read_noted(out, "models")
    told = known | {detector.card.name: _told(detector.card) for detector in detectors}
    first = 0.5 if folder else 0.0
    for done, case in enumerate(cases):
        part = part_of(progress, first + (1 - first) * done / len(cases), first + (1 - first) * (done + 1) / len(cases))
        here = f"{dataset}/{split}/{case.name}/"
        before = {key: why for key, why in left_out.items() if key.startswith(here) and _is_of(contenders, key)}
        unfit: dict[str, str] = {}
        new = list(_score_case(case, run, kept, unfit, progress=part))
        if new or unfit != before or told != known:
            kept = {key: row for key, row in kept.items() if key not in unfit} | {row["key"]: row for row in new}
            left_out = {key: why for key, why in left_out.items() if key not in before} | unfit
            _write_rows(out, kept, {**made_by, "models": told, "left_out": dict(sorted(left_out.items()))})
    rows = _sorted(kept)
    _write_tables(out, rows, left_out)  # again: a killed run may have ended between the rows and them
    write_page(out / "report.html", rows, store, made_by, told)
    return rows


def table(rows: list[Row]) -> str:
    """Markdown: one line per detector, rule, data set and split."""
    return main_table(rows).markdown()


def _baselines(names: list[str] | None, healthy: Path | None) -> list[str]:
    possible = BASELINES if healthy is not None else (INTENSITY,)
    if names is None:
        return list(possible)
    if unknown := [name for name in names if name not in BASELINES]:
        raise SettingsError(f"there is no baseline {unknown[0]!r}; known are {', '.join(BASELINES)}.")
    if missing := [name for name in names if name not in possible]:
        raise SettingsError(f"the baseline {missing[0]} compares with healthy scans; name their folder with --healthy.")
    return names


def _is_of(contenders: list[Contender], key: str) -> bool:
    """Whether the row of this key is one of theirs, in whatever segmentation."""
    return key.rpartition("/")[2].partition(", ")[0] in {contender.name for contender in contenders}


def _score_case(case: Case, run: Run, kept: dict[str, Row], unfit: dict[str, str], *, progress: Progress) -> Iterator[Row]:
    """Rows that are not kept yet: of the contenders, each in the segmentations it has thresholds for, and of the controls.

    unfit: gets the keys of rows that cannot be, because healthy brains do not fit the scan, and why.
    """
    opened: dict[GridSettings, Opened] = {}  # a scan is prepared once per grid

    def on(grid: GridSettings) -> Opened:
        if grid not in opened:
            opened[grid] = open_case(case, grid, run.modality)
        return opened[grid]

    for number, contender in enumerate(run.contenders):
        thresholds = contender.thresholds(case.name)
        rows = [_empty_row(case, run, contender, thresholds, segmentation) for segmentation in _segmentations(thresholds)]
        wanted = [row for row in rows if not _is_kept(row, kept)]
        if wanted:
            part = part_of(progress, number / len(run.contenders), (number + 1) / len(run.contenders))
            try:
                heat, seconds = heat_of(case, on(contender.grid), contender, run.store, run.kind, progress=part)
            except FitError as error:
                _LOG.warning("%s was left out: %s", case.name, error)
                unfit.update({row["key"]: str(error) for row in rows})
                continue
            scorer = CaseScorer(on(contender.grid), heat, thresholds)
            for row in wanted:
                scored = scorer.score(row["segmentation"])
                run.store.write(*view_of(row), scored.view)
                yield {**row, "seconds": seconds, "scores": scored.scores}
    grid = run.contenders[0].grid
    controls = [] if case.truth is None else [_control_row(case, run, name, grid) for name in CONTROLS]
    if wanted := [row for row in controls if not _is_kept(row, kept)]:
        scores = control_scores(on(grid))
        yield from ({**row, "scores": scores[row["detector"]]} for row in wanted)


def _segmentations(thresholds: dict[str, float]) -> list[str]:
    """Those that thresholds are there for."""
    return [name for name in possible_segmentations() if threshold_name(name) in thresholds]


def _place(case: Case, run: Run, detector: str) -> Row:
    place = {"dataset": run.dataset, "split": run.split, "case": case.name, "detector": detector}
    return {**place, "key": "/".join(place.values()), "subject": case.person, "healthy": case.truth is None}


def _empty_row(case: Case, run: Run, contender: Contender, thresholds: dict[str, float], segmentation: str) -> Row:
    name = contender.name if segmentation == "slices" else f"{contender.name}, {segmentation}"
    made_with = {
        "segmentation": segmentation,
        "made_from": contender.identity | run.kind,
        "thresholds": thresholds,
        "threshold_from_this_scan": case.name in contender.seen,
        "preparation": PREPARATION,
        "metrics": METRICS,
    }
    return {**_place(case, run, name), **made_with}


def _control_row(case: Case, run: Run, name: str, grid: GridSettings) -> Row:
    made_from = {"control": name, "spacing_mm": grid.spacing_mm} | run.kind
    return {**_place(case, run, name), "made_from": made_from, "preparation": PREPARATION, "metrics": METRICS}


def _is_kept(row: Row, kept: dict[str, Row]) -> bool:
    there = kept.get(row["key"], {})
    return all(there.get(key) == value for key, value in row.items())


def read_rows(out: Path) -> dict[str, Row]:
    """By key, what rows.json in `out` holds; nothing when there is none. Raises InputError when it is damaged."""
    path = out / "rows.json"
    if not path.exists():
        return {}
    try:
        return {row["key"]: row for row in json.loads(path.read_text(encoding="utf-8"))["rows"]}
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} is damaged; move it away to start again.") from error


def read_noted(out: Path, key: str) -> dict[str, Any]:
    """What rows.json in `out` notes beside its rows: "left_out" (rows that could not be, by their key: why) or "models" (what
    the page tells of each). A damaged file: see `read_rows`.
    """
    path = out / "rows.json"
    return dict(json.loads(path.read_text(encoding="utf-8")).get(key, {})) if path.exists() else {}


def _told(card: Card) -> dict[str, Any]:
    """What the page tells of a model beside its rows: the cut that suits it, and how its training went."""
    return {"segmentation": card.segmentation, **{key: card.training[key] for key in ("curve",) if key in card.training}}


def _sorted(kept: dict[str, Row]) -> list[Row]:
    return sorted(kept.values(), key=lambda row: (row["dataset"], row["split"], row["detector"], row["case"]))


def _write_rows(out: Path, kept: dict[str, Row], noted: dict[str, Any]) -> None:
    """noted: what stands beside the rows; what is empty is left away."""
    rows = _sorted(kept)
    with write_atomically(out / "rows.json") as temporary:
        content = {**{key: value for key, value in noted.items() if value != {}}, "rows": rows}
        temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    _write_tables(out, rows, noted["left_out"])


def _write_tables(out: Path, rows: list[Row], left_out: dict[str, str]) -> None:
    text = "\n\n".join(f"### {made.title}\n{made.note}\n\n{made.markdown()}" for made in all_tables(rows))
    text += "".join(f"\n\nLeft out: {key} ({why.rstrip('.')})." for key, why in sorted(left_out.items()))
    with write_atomically(out / "table.md") as temporary:
        temporary.write_text(text, encoding="utf-8")
