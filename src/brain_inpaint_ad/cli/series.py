"""`brain-inpaint-ad series`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from .run import ProgressStyle, run


def series(
    folder: Annotated[Path, typer.Argument(help="Folder with DICOM files, also in folders below.", readable=False)],
    progress: Annotated[ProgressStyle, typer.Option(help="bar, jsonl or none.")] = ProgressStyle.bar,
) -> None:
    """List the series of images in a DICOM folder, for `detect --series`."""
    from ..dicom import list_folder

    table = Table("number", "what", "kind", "images", "UID")
    for found in run(lambda report: list_folder(folder, progress=report), progress):
        table.add_row(found.number or "–", found.description or "–", found.modality, str(found.images), found.uid)
    Console().print(table)
