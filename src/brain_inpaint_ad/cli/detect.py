"""`brain-inpaint-ad detect`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from ..progress import Progress, part_of
from .run import ProgressStyle, run


class Rule(StrEnum):
    """How anomalies are chosen among the superpixels."""

    calibrated = "calibrated"
    paper = "paper"


class Engine(StrEnum):
    """How windows are rebuilt."""

    incremental = "incremental"
    direct = "direct"
    paper_strict = "paper-strict"


class Segmentation(StrEnum):
    """What superpixels are cut from."""

    slices = "slices"
    volume = "volume"


def detect(
    # readable=False: typer does not look into files; the core says what is wrong with them.
    scan: Annotated[Path, typer.Argument(help="Brain scan: NIfTI, NRRD or MHA; whole head or brain only.", readable=False)],
    out: Annotated[Path, typer.Option(help="Folder for the results.", readable=False)],
    model: Annotated[
        str, typer.Option(help="A model's name (see: models) or the path of a .safetensors file.")
    ] = "t1-inpaint-32mm",
    mask: Annotated[Path | None, typer.Option(help="Brain mask on the scan's grid, > 0 inside.", readable=False)] = None,
    window_mm: Annotated[
        float | None, typer.Option(help="Side of the erased window in mm; a size the model has. [default: the model's]")
    ] = None,
    stride_mm: Annotated[float, typer.Option(help="Step between windows in mm.")] = 4.0,
    scale: Annotated[float, typer.Option(help="Felzenszwalb scale; larger gives larger superpixels.")] = 75.0,
    rule: Annotated[
        Rule,
        typer.Option(help="calibrated: hotter than healthy scans get, may find nothing; paper: the hottest of every slice."),
    ] = Rule.calibrated,
    segmentation: Annotated[
        Segmentation,
        typer.Option(help="slices: superpixels of each slice by itself; volume: of the whole brain in 3-D, needs numba."),
    ] = Segmentation.slices,
    engine: Annotated[
        Engine,
        typer.Option(
            help="incremental: exact and fast; direct: one network run per window, hours; paper-strict: as direct, with the "
            "minmax over the whole reconstructed slice (needs --rule paper)."
        ),
    ] = Engine.incremental,
    max_memory: Annotated[float, typer.Option(help="MB that slices' features may take while windows are rebuilt.")] = 1000.0,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
    progress: Annotated[ProgressStyle, typer.Option(help="bar; jsonl: one JSON object per line; none.")] = ProgressStyle.bar,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace results that are already in the folder.")] = False,
) -> None:
    """Find what a model of healthy brains cannot explain in SCAN; write heatmap, labelmap, table and picture."""

    def work(report: Progress) -> str:
        from ..pipeline import detect as find
        from ..result import check_output

        report(0.0, "starting")
        check_output(out, overwrite=overwrite)
        result = find(
            scan,
            model=model,
            mask=mask,
            window_mm=window_mm,
            stride_mm=stride_mm,
            scale=scale,
            rule=rule.value,
            segmentation=segmentation.value,
            engine=engine.value,
            max_memory_mb=max_memory,
            device=device,
            progress=part_of(report, 0.0, 0.97),
        )
        report(0.97, "writing results")
        result.save(out, overwrite=overwrite)
        report(1.0, "done")
        return result.summary

    summary = run(work, progress)
    if progress is not ProgressStyle.jsonl:
        typer.echo(f"{summary}. Results are in {out}.")
