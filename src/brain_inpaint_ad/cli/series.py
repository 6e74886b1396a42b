"""`brain-inpaint-ad series`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .printing import in_columns
from .run import ProgressStyle, run


def series(
    folder: Annotated[Path, typer.Argument(help="Folder with DICOM files, also in folders below.", readable=False)],
    progress: Annotated[ProgressStyle, typer.Option(help="bar, jsonl or none.")] = ProgressStyle.bar,
) -> None:
    """List the series of images in a DICOM folder, for `detect --series`."""
    from ..dicom import list_folder

    listed = run(lambda report: list_folder(folder, progress=report), progress)
    cells = [(found.number or "–", found.description or "–", found.modality, str(found.images), found.uid) for found in listed]
    typer.echo(in_columns([("number", "what", "kind", "images", "UID"), *cells]))
