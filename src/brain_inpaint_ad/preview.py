"""A first result within seconds, by the dense predictor of a model's losses: a courtesy, never a reason to fail."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from .detectors.inpainting import InpaintingDetector
from .detectors.load import load_detector
from .errors import Cancelled, WeightsError
from .plan import Plan
from .segmentation.thresholds import check_threshold
from .weights.store import find_preview

PREVIEW_READY = "preview ready"  # the stage at which other programs may fetch it
_LOG = logging.getLogger(__name__)


def preview_of(model: str, plan: Plan) -> Plan | None:
    """The same with the dense predictor for this model, or None, and a warning, where there is none. It rebuilds nothing."""
    preview = None
    with as_a_courtesy():
        preview = _with_predictor(model, plan)
        if preview is None:
            _LOG.warning("%s has no preview.", plan.detector.card.name)
    return preview


@contextmanager
def as_a_courtesy() -> Iterator[None]:
    """A preview that fails, be it for damaged weights or a full memory, is no reason to give up the detection."""
    try:
        yield
    except Cancelled:
        raise
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        _LOG.warning("There is no preview: %s", reason)


def _with_predictor(model: str, plan: Plan) -> Plan | None:
    """None where there is no predictor, or it is not calibrated for the settings."""
    detector = plan.detector
    if not isinstance(detector, InpaintingDetector):
        return None
    name = find_preview(model, detector.card)
    if name is None:
        return None
    predictor = load_detector(name, stride_mm=detector.stride_mm, device=str(detector.device))
    try:
        check_threshold(predictor.card.thresholds, plan.settings)
    except WeightsError:
        return None
    return Plan(predictor, plan.settings, predictor.card.thresholds)
