"""detect(): a scan in, its anomalies out; the whole story on one screen."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from importlib import import_module
from threading import Thread
from typing import Literal

import numpy as np

from .detectors import ModelDetector
from .detectors.load import STRIDE_MM, load_detector
from .detectors.quality import OK
from .dicom import open_scan
from .errors import FitError, SettingsError, WeightsError
from .find import find
from .heatmap.incremental import MEMORY_MB
from .io import read_labels
from .memory import MemoryBound, memory_bound
from .plan import Asked, Plan, plan_for
from .prepare import Prepared
from .prepare.doubts import with_doubts
from .prepare.extraction import AUTO, check_choice
from .prepare.kinds import prepare_as
from .prepare.modality import check_t1
from .preview import PREVIEW_READY, as_a_courtesy, preview_of
from .progress import Progress, part_of, silent
from .report import NOT_JUDGED, Stages
from .result import Result
from .segmentation.felzenszwalb import felzenszwalb
from .segmentation.recut import DEFAULT_SCALE
from .segmentation.regions import check_kernel
from .segmentation.select import SEGMENTATIONS, SegmentSettings
from .segmentation.thresholds import check_threshold
from .volume import Volume
from .weights.store import DEFAULT_MODEL, WINDOW_MODEL, model_for

_LOG = logging.getLogger(__name__)


def detect(
    scan: str | os.PathLike[str] | Volume,
    *,
    model: str | os.PathLike[str] | None = None,
    series: str | None = None,
    mask: str | os.PathLike[str] | Volume | None = None,
    brain: str = AUTO,
    window_mm: float | None = None,
    stride_mm: float | None = None,
    scale: float | Literal["auto"] = 75.0,
    sigma: float = 0.8,
    min_size: int = 20,
    min_volume_ml: float = 5.0,
    rule: str = "calibrated",
    segmentation: str | None = None,
    median: int = 5,
    erosion: int = 1,
    min_voxels: int = 6,
    engine: str | None = None,
    max_memory_mb: float | None = None,
    latent_steps: int | None = None,
    reconstruct: bool = False,
    on_preview: Callable[[Result], None] | None = None,
    device: str = "auto",
    progress: Progress = silent,
) -> Result:
    """What in this brain scan is not normal, as far as a model of healthy brains can tell.

    scan: a file (NIfTI, NRRD, MHA), a DICOM file or folder, or a Volume. model: a name or path; without one the default, or,
    where window_mm, stride_mm or engine is given, the published inpainting model: they are about its windows. It also stands
    in, with a warning, where the default cannot lay healthy brains over the scan. series: number or UID, where a DICOM folder
    holds several. mask: brain mask on the scan's grid; without it, a brain-only scan is recognised and a whole head goes
    through deepbet. brain: instead of that, "deepbet", "hd-bet" (a program that must be installed) or the path of a SynthStrip
    weights file; a mask comes first of all. A mask that looks wrong is logged as a warning.
    window_mm: must be a size the model has (default: the model's). stride_mm: multiple of the model's voxels
    (default: 4). scale: "auto" lets the heatmap choose. sigma, min_size, min_volume_ml, rule, segmentation, median, erosion,
    min_voxels: see SegmentSettings; segmentation None: what the model's card says suits it, where it can be made. engine: see
    InpaintingDetector; "paper-strict" has no calibrated threshold. max_memory_mb: what the run may take (default: what is
    free); a scan that would take more is refused before its voxels are loaded. latent_steps: of AnoGAN's search (default: 500).
    reconstruct: also give Result.reconstruction. on_preview: called within seconds with the result of the dense predictor,
    where there is one for this model, before the exact heatmap is begun; then progress says "preview ready". Whatever goes
    wrong with it, in `on_preview` too, is logged as a warning, and the exact heatmap follows; Cancelled ends all.
    device: auto, cpu, cuda, mps.

    Raises BrainInpaintError and its kin, each with one sentence on what to do. Source: Nguyen 2020.
    """
    clock = Stages()
    if isinstance(scale, str) and scale != "auto":
        raise SettingsError(f"the scale must be a number or auto, got {scale!r}.")
    settings = SegmentSettings(
        scale=DEFAULT_SCALE if isinstance(scale, str) else scale,
        auto_scale=scale == "auto",
        sigma=sigma,
        min_size=min_size,
        min_volume_ml=min_volume_ml,
        rule=rule,
        segmentation=segmentation or SEGMENTATIONS[0],
        median=median,
        erosion=erosion,
        min_voxels=min_voxels,
    )
    check_kernel(settings)
    check_choice(brain)
    asked = Asked(settings=settings, is_cut_chosen=bool(segmentation), stride_mm=stride_mm, reconstruct=reconstruct)
    wants_windows = any(wish is not None for wish in (window_mm, stride_mm, engine))
    model = model_for(None if model is None else os.fspath(model), wants_windows=wants_windows)
    bound = memory_bound(max_memory_mb)
    with clock.stage("load"):
        plan = plan_for(
            load_detector(
                model,
                window_mm=window_mm,
                stride_mm=STRIDE_MM if stride_mm is None else stride_mm,
                engine=engine or "incremental",
                max_memory_mb=bound.maps_mb(MEMORY_MB),
                latent_steps=latent_steps,
                device=device,
            ),
            asked,
        )
        preview = None if on_preview is None else preview_of(model, plan)
        volume = _opened(scan, series, bound, progress)
        given = read_labels(mask) if isinstance(mask, (str, os.PathLike)) else mask
    _load_ahead()
    with clock.stage("prepare"):
        prepared = _prepared(volume, given, brain, plan.detector, part_of(progress, 0.0, 0.1))
    begun = 0.1
    if preview is not None and on_preview is not None:
        begun = 0.15
        with as_a_courtesy():
            on_preview(find(preview, prepared, clock.copy(), part_of(progress, 0.1, begun)))
            progress(begun, PREVIEW_READY)
    finding = part_of(progress, begun, 1.0)
    try:
        return _warned_of(find(plan, prepared, clock, finding))
    except FitError as error:
        if model != DEFAULT_MODEL:
            raise
        reason = str(error)
    plan = _stand_in(asked, bound, device)
    _LOG.warning("%s; %s was used instead.", reason.partition(":")[0], WINDOW_MODEL)
    result = find(plan, prepared, clock, finding)
    result.report["model"]["instead_of"] = {"name": DEFAULT_MODEL, "reason": reason}
    return _warned_of(result)


def _opened(scan: str | os.PathLike[str] | Volume, series: str | None, bound: MemoryBound, progress: Progress) -> Volume:
    if isinstance(scan, Volume):
        bound.check(scan.grid.size, scan.name)
        return scan
    told = part_of(progress, 0.0, 0.0)  # the stage, and a chance to cancel; reading takes no share of the whole
    return open_scan(scan, series=series, bound=bound, progress=told)


def _load_ahead() -> None:
    """Read what is needed last while other work keeps one core busy: two seconds of matplotlib and of compiled kernels."""

    def load() -> None:
        with suppress(Exception):  # whatever is wrong comes up again where it is needed
            import_module(".picture", __package__)
            felzenszwalb(np.eye(4))

    Thread(target=load, name="load ahead", daemon=True).start()


def _prepared(volume: Volume, mask: Volume | None, extraction: str, detector: ModelDetector, progress: Progress) -> Prepared:
    """For this model, with what is doubtful about its mask; raises InputError for a scan that is not of the model's kind."""
    card = detector.card
    prepared = prepare_as(
        card.modality,
        volume,
        mask=mask,
        settings=card.grid,
        extraction=extraction,
        use_gpu=detector.device.type == "cuda",
        progress=progress,
    )
    prepared = with_doubts(prepared)
    if card.modality == "T1":
        check_t1(prepared.image.array, prepared.brain, spacing_mm=card.spacing_mm, name=prepared.scan.name)
    return prepared


def _stand_in(asked: Asked, bound: MemoryBound, device: str) -> Plan:
    """The published model, for a scan that the default cannot lay healthy brains over; in slices, if it must be."""
    detector = load_detector(WINDOW_MODEL, max_memory_mb=bound.maps_mb(MEMORY_MB), device=device)
    plan = Plan(detector, asked.settings_for(detector.card), detector.card.thresholds, asked.reconstruct)
    try:
        check_threshold(plan.thresholds, plan.settings)
    except WeightsError:
        wanted = plan.settings.segmentation
        _LOG.warning("%s is cut with %s: it has no threshold for %s.", WINDOW_MODEL, SEGMENTATIONS[0], wanted)
        return replace(plan, settings=replace(plan.settings, segmentation=SEGMENTATIONS[0]))
    return plan


def _warned_of(result: Result) -> Result:
    """A scan whose quality is in doubt is warned of."""
    quality = result.report["quality"]
    if quality not in (OK, NOT_JUDGED):
        _LOG.warning("%s looks like a quality problem rather than a lesion: %s.", result.report["scan"], quality)
    return result
