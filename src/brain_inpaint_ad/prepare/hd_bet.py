"""Brain extraction by HD-BET 2 (Isensee 2019), a program of its own: any sequence, tumours included.

It is never installed with this package, and brings (or downloads, when first run) its own weights.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

from ..errors import InputError, NoBrainError, SettingsError
from ..files import temporary_folder
from ..io import read_labels, write_volume
from ..progress import Progress
from ..volume import Array, Volume

PROGRAM = "hd-bet"
_LOOK_S = 0.1  # how often a cancel is looked for
_TOLD = 200  # characters of its last words that are passed on
_NOT_FETCHED = ("zenodo.org", "requests.exceptions.")  # in its last words when it has no weights yet and no network


def program() -> str:
    """Where it is. Raises SettingsError when it is not installed."""
    found = shutil.which(PROGRAM)
    if found is None:
        raise SettingsError("HD-BET is not installed: no program hd-bet is on the PATH; install it or choose another --brain.")
    return found


def extract(scan: Volume, *, use_gpu: bool, progress: Progress) -> Array:
    """Brain mask, bool of the scan's shape. The program ends with a cancel. Raises SettingsError or NoBrainError."""
    # A folder that goes, too, when the process is told to end while it is busy elsewhere: it holds a copy of the scan.
    with temporary_folder() as folder:
        write_volume(scan, folder / "scan.nii.gz")  # a name that tells nothing of the patient
        # As HD-BET 2.0 names them; without mirrored copies, as it recommends for CPUs.
        options = ["--save_bet_mask", "--no_bet_image", *(() if use_gpu else ("--disable_tta",))]
        where = ["-i", str(folder / "scan.nii.gz"), "-o", str(folder / "brain.nii.gz"), "-device", "cuda" if use_gpu else "cpu"]
        code, said = _run([program(), *where, *options], folder / "said", progress)
        mask = folder / "brain_bet.nii.gz"
        if code != 0 and any(word in said for word in _NOT_FETCHED):
            raise NoBrainError(
                f"no brain was looked for in {scan.name}: HD-BET has no weights on this machine yet and could not download "
                "them; run hd-bet once where there is a network, or choose another --brain."
            )
        if code != 0 or not mask.exists():
            raise NoBrainError(
                f"no brain was found in {scan.name}: HD-BET ended with code {code} ({said[:_TOLD]}); this program knows "
                "HD-BET 2, run it by hand to see more, or choose another --brain."
            )
        try:
            found = read_labels(mask)
        except InputError as error:
            raise NoBrainError(
                f"HD-BET wrote no usable mask for {scan.name}; choose another --brain or give --mask."
            ) from error
    if not found.grid.is_same_place(scan.grid):
        raise NoBrainError(f"HD-BET wrote a mask that does not lie on the grid of {scan.name}; choose another --brain.")
    return found.array > 0


def _run(command: list[str], log: Path, progress: Progress) -> tuple[int, str]:
    """Exit code and the last line it said; whatever ends this function ends the program and those it started."""
    with log.open("wb") as said:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=said, stderr=said, start_new_session=True)
        try:
            while process.poll() is None:
                progress(0.0, "finding the brain (HD-BET)")
                time.sleep(_LOOK_S)
        finally:
            with suppress(OSError):
                if hasattr(os, "killpg"):
                    os.killpg(process.pid, signal.SIGKILL)
                else:
                    process.kill()
            process.wait()
    lines = [" ".join(line.split()) for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return process.returncode, lines[-1] if lines else "it said nothing"
