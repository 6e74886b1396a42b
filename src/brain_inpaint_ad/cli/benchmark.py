"""`brain-inpaint-ad benchmark`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..progress import Progress, part_of
from .run import ProgressStyle, run


def benchmark(
    quick: Annotated[bool, typer.Option("--quick", help="Smaller samples, fewer rows: less than a minute.")] = False,
    json: Annotated[
        Path | None, typer.Option(help="File for the figures; a plot goes beside it as .png.", readable=False)
    ] = None,
    scan: Annotated[Path | None, typer.Option(help="A scan instead of the made-up one.", readable=False)] = None,
    model: Annotated[str, typer.Option(help="The generator: a name (see: models) or a .safetensors file.")] = (
        "t1-inpaint-32mm-fast"
    ),
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
    progress: Annotated[ProgressStyle, typer.Option(help="bar; jsonl: one JSON object per line; none.")] = ProgressStyle.bar,
) -> None:
    """Time every engine on this machine, each against the naive loop."""

    def work(report: Progress) -> str:
        from ..benchmark.run import benchmark as measure
        from ..benchmark.run import check_json, save_report

        if json is not None:
            check_json(json)
        result = measure(scan, model=model, quick=quick, device=device, progress=part_of(report, 0.0, 0.99))
        if json is not None:
            report(0.99, "writing results")
            save_report(result, json)
        report(1.0, "done")
        return result.to_text()

    table = run(work, progress)
    if progress is not ProgressStyle.jsonl:
        typer.echo(table)
