"""Healthy scans as they are, with lesions and spoilt: the kinds of trials, and what was said of each; `scan_judge` says it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ..detectors.quality import MEANING
from ..volume import Array
from .corruptions import CORRUPTIONS, FAILED_REGISTRATION
from .implants import KINDS

CLEAN = "clean"
LESIONS = tuple(f"{kind} lesion" for kind in KINDS)
WITH_INTENSITIES = "healthy, intensities of "  # before the data set's name
SPOILT = (*CORRUPTIONS, FAILED_REGISTRATION)
OF_HEALTHY = "healthy of "  # before the data set's name: those in it who have no lesion
SLICES = "middle slices"  # the comparison: a 2-D model's score there
IN_MIDDLE = "lesion in the middle slices"  # share of its volume
MEASURES = ("score", "image", "features", *MEANING, "mean |z|", "PCA residual")


@dataclass(frozen=True, slots=True)
class Trial:
    """kind: CLEAN, that of a lesion, a corruption or a data set; size_ml: of a lesion, else None; measures: by MEASURES and,
    where there is a 2-D model, SLICES and IN_MIDDLE; empty when the scan was refused, and `refused` says why; types: of a
    patient's lesions, where the data set tells them; view: the axial slice of the cube with the largest error, as it is and as
    it was expected, (2, size, size) in [0, 1].
    """

    scan: str
    kind: str
    size_ml: float | None
    measures: dict[str, float]
    refused: str = ""
    types: tuple[str, ...] = ()
    view: Array | None = None


def as_rows(trials: Sequence[Trial]) -> list[dict[str, Any]]:
    """Plain JSON, without the views."""
    return [{name: value for name, value in asdict(trial).items() if name != "view"} for trial in trials]
