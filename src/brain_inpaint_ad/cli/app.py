"""`brain-inpaint-ad`: the commands together."""

from __future__ import annotations

import io
import logging
import os
import sys
from typing import Annotated

import typer

from .. import __version__
from . import (
    benchmark,
    bids,
    calibrate,
    compare,
    detect,
    evaluate,
    evaluate_inpainting,
    evaluate_masks,
    evaluate_scans,
    models,
    phantom,
    score,
    series,
    train,  # noqa: F401 (adds its commands to train_command.app)
    train_command,
    train_slices,  # noqa: F401 (so does this)
    train_volumes,  # noqa: F401 (and this)
)
from .printing import lost_output_told

# Beside a busy program OpenMP's long spinning waits made torch up to 50 times slower; short ones cost 5 % on free cores
# (docs/benchmarks). libgomp reads this when torch is loaded.
os.environ.setdefault("GOMP_SPINCOUNT", "10000")
# What it says of its font cache is nothing to the user, and would stand before our one sentence.
logging.getLogger("matplotlib").setLevel(logging.ERROR)
# And it quotes what it finds odd in a header: a patient's name must not stand in a log.
logging.getLogger("pydicom").setLevel(logging.CRITICAL)

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    help="What in this brain scan is not normal? Research software, not a medical device.",
)
app.command("detect")(detect.detect)
app.command("score")(score.score)
app.command("evaluate-scans")(evaluate_scans.evaluate_scans)
app.command("phantom")(phantom.phantom)
app.command("bids")(bids.bids)
app.command("series")(series.series)
app.command("calibrate")(calibrate.calibrate)
app.command("compare")(compare.compare)
app.command("evaluate")(evaluate.evaluate)
app.command("evaluate-inpainting")(evaluate_inpainting.evaluate_inpainting)
app.command("evaluate-masks")(evaluate_masks.evaluate_masks)
app.command("benchmark")(benchmark.benchmark)
app.add_typer(models.app, name="models")
app.add_typer(train_command.app, name="train")


def start() -> None:
    """The command line as a program."""
    with lost_output_told():
        app(prog_name="brain-inpaint-ad")


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def main(
    show_version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and stop.")
    ] = False,
) -> None:
    """Options that stand before the command."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # for terminals without the letters of a path, a dash or a table
