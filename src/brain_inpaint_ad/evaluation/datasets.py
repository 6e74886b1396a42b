"""Which scans a data set holds, with their truth, subject and split. Layouts: see each function.

A folder may hold `subjects.csv` (scan or case, split) and is then read as it says, or lie as it was downloaded: then the name
of a subject decides about its split, always the same way, and all scans of a subject share it.
"""

from __future__ import annotations

import csv
import hashlib
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import InputError, SettingsError
from ..weights.card import Card

NIFTI = r"\.nii(\.gz)?$"
SHARES = {"train": 0.6, "validation": 0.2, "test": 0.2}  # of healthy sets as downloaded
SHARES_ILL = {"validation": 0.4, "test": 0.6}  # nobody trains on those


@dataclass(frozen=True, slots=True)
class Case:
    """One scan of one subject. truth: labels > 0 where the scan is abnormal; None when the subject is healthy; types: of the
    lesions, where the data set tells them.
    """

    name: str
    scan: Path
    truth: Path | None
    subject: str = ""
    types: tuple[str, ...] = ()

    @property
    def person(self) -> str:
        """Whom to count it for."""
        return self.subject or self.name


def ixi(data: Path, split: str) -> list[Case]:
    """Healthy: subjects.csv with brain/<scan>_brain.nii.gz (ours), or IXI002-Guys-0828-T1.nii.gz … (brain-development.org)."""
    if _table(data).is_file() and (data / "brain").is_dir():
        rows = _rows(data, split, {"scan", "split"})
        return [_healthy(row["scan"], _there(data / "brain" / f"{row['scan']}_brain.nii.gz")) for row in rows]
    found = [_healthy(_stem(path), path) for path in _files(data, r"^IXI\d+-\w+-\d+-T1" + NIFTI)]
    return _of_split(data, split, found, SHARES)


def ixi_heads(data: Path, split: str) -> list[Case]:
    """Healthy, whole heads: subjects.csv (scan, split, whole_head) and head/<scan>.nii.gz."""
    rows = [row for row in _rows(data, split, {"scan", "split", "whole_head"}) if row["whole_head"] == "1"]
    return [_healthy(row["scan"], _there(data / "head" / f"{row['scan']}.nii.gz")) for row in rows]


def brats(data: Path, split: str) -> list[Case]:
    """Gliomas, brain only; truth: the whole tumour (> 0). The layouts of 2018 to 2021 and of 2023, HGG/ and LGG/ included.

    <case>/<case>_t1.nii.gz with _seg, or <case>-t1n.nii.gz with -seg. The last number of a case counts a patient's scans.
    """
    found = []
    for path in _files(data, r"(_t1|-t1n)" + NIFTI):
        name = re.sub(r"(_t1|-t1n)" + NIFTI, "", path.name)
        truth = path.with_name(path.name.replace("_t1.", "_seg.").replace("-t1n.", "-seg."))
        found.append(Case(name, path, truth, _person(name, r"^(Brats1[78]_.+|BraTS-[A-Z]+-\d+)[_-]\d+$")))
    return _of_split(data, split, found, SHARES_ILL)


def ms(data: Path, split: str) -> list[Case]:
    """MS lesions on T1, brain only: cross_sectional/MNI of open_ms_data (Lesjak 2018), patient01/T1_…, GOLD_STANDARD_…."""
    found = []
    for folder in sorted(path for path in data.rglob("patient*") if path.is_dir()):
        scans, truths = (_files(folder, begin + NIFTI) for begin in (r"^T1_.*", r"^GOLD_STANDARD_.*"))
        if scans and truths:
            found.append(Case(folder.name, _only(scans), _only(truths), folder.name))
    return _of_split(data, split, found, SHARES_ILL)


def nfbs(data: Path, split: str) -> list[Case]:
    """Healthy, brain only by hand: A00028185/sub-A00028185_ses-NFB3_T1w_brain.nii.gz … (Puccio 2016)."""
    ending = r"_T1w_brain" + NIFTI
    found = [
        _healthy(re.sub(ending, "", path.name), path, _person(path.name, r"^sub-([^_]+)")) for path in _files(data, ending)
    ]
    return _of_split(data, split, found, SHARES)


def edinburgh(data: Path, split: str) -> list[Case]:
    """Tumours, whole heads (Pernet 2016): one folder per patient; below it one T1 and one labelmap as NIfTI.

    T1 stands in the name of the scan, tumour, tumor, lesion, mask, label or seg in that of the labelmap. This layout is ours:
    convert DICOM first, and draw the tumours where the download brings no labels.
    """
    drawn = r"(tumou?r|lesion|mask|label|seg)"
    found = []
    for folder in sorted(path for path in data.iterdir() if path.is_dir()) if data.is_dir() else []:
        files = _files(folder, NIFTI)
        truths = [path for path in files if re.search(drawn, path.name, re.IGNORECASE)]
        scans = [path for path in files if path not in truths and re.search(r"t1(?!\d)", path.name, re.IGNORECASE)]
        if scans:
            truth = _only(truths) if truths else folder / f"{folder.name}_tumour.nii.gz"
            found.append(Case(folder.name, _only(scans), truth, folder.name))
    return _of_split(data, split, found, SHARES_ILL)


ICH_TYPES = ("Intraventricular", "Intraparenchymal", "Subarachnoid", "Epidural", "Subdural")


def ct_ich(data: Path, split: str) -> list[Case]:
    """Head CTs after trauma, in Hounsfield units (PhysioNet ct-ich 1.3.1, Hssayeni 2020): ct_scans/049.nii, masks/049.nii and
    hemorrhage_diagnosis_raw_ct.csv, which tells the types of bleeding (ICH_TYPES). Healthy: neither bleeding nor fracture on
    any slice; with a fracture alone: left out.
    """
    healthy, ill = [], []
    for name, marks in _ich_marks(data).items():
        scan, truth = (data / folder / f"{name}.nii" for folder in ("ct_scans", "masks"))
        if scan.is_file() and not marks:
            healthy.append(_healthy(name, scan, name))
        elif scan.is_file() and marks & set(ICH_TYPES):
            ill.append(Case(name, scan, truth, name, tuple(kind for kind in ICH_TYPES if kind in marks)))
    if _table(data).is_file() or not ill or split == "train":
        return _of_split(data, split, [*healthy, *ill] if _table(data).is_file() else healthy, SHARES)
    return [*_of_split(data, split, healthy, SHARES), *_of_split(data, split, ill, SHARES_ILL)]


DATASETS: dict[str, Callable[[Path, str], list[Case]]] = {
    "brats": brats,
    "ct-ich": ct_ich,
    "edinburgh": edinburgh,
    "ixi": ixi,
    "ixi-heads": ixi_heads,
    "ms": ms,
    "nfbs": nfbs,
}
_ANY = "ixi"  # the layout in which people put healthy scans of their own, whatever they are


def modality_of(dataset: str, cards: Sequence[Card]) -> str:
    """ "T1" or "CT": what the data set holds. Raises SettingsError when one of the models reads something else."""
    holds = "CT" if dataset == "ct-ich" else "T1"
    if dataset == _ANY and cards:
        holds = cards[0].modality
    if others := [card for card in cards if card.modality != holds]:
        raise SettingsError(f"{others[0].name} reads {others[0].modality} and {dataset} holds {holds}; name another model.")
    return holds


def _ich_marks(data: Path) -> dict[str, set[str]]:
    """By patient (three digits), what any slice shows: of ICH_TYPES and Fracture_Yes_No."""
    table = data / "hemorrhage_diagnosis_raw_ct.csv"
    if not table.is_file():
        raise InputError(f"{table} is missing; it says which slices of the data set show a bleeding.")
    marks: dict[str, set[str]] = {}
    for row in csv.DictReader(table.read_text(encoding="utf-8-sig").splitlines()):
        shown = {name for name in (*ICH_TYPES, "Fracture_Yes_No") if row.get(name, "").strip() == "1"}
        marks.setdefault(row["PatientNumber"].strip().zfill(3), set()).update(shown)
    return marks


def split_of(subject: str, shares: dict[str, float]) -> str:
    """The split of a subject whom no table names, by a number in [0, 1) that SHA-256 makes of the name."""
    number = int.from_bytes(hashlib.sha256(subject.encode()).digest()[:8]) / 2**64
    reached = 0.0
    for split, share in shares.items():
        reached += share
        if number < reached:
            return split
    return list(shares)[-1]


def _healthy(name: str, scan: Path, subject: str = "") -> Case:
    return Case(name, scan, None, subject or name.partition("-")[0])


def _of_split(data: Path, split: str, found: list[Case], shares: dict[str, float]) -> list[Case]:
    """The cases of one split: as subjects.csv says, by subject where there is none. Raises InputError when there are none."""
    by_name = {case.name: case for case in found}
    if len(by_name) < len(found):
        twice = next(case.name for case in found if by_name[case.name] is not case)
        raise InputError(f"two scans below {data} are called {twice}; keep one of them.")
    if _table(data).is_file():
        _check_no_leak(data, by_name)
        names = [next(iter(row.values())) for row in _rows(data, split, {"split"})]
        if missing := [name for name in names if name not in by_name]:
            raise InputError(f"the scan of {missing[0]} is missing below {data}, although subjects.csv lists it.")
        cases = [by_name[name] for name in names]
    else:
        if not found:
            raise InputError(f"{data} holds no scan in the layout of this data set; see docs/results/README.md.")
        cases = [case for case in found if split_of(case.person, shares) == split]
        if not cases:
            raise InputError(f"none of the {len(found)} scans below {data} falls into the split {split!r}.")
    for case in cases:
        if case.truth is not None:
            _there(case.truth)
    return cases


def _rows(data: Path, split: str, columns: set[str]) -> list[dict[str, str]]:
    rows = [row for row in _listed(data, columns) if row["split"] == split]
    if not rows:
        raise InputError(f"{_table(data)} lists no scan of the split {split!r}.")
    return rows


def _listed(data: Path, columns: set[str]) -> list[dict[str, str]]:
    table = _table(data)
    if not table.is_file():
        raise InputError(f"{table} is missing; it names the scans of the data set and their split.")
    listed = list(csv.DictReader(table.read_text(encoding="utf-8-sig").splitlines()))
    if listed and (missing := columns - set(listed[0])):
        raise InputError(f"{table} lacks the column {min(missing)}.")
    return listed


def _check_no_leak(data: Path, by_name: dict[str, Case]) -> None:
    splits: dict[str, str] = {}
    for row in _listed(data, {"split"}):
        name = next(iter(row.values()))
        person = by_name[name].person if name in by_name else name
        if splits.setdefault(person, row["split"]) != row["split"]:
            raise InputError(f"{_table(data)} puts scans of {person} into two splits; a subject may stand in one only.")


def _table(data: Path) -> Path:
    return data / "subjects.csv"


def _files(data: Path, pattern: str) -> list[Path]:
    """Files at any depth whose name matches."""
    return sorted(path for path in data.rglob("*.nii*") if re.search(pattern, path.name) and path.is_file())


def _only(paths: Iterable[Path]) -> Path:
    first, *others = paths
    if others:
        raise InputError(f"{first} and {others[0].name} could both be meant; keep one of them.")
    return first


def _person(name: str, pattern: str) -> str:
    """The first group of the pattern, else the name itself."""
    match = re.match(pattern, name)
    return match.group(1) if match else name


def _stem(path: Path) -> str:
    return re.sub(NIFTI, "", path.name)


def _there(path: Path) -> Path:
    if not path.is_file():
        raise InputError(f"{path} is missing; every scan that is evaluated here needs it.")
    return path
