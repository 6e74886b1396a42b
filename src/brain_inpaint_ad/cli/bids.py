"""`brain-inpaint-ad bids`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..files import only_run_in
from ..progress import Progress
from .detect import Rule, Segmentation
from .run import ProgressStyle, run


def bids(
    dataset: Annotated[Path, typer.Argument(help="Folder of a BIDS dataset.", readable=False)],
    out: Annotated[Path, typer.Option(help="Folder for the derivatives; a run that was cut goes on.", readable=False)],
    participant: Annotated[list[str] | None, typer.Option(help="Label of a subject; may be repeated. [default: all]")] = None,
    model: Annotated[
        str, typer.Option(help="A model's name (see: models) or the path of a .safetensors file.")
    ] = "t1-inpaint-32mm",
    rule: Annotated[Rule, typer.Option(help="As for detect.")] = Rule.calibrated,
    segmentation: Annotated[Segmentation, typer.Option(help="As for detect.")] = Segmentation.slices,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
    progress: Annotated[ProgressStyle, typer.Option(help="bar, jsonl or none.")] = ProgressStyle.bar,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Do scans again that are done.")] = False,
) -> None:
    """Detect anomalies in every T1-weighted scan of a BIDS dataset; write BIDS derivatives."""

    def work(report: Progress) -> list[str]:
        from ..bids import detect_in_dataset

        with only_run_in(out):
            return detect_in_dataset(
                dataset,
                out,
                subjects=participant or (),
                overwrite=overwrite,
                progress=report,
                model=model,
                rule=rule.value,
                segmentation=segmentation.value,
                device=device,
            )

    told = run(work, progress)
    if progress is not ProgressStyle.jsonl:
        typer.echo("\n".join((*told, f"Derivatives are in {out}.")))
