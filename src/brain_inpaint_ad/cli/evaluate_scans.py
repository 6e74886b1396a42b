"""`brain-inpaint-ad evaluate-scans`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from ..files import only_run_in
from ..progress import Progress
from .run import ProgressStyle, run


def evaluate_scans(
    data: Annotated[Path, typer.Option(help="Healthy scans: subjects.csv and brain/, or the layout that --dataset names.")],
    out: Annotated[Path, typer.Option(help="Folder for table.md, rows.json and pictures; a run that was cut goes on.")],
    model: Annotated[
        str, typer.Option(help="A fanogan-3d model's name or the path of its .safetensors file.")
    ] = "t1-fanogan3d",
    dataset: Annotated[str, typer.Option(help="How --data is laid out; its patients are left out.")] = "ixi",
    split: Annotated[str, typer.Option(help="validation, or test: once, at the end.")] = "validation",
    scans: Annotated[int | None, typer.Option(min=2, help="How many healthy scans to put lesions into and to spoil.")] = None,
    kinds: Annotated[str, typer.Option(help="Lesions and corruptions by name, separated by commas; all.")] = "all",
    against: Annotated[
        list[str] | None, typer.Option(help="Other scans, such as patients, as DATASET=FOLDER; may be repeated.")
    ] = None,
    slices_model: Annotated[
        str | None, typer.Option(help="A 2-D model to compare with on the middle slices, such as one of train fanogan.")
    ] = None,
    calibrate: Annotated[
        bool, typer.Option("--calibrate", help="Write healthy scores, Youden point and limits of quality into the card.")
    ] = False,
    cache: Annotated[Path | None, typer.Option(help="Folder for what took long.", show_default="OUT/cache")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
    progress: Annotated[ProgressStyle, typer.Option(help="bar, jsonl or none.")] = ProgressStyle.bar,
) -> None:
    """Does the whole-scan score notice implanted lesions and corrupted scans? AUROC per kind and size, beside baselines."""

    def work(report: Progress) -> str:
        from ..evaluation.scan_study import study

        with only_run_in(out):
            return study(
                model,
                data,
                out,
                dataset=dataset,
                split=split,
                kinds=None if kinds == "all" else kinds.split(","),
                most=scans,
                against=against or [],
                slices_model=slices_model,
                calibrate=calibrate,
                cache=cache,
                device=device,
                command="brain-inpaint-ad " + " ".join(sys.argv[1:]),
                progress=report,
            )

    typer.echo(run(work, progress, prints_answer=True))
