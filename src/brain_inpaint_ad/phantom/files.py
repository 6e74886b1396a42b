"""A phantom as three NIfTI files."""

from __future__ import annotations

import os
from pathlib import Path

from ..errors import OutputError
from ..io import write_volume
from .scan import Phantom


def save_phantom(phantom: Phantom, folder: str | os.PathLike[str], *, overwrite: bool = False) -> list[Path]:
    """Write t1.nii.gz, brain_mask.nii.gz and truth.nii.gz into `folder`, made if it is missing; returns their paths.

    Raises OutputError when one of them exists and `overwrite` is not set, or when the folder cannot be written to.
    """
    folder = Path(folder)
    volumes = {
        folder / "t1.nii.gz": phantom.scan,
        folder / "brain_mask.nii.gz": phantom.brain,
        folder / "truth.nii.gz": phantom.truth,
    }
    present = [path.name for path in volumes if path.exists()]
    if present and not overwrite:
        raise OutputError(f"{folder} already holds {', '.join(present)}; add --overwrite or choose another folder.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder} could not be made ({error.strerror}); choose another folder.") from error
    for path, volume in volumes.items():
        write_volume(volume, path)
    return list(volumes)
