"""What evaluation takes from a folder of healthy scans: a registered group (train), operating thresholds (validation)."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ..detectors import Detector
from ..detectors.healthy import HealthyGroup, centred_grid
from ..detectors.make_group import build_group
from ..detectors.retreat import heat_within_memory
from ..errors import FitError, InputError
from ..files import digest_of
from ..io import read_scan
from ..prepare import PREPARATION, GridSettings, Prepared
from ..prepare.intensity import TARGETS
from ..prepare.kinds import prepare_as
from ..progress import Progress, part_of, silent
from ..segmentation.recut import cut_regions
from ..segmentation.regions import possible_segmentations
from ..segmentation.select import SEGMENTATIONS, SegmentSettings
from ..segmentation.thresholds import threshold_name
from ..training.data import Subject, find_subjects
from ..volume import Array, Volume
from .store import Store
from .thresholds import SHARES, RegionHeats, pooled, region_heats, threshold_for

_LOG = logging.getLogger(__name__)
GROUP_VERSION = 2  # goes up when the same scans would give other statistics
_TAIL = 0.3  # the hottest share of a scan's voxels that is kept one by one


@dataclass(frozen=True, slots=True)
class HealthyFolder:
    """Healthy scans below `folder`, listed with their split in subjects.csv. most: validation scans to use (None: all);
    modality: "T1" or "CT", how they are prepared; listed: the scans, where no subjects.csv is to say.
    """

    folder: Path
    store: Store
    grid: GridSettings
    most: int | None = None
    modality: str = "T1"
    listed: tuple[Subject, ...] | None = None

    def group(self, *, progress: Progress = silent) -> HealthyGroup:
        """Of the training scans, registered; made once and kept. One that cannot be prepared is left out with a warning."""
        subjects = self._of_split("train")
        made_from = {"version": GROUP_VERSION, "scans": [self._identity(subject) for subject in subjects]}

        def make() -> dict[str, Array]:
            brains = []
            for done, subject in enumerate(subjects):
                part_of(progress, 0.0, 0.4)(done / len(subjects), f"preparing {subject.name}")
                try:
                    prepared = self._prepared(subject)
                except InputError as error:
                    _LOG.warning("%s was left out of the healthy group: %s", subject.name, error)
                    continue
                brains.append((subject.name, prepared.image.array, prepared.brain))
            if not brains:
                raise InputError(f"none of the training scans below {self.folder} could be prepared; check them.")
            spacing_mm = self.grid.spacing_mm
            return build_group(brains, spacing_mm=spacing_mm, progress=part_of(progress, 0.4, 1.0)).to_arrays()

        return HealthyGroup.from_arrays(self.store.keep("healthy-group", made_from, make))

    def heats(self, detector: Detector, identity: dict[str, Any], *, progress: Progress = silent) -> HealthyHeats:
        """What the detector shows in the validation scans. identity: all its heat depends on."""
        subjects = self._of_split("validation")[: self.most]
        scans = {}
        for done, subject in enumerate(subjects):
            part = part_of(progress, done / len(subjects), (done + 1) / len(subjects))
            try:
                scans[subject.name] = self._heats_of(subject, detector, identity, part)
            except FitError as error:
                _LOG.warning("%s was left out of the thresholds: %s", subject.name, error)
        if not scans:
            raise InputError(f"healthy brains fit none of the validation scans below {self.folder}; check them.")
        return HealthyHeats(scans)

    def _of_split(self, split: str) -> list[Subject]:
        listed = find_subjects(self.folder) if self.listed is None else self.listed
        subjects = [subject for subject in listed if subject.split == split]
        if not subjects:
            raise InputError(f"no scan of the split {split!r} lies below {self.folder}; --healthy needs train and validation.")
        return subjects

    def _identity(self, subject: Subject) -> dict[str, Any]:
        return _identity_of(subject.path, self.grid, self.modality)

    def _prepared(self, subject: Subject) -> Prepared:
        return kept_prepared(subject.path, subject.name, self.grid, self.store, modality=self.modality)

    def _heats_of(
        self, subject: Subject, detector: Detector, identity: dict[str, Any], progress: Progress
    ) -> dict[str, RegionHeats]:
        made_from = {"scan": self._identity(subject), "detector": identity, "segmentations": possible_segmentations()}

        def make() -> dict[str, Array]:
            prepared = self._prepared(subject)
            heat = heat_within_memory(detector, prepared, progress=progress)
            rules = {"voxels": voxel_heats(heat[prepared.brain]), **_regions_by_segmentation(prepared, heat)}
            return {f"{rule}.{name}": value for rule, heats in rules.items() for name, value in _arrays(heats).items()}

        kept = self.store.keep(f"healthy-heats-{subject.name}", made_from, make)
        rules = dict.fromkeys(key.partition(".")[0] for key in kept)
        return {rule: RegionHeats(kept[f"{rule}.heat"], kept[f"{rule}.voxels"]) for rule in rules}


def kept_prepared(scan: Path, name: str, grid: GridSettings, store: Store, *, modality: str = "T1") -> Prepared:
    """A scan on the model grid alone, its middle at 0: all that detectors look at. Prepared once and kept under its name."""

    def make() -> dict[str, Array]:
        prepared = prepare_as(modality, read_scan(scan), settings=grid)
        return {"image": prepared.image.array, "brain": prepared.brain}

    kept = store.keep(f"prepared-{name}", _identity_of(scan, grid, modality), make)
    image = Volume(kept["image"], centred_grid(kept["image"].shape, grid.spacing_mm), name)
    return Prepared(image, kept["brain"], image, kept["brain"], "kept", landmarks=(0.0, *TARGETS, 1.0))


def _identity_of(scan: Path, grid: GridSettings, modality: str) -> dict[str, Any]:
    others = {} if modality == "T1" else {"modality": modality}
    return {"scan_sha256": digest_of(scan), "grid": grid.identity(), "preparation": PREPARATION, **others}


@dataclass(frozen=True, slots=True)
class HealthyHeats:
    """By scan and rule: superpixels of either segmentation, and single voxels."""

    scans: dict[str, dict[str, RegionHeats]]

    def thresholds(self, *, without: str = "") -> dict[str, float]:
        """By the names of `thresholds.threshold_name` and `plain_name`; no scan sets the threshold it is judged by."""
        members = [rules for name, rules in self.scans.items() if name != without]
        if not members:
            raise InputError(f"{without} is the only healthy validation scan; no threshold is left to judge it by.")
        names: dict[str, Callable[[str], str]] = {"voxels": plain_name}
        names |= {segmentation: partial(threshold_name, segmentation) for segmentation in SEGMENTATIONS}
        return {
            names[rule](share): round(threshold_for(pooled([rules[rule] for rules in members]), part), 6)
            for rule in members[0]
            for share, part in SHARES.items()
        }


def plain_name(share: str) -> str:
    """The name of a threshold on single voxels, no superpixels. share: one of thresholds.SHARES."""
    return f"plain_{share}"


def voxel_heats(heat: Array) -> RegionHeats:
    """Single voxels as regions of size 1, the colder ones as one region. heat: of all brain voxels (n,)."""
    ordered = np.sort(heat)[::-1].astype(np.float32)
    hottest = max(1, round(_TAIL * len(ordered)))
    rest = len(ordered) - hottest
    return RegionHeats(np.append(ordered[:hottest], ordered[hottest - 1]), np.append(np.ones(hottest, dtype=np.int64), rest))


def _regions_by_segmentation(prepared: Prepared, heat: Array) -> dict[str, RegionHeats]:
    spacing = prepared.image.grid.spacing
    return {
        segmentation: region_heats(
            cut_regions(
                prepared.image.array,
                prepared.brain,
                heat,
                SegmentSettings(segmentation=segmentation),
                spacing=(spacing[2], spacing[1], spacing[0]),
            )
        )
        for segmentation in possible_segmentations()
    }


def _arrays(heats: RegionHeats) -> dict[str, Array]:
    return {"heat": heats.heat, "voxels": heats.voxels}
