"""`brain-inpaint-ad compare`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from ..progress import Progress
from .run import ProgressStyle, run


def compare(
    dataset: Annotated[str, typer.Option(help="brats, ixi or ixi-heads: how the folder is laid out.")],
    data: Annotated[Path, typer.Option(help="Folder of the data set.")],
    out: Annotated[Path, typer.Option(help="Folder for comparison.json.")],
    models: Annotated[str, typer.Option(help="Names or paths of loss predictors, separated by commas.")],
    generator: Annotated[str, typer.Option(help="The model whose loss they predict.")] = "t1-inpaint-32mm-fast",
    split: Annotated[str, typer.Option(help="validation, or test: once, at the end.")] = "validation",
    every: Annotated[int, typer.Option(help="Look at each n-th slice only.")] = 1,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
    progress: Annotated[ProgressStyle, typer.Option(help="bar, jsonl or none.")] = ProgressStyle.bar,
) -> None:
    """Hold loss predictors against the generator they learned from."""

    def work(report: Progress) -> str:
        from ..evaluation.comparison import compare as run_comparison

        command = "brain-inpaint-ad " + " ".join(sys.argv[1:])
        names = models.split(",")
        return run_comparison(
            dataset,
            data,
            out,
            generator=generator,
            predictors=names,
            split=split,
            every=every,
            device=device,
            command=command,
            progress=report,
        )

    typer.echo(run(work, progress, prints_answer=True))
