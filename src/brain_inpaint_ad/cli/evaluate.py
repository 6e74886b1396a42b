"""`brain-inpaint-ad evaluate`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from ..progress import Progress
from .run import ProgressStyle, run


def evaluate(
    dataset: Annotated[str, typer.Option(help="brats, ixi or ixi-heads: how the folder is laid out.")],
    data: Annotated[Path, typer.Option(help="Folder of the data set.")],
    out: Annotated[Path, typer.Option(help="Folder for rows.json and table.md; a run that was cut goes on.")],
    models: Annotated[str, typer.Option(help="Names or paths of models, separated by commas.")] = "t1-inpaint-32mm",
    split: Annotated[str, typer.Option(help="validation, or test: once, at the end.")] = "validation",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
    progress: Annotated[ProgressStyle, typer.Option(help="bar, jsonl or none.")] = ProgressStyle.bar,
) -> None:
    """Score models and the intensity baseline on scans with known truth."""

    def work(report: Progress) -> str:
        from ..evaluation.report import evaluate as run_evaluation
        from ..evaluation.report import table

        command = "brain-inpaint-ad " + " ".join(sys.argv[1:])
        rows = run_evaluation(
            dataset, data, out, models=models.split(","), split=split, device=device, command=command, progress=report
        )
        return table(rows)

    typer.echo(run(work, progress))
