"""detect(): a scan in, its anomalies out; the whole story on one screen."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from threading import Thread
from typing import Any, cast

import numpy as np

from . import __version__
from .detectors import ModelDetector
from .detectors.inpainting import InpaintingDetector
from .detectors.predicted import PredictedDetector
from .devices import pick_device
from .errors import SettingsError
from .heatmap.incremental import MEMORY_MB
from .io import read_labels, read_scan
from .nets.predictor import LossPredictor
from .nets.unet import UNet
from .prepare import Prepared, prepare
from .prepare.modality import check_t1
from .progress import Progress, part_of, silent
from .result import Result, check_threshold, segment
from .segmentation.felzenszwalb import felzenszwalb
from .segmentation.regions import check_kernel
from .segmentation.select import SegmentSettings
from .volume import Volume
from .weights.card import Card
from .weights.store import DEFAULT_MODEL, load_model


def detect(
    scan: str | os.PathLike[str] | Volume,
    *,
    model: str = DEFAULT_MODEL,
    mask: str | os.PathLike[str] | Volume | None = None,
    window_mm: float | None = None,
    stride_mm: float = 4.0,
    scale: float = 75.0,
    rule: str = "calibrated",
    segmentation: str = "slices",
    engine: str = "incremental",
    max_memory_mb: float = MEMORY_MB,
    device: str = "auto",
    progress: Progress = silent,
) -> Result:
    """What in this brain scan is not normal, as far as a model of healthy brains can tell.

    scan: a file (NIfTI, NRRD, MHA) or a Volume. mask: brain mask on the scan's grid; without it, a brain-only scan is
    recognised and a whole head goes through deepbet. window_mm: must be a size the model has (default: the model's).
    stride_mm: multiple of the model's voxels. scale, rule, segmentation: see SegmentSettings. engine,
    max_memory_mb: see InpaintingDetector; "paper-strict" has no calibrated threshold. device: auto, cpu, cuda, mps.

    Raises BrainInpaintError and its kin, each with one sentence on what to do. Source: Nguyen 2020.
    """
    clock = _Stages()
    settings = SegmentSettings(scale=scale, rule=rule, segmentation=segmentation)
    check_kernel(settings)
    with clock.stage("load"):
        detector = load_detector(
            model, window_mm=window_mm, stride_mm=stride_mm, engine=engine, max_memory_mb=max_memory_mb, device=device
        )
        thresholds = detector.card.thresholds
        if detector.minmax != detector.card.minmax:
            if rule == "calibrated":
                raise SettingsError(f"--engine {engine} has no calibrated threshold; add --rule paper.")
            thresholds = {}
        check_threshold(thresholds, settings)
        volume = scan if isinstance(scan, Volume) else read_scan(scan)
        given = read_labels(mask) if isinstance(mask, (str, os.PathLike)) else mask
    _load_ahead()
    with clock.stage("prepare"):
        prepared = prepare(
            volume,
            mask=given,
            settings=detector.card.grid,
            use_gpu=detector.device.type == "cuda",
            progress=part_of(progress, 0.0, 0.1),
        )
        _check_modality(prepared, detector.card)
    with clock.stage("heatmap"):
        heat = detector.heatmap(prepared, progress=part_of(progress, 0.1, 0.95))
    report = _report(detector, volume, brain_source=prepared.brain_source, brain_ml=_brain_ml(prepared))
    with clock.stage("segment"):
        result = segment(
            prepared,
            heat,
            settings=settings,
            thresholds=thresholds,
            report=report,
            progress=part_of(progress, 0.95, 1.0),
        )
    result.report["seconds"] = clock.seconds
    return result


def _load_ahead() -> None:
    """Read what is needed last while other work keeps one core busy: two seconds of matplotlib and of compiled kernels."""

    def load() -> None:
        with suppress(Exception):  # whatever is wrong comes up again where it is needed
            import_module(".picture", __package__)
            felzenszwalb(np.eye(4))

    Thread(target=load, name="load ahead", daemon=True).start()


def load_detector(
    model: str = DEFAULT_MODEL,
    *,
    window_mm: float | None = None,
    stride_mm: float = 4.0,
    engine: str = "incremental",
    max_memory_mb: float = MEMORY_MB,
    device: str = "auto",
) -> ModelDetector:
    """A detector ready to run. Raises WeightsError or SettingsError."""
    where = pick_device(device)
    network, card = load_model(model)
    if window_mm is not None and window_mm != card.window_mm:
        raise SettingsError(f"the model {card.name} was trained for windows of {card.window_mm:g} mm, not {window_mm:g} mm.")
    if not max_memory_mb > 0:
        raise SettingsError(f"the memory must be above 0 MB, got {max_memory_mb:g}.")
    card.windows(stride_mm)  # a stride that does not fit is refused before the work starts
    if card.method == "inpainting":
        return InpaintingDetector(cast(UNet, network), card, where, stride_mm, engine, max_memory_mb)
    if engine != "incremental":
        raise SettingsError(f"the model {card.name} predicts losses and rebuilds nothing; leave --engine away.")
    return PredictedDetector(cast(LossPredictor | UNet, network), card, where, stride_mm, max_memory_mb)


def _check_modality(prepared: Prepared, card: Card) -> None:
    if card.modality == "T1":
        check_t1(prepared.image.array, prepared.brain, spacing_mm=card.spacing_mm, name=prepared.scan.name)


def _brain_ml(prepared: Prepared) -> float:
    return float(round(prepared.scan_brain.sum() * prepared.scan.grid.voxel_mm3 / 1000, 1))


def _report(detector: ModelDetector, scan: Volume, *, brain_source: str, brain_ml: float) -> dict[str, Any]:
    card = detector.card
    return {
        "notice": "Research software; not a medical device.",
        "scan": Path(scan.name).name,
        "brain": {"source": brain_source, "volume_ml": brain_ml},
        "model": {"name": card.name, "sha256": card.sha256},
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


def _version_of(package: str) -> str:
    """Slicer's own builds of a package may carry no metadata."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"


class _Stages:
    """Seconds per stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        started = time.perf_counter()
        yield
        self.seconds[name] = round(time.perf_counter() - started, 3)
