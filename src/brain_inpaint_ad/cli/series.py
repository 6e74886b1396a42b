"""`brain-inpaint-ad series`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from .printing import print_table
from .run import ProgressStyle, run


def series(
    folder: Annotated[Path, typer.Argument(help="Folder with DICOM files, also in folders below.", readable=False)],
    progress: Annotated[ProgressStyle, typer.Option(help="bar, jsonl or none.")] = ProgressStyle.bar,
) -> None:
    """List the series of images in a DICOM folder, for `detect --series`."""
    from ..dicom import list_folder

    table = Table(box=None, pad_edge=False)  # a line that is longer than the terminal is still one line to copy
    for heading in ("number", "what", "kind", "images", "UID"):
        table.add_column(heading, no_wrap=True)
    for found in run(lambda report: list_folder(folder, progress=report), progress):
        cells = (found.number or "–", found.description or "–", found.modality, str(found.images), found.uid)
        table.add_row(*map(escape, cells))
    print_table(table)
