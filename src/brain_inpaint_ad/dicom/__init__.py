"""Scans as scanners and archives store them: DICOM in, DICOM SEG out. Needs the extra `dicom` (pydicom, highdicom)."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import FormatError, SettingsError
from ..extras import check_installed
from ..io import read_scan
from ..memory import MemoryBound
from ..progress import Progress, silent
from ..volume import Volume

if TYPE_CHECKING:
    from .series import Series

__all__ = ["check_seg_is_possible", "files_below", "is_dicom", "list_folder", "open_scan", "series_of", "without_warnings"]


def open_scan(
    path: str | os.PathLike[str],
    *,
    series: str | None = None,
    bound: MemoryBound | None = None,
    progress: Progress = silent,
) -> Volume:
    """The scan in a file of any kind or, of a folder of DICOM files, in one series.

    series: its number or UID; needed where a folder holds several. bound: checked before images are
    loaded. Raises as `io.read_scan` and `dicom.read.read_series` do.
    """
    path = Path(path)
    if not is_dicom(path):
        if series is not None:
            raise SettingsError(f"--series chooses among the series of a DICOM folder, which {path} is not; leave it away.")
        return read_scan(path, bound=bound)
    check_installed("pydicom", "pydicom", purpose="DICOM")
    from .read import read_series

    with without_warnings():
        return read_series(path, series=series, bound=bound, progress=progress)


def series_of(scan: Volume) -> dict[str, str | int] | None:
    """Number, description, modality and slices of the DICOM series a scan was read from; None for other scans."""
    return getattr(scan.origin, "series", None)


def list_folder(folder: Path, *, progress: Progress = silent) -> list[Series]:
    """Series of images below a folder, by number. Raises FormatError where there is no DICOM file."""
    if not is_dicom(folder):
        raise FormatError(f"{folder} holds no DICOM files; check the path.")
    check_installed("pydicom", "pydicom", purpose="DICOM")
    from .series import list_series

    with without_warnings():
        return list_series(folder, progress=progress)


def check_seg_is_possible(scan: str | os.PathLike[str]) -> None:
    """Raises SettingsError unless a DICOM SEG could refer to this scan."""
    if not is_dicom(Path(scan)):
        raise SettingsError(f"a DICOM SEG refers to DICOM files, and {scan} is none; leave --dicom-seg away.")
    check_installed("highdicom", "highdicom", purpose="DICOM")


def is_dicom(path: Path) -> bool:
    """Whether this is a DICOM file, or a folder with one anywhere below it."""
    try:
        if path.is_dir():
            return any(_has_mark(file) for file in files_below(path))
        return path.is_file() and _has_mark(path)  # a pipe would keep us waiting
    except OSError:
        return False  # whoever reads it says what is wrong


@contextmanager
def without_warnings() -> Iterator[None]:
    """pydicom warns of odd values, quoting them; what matters of them is checked here, and a patient's name is nobody's."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def files_below(folder: Path) -> list[Path]:
    """All files of a folder and its folders, by path; links to other folders are not followed."""
    found = (Path(parent) / name for parent, _, names in os.walk(folder) for name in names if not name.startswith("."))
    return sorted(path for path in found if path.is_file())


def _has_mark(path: Path) -> bool:
    try:
        with path.open("rb") as stream:
            stream.seek(128)
            return stream.read(4) == b"DICM"
    except OSError:
        return False
