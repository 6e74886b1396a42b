"""Which series of images a DICOM folder holds, and which of them is meant."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import pydicom
from pydicom.dataset import Dataset
from pydicom.uid import UID

from ..errors import FormatError, InputError, SettingsError
from ..io import MIN_SLICES
from ..progress import Progress, silent
from . import files_below, is_dicom

_KIND = "MediaStorageSOPClassUID"
_NO_SCANS = ("SEG", "RTDOSE", "PR", "KO", "SR")  # they may have rows and columns, and show no anatomy
_MOST_LISTED = 6
_IDENTIFIERS = (
    "PatientName",
    "PatientID",
    "OtherPatientNames",
    "OtherPatientIDs",
    "PatientBirthDate",
    "AccessionNumber",
)
_SHORT = 3  # letters; shorter words of a name or number are parts of those of descriptions, too


@dataclass(frozen=True, slots=True)
class Series:
    """Images that were taken together. headers: all but the pixels, each with its file.

    description: free text of the scanner's staff without the words of the patient's names and numbers; other spellings stay,
    so it is shown where series are listed and kept nowhere.
    """

    uid: str
    number: str
    description: str
    modality: str
    headers: tuple[tuple[Dataset, Path], ...]

    @property
    def images(self) -> int:
        """Slices, those of multi-frame files counted one by one."""
        return sum(int(header.get("NumberOfFrames") or 1) for header, _ in self.headers)

    def told(self) -> dict[str, str | int]:
        """What a report says of it: no UID, by which an archive finds the patient, and no free text, which may name one."""
        return {"number": self.number, "modality": self.modality, "slices": self.images}


def list_series(path: Path, *, progress: Progress = silent) -> list[Series]:
    """Series of images in a file or below a folder, by number. Raises FormatError for a DICOM file that cannot be read."""
    files = [file for file in files_below(path) if is_dicom(file)] if path.is_dir() else [path]
    found: dict[str, list[tuple[Dataset, Path]]] = {}
    for done, file in enumerate(files):
        progress(done / len(files), "reading DICOM headers")
        header = _read_header(file)
        if _is_image(header, file):
            found.setdefault(str(header.get("SeriesInstanceUID", "")), []).append((header, file))
    return sorted((_series(uid, headers) for uid, headers in found.items()), key=_order)


def choose_series(listed: list[Series], wanted: str | None, path: Path) -> Series:
    """The one that is wanted, or the only one, or the only one with enough slices to show a brain.

    wanted: a series' number or UID. Raises SettingsError with the series there are.
    """
    if not listed:
        raise InputError(f"{path} holds DICOM files, but no images; give the folder of the scan's series.")
    if wanted is not None:
        meant = [series for series in listed if wanted in (series.number, series.uid)]
    else:
        meant = listed if len(listed) == 1 else [series for series in listed if series.images >= MIN_SLICES]
    if len(meant) == 1:
        return meant[0]
    told = "; ".join(_in_words(series, meant) for series in (meant or listed)[:_MOST_LISTED])
    more = len(meant or listed) - _MOST_LISTED
    told += f"; {more} more, see: brain-inpaint-ad series {path}" if more > 0 else ""
    if wanted is not None and not meant:
        raise SettingsError(f"{path} has no series {wanted}; it holds {told}.")
    raise SettingsError(f"{path} holds several series ({told}); choose one with --series.")


def _read_header(file: Path) -> Dataset:
    try:
        header = pydicom.dcmread(file, stop_before_pixels=True)
        for name in ("Rows", "Columns", "NumberOfFrames", "SeriesNumber"):  # parsed now, where damage is told apart
            int(header.get(name) or 0)
        for name in ("Modality", "SeriesInstanceUID", "SeriesDescription", "SOPClassUID"):
            str(header.get(name))
        str(_meta(header).get(_KIND))
        return header
    except OSError as error:
        raise FormatError(f"{file} may not be read ({error.strerror}); check its permissions.") from error
    except Exception as error:  # damage shows as many different types
        raise FormatError(f"{file} is a damaged DICOM file ({type(error).__name__}); copy or export it again.") from error


def _is_image(header: Dataset, file: Path) -> bool:
    """Raises FormatError for an image that was cut before its size: it would be missing from its series without a word."""
    if str(header.get("Modality", "")) in _NO_SCANS:
        return False
    has_size = "Rows" in header and "Columns" in header
    if not has_size and _should_be_image(header):
        raise FormatError(f"{file} is a damaged DICOM file (it does not say how large its image is); copy or export it again.")
    return has_size


def _should_be_image(header: Dataset) -> bool:
    """By its kind, which is told first; not when that is a vendor's own or another one that DICOM knows."""
    kind = UID(str(_meta(header).get(_KIND) or header.get("SOPClassUID") or ""))
    is_known = kind.name != kind
    return "Image Storage" in kind.name or not kind or (kind.startswith("1.2.840.10008.") and not is_known)


def _meta(header: Dataset) -> Dataset:
    """What stands before the header."""
    meta: Dataset = getattr(header, "file_meta", Dataset())
    return meta


def _series(uid: str, headers: list[tuple[Dataset, Path]]) -> Series:
    first = headers[0][0]
    number, description, modality = (
        str(first.get(name, "") or "") for name in ("SeriesNumber", "SeriesDescription", "Modality")
    )
    return Series(uid, number, _without_names(description, first), modality, tuple(headers))


def _without_names(text: str, header: Dataset) -> str:
    """A description is free text: words of the patient's names and numbers become "…", what cannot be printed goes."""
    parts: set[str] = set()  # replaced wherever they stand
    words: set[str] = set()  # too short for that: replaced where they stand alone
    for name in _IDENTIFIERS:
        try:
            value = str(header.get(name) or "")
        except Exception:  # damage shows as many different types; what cannot be read cannot be looked for
            return "…"
        for written in value.split("="):  # in letters, in ideographs, as spoken
            found = [word for word in re.split(r"[\W_]+", written) if word]
            parts.update(word for word in ["".join(found), *found] if len(word) >= _SHORT or not word.isascii())
            words.update(found)
    for part in sorted(parts, key=len, reverse=True):
        text = re.sub(re.escape(part), "…", text, flags=re.IGNORECASE)
    for word in words - parts:
        text = re.sub(rf"(?<![^\W_]){re.escape(word)}(?![^\W_])", "…", text, flags=re.IGNORECASE)
    return "".join(letter if letter.isprintable() else " " for letter in text).strip()


def _order(series: Series) -> tuple[int, str]:
    return int(series.number or 0), series.uid


def _in_words(series: Series, others: list[Series]) -> str:
    unique = bool(series.number) and sum(other.number == series.number for other in others) <= 1
    name = f"{series.number if unique else series.uid}: {series.description or 'no description'}"
    return f"{name}, {series.images} image{'s' if series.images > 1 else ''}"
