"""A BIDS dataset in, BIDS derivatives out: every T1-weighted scan of every subject, one after the other.

Entities and files: Brain Imaging Data Structure 1.9, "Derived datasets". Heatmaps and findings have no suffix of their own
there; they stand in .bidsignore.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import __version__
from .errors import BrainInpaintError, Cancelled, InputError, OutputError
from .files import folder_in_work, move_into_place, write_atomically
from .pipeline import detect
from .progress import Progress, part_of, silent
from .result import Result

DESCRIPTION = "dataset_description.json"
_T1 = re.compile(r"(sub-[0-9A-Za-z]+)(_ses-[0-9A-Za-z]+)?(_[0-9A-Za-z]+-[0-9A-Za-z]+)*_T1w\.nii(\.gz)?")
_OTHER_KINDS = re.compile(r"_ce-|_part-(?!mag)|_defacemask")  # with contrast agent, phases: models know none of them
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
            "anomalies.tsv": f"{self.name}_desc-anomaly_dseg.tsv",
            "findings.csv": f"{self.name}_desc-anomaly_findings.tsv",
            "overview.png": f"{self.name}_desc-anomaly_overview.png",
            "report.json": f"{self.name}_desc-anomaly_report.json",
        }


def find_scans(dataset: Path, out: Path, subjects: Sequence[str] = ()) -> list[BidsScan]:
    """T1-weighted scans without contrast agent, by name. subjects: labels, with or without "sub-"; none: all.

    Raises InputError where there is no dataset, no scan or no such subject.
    """
    if not (dataset / DESCRIPTION).is_file():
        raise InputError(f"{dataset} is no BIDS dataset ({DESCRIPTION} is missing); give the folder that holds it.")
    wanted = {f"sub-{label.removeprefix('sub-')}" for label in subjects}
    if missing := sorted(label for label in wanted if not (dataset / label).is_dir()):
        raise InputError(f"{dataset} has no {missing[0]}; check the labels of the subjects.")
    paths = [path for pattern in ("sub-*/anat/*", "sub-*/ses-*/anat/*") for path in sorted(dataset.glob(pattern))]
    scans = []
    for path in paths:
        if (match := _T1.fullmatch(path.name)) and not _OTHER_KINDS.search(path.name) and (not wanted or match[1] in wanted):
            scans.append(BidsScan(path, path.name[: path.name.rindex("_T1w")], out / path.parent.relative_to(dataset)))
    if not scans:
        raise InputError(f"{dataset} holds no T1-weighted scans without contrast agent (sub-*/anat/*_T1w.nii.gz).")
    return scans


def detect_in_dataset(
    dataset: Path,
    out: Path,
    *,
    subjects: Sequence[str] = (),
    overwrite: bool = False,
    progress: Progress = silent,
    **options: Any,
) -> list[str]:
    """`detect` for every scan; returns one sentence for each. Scans that are done are passed over, so a cut run goes on.

    out: folder of the derivatives; options: those of `detect`. A scan that cannot be used does not keep the others from it:
    InputError tells at the end which and why.
    """
    scans = find_scans(dataset, out, subjects)
    _describe(dataset, out)
    told, refused = [], []
    for number, scan in enumerate(scans):
        part = part_of(progress, number / len(scans), (number + 1) / len(scans))
        if (scan.folder / scan.files()["report.json"]).exists() and not overwrite:
            told.append(f"{scan.name}: done before")
            continue
        part(0.0, scan.name)
        try:
            result = detect(scan.path, progress=part, **options)
        except Cancelled:
            raise
        except InputError as error:
            refused.append(f"{scan.name}: {str(error).rstrip('.')}")
            continue
        _save(result, scan, out)
        told.append(f"{scan.name}: {result.summary}")
    if refused:
        raise InputError(f"{len(refused)} of {len(scans)} scans could not be used ({'; '.join(refused)}); the others are done.")
    return told


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
