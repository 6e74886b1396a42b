"""Calibrate a model on healthy scans it was not trained on: thresholds, and what they let through."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np

from ..detectors import Detector
from ..detectors.baselines import IntensityDetector
from ..detectors.load import load_detector
from ..detectors.retreat import heat_within_memory
from ..errors import FitError, InputError
from ..io import read_scan
from ..prepare import Prepared
from ..prepare.kinds import prepare_as
from ..progress import Progress, part_of, silent
from ..segmentation.recut import cut_regions
from ..segmentation.regions import possible_segmentations
from ..segmentation.select import Regions, SegmentSettings, select_anomalies
from ..segmentation.thresholds import threshold_name
from ..training.data import find_subjects
from ..volume import Array
from ..weights.card import Card
from ..weights.folders import find_model
from ..weights.store import with_thresholds, write_card
from .thresholds import SHARES, pooled, region_heats, threshold_for

_LOG = logging.getLogger(__name__)
_INTENSITY = "intensity"


def calibrate(
    model: str,
    data: Path,
    *,
    subjects: Path | None = None,
    skip: tuple[str, ...] = (),
    stride_mm: float = 4.0,
    device: str = "auto",
    progress: Progress = silent,
) -> Card:
    """Set the thresholds in the card of `model` from the validation split of the healthy scans below `data`.

    skip: scans to leave out, for example because a table will report on them; stride_mm: as `detect` will be run. Writes the
    card; returns it. Thresholds for volumes need numba, and are left out without it. A network with several window sizes
    gets thresholds for each. Scans that healthy brains do not fit are left out with a warning and named in the card.
    """
    card = load_detector(model, stride_mm=stride_mm, device=device).card
    detectors = {
        size: load_detector(model, window_mm=size, stride_mm=stride_mm, device=device) for size in sorted(card.sizes_mm)
    }
    chosen = [s for s in find_subjects(data, subjects) if s.split == "validation" and s.name not in skip]
    if not chosen:
        raise InputError(f"no scan of the split validation is left below {data} to calibrate on.")
    learned = {s.name for s in chosen} & set(card.training.get("subjects", {}).get("train", []))
    if learned:
        raise InputError(f"{min(learned)} was trained on; calibrate on scans the model has never seen.")
    cuts: dict[float | str, dict[str, list[Regions]]] = {}
    left_out: dict[str, str] = {}
    for done, subject in enumerate(chosen):
        part = part_of(progress, done / len(chosen), (done + 1) / len(chosen))
        prepared = prepare_as(card.modality, read_scan(subject.path), settings=card.grid)
        heaters: list[tuple[float | str, Detector]] = [*detectors.items(), (_INTENSITY, IntensityDetector())]
        try:
            heats = [
                (name, heat_within_memory(heater, prepared, progress=part_of(part, n / len(heaters), (n + 1) / len(heaters))))
                for n, (name, heater) in enumerate(heaters)
            ]
        except FitError as error:
            _LOG.warning("%s was left out: %s", subject.name, error)
            left_out[subject.name] = str(error)
            continue
        for name, heat in heats:
            for segmentation in possible_segmentations():
                cuts.setdefault(name, {}).setdefault(segmentation, []).append(_regions(prepared, heat, segmentation))
    if len(left_out) == len(chosen):
        raise InputError(f"no scan is left to calibrate on: {next(iter(left_out.values()))}")
    calibrated = card
    for size in detectors:
        thresholds = _thresholds(cuts[size])
        healthy: dict[str, Any] = {
            "scans": [subject.name for subject in chosen if subject.name not in left_out],
            "left_out": left_out,
            "stride_mm": detectors[size].stride_mm,
            "intensity_baseline_thresholds": _thresholds(cuts[_INTENSITY]),
            **_let_through(cuts[size]["slices"], thresholds[threshold_name("slices")], card.spacing_mm**3),
        }
        calibrated = with_thresholds(calibrated.at(size), thresholds, healthy)
    calibrated = calibrated.at(card.window_mm)
    write_card(calibrated, find_model(model).with_suffix(".json"))
    return calibrated


def _regions(prepared: Prepared, heat: Array, segmentation: str) -> Regions:
    settings = SegmentSettings(segmentation=segmentation)
    return cut_regions(prepared.image.array, prepared.brain, heat, settings, spacing=prepared.image.grid.spacing[::-1])


def _thresholds(cuts: dict[str, list[Regions]]) -> dict[str, float]:
    """By the names of `thresholds.threshold_name`."""
    return {
        threshold_name(segmentation, share): round(threshold_for(pooled([region_heats(cut) for cut in members]), part), 6)
        for segmentation, members in cuts.items()
        for share, part in SHARES.items()
    }


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
