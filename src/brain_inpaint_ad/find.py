"""From a prepared scan to its anomalies, as planned."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from .detectors import ModelDetector, Rebuilder
from .detectors.retreat import within_memory
from .detectors.whole_scan import WholeScanDetector
from .plan import Plan
from .prepare import Prepared
from .progress import Progress, part_of
from .report import Stages, image_quality, report_of, score_of
from .result import Result, segment
from .volume import Array


def find(plan: Plan, prepared: Prepared, clock: Stages, progress: Progress) -> Result:
    """Heat, what is cut from it, and a report of both; `clock` gets the stages heatmap and segment."""
    quality, reconstruction = image_quality(prepared, plan.detector.card), None
    with clock.stage("heatmap"):
        explained = _explained(plan, prepared, part_of(progress, 0.0, 0.94))
        if plan.reconstruct and explained.expected is not None:
            reconstruction = prepared.to_scan(prepared.in_scan_units(explained.expected), "reconstruction")
    report = report_of(explained.detector, prepared) | {"quality": quality} | explained.score
    with clock.stage("segment"):
        result = segment(
            prepared,
            explained.heat,
            settings=plan.settings,
            thresholds=plan.thresholds,
            report=report,
            reconstruction=reconstruction,
            progress=part_of(progress, 0.94, 1.0),
        )
    result.report["seconds"] = clock.seconds
    return result


@dataclass(frozen=True, slots=True)
class _Explained:
    """heat and expected: on the model grid, expected None where nobody asked; detector: the one it took, when memory was full
    not the one of the plan; score: of the whole scan, for the report.
    """

    heat: Array
    expected: Array | None
    detector: ModelDetector
    score: dict[str, Any] = field(default_factory=dict)


def _explained(plan: Plan, prepared: Prepared, progress: Progress) -> _Explained:
    detector = plan.detector
    if isinstance(detector, WholeScanDetector):
        judgement, judge = within_memory(detector, lambda smaller: smaller.judge(prepared, progress=progress))
        heat, expected = judge.maps(judgement, prepared)
        return _Explained(heat, expected, judge, score_of(judge, judgement))
    if plan.reconstruct and isinstance(detector, Rebuilder):
        (heat, expected), rebuilder = within_memory(detector, lambda smaller: smaller.explained(prepared, progress=progress))
        return _Explained(heat, expected, rebuilder)
    heat, used = within_memory(detector, lambda smaller: smaller.heatmap(prepared, progress=progress))
    return _Explained(heat, None, used)
