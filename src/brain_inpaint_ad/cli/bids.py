"""`brain-inpaint-ad bids`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..files import only_run_in
from ..progress import Progress
from .detect import Rule, Segmentation
from .run import ProgressStyle, run

if TYPE_CHECKING:
    from ..bids import Outcome


def bids(
    dataset: Annotated[Path, typer.Argument(help="Folder of a BIDS dataset.", readable=False)],
    out: Annotated[Path, typer.Option(help="Folder for the derivatives; a run that was cut goes on.", readable=False)],
    participant: Annotated[
        list[str] | None, typer.Option(help="Label of a subject; may be repeated.", show_default="all")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(help="A model's name (see: models) or the path of a .safetensors file.", show_default="as for detect"),
    ] = None,
    rule: Annotated[Rule, typer.Option(help="As for detect.")] = Rule.calibrated,
    segmentation: Annotated[Segmentation | None, typer.Option(help="As for detect.")] = None,
    brain: Annotated[str, typer.Option(help="As for detect.")] = "auto",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
    progress: Annotated[ProgressStyle, typer.Option(help="bar, jsonl or none.")] = ProgressStyle.bar,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Do scans again that are done.")] = False,
) -> None:
    """Detect anomalies in every T1-weighted scan of a BIDS dataset; write BIDS derivatives."""

    def work(report: Progress) -> list[Outcome]:
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
                segmentation=segmentation.value if segmentation else None,
                brain=brain,
                device=device,
            )

    command = "The same command without --overwrite" if overwrite else "The same command"
    outcomes = run(work, progress, when_cancelled=lambda: f"{command} goes on; scans that are done stay done.")
    from ..bids import FAILED, told

    if progress is not ProgressStyle.jsonl:
        typer.echo("\n".join(told(outcomes, out)))
    if any(outcome.kind == FAILED for outcome in outcomes):
        raise typer.Exit(1)
