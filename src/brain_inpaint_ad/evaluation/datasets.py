"""Which scans a data set holds, with their truth, subject and split. Layouts: see each function; splits: see `cases`."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from ..errors import InputError, SettingsError
from ..weights.card import Card
from .cases import SHARES, SHARES_ILL, Case, healthy_case, of_split, rows_of, table_of, there

NIFTI = r"\.nii(\.gz)?$"


def ixi(data: Path, split: str) -> list[Case]:
    """Healthy: subjects.csv with brain/<scan>_brain.nii.gz (ours), or IXI002-Guys-0828-T1.nii.gz … (brain-development.org)."""
    if table_of(data).is_file() and (data / "brain").is_dir():
        rows = rows_of(data, split, {"scan", "split"})
        return [healthy_case(row["scan"], there(data / "brain" / f"{row['scan']}_brain.nii.gz")) for row in rows]
    found = [healthy_case(_stem(path), path) for path in _files(data, r"^IXI\d+-\w+-\d+-T1" + NIFTI)]
    return of_split(data, split, found, SHARES)


def ixi_heads(data: Path, split: str) -> list[Case]:
    """Healthy, whole heads: subjects.csv (scan, split, whole_head) and head/<scan>.nii.gz."""
    rows = [row for row in rows_of(data, split, {"scan", "split", "whole_head"}) if row["whole_head"] == "1"]
    return [healthy_case(row["scan"], there(data / "head" / f"{row['scan']}.nii.gz")) for row in rows]


def brats(data: Path, split: str) -> list[Case]:
    """Gliomas, brain only; truth: the whole tumour (> 0). The layouts of 2018 to 2021 and of 2023, HGG/ and LGG/ included.

    <case>/<case>_t1.nii.gz with _seg, or <case>-t1n.nii.gz with -seg. The last number of a case counts a patient's scans.
    """
    found = []
    for path in _files(data, r"(_t1|-t1n)" + NIFTI):
        name = re.sub(r"(_t1|-t1n)" + NIFTI, "", path.name)
        truth = path.with_name(path.name.replace("_t1.", "_seg.").replace("-t1n.", "-seg."))
        found.append(Case(name, path, truth, _person(name, r"^(Brats1[78]_.+|BraTS-[A-Z]+-\d+)[_-]\d+$")))
    return of_split(data, split, found, SHARES_ILL)


def ms(data: Path, split: str) -> list[Case]:
    """MS lesions on T1, brain only: cross_sectional/MNI of open_ms_data (Lesjak 2018), patient01/T1_…, GOLD_STANDARD_…."""
    found = []
    for folder in sorted(path for path in data.rglob("patient*") if path.is_dir()):
        scans, truths = (_files(folder, begin + NIFTI) for begin in (r"^T1_.*", r"^GOLD_STANDARD_.*"))
        if scans and truths:
            found.append(Case(folder.name, _only(scans), _only(truths), folder.name))
    return of_split(data, split, found, SHARES_ILL)


def nfbs(data: Path, split: str) -> list[Case]:
    """Healthy, brain only by hand: A00028185/sub-A00028185_ses-NFB3_T1w_brain.nii.gz … (Puccio 2016)."""
    ending = r"_T1w_brain" + NIFTI
    found = [
        healthy_case(re.sub(ending, "", path.name), path, _person(path.name, r"^sub-([^_]+)")) for path in _files(data, ending)
    ]
    return of_split(data, split, found, SHARES)


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
    return of_split(data, split, found, SHARES_ILL)


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
            healthy.append(healthy_case(name, scan, name))
        elif scan.is_file() and marks & set(ICH_TYPES):
            ill.append(Case(name, scan, truth, name, tuple(kind for kind in ICH_TYPES if kind in marks)))
    if table_of(data).is_file() or not ill or split == "train":
        return of_split(data, split, [*healthy, *ill] if table_of(data).is_file() else healthy, SHARES)
    return [*of_split(data, split, healthy, SHARES), *of_split(data, split, ill, SHARES_ILL)]


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
