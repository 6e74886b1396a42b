"""One scan, one contender: heat, superpixels, scores; and what the report will show of it."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from ..detectors.retreat import heat_within_memory
from ..errors import GeometryError
from ..files import digest_of
from ..io import read_labels, read_scan, resample
from ..prepare import PREPARATION, GridSettings, Prepared
from ..prepare.kinds import prepare_as
from ..progress import Progress
from ..result import Result, make_recutter, segment
from ..segmentation.recut import Recutter
from ..segmentation.residual import TRAINING_RESIDUALS
from ..segmentation.select import SegmentSettings
from ..segmentation.thresholds import threshold_name
from ..volume import Array, Volume
from .cases import Case
from .contenders import Contender
from .controls import Pick, control_picks, hottest_pick
from .healthy import plain_name
from .metrics import Found, Ranking, Scores, compare_marks, hottest_mean, lesion_covers, rank
from .scales import STUDIED, scale_study
from .store import Store
from .thresholds import SHARES

PERCENT = {share: f"{part:.0%}".replace("%", " %") for share, part in SHARES.items()}  # "1 %", "5 %"
_PUBLISHED = SegmentSettings(segmentation="residual", rule="paper")
PUBLISHED_STEPS = {  # the residual segmentation, and without each of its steps
    "published": _PUBLISHED,
    "published, no median": replace(_PUBLISHED, median=1),
    "published, no erosion": replace(_PUBLISHED, erosion=0),
    "published, specks kept": replace(_PUBLISHED, min_voxels=0),
}
SHOWN = 5  # slices of a case in the report


@dataclass(frozen=True, slots=True)
class Opened:
    """A case made ready: the prepared scan, and what is abnormal on the scan's own grid and on the model's (None: nothing)."""

    prepared: Prepared
    truth: Array | None
    model_truth: Array | None


@dataclass(frozen=True, slots=True)
class Scored:
    """scores: as JSON; view: arrays for the report's pictures and curves."""

    scores: dict[str, Any]
    view: dict[str, Array]


def open_case(case: Case, grid: GridSettings, modality: str = "T1") -> Opened:
    """Read and prepare as `modality`. Raises GeometryError when scan and truth do not lie on one grid."""
    scan = read_scan(case.scan)
    if case.truth is None:
        return Opened(prepare_as(modality, scan, settings=grid), None, None)
    labels = read_labels(case.truth)
    if not labels.grid.is_same_place(scan.grid):
        raise GeometryError(f"the truth {labels.name} does not lie on the grid of {scan.name}.")
    prepared = prepare_as(modality, scan, settings=grid)
    truth = labels.array > 0
    share = resample(labels.with_array(truth.astype(np.float32)), prepared.image.grid)
    return Opened(prepared, truth, share > 0.5)


def heat_of(
    case: Case, opened: Opened, contender: Contender, store: Store, kind: dict[str, str], *, progress: Progress
) -> tuple[Array, float]:
    """Heat on the model grid and the seconds it took, kept from one run to the next. kind: of scans, see `report.Run`."""

    def make() -> dict[str, Array]:
        started = time.perf_counter()
        heat = heat_within_memory(contender.detector, opened.prepared, progress=progress)
        return {"heat": heat, "seconds": np.asarray(time.perf_counter() - started)}

    made_from = {"scan_sha256": digest_of(case.scan), "detector": contender.identity, "preparation": PREPARATION, **kind}
    kept = store.keep(f"heat-{case.name}", made_from, make)
    return kept["heat"], round(float(kept["seconds"]), 2)


class CaseScorer:
    """Scores of one heatmap under any segmentation: ranking is done once, and edges are sorted once."""

    def __init__(self, opened: Opened, heat: Array, thresholds: dict[str, float]) -> None:
        self._opened, self._heat, self._thresholds = opened, heat, thresholds
        self._on_scan = opened.prepared.to_scan(heat)
        self._recutter = make_recutter(opened.prepared, heat)
        self._ranking = _rank(opened, self._on_scan)

    def score(self, segmentation: str) -> Scored:
        """Under the default rule and all other rules that have thresholds."""
        opened, brain = self._opened, self._opened.prepared.scan_brain
        voxel_mm3 = self._on_scan.grid.voxel_mm3
        results = {share: self._segmented(segmentation, share) for share in SHARES if self._has(segmentation, share)}
        default = results[next(iter(SHARES))]
        rules = {f"regions {PERCENT[share]}": self._found(result.labelmap.array > 0) for share, result in results.items()}
        for share in SHARES:
            if plain_name(share) in self._thresholds:
                rules[f"voxels {PERCENT[share]}"] = self._found(
                    brain & (self._on_scan.array > self._thresholds[plain_name(share)])
                )
        rules |= self._published(segmentation)
        first, ranking = next(iter(rules.values())), self._ranking
        volumes_ml = [finding.volume_ml for finding in default.findings]
        lesions = None
        if opened.truth is not None:
            lesions = len(lesion_covers(opened.truth, opened.truth, voxel_mm3=voxel_mm3))
        scores = Scores(
            auroc=round(ranking.auroc, 4) if ranking else None,
            auprc=round(ranking.auprc, 4) if ranking else None,
            prevalence=round(ranking.prevalence, 4) if ranking else 0.0,
            dice=first.dice,
            found_ml=first.found_ml,
            anomalies=len(volumes_ml),
            volumes_ml=volumes_ml,
            dice_ceiling=round(ranking.dice_ceiling, 4) if ranking else None,
            lesions=lesions,
            tail=round(hottest_mean(self._on_scan, brain), 5),
            rules=rules,
        )
        hottest = self._hottest(segmentation)
        picks = {} if hottest is None else {"hottest segment": hottest}
        extra = {"picks": _as_json(picks), "scales": self._over_scales(segmentation)}
        return Scored({**asdict(scores), **extra}, self._view(default))

    def _has(self, segmentation: str, share: str) -> bool:
        return threshold_name(segmentation, share) in self._thresholds

    def _published(self, segmentation: str) -> dict[str, Found]:
        """The residual segmentation at the threshold of training scans, and without each of its steps."""
        if segmentation != "residual" or TRAINING_RESIDUALS not in self._thresholds:
            return {}
        return {
            name: self._found(self._segment(settings, self._thresholds).labelmap.array > 0)
            for name, settings in PUBLISHED_STEPS.items()
        }

    def _segmented(self, segmentation: str, share: str) -> Result:
        at = {threshold_name(segmentation): self._thresholds[threshold_name(segmentation, share)]}
        return self._segment(SegmentSettings(segmentation=segmentation), at)

    def _segment(self, settings: SegmentSettings, thresholds: dict[str, float]) -> Result:
        return segment(
            self._opened.prepared,
            self._heat,
            settings=settings,
            thresholds=thresholds,
            report={},
            heatmap=self._on_scan,
            recutter=self._recutter,
        )

    def _found(self, marked: Array) -> Found:
        return compare_marks(marked, self._opened.truth, voxel_mm3=self._on_scan.grid.voxel_mm3)

    def _hottest(self, segmentation: str) -> Pick | None:
        if segmentation != "slices" or self._opened.model_truth is None:
            return None
        truth = self._opened.model_truth
        return hottest_pick(self._recutter.regions(SegmentSettings()), truth, pixel_mm2=_pixel_mm2(self._opened))

    def _over_scales(self, segmentation: str) -> dict[str, Any] | None:
        truth = self._opened.model_truth
        if segmentation not in STUDIED or truth is None or not truth.any():
            return None
        threshold = self._thresholds[threshold_name(segmentation)]
        return scale_study(self._opened.prepared, truth, self._heat, self._recutter, segmentation, threshold)

    def _view(self, result: Result) -> dict[str, Array]:
        """Some slices of the model grid and the curves."""
        truth = self._opened.model_truth
        found = result.model_labelmap > 0
        shown = slices_to_show(truth if truth is not None and truth.any() else self._opened.prepared.brain)
        view = {
            "slices": shown,
            "image": (self._opened.prepared.image.array[shown] * 255).astype(np.uint8),
            "heat": self._heat[shown].astype(np.float16),
            "found": found[shown],
            "truth": np.zeros_like(found[shown]) if truth is None else truth[shown],
            "top": np.asarray(np.percentile(self._heat[self._opened.prepared.brain], 99.5)),
        }
        if self._ranking is not None:
            view |= {"true_rate": self._ranking.true_rate, "precision": self._ranking.precision}
        return view


def control_scores(opened: Opened) -> dict[str, dict[str, Any]]:
    """The controls' picks, by their names, in the form of other rows' scores; empty for a healthy scan."""
    if opened.model_truth is None:
        return {}
    prepared, truth = opened.prepared, opened.model_truth
    regions = Recutter(prepared.image.array, prepared.brain, prepared.image.array).regions(SegmentSettings())
    picks = control_picks(regions, prepared.image.array, truth, pixel_mm2=_pixel_mm2(opened))
    return {name: {"picks": _as_json({name: pick})} for name, pick in picks.items()}


def slices_to_show(marked: Array) -> Array:
    """SHOWN slices evenly through what is marked (bool)."""
    levels = np.flatnonzero(marked.any(axis=(1, 2)))
    inner = np.linspace(0.1, 0.9, SHOWN) * (len(levels) - 1)
    return np.asarray(levels[inner.round().astype(int)])


def _rank(opened: Opened, heat: Volume) -> Ranking | None:
    brain, truth = opened.prepared.scan_brain, opened.truth
    if truth is None or not truth[brain].any():
        return None
    return rank(heat.array[brain], truth[brain], missed=int(np.count_nonzero(truth & ~brain)))


def _pixel_mm2(opened: Opened) -> float:
    columns, rows, _ = opened.prepared.image.grid.spacing
    return columns * rows


def _as_json(picks: dict[str, Pick]) -> dict[str, dict[str, float]]:
    return {
        name: {key: round(value, 4) if isinstance(value, float) else value for key, value in asdict(pick).items()}
        for name, pick in picks.items()
    }
