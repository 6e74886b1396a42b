"""`brain-inpaint-ad evaluate`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from ..files import only_run_in
from ..progress import Progress
from .run import ProgressStyle, run


def evaluate(
    dataset: Annotated[
        str, typer.Option(help="brats, ct-ich, edinburgh, ixi, ixi-heads, ms or nfbs: how the folder is laid out.")
    ],
    data: Annotated[Path, typer.Option(help="Folder of the data set.")],
    out: Annotated[Path, typer.Option(help="Folder for report.html, rows.json and table.md; a run that was cut goes on.")],
    models: Annotated[str, typer.Option(help="Names or paths of models, separated by commas; none.")] = "t1-evidence",
    split: Annotated[str, typer.Option(help="validation, or test: once, at the end.")] = "validation",
    healthy: Annotated[
        Path | None,
        typer.Option(help="Healthy scans with subjects.csv: train makes the group of the baselines, validation thresholds."),
    ] = None,
    healthy_scans: Annotated[
        int | None, typer.Option(min=1, help="How many healthy validation scans to take thresholds from.", show_default="all")
    ] = None,
    baselines: Annotated[str, typer.Option(help="Names of baselines, separated by commas; all; none.")] = "all",
    cache: Annotated[
        Path | None, typer.Option(help="Folder for heat and healthy statistics.", show_default="OUT/cache")
    ] = None,
    stride_mm: Annotated[float, typer.Option(help="Step between windows in mm, as the models were calibrated.")] = 4.0,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
    progress: Annotated[ProgressStyle, typer.Option(help="bar, jsonl or none.")] = ProgressStyle.bar,
) -> None:
    """Score models, baselines and controls on scans with known truth."""

    def work(report: Progress) -> str:
        from ..evaluation.report import evaluate as run_evaluation
        from ..evaluation.report import table

        with only_run_in(out):
            rows = run_evaluation(
                dataset,
                data,
                out,
                models=[] if models == "none" else models.split(","),
                split=split,
                healthy=healthy,
                healthy_scans=healthy_scans,
                baselines={"all": None, "none": []}.get(baselines, baselines.split(",")),
                cache=cache,
                stride_mm=stride_mm,
                device=device,
                command="brain-inpaint-ad " + " ".join(sys.argv[1:]),
                progress=report,
            )
        return table(rows)

    typer.echo(run(work, progress, prints_answer=True))
