"""report.json: which scan and which model, how far both are to be trusted, on what machine, and in how many seconds."""

from __future__ import annotations

import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from . import __version__
from .detectors import ModelDetector
from .detectors.quality import image_measures
from .detectors.whole_scan import WHOLE_SCAN, Judgement, ScanNorm, WholeScanDetector, shipped_quality
from .dicom import series_of
from .prepare import Prepared
from .weights.card import Card

NOT_JUDGED = "not judged"  # the quality of a scan that no healthy measures are known for


def report_of(detector: ModelDetector, prepared: Prepared) -> dict[str, Any]:
    """What is known before the heat is cut; plain JSON."""
    card = detector.card
    brain = {"source": prepared.brain_source, "volume_ml": _brain_ml(prepared), "doubts": list(prepared.doubts)}
    return {
        "notice": "Research software; not a medical device.",
        "scan": Path(prepared.scan.name).name,
        **({"series": series} if (series := series_of(prepared.scan)) else {}),
        "brain": brain,
        "model": {"name": card.name, "sha256": card.sha256, "segmentation": card.segmentation},
        "heatmap": {
            "window_mm": card.window_mm,
            "stride_mm": detector.stride_mm,
            "engine": detector.engine,
            "minmax": detector.minmax,
        },
        "device": {"name": str(detector.device), "dtype": str(detector.dtype).removeprefix("torch.")},
        "versions": {
            "python": platform.python_version(),
            "brain-inpaint-ad": __version__,
            **{name: _version_of(name) for name in ("torch", "numpy", "scikit-image", "numba", "SimpleITK")},
        },
    }


def image_quality(prepared: Prepared, card: Card) -> str:
    """What the image alone tells, see `quality.OF_THE_IMAGE`: for models that judge no whole scans."""
    norm = shipped_quality(card)
    return NOT_JUDGED if norm is None else norm.words(image_measures(prepared))


def score_of(detector: WholeScanDetector, judgement: Judgement) -> dict[str, Any]:
    """The verdict on the whole scan, with the healthy scores it stands among."""
    if WHOLE_SCAN not in detector.card.healthy_validation:
        return {}
    verdict, norm = detector.verdict(judgement), ScanNorm.from_card(detector.card)
    measures = {measure: round(deviation, 1) for measure, deviation in norm.quality.deviations(judgement.measures).items()}
    others = {"quality_deviations": measures, "healthy_scores": norm.scores, "abnormal_from": norm.abnormal_from}
    return {"quality": verdict.quality, "scan_score": {**asdict(verdict), **others}}


class Stages:
    """Seconds per stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def copy(self) -> Stages:
        """What was measured until now, to go on from twice."""
        other = Stages()
        other.seconds = dict(self.seconds)
        return other

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Measure what is done within."""
        started = time.perf_counter()
        yield
        self.seconds[name] = round(time.perf_counter() - started, 3)


def _brain_ml(prepared: Prepared) -> float:
    return float(round(prepared.scan_brain.sum() * prepared.scan.grid.voxel_mm3 / 1000, 1))


def _version_of(package: str) -> str:
    """Slicer's own builds of a package may carry no metadata."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"
