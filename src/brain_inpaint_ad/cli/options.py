"""Options that all `train` commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .run import ProgressStyle

Data = Annotated[Path, typer.Option(help="Folder of healthy NIfTI scans, with subjects.csv in it or above it.")]
Out = Annotated[Path, typer.Option(help="Folder of the run: checkpoint, TensorBoard, pictures, weights.")]
Minutes = Annotated[float | None, typer.Option(help="Stop after this time, preparation included; --resume goes on.")]
Resume = Annotated[bool, typer.Option("--resume", help="Continue the run in the folder.")]
Subjects = Annotated[Path | None, typer.Option(help="CSV of scans and their split (train, validation, test).")]
Name = Annotated[str | None, typer.Option(help="Name of the model in its card.", show_default="the folder's")]
Note = Annotated[str, typer.Option(help="Source and licence of the data, for the model's card.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")]
Style = Annotated[ProgressStyle, typer.Option(help="bar, jsonl or none.")]
