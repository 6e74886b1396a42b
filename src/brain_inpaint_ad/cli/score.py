"""`brain-inpaint-ad score`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..progress import Progress
from .run import ProgressStyle, run

if TYPE_CHECKING:
    from ..scan_score import ScanScore


def score(
    scans: Annotated[
        list[Path],
        typer.Argument(help="Brain scans: NIfTI, NRRD, MHA or DICOM folders; whole heads or brain only.", readable=False),
    ],
    out: Annotated[Path | None, typer.Option(help="Also write the table to this CSV file.", readable=False)] = None,
    model: Annotated[
        str, typer.Option(help="A fanogan-3d model's name or the path of its .safetensors file.")
    ] = "t1-fanogan3d",
    mask: Annotated[Path | None, typer.Option(help="Brain mask on the scan's grid, for a single scan.", readable=False)] = None,
    series: Annotated[
        str | None, typer.Option(help="Which series of a DICOM folder, for a single scan: number or UID, see: series.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
    progress: Annotated[ProgressStyle, typer.Option(help="bar, jsonl or none.")] = ProgressStyle.bar,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a table that is already there.")] = False,
) -> None:
    """Is each SCAN as a whole like those of healthy brains? One line per scan: score, place among healthy scans, quality."""

    def work(report: Progress) -> list[ScanScore]:
        from ..scan_score import check_table, write_scores
        from ..scan_score import score as judge

        check_table(out, overwrite=overwrite)
        rows = judge(scans, model=model, mask=mask, series=series, device=device, progress=report)
        if out is not None:
            write_scores(rows, out)
        return rows

    rows = run(work, progress, prints_answer=out is None)
    from ..scan_score import scores_csv

    if out is None or progress is not ProgressStyle.jsonl:  # who reads progress from standard output has the table in --out
        typer.echo(scores_csv(rows), nl=False)
    refused = [row for row in rows if row.verdict is None]
    for row in refused:
        typer.echo(f"Error: {row.refusal}", err=True)
    if refused:
        raise typer.Exit(1)
