"""`brain-inpaint-ad evaluate-masks`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from ..files import only_run_in
from ..progress import Progress
from .run import ProgressStyle, run


def evaluate_masks(
    data: Annotated[Path, typer.Option(help="Folder of the data set.")],
    out: Annotated[Path, typer.Option(help="Folder for table.md and rows.json; rows of other runs stay.")],
    dataset: Annotated[str, typer.Option(help="ixi-heads (with brainmask/) or brats.")] = "ixi-heads",
    brain: Annotated[str, typer.Option(help="deepbet, hd-bet or the path of SynthStrip's weights (.pt).")] = "deepbet",
    split: Annotated[str, typer.Option(help="validation or test.")] = "validation",
    progress: Annotated[ProgressStyle, typer.Option(help="bar, jsonl or none.")] = ProgressStyle.bar,
) -> None:
    """Measure how far a brain extraction agrees with brain masks that are known."""

    def work(report: Progress) -> str:
        from ..evaluation.brain_masks import evaluate_masks as run_evaluation

        command = "brain-inpaint-ad " + " ".join(sys.argv[1:])
        with only_run_in(out):
            return run_evaluation(dataset, data, out, brain=brain, split=split, command=command, progress=report)

    typer.echo(run(work, progress, prints_answer=True))
