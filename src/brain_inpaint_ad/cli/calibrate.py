"""`brain-inpaint-ad calibrate`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..progress import Progress

if TYPE_CHECKING:
    from ..weights.card import Card
from .run import ProgressStyle, run


def calibrate(
    model: Annotated[str, typer.Argument(help="A model's name or the path of its .safetensors file.")],
    data: Annotated[Path, typer.Option(help="Folder of healthy scans, with subjects.csv in it or above it.")],
    subjects: Annotated[Path | None, typer.Option(help="CSV of scans and their split.")] = None,
    skip: Annotated[list[str] | None, typer.Option(help="A scan to leave out; may be repeated.")] = None,
    stride_mm: Annotated[float, typer.Option(help="Step between windows in mm, as detect will be run.")] = 4.0,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
    progress: Annotated[ProgressStyle, typer.Option(help="bar, jsonl or none.")] = ProgressStyle.bar,
) -> None:
    """Take a model's thresholds from the healthy validation scans below DATA and write them into its card."""

    def work(report: Progress) -> Card:
        from ..evaluation.calibration import calibrate as take

        return take(model, data, subjects=subjects, skip=tuple(skip or ()), stride_mm=stride_mm, device=device, progress=report)

    card = run(work, progress)
    for name, value in card.thresholds.items():
        typer.echo(f"{name}: {value:.4f}")
