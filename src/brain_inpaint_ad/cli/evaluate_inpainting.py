"""`brain-inpaint-ad evaluate-inpainting`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from ..progress import Progress
from .run import ProgressStyle, run


def evaluate_inpainting(
    data: Annotated[Path, typer.Option(help="Folder of the data set.")],
    out: Annotated[Path, typer.Option(help="Folder for table.md, rows.json and a picture.")],
    models: Annotated[str, typer.Option(help="Names or paths of generators, separated by commas.")] = "t1-inpaint-32mm",
    dataset: Annotated[str, typer.Option(help="ixi, ixi-heads or nfbs: how the folder is laid out.")] = "ixi",
    split: Annotated[str, typer.Option(help="validation, or test: once, at the end.")] = "validation",
    windows: Annotated[int, typer.Option(help="How many windows of each scan to inpaint.")] = 32,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
    progress: Annotated[ProgressStyle, typer.Option(help="bar, jsonl or none.")] = ProgressStyle.bar,
) -> None:
    """Measure how well generators inpaint healthy scans they have not seen: PSNR, SSIM, L1 and sharpness."""

    def work(report: Progress) -> str:
        from ..evaluation.inpainting import evaluate_inpainting as run_evaluation

        return run_evaluation(
            dataset,
            data,
            out,
            models=models.split(","),
            split=split,
            windows=windows,
            device=device,
            command="brain-inpaint-ad " + " ".join(sys.argv[1:]),
            progress=report,
        )

    typer.echo(run(work, progress, prints_answer=True))
