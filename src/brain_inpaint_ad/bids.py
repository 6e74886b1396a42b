"""A BIDS dataset in, BIDS derivatives out: every T1-weighted scan of every subject, one after the other.

Entities and files: Brain Imaging Data Structure 1.9, "Derived datasets". Heatmaps and findings have no suffix of their own
there; they stand in .bidsignore.
"""

from __future__ import annotations

import csv
import io
import json
import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import __version__
from .errors import BrainInpaintError, InputError, OutputError
from .files import folder_in_work, move_into_place, write_atomically
from .pipeline import detect
from .progress import Progress, part_of, silent
from .result import Result

DESCRIPTION = "dataset_description.json"
_T1 = re.compile(r"(sub-[0-9A-Za-z]+)(_ses-[0-9A-Za-z]+)?(_[0-9A-Za-z]+-[0-9A-Za-z]+)*_T1w\.nii(\.gz)?")
_ENDING = re.compile(r"T1w\.nii(\.gz)?$")
_NO_MAGNITUDE = re.compile(r"_(part-(?!mag_)[0-9A-Za-z]+)")
DONE, BEFORE, LEFT_OUT, FAILED = KINDS = ("done", "done before", "left out", "failed")
_LOG = logging.getLogger(__name__)
_IGNORED = "*_heatmap.nii.gz\n*_findings.tsv\n*_report.json\n*_overview.png\n"


@dataclass(frozen=True, slots=True)
class BidsScan:
    """One scan. path: in the dataset; name: with all entities, without suffix ("sub-01_run-2"); folder: in the derivatives."""

    path: Path
    name: str
    folder: Path

    def files(self) -> dict[str, str]:
        """Names of the derivatives by the names `Result.save` gives; the report comes last, as proof that all are there."""
        return {
            "heatmap.nii.gz": f"{self.name}_desc-anomaly_heatmap.nii.gz",
            "anomalies.nii.gz": f"{self.name}_desc-anomaly_dseg.nii.gz",
            "brain_mask.nii.gz": f"{self.name}_desc-brain_mask.nii.gz",
            "anomalies.tsv": f"{self.name}_desc-anomaly_dseg.tsv",
            "findings.csv": f"{self.name}_desc-anomaly_findings.tsv",
            "overview.png": f"{self.name}_desc-anomaly_overview.png",
            "report.json": f"{self.name}_desc-anomaly_report.json",
        }


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one scan. kind: one of KINDS; told: what was found, or why there is nothing, without a full stop."""

    name: str
    kind: str
    told: str


def find_scans(dataset: Path, out: Path, subjects: Sequence[str] = ()) -> tuple[list[BidsScan], list[Outcome]]:
    """T1-weighted scans by name: those to be done, and those left out. subjects: labels, with or without "sub-"; none: all.

    Raises InputError where there is no dataset, no scan that can be done or no such subject.
    """
    if not (dataset / DESCRIPTION).is_file():
        raise InputError(f"{dataset} is no BIDS dataset ({DESCRIPTION} is missing); give the folder that holds it.")
    wanted = {f"sub-{label.removeprefix('sub-')}" for label in subjects}
    if missing := sorted(label for label in wanted if not (dataset / label).is_dir()):
        raise InputError(f"{dataset} has no {missing[0]}; check the labels of the subjects.")
    scans, left_out = [], []
    for path in sorted(path for pattern in ("sub-*/anat/*", "sub-*/ses-*/anat/*") for path in dataset.glob(pattern)):
        place = path.parent.relative_to(dataset)
        if not _ENDING.search(path.name) or path.name.startswith(".") or (wanted and place.parts[0] not in wanted):
            continue
        if reason := _reason_against(path.name, place.parts[0]):
            left_out.append(Outcome(path.name, LEFT_OUT, reason))
        else:
            scans.append(BidsScan(path, path.name[: path.name.rindex("_T1w")], out / place))
    if not scans:
        others = f"; {len(left_out)} left out, such as {left_out[0].name}: {left_out[0].told}" if left_out else ""
        raise InputError(f"{dataset} holds no T1-weighted scans without contrast agent (sub-*/anat/*_T1w.nii.gz){others}.")
    return scans, left_out


def _reason_against(name: str, subject: str) -> str:
    """Why a T1-weighted scan is not for models of healthy brains; "" for one that is. subject: its folder's."""
    match = _T1.fullmatch(name)
    if match is None:
        return "its name is not that of a BIDS scan"
    if match[1] != subject:
        return f"it lies in the folder of {subject}"
    if "_ce-" in name:
        return "taken with contrast agent (ce), which no model of healthy brains knows"
    if part := _NO_MAGNITUDE.search(name):
        return f"no magnitude image ({part[1]})"
    return ""


def detect_in_dataset(
    dataset: Path,
    out: Path,
    *,
    subjects: Sequence[str] = (),
    overwrite: bool = False,
    progress: Progress = silent,
    **options: Any,
) -> list[Outcome]:
    """`detect` for every scan; what became of each, also of those left out. Scans that are done are passed over, so a cut
    run goes on.

    out: folder of the derivatives; options: those of `detect`. A scan that cannot be used does not keep the others from it;
    it is logged at once, as are those left out. Progress says which scan of how many is at work.
    """
    scans, outcomes = find_scans(dataset, out, subjects)
    _describe(dataset, out)
    for scan_left in outcomes:
        _LOG.warning("%s is left out: %s.", scan_left.name, scan_left.told)
    for number, scan in enumerate(scans):
        named = _named(progress, f"scan {number + 1} of {len(scans)}, {scan.name}")
        part = part_of(named, number / len(scans), (number + 1) / len(scans))
        part(0.0, "starting")
        outcome = _detect_in_one(scan, out, overwrite=overwrite, progress=part, options=options)
        if outcome.kind == FAILED:
            _LOG.error("%s failed: %s.", outcome.name, outcome.told)
        outcomes.append(outcome)
    return outcomes


def told(outcomes: Sequence[Outcome], out: Path) -> list[str]:
    """One line for each scan that is done, and the sum."""
    lines = [f"{outcome.name}: {outcome.told}" for outcome in outcomes if outcome.kind in (DONE, BEFORE)]
    counts = ((kind, sum(outcome.kind == kind for outcome in outcomes)) for kind in KINDS)
    return [*lines, f"{', '.join(f'{count} {kind}' for kind, count in counts)}; derivatives are in {out}."]


def _detect_in_one(scan: BidsScan, out: Path, *, overwrite: bool, progress: Progress, options: dict[str, Any]) -> Outcome:
    if (scan.folder / scan.files()["report.json"]).exists() and not overwrite:
        return Outcome(scan.name, BEFORE, "done before")
    try:
        result = detect(scan.path, progress=progress, **options)
    except InputError as error:
        return Outcome(scan.name, FAILED, str(error).rstrip("."))
    except MemoryError:
        return Outcome(scan.name, FAILED, "it needs more memory than there is; close other programs and try again")
    _save(result, scan, out)
    return Outcome(scan.name, DONE, result.summary)


def _named(progress: Progress, name: str) -> Progress:
    def report(fraction: float, stage: str) -> None:
        progress(fraction, f"{name}: {stage}")

    return report


def _describe(dataset: Path, out: Path) -> None:
    """Raises OutputError where another program's derivatives lie."""
    path = out / DESCRIPTION
    content = {
        "Name": "Anomalies found by brain-inpaint-ad (research software; not a medical device)",
        "BIDSVersion": "1.9.0",
        "DatasetType": "derivative",
        "GeneratedBy": [{"Name": "brain-inpaint-ad", "Version": __version__}],
        "SourceDatasets": [{"Name": _name_of(dataset)}],
    }
    try:
        out.mkdir(parents=True, exist_ok=True)
        if path.exists() and "brain-inpaint-ad" not in path.read_text(encoding="utf-8"):
            raise OutputError(f"{out} holds a dataset that this program did not make; choose another folder.")
        for name, text in ((DESCRIPTION, json.dumps(content, indent=2) + "\n"), (".bidsignore", _IGNORED)):
            with write_atomically(out / name) as temporary:
                temporary.write_text(text, encoding="utf-8")
    except OutputError:
        raise
    except (OSError, ValueError) as error:
        raise OutputError(f"{out} cannot be written ({getattr(error, 'strerror', error)}); choose another folder.") from error


def _name_of(dataset: Path) -> str:
    """As the dataset calls itself; not its path, which may name a person."""
    try:
        return str(json.loads((dataset / DESCRIPTION).read_text(encoding="utf-8"))["Name"])
    except (OSError, ValueError, KeyError, TypeError):
        return "unnamed"


def _save(result: Result, scan: BidsScan, out: Path) -> None:
    try:
        with folder_in_work(out, scan.folder / scan.name) as staging:
            result.save(staging / "result")
            table = (staging / "result" / "findings.csv").read_text(encoding="utf-8")
            (staging / "result" / "findings.csv").write_text(_as_tsv(table), encoding="utf-8")
            labels = "index\tname\n" + "".join(f"{found.label}\tanomaly {found.label}\n" for found in result.findings)
            (staging / "result" / "anomalies.tsv").write_text(labels, encoding="utf-8")
            (staging / "named").mkdir()
            for name, derivative in scan.files().items():
                (staging / "result" / name).rename(staging / "named" / derivative)
            scan.folder.mkdir(parents=True, exist_ok=True)  # other scans' derivatives lie there, too
            move_into_place(staging / "named", scan.folder, list(scan.files().values()))
    except BrainInpaintError:
        raise
    except OSError as error:
        raise OutputError(f"{scan.folder} could not be written ({error.strerror}); is the disk full?") from error


def _as_tsv(table: str) -> str:
    text = io.StringIO()
    csv.writer(text, delimiter="\t", lineterminator="\n").writerows(csv.reader(io.StringIO(table)))
    return text.getvalue()
