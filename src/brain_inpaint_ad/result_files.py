"""The folder of a result: which files lie there, whether it may be written, and how it is: whole or not at all."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

from .errors import OutputError
from .files import check_is_text, folder_in_work, move_into_place, only_run_in

MASK_FILE = "brain_mask.nii.gz"  # of the scan; corrected by hand it can be given back to `detect`
OPTIONAL_FILES = ("reconstruction.nii.gz", "recut.npz", "anomalies.dcm")
FILES = ("heatmap.nii.gz", "anomalies.nii.gz", MASK_FILE, "findings.csv", "report.json", "overview.png")
_NAMES = (*(name for name in FILES if name != "report.json"), *OPTIONAL_FILES, "report.json")  # see move_into_place


def check_output(folder: Path, *, overwrite: bool) -> None:
    """Raises OutputError when results could not or must not go to `folder`; called before the work starts."""
    check_is_text(folder)
    try:
        if folder.exists() and not folder.is_dir():
            raise OutputError(f"{folder} is a file; choose a folder for the results.")
        present = [name for name in (*FILES, *OPTIONAL_FILES) if (folder / name).exists()]
        if present and not overwrite:
            raise OutputError(f"{folder} already holds {', '.join(present)}; add --overwrite or choose another folder.")
        if blocked := [name for name in present if (folder / name).is_dir()]:
            raise OutputError(f"{folder} holds folders called {', '.join(blocked)}; choose another folder for the results.")
        tempfile.TemporaryFile(dir=_ground(folder)).close()  # whether it can be written: only trying tells
    except OutputError:
        raise
    except OSError as error:
        raise OutputError(f"{folder} cannot be written ({error.strerror}); choose another folder.") from error


def write_output(folder: Path, write: Callable[[Path], None], *, overwrite: bool) -> list[Path]:
    """Have `write` fill a temporary folder, and move its files into place; returns their paths.

    Raises OutputError, also where `check_output` does. Optional files of another result go.
    """
    check_output(folder, overwrite=overwrite)
    try:
        with only_run_in(folder), folder_in_work(_ground(folder), folder) as staging:
            write(staging)
            check_output(folder, overwrite=overwrite)  # another program may have written there in the meantime
            return move_into_place(staging, folder, _NAMES)
    except OSError as error:
        reason = error.strerror or "a file came out incomplete"
        raise OutputError(f"{folder} could not be written ({reason}); is the disk full?") from error


def _ground(folder: Path) -> Path:
    """The folder, or the nearest above it that exists: on the disk where the results will be."""
    while not folder.exists():
        folder = folder.parent
    return folder
