"""Calibrate a model on healthy scans it was not trained on: thresholds, and what they let through."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ..detectors import Detector
from ..detectors.baselines import IntensityDetector
from ..errors import InputError
from ..io import read_scan
from ..pipeline import THRESHOLD, load_detector
from ..prepare import Prepared, prepare
from ..progress import Progress, part_of, silent
from ..segmentation.select import Regions, SegmentSettings, cut_regions, select_anomalies
from ..training.data import find_subjects
from ..weights.card import Card
from ..weights.store import find_model, with_thresholds, write_card
from .thresholds import SHARES, pooled, region_heats, threshold_for


def calibrate(
    model: str,
    data: Path,
    *,
    subjects: Path | None = None,
    skip: tuple[str, ...] = (),
    device: str = "auto",
    progress: Progress = silent,
) -> Card:
    """Set the thresholds in the card of `model` from the validation split of the healthy scans below `data`.

    skip: scans to leave out, for example because a table will report on them. Writes the card; returns it.
    """
    detector = load_detector(model, device=device)
    chosen = [s for s in find_subjects(data, subjects) if s.split == "validation" and s.name not in skip]
    if not chosen:
        raise InputError(f"no scan of the split validation is left below {data} to calibrate on.")
    learned = {s.name for s in chosen} & set(detector.card.training.get("subjects", {}).get("train", []))
    if learned:
        raise InputError(f"{min(learned)} was trained on; calibrate on scans the model has never seen.")
    cuts: dict[str, list[Regions]] = {"model": [], "intensity": []}
    for done, subject in enumerate(chosen):
        part = part_of(progress, done / len(chosen), (done + 1) / len(chosen))
        prepared = prepare(read_scan(subject.path), settings=detector.grid)
        cuts["model"].append(_regions(detector, prepared, part))
        cuts["intensity"].append(_regions(IntensityDetector(), prepared, silent))
    thresholds = _thresholds(cuts["model"])
    healthy: dict[str, Any] = {
        "scans": [subject.name for subject in chosen],
        "intensity_baseline_thresholds": _thresholds(cuts["intensity"]),
        **_let_through(cuts["model"], thresholds[THRESHOLD], detector.card.spacing_mm**3),
    }
    card = with_thresholds(detector.card, thresholds, healthy)
    write_card(card, find_model(model).with_suffix(".json"))
    return card


def _regions(detector: Detector, prepared: Prepared, progress: Progress) -> Regions:
    heat = detector.heatmap(prepared, progress=progress)
    return cut_regions(prepared.image.array, prepared.brain, heat, SegmentSettings())


def _thresholds(cuts: list[Regions]) -> dict[str, float]:
    healthy = pooled([region_heats(regions) for regions in cuts])
    return {name: round(threshold_for(healthy, share), 6) for name, share in SHARES.items()}


def _let_through(cuts: list[Regions], threshold: float, voxel_mm3: float) -> dict[str, float]:
    """What the default rule finds in the very scans the threshold comes from: a check, not a result."""
    settings = SegmentSettings()
    found = [select_anomalies(regions, settings, threshold=threshold, voxel_mm3=voxel_mm3) > 0 for regions in cuts]
    volumes_ml = np.array([anomalies.sum() for anomalies in found]) * voxel_mm3 / 1000
    return {
        "min_volume_ml": settings.min_volume_ml,
        "found_ml_mean": round(float(volumes_ml.mean()), 2),
        "nothing_found_share": round(float((volumes_ml == 0).mean()), 3),
    }
