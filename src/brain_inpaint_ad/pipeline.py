"""detect(): a scan in, its anomalies out; the whole story on one screen."""

from __future__ import annotations

import logging
import os
import platform
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from functools import partial
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from threading import Thread
from typing import Any, Literal

import numpy as np

from . import __version__
from .detectors import ModelDetector, Rebuilder
from .detectors.inpainting import InpaintingDetector
from .detectors.load import STRIDE_MM, load_detector
from .detectors.quality import OK, image_measures
from .detectors.retreat import within_memory
from .detectors.whole_scan import WHOLE_SCAN, Judgement, ScanNorm, WholeScanDetector, shipped_quality
from .dicom import open_scan, series_of
from .errors import Cancelled, FitError, SettingsError, WeightsError
from .heatmap.incremental import MEMORY_MB
from .io import read_labels
from .memory import MemoryBound, memory_bound
from .prepare import Prepared
from .prepare.doubts import mask_doubts
from .prepare.extraction import AUTO, check_choice
from .prepare.kinds import prepare_as
from .prepare.modality import check_t1
from .progress import Progress, part_of, silent
from .result import Result, check_threshold, segment
from .segmentation.felzenszwalb import felzenszwalb
from .segmentation.recut import DEFAULT_SCALE
from .segmentation.regions import check_kernel, possible_segmentations
from .segmentation.select import SEGMENTATIONS, SegmentSettings
from .volume import Array, Volume
from .weights.card import Card
from .weights.store import DEFAULT_MODEL, WINDOW_MODEL, find_preview, model_for

_LOG = logging.getLogger(__name__)
NOT_JUDGED = "not judged"  # the quality of a scan that no healthy measures are known for
PREVIEW_READY = "preview ready"  # the stage at which other programs may fetch it


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
    clock = _Stages()
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
    wants_windows = any(wish is not None for wish in (window_mm, stride_mm, engine))
    model = model_for(None if model is None else os.fspath(model), wants_windows=wants_windows)
    bound = memory_bound(max_memory_mb)
    with clock.stage("load"):
        detector = load_detector(
            model,
            window_mm=window_mm,
            stride_mm=STRIDE_MM if stride_mm is None else stride_mm,
            engine=engine or "incremental",
            max_memory_mb=bound.maps_mb(MEMORY_MB),
            latent_steps=latent_steps,
            device=device,
        )
        if stride_mm is not None and not detector.card.window_mm:
            raise SettingsError(f"the model {detector.card.name} looks at no windows; leave --stride-mm away.")
        thresholds = detector.card.thresholds
        asked, settings = settings, settings if segmentation else _suited(settings, detector.card)
        if detector.minmax != detector.card.minmax:
            if rule == "calibrated":
                raise SettingsError(f"--engine {engine} has no calibrated threshold; add --rule paper.")
            thresholds = {}
        check_threshold(thresholds, settings)
        if reconstruct:
            _check_rebuilds(detector)
        previewer = None
        if on_preview is not None:
            with _as_a_courtesy():
                previewer = _load_previewer(model, detector, settings)
                if previewer is None:
                    _LOG.warning("%s has no preview.", detector.card.name)
        volume = _opened(scan, series, bound, progress)
        given = read_labels(mask) if isinstance(mask, (str, os.PathLike)) else mask
    _load_ahead()
    with clock.stage("prepare"):
        prepared = prepare_as(
            detector.card.modality,
            volume,
            mask=given,
            settings=detector.card.grid,
            extraction=brain,
            use_gpu=detector.device.type == "cuda",
            progress=part_of(progress, 0.0, 0.1),
        )
        prepared = _doubted(prepared)
        _check_modality(prepared, detector.card)
    begun = 0.1
    if previewer is not None and on_preview is not None:
        begun = 0.15
        with _as_a_courtesy():
            first = _find(previewer, prepared, settings, previewer.card.thresholds, clock.copy(), part_of(progress, 0.1, begun))
            on_preview(first)
            progress(begun, PREVIEW_READY)
    try:
        return _told(
            _find(detector, prepared, settings, thresholds, clock, part_of(progress, begun, 1.0), reconstruct=reconstruct)
        )
    except FitError as error:
        if model != DEFAULT_MODEL:
            raise
        reason = str(error)
    detector = load_detector(WINDOW_MODEL, max_memory_mb=bound.maps_mb(MEMORY_MB), device=device)
    thresholds, settings = detector.card.thresholds, asked if segmentation else _suited(asked, detector.card)
    try:
        check_threshold(thresholds, settings)
    except WeightsError:
        _LOG.warning("%s is cut with %s: it has no threshold for %s.", WINDOW_MODEL, SEGMENTATIONS[0], settings.segmentation)
        settings = replace(settings, segmentation=SEGMENTATIONS[0])
    _LOG.warning("%s; %s was used instead.", reason.partition(":")[0], WINDOW_MODEL)
    result = _find(detector, prepared, settings, thresholds, clock, part_of(progress, begun, 1.0), reconstruct=reconstruct)
    result.report["model"]["instead_of"] = {"name": DEFAULT_MODEL, "reason": reason}
    return _told(result)


def _told(result: Result) -> Result:
    """A scan whose quality is in doubt is warned of."""
    quality = result.report["quality"]
    if quality not in (OK, NOT_JUDGED):
        _LOG.warning("%s looks like a quality problem rather than a lesion: %s.", result.report["scan"], quality)
    return result


def _suited(settings: SegmentSettings, card: Card) -> SegmentSettings:
    """With the segmentation that suits the model's heat; the other settings may be made for slices, or numba be missing."""
    if settings.rule != "calibrated" or settings.auto_scale or card.segmentation not in possible_segmentations():
        return settings
    return replace(settings, segmentation=card.segmentation)


def _opened(scan: str | os.PathLike[str] | Volume, series: str | None, bound: MemoryBound, progress: Progress) -> Volume:
    if isinstance(scan, Volume):
        bound.check(scan.grid.size, scan.name)
        return scan
    told = part_of(progress, 0.0, 0.0)  # the stage, and a chance to cancel; reading takes no share of the whole
    return open_scan(scan, series=series, bound=bound, progress=told)


def _find(
    detector: ModelDetector,
    prepared: Prepared,
    settings: SegmentSettings,
    thresholds: Mapping[str, float],
    clock: _Stages,
    progress: Progress,
    *,
    reconstruct: bool = False,
) -> Result:
    """From a prepared scan to its anomalies."""
    heating, reconstruction = part_of(progress, 0.0, 0.94), None
    told: dict[str, Any] = {"quality": _quality(prepared, detector.card)}
    with clock.stage("heatmap"):
        if isinstance(detector, WholeScanDetector):
            judged = within_memory(detector, partial(_judged, prepared=prepared, progress=heating))
            judgement, detector = judged
            heat, expected = judged[1].maps(judgement, prepared)
            told |= _scan_score(judged[1], judgement)
        elif reconstruct and isinstance(detector, Rebuilder):
            explained = within_memory(detector, partial(_explained, prepared=prepared, progress=heating))
            (heat, expected), detector = explained
        else:
            heat, detector = within_memory(detector, lambda d: d.heatmap(prepared, progress=heating))
        if reconstruct:
            reconstruction = prepared.to_scan(prepared.in_scan_units(expected), "reconstruction")
    report = _report(detector, prepared) | told
    with clock.stage("segment"):
        result = segment(
            prepared,
            heat,
            settings=settings,
            thresholds=thresholds,
            report=report,
            reconstruction=reconstruction,
            progress=part_of(progress, 0.94, 1.0),
        )
    result.report["seconds"] = clock.seconds
    return result


def _judged(detector: WholeScanDetector, *, prepared: Prepared, progress: Progress) -> Judgement:
    return detector.judge(prepared, progress=progress)


def _explained(rebuilder: Rebuilder, *, prepared: Prepared, progress: Progress) -> tuple[Array, Array]:
    return rebuilder.explained(prepared, progress=progress)


def _quality(prepared: Prepared, card: Card) -> str:
    """What the image alone tells, see `quality.OF_THE_IMAGE`: for models that judge no whole scans."""
    norm = shipped_quality(card)
    return NOT_JUDGED if norm is None else norm.words(image_measures(prepared))


def _scan_score(detector: WholeScanDetector, judgement: Judgement) -> dict[str, Any]:
    """The verdict on the whole scan for the report, with the healthy scores it stands among."""
    if WHOLE_SCAN not in detector.card.healthy_validation:
        return {}
    verdict, norm = detector.verdict(judgement), ScanNorm.from_card(detector.card)
    measures = {measure: round(deviation, 1) for measure, deviation in norm.quality.deviations(judgement.measures).items()}
    others = {"quality_deviations": measures, "healthy_scores": norm.scores, "abnormal_from": norm.abnormal_from}
    return {"quality": verdict.quality, "scan_score": {**asdict(verdict), **others}}


def _check_rebuilds(detector: ModelDetector) -> None:
    """Raises SettingsError when there will be no reconstruction to show."""
    if not isinstance(detector, Rebuilder):
        raise SettingsError(f"the model {detector.card.name} rebuilds nothing; drop --reconstruction.")
    if detector.engine == "paper-strict":
        raise SettingsError("--engine paper-strict keeps no intensities; drop --reconstruction or choose another engine.")


def _load_previewer(model: str, detector: ModelDetector, settings: SegmentSettings) -> ModelDetector | None:
    """The dense predictor for this model, if there is one and it is calibrated for the settings."""
    if not isinstance(detector, InpaintingDetector):
        return None
    name = find_preview(model, detector.card)
    if name is None:
        return None
    previewer = load_detector(name, stride_mm=detector.stride_mm, device=str(detector.device))
    try:
        check_threshold(previewer.card.thresholds, settings)
    except WeightsError:
        return None
    return previewer


@contextmanager
def _as_a_courtesy() -> Iterator[None]:
    """A preview that fails, be it for damaged weights or a full memory, is no reason to give up the detection."""
    try:
        yield
    except Cancelled:
        raise
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        _LOG.warning("There is no preview: %s", reason)


def _load_ahead() -> None:
    """Read what is needed last while other work keeps one core busy: two seconds of matplotlib and of compiled kernels."""

    def load() -> None:
        with suppress(Exception):  # whatever is wrong comes up again where it is needed
            import_module(".picture", __package__)
            felzenszwalb(np.eye(4))

    Thread(target=load, name="load ahead", daemon=True).start()


def _check_modality(prepared: Prepared, card: Card) -> None:
    if card.modality == "T1":
        check_t1(prepared.image.array, prepared.brain, spacing_mm=card.spacing_mm, name=prepared.scan.name)


def _doubted(prepared: Prepared) -> Prepared:
    """With what looks wrong about its brain mask, told as one warning."""
    doubts = mask_doubts(prepared.scan_brain, prepared.scan.grid)
    if doubts:
        _LOG.warning(
            "The brain mask of %s (%s) is unusual: %s; look at brain_mask.nii.gz, and if it is wrong, "
            "correct it and give it with --mask.",
            Path(prepared.scan.name).name,
            prepared.brain_source,
            "; ".join(doubts),
        )
    return replace(prepared, doubts=tuple(doubts))


def _brain_ml(prepared: Prepared) -> float:
    return float(round(prepared.scan_brain.sum() * prepared.scan.grid.voxel_mm3 / 1000, 1))


def _report(detector: ModelDetector, prepared: Prepared) -> dict[str, Any]:
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

    def copy(self) -> _Stages:
        """What was measured until now, to go on from twice."""
        other = _Stages()
        other.seconds = dict(self.seconds)
        return other

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        started = time.perf_counter()
        yield
        self.seconds[name] = round(time.perf_counter() - started, 3)
