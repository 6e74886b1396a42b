"""Who is compared: models and baselines, each with its thresholds and all that its heat depends on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ..detectors import Detector, ModelDetector
from ..detectors.baselines import GATHER_MM, WITH_GROUP, IntensityDetector
from ..errors import SettingsError, WeightsError
from ..prepare import GridSettings
from ..progress import Progress, part_of, silent
from ..segmentation.thresholds import threshold_name
from ..weights.card import Card
from .healthy import HealthyFolder, HealthyHeats

INTENSITY = "intensity only"
BASELINES = (INTENSITY, *WITH_GROUP)
BASELINE_VERSION = 2  # goes up when a baseline gives other heat for the same scan


@dataclass(frozen=True, slots=True)
class Contender:
    """One row of the table, before superpixels.

    identity: plain JSON, all its heat depends on beside the scan; from_card: thresholds it brings along, which win over
    those of `healthy`, what it shows in healthy validation scans; seen: scans behind the thresholds it brings along.
    """

    name: str
    detector: Detector
    grid: GridSettings
    identity: dict[str, Any]
    from_card: Mapping[str, float]
    seen: frozenset[str] = frozenset()
    healthy: HealthyHeats | None = field(default=None, repr=False)

    def thresholds(self, case: str) -> dict[str, float]:
        """For the scan of this name."""
        own = {} if self.healthy is None else self.healthy.thresholds(without=case)
        return {**own, **self.from_card}


def make_contenders(
    models: list[ModelDetector], baselines: list[str], healthy: HealthyFolder | None, *, progress: Progress = silent
) -> list[Contender]:
    """Models as they come, baselines after them. Raises WeightsError when one would have no threshold.

    baselines: of BASELINES. Those with a group need `healthy`; "intensity only" can do with the card of the first model.
    """
    made = [_of_model(model) for model in models]
    if healthy is not None and any(model.card.grid != healthy.grid for model in models):
        raise SettingsError("with --healthy, all models must work on one grid; evaluate them one by one.")
    grid = healthy.grid if healthy else models[0].card.grid if models else GridSettings()
    group = healthy.group(progress=part_of(progress, 0.0, 0.3)) if healthy and set(baselines) & set(WITH_GROUP) else None
    for name in baselines:
        if name == INTENSITY:
            made.append(_intensity(grid, models[0].card if models and healthy is None else None))
        elif group is not None:
            identity = {"baseline": name, "version": BASELINE_VERSION, "group": group.sha256, "gather_mm": GATHER_MM}
            made.append(Contender(name, WITH_GROUP[name](group), grid, identity, {}))
    if healthy is not None:
        made = [_calibrated(contender, healthy, _part(progress, n, len(made))) for n, contender in enumerate(made)]
    _check_thresholds(made)
    return made


def check_names(detectors: list[ModelDetector]) -> None:
    """Raises SettingsError when two models have one name: their rows could not be told apart."""
    names = [detector.card.name for detector in detectors]
    if twice := [name for name in names if names.count(name) > 1]:
        raise SettingsError(f"two models are called {twice[0]}; change the name in the card of one of them.")


def _of_model(model: ModelDetector) -> Contender:
    card = model.card
    identity = {
        "model_sha256": card.sha256,
        "stride_mm": model.stride_mm,
        "engine": model.engine,
        "minmax": model.minmax,
        "grid": card.grid.identity(),
    }
    seen = frozenset(card.healthy_validation.get("scans", ())) | frozenset(card.training.get("heat_from", ()))
    return Contender(card.name, model, card.grid, identity, card.thresholds, seen)


def _intensity(grid: GridSettings, card: Card | None) -> Contender:
    """card: of the model whose healthy scans are behind the threshold; None where a healthy folder gives it."""
    identity = {"baseline": INTENSITY, "version": BASELINE_VERSION, "grid": grid.identity()}
    if card is None:
        return Contender(INTENSITY, IntensityDetector(), grid, identity, {})
    healthy = card.healthy_validation
    thresholds = healthy.get("intensity_baseline_thresholds", {})
    return Contender(INTENSITY, IntensityDetector(), grid, identity, thresholds, frozenset(healthy.get("scans", ())))


def _calibrated(contender: Contender, healthy: HealthyFolder, progress: Progress) -> Contender:
    return replace(contender, healthy=healthy.heats(contender.detector, contender.identity, progress=progress))


def _check_thresholds(contenders: list[Contender]) -> None:
    for contender in contenders:
        if contender.healthy is None and threshold_name("slices") not in contender.from_card:
            raise WeightsError(
                f"{contender.name} is not calibrated; run brain-inpaint-ad calibrate first, or give --healthy scans."
            )


def _part(progress: Progress, number: int, count: int) -> Progress:
    return part_of(progress, 0.3 + 0.7 * number / count, 0.3 + 0.7 * (number + 1) / count)
