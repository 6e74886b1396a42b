"""What the whole-scan model and the baselines say of healthy scans as they are, with lesions and spoilt."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from ..detectors import ModelDetector
from ..detectors.baselines import PcaDetector, ZScoreDetector
from ..detectors.cube import CUBE_VERSION, to_cube
from ..detectors.healthy import HealthyGroup
from ..detectors.quality import MEANING
from ..detectors.whole_scan import WholeScanDetector
from ..errors import InputError
from ..files import digest_of
from ..io import read_labels, read_scan
from ..prepare import PREPARATION, Prepared
from ..prepare.kinds import brain_as, counted_as, prepare_as
from ..progress import Progress, silent
from ..volume import Array, Volume
from .cases import Case
from .corruptions import CORRUPTIONS, FAILED_REGISTRATION, misplaced
from .healthy import kept_prepared
from .implants import KINDS, SIZES_ML, Lesion, implant
from .middle_slices import MIDDLE_VERSION, share_in_middle, slices_score
from .scan_trials import CLEAN, IN_MIDDLE, MEASURES, OF_HEALTHY, SLICES, SPOILT, WITH_INTENSITIES, Trial
from .store import Store

_LOG = logging.getLogger(__name__)
TRIAL_VERSION = 2  # goes up when the same scan would be spoilt or measured otherwise
_GRIDPOINTS = np.linspace(0, 1, 257)  # where intensities' quantiles are compared


@dataclass(frozen=True, slots=True)
class Judge:
    """Who measures, and where that is kept. slices: a 2-D model to compare with."""

    detector: WholeScanDetector
    group: HealthyGroup
    store: Store
    slices: ModelDetector | None = None

    def clean(self, case: Case) -> Trial:
        """The scan as it is."""
        return self._kept(case, CLEAN, None, lambda: self._measures(self._prepared(case)))

    def with_lesion(self, case: Case, lesion: Lesion) -> Trial:
        """The scan with a lesion in it."""

        def measure() -> dict[str, Array]:
            scan, brain = self._brain(case)
            struck, truth = implant(scan, brain, lesion, self._rng(case, lesion.name, lesion.volume_ml))
            return self._measures(self._prepare(struck, brain), lesion=scan.with_array(truth))

        return self._kept(case, lesion.name, lesion.volume_ml, measure)

    def spoilt(self, case: Case, kind: str) -> Trial:
        """The scan corrupted. kind: of CORRUPTIONS, or FAILED_REGISTRATION."""

        def measure() -> dict[str, Array]:
            rng = self._rng(case, kind, None)
            if kind == FAILED_REGISTRATION:
                return self._measures(self._prepared(case), lose_registration=rng)
            scan, brain = self._brain(case)
            return self._measures(self._prepare(*CORRUPTIONS[kind](scan, brain, rng)))

        return self._kept(case, kind, None, measure)

    def with_intensities(self, case: Case, quantiles: Array, kind: str) -> Trial:
        """The scan with the intensities of other scans: `quantiles` of their prepared brains, at _GRIDPOINTS."""

        def measure() -> dict[str, Array]:
            prepared = self._prepared(case)
            return self._measures(replace(prepared, image=prepared.image.with_array(matched(prepared, quantiles))))

        return self._kept(case, kind, None, measure, extra=[round(float(q), 6) for q in quantiles])

    def intensities(self, cases: Sequence[Case]) -> Array:
        """Quantiles of the prepared brains of all cases together, at _GRIDPOINTS. cases: one or more that can be prepared."""
        prepared = [self._prepared(case) for case in cases]
        return np.asarray(np.quantile(np.concatenate([one.image.array[one.brain] for one in prepared]), _GRIDPOINTS))

    def of_dataset(self, case: Case, name: str) -> Trial:
        """A scan of another data set, called by the data set's name; its healthy ones by OF_HEALTHY, too."""
        kind = name if case.truth is not None else f"{OF_HEALTHY}{name}"

        def measure() -> dict[str, Array]:
            if case.truth is None or self.slices is None:
                return self._measures(self._prepared(case))
            card = self.detector.card  # where the lesion lies can be told on the scan's own grid only
            prepared = prepare_as(card.modality, read_scan(case.scan), settings=card.grid)
            truth = read_labels(case.truth)
            return self._measures(prepared, lesion=truth.with_array(truth.array > 0))

        return replace(self._kept(case, kind, None, measure), types=case.types)

    def _kept(
        self, case: Case, kind: str, size_ml: float | None, measure: Callable[[], dict[str, Array]], extra: Any = None
    ) -> Trial:
        made_from = {
            "scan_sha256": digest_of(case.scan),
            "kind": kind,
            "size_ml": size_ml,
            "extra": extra,
            "model": self.detector.card.sha256,
            "dtype": str(self.detector.dtype),
            "group": self.group.sha256,
            "slices": None if self.slices is None else [self.slices.card.sha256, MIDDLE_VERSION],
            "versions": [TRIAL_VERSION, PREPARATION, CUBE_VERSION],
        }

        def make() -> dict[str, Array]:
            try:
                return measure()
            except InputError as error:
                return {"refused": np.asarray(str(error))}

        kept = self.store.keep(f"trial-{case.name}-{kind}", made_from, make)
        refused = str(kept["refused"]) if "refused" in kept else ""
        if refused:
            _LOG.warning("%s (%s) was left out: %s", case.name, kind, refused)
            return Trial(case.name, kind, size_ml, {}, refused)
        view = kept.pop("view").astype(np.float32)
        return Trial(case.name, kind, size_ml, {name: float(value) for name, value in kept.items()}, view=view)

    def _measures(
        self, prepared: Prepared, *, lesion: Volume | None = None, lose_registration: np.random.Generator | None = None
    ) -> dict[str, Array]:
        template = self.detector.template
        cube = to_cube(prepared.image, prepared.brain, template)
        if lose_registration is not None:
            wrong = misplaced(cube.transform, lose_registration)
            cube = to_cube(prepared.image, prepared.brain, template, transform=wrong)
        judgement = self.detector.judge_cube(cube, prepared)
        z = ZScoreDetector(self.group).heatmap(prepared, progress=silent)
        rest = PcaDetector(self.group).heatmap(prepared, progress=silent)
        values: tuple[float, ...] = (
            judgement.score,
            judgement.image,
            judgement.features,
            *(judgement.measures[name] for name in MEANING),
            float(z[prepared.brain].mean()),
            float(rest[prepared.brain].mean()),
        )
        measures = dict(zip(MEASURES, values, strict=True))
        if self.slices is not None:
            measures[SLICES] = slices_score(self.slices, prepared)
            if lesion is not None:
                measures[IN_MIDDLE] = share_in_middle(lesion, prepared)
        hottest = int(np.argmax((judgement.error**2).sum(axis=(1, 2))))
        view = (np.stack([cube.values[hottest], judgement.expected[hottest]]) + 1) / 2
        return {**{name: np.asarray(value) for name, value in measures.items()}, "view": view.astype(np.float16)}

    def _prepared(self, case: Case) -> Prepared:
        card = self.detector.card
        return kept_prepared(case.scan, case.name, card.grid, self.store, modality=card.modality)

    def _brain(self, case: Case) -> tuple[Volume, Array]:
        scan, modality = read_scan(case.scan), self.detector.card.modality
        brain = brain_as(modality, scan)
        return counted_as(modality, scan, brain), brain

    def _prepare(self, scan: Volume, brain: Array) -> Prepared:
        """With the mask of the scan before it was spoilt: extraction is not what is judged here."""
        card = self.detector.card
        return prepare_as(card.modality, scan, mask=scan.with_array(brain.astype(np.int32)), settings=card.grid)

    @staticmethod
    def _rng(case: Case, kind: str, size_ml: float | None) -> np.random.Generator:
        digest = hashlib.sha256(f"{case.name} {kind} {size_ml}".encode()).digest()
        return np.random.default_rng(list(digest))


def run_trials(
    judge: Judge,
    healthy: Sequence[Case],
    *,
    kinds: Sequence[str],
    most: int | None,
    others: dict[str, list[Case]],
    progress: Progress = silent,
) -> list[Trial]:
    """All healthy scans clean; the first `most` of them (None: all) in every way of `kinds`; the other data sets.

    Of a scan that cannot be judged there is a trial that says why, and a warning.
    """
    some = healthy[:most]
    work = [(case.name, partial(judge.clean, case)) for case in healthy]
    work += [(case.name, make) for case in some for make in _variants(judge, case, kinds)]
    work += [(case.name, partial(judge.of_dataset, case, name)) for name, cases in others.items() for case in cases]
    count = len(work) + len(others) * len(some)
    trials: list[Trial] = []
    for name, make in work:
        progress(len(trials) / count, f"judging {name}")
        trials.append(make())
    for name, cases in others.items():
        judged = {trial.scan for trial in trials if trial.kind in (name, f"{OF_HEALTHY}{name}") and not trial.refused}
        if used := [case for case in cases if case.name in judged]:
            quantiles = judge.intensities(used)
            for case in some:
                progress(len(trials) / count, f"judging {case.name} with the intensities of {name}")
                trials.append(judge.with_intensities(case, quantiles, f"{WITH_INTENSITIES}{name}"))
    return trials


def matched(prepared: Prepared, quantiles: Array) -> Array:
    """The prepared image with its brain's intensities moved to `quantiles` (at _GRIDPOINTS), order kept; 0 outside."""
    image, brain = prepared.image.array, prepared.brain
    own = np.quantile(image[brain], _GRIDPOINTS)
    return np.where(brain, np.interp(image, own, quantiles), 0).astype(np.float32)


def _variants(judge: Judge, case: Case, kinds: Sequence[str]) -> list[partial[Trial]]:
    lesions = [Lesion(kind, size_ml) for kind in KINDS for size_ml in SIZES_ML]
    struck = [partial(judge.with_lesion, case, lesion) for lesion in lesions if lesion.name in kinds]
    return struck + [partial(judge.spoilt, case, kind) for kind in SPOILT if kind in kinds]
