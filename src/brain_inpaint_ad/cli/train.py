"""`brain-inpaint-ad train …`."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from ..files import only_run_in
from ..progress import ITERATION, Progress
from .options import Data, Device, Minutes, Name, Note, Out, Resume, Style, Subjects
from .run import ProgressStyle, run

SAVE_PATIENCE_S = 30.0  # one iteration to its end, and its checkpoint
_Done = TypeVar("_Done")

app = typer.Typer(no_args_is_help=True, help="Train a model on healthy scans.")


@app.callback()
def train() -> None:
    """Train a model on healthy scans."""


@app.command()
def inpainting(
    data: Data,
    out: Out,
    window_mm: Annotated[
        list[float] | None,
        typer.Option(
            help="Side of the erased window: 8, 16, 32 or 64 mm. Repeated: one network for several sizes, the first is its "
            "default; the paper tried that and rejected it.",
            show_default="32",
        ),
    ] = None,
    iterations: Annotated[int, typer.Option(help="Batches of 16 to see in all.")] = 30_000,
    max_minutes: Minutes = None,
    resume: Resume = False,
    subjects: Subjects = None,
    width: Annotated[int, typer.Option(help="Channels of the U-Net's first level.")] = 16,
    depth: Annotated[int, typer.Option(help="Poolings of the U-Net, 1 to 4: fewer are faster and see less far.")] = 4,
    max_width: Annotated[int | None, typer.Option(help="Most channels of any level: makes depth cheap.")] = None,
    start_from: Annotated[str | None, typer.Option(help="Model to begin with: fine-tunes it on your scans.")] = None,
    fool_weight: Annotated[float, typer.Option(help="Weight of the adversarial loss beside 50 × L1; 0: L1 alone.")] = 1.0,
    seed: Annotated[int, typer.Option(help="Seed of weights, slices and windows.")] = 0,
    name: Name = None,
    data_note: Note = "",
    device: Device = "auto",
    progress: Style = ProgressStyle.bar,
) -> None:
    """Train the generator of Nguyen 2020: rebuild what was erased from healthy slices."""

    def work(report: Progress) -> int:
        from ..training.inpainting import InpaintingSettings, train

        first, *others = window_mm or [32.0]
        return train(
            data,
            out,
            settings=InpaintingSettings(
                window_mm=first,
                other_windows_mm=tuple(others),
                width=width,
                depth=depth,
                max_width=max_width,
                fool_weight=fool_weight,
                seed=seed,
            ),
            iterations=iterations,
            max_minutes=max_minutes,
            resume=resume,
            subjects=subjects,
            start_from=start_from,
            device=device,
            name=name,
            data_note=data_note,
            progress=report,
        )

    run_alone(work, out, progress, iterations, weights="generator.safetensors")


class Masks(StrEnum):
    """Where R's windows lie while it learns."""

    middle = "middle"
    brain = "brain"


@app.command("loss-predictor")
def loss_predictor(
    data: Data,
    out: Out,
    model: Annotated[str, typer.Option(help="The generator whose loss is learned: name or path.")] = "t1-inpaint-32mm-fast",
    dense: Annotated[bool, typer.Option("--dense", help="R′: one pass per slice, learns on made-up anomalies, too.")] = False,
    masks: Annotated[Masks, typer.Option(help="R only: windows in the middle third (published) or the brain.")] = Masks.middle,
    iterations: Annotated[int, typer.Option(help="Batches of 16 to see in all.")] = 5_000,
    max_minutes: Minutes = None,
    resume: Resume = False,
    subjects: Subjects = None,
    seed: Annotated[int, typer.Option(help="Seed of weights, slices, windows and anomalies.")] = 0,
    name: Name = None,
    data_note: Note = "",
    device: Device = "auto",
    progress: Style = ProgressStyle.bar,
) -> None:
    """Train R of Mavropoulos 2021, or the dense R′: predict how large a generator's loss will be."""

    def work(report: Progress) -> int:
        from ..training.loss_predictor import LossPredictorSettings, train

        return train(
            data,
            out,
            generator=model,
            settings=LossPredictorSettings(dense=dense, masks=masks.value, seed=seed),
            iterations=iterations,
            max_minutes=max_minutes,
            resume=resume,
            subjects=subjects,
            device=device,
            name=name,
            data_note=data_note,
            progress=report,
        )

    run_alone(work, out, progress, iterations, weights="predictor.safetensors")


def run_alone(
    work: Callable[[Progress], int], out: Path, progress: ProgressStyle, iterations: int, *, weights: str = "model.safetensors"
) -> None:
    """Train in a folder that no other run uses, and say how far it came, where the weights are and what is next."""
    done = trained(work, out, progress)
    if progress is not ProgressStyle.jsonl:
        rest = "" if done >= iterations else "the same command with --resume goes on; "
        ready = f"brain-inpaint-ad calibrate {out / weights} --data FOLDER"
        typer.echo(f"{done} of {iterations} iterations done; weights are in {out / weights}; {rest}next: {ready}")


def trained(work: Callable[[Progress], _Done], out: Path, progress: ProgressStyle) -> _Done:
    """What `work` answers, done in a folder that no other run uses; a cancel waits for the iteration and its checkpoint."""

    def locked(report: Progress) -> _Done:
        with only_run_in(out):
            return work(report)

    def how_to_go_on() -> str:
        begun = any(out.glob("**/checkpoint.pt"))
        return "The same command with --resume goes on." if begun else "Prepared scans are kept; the same command starts again."

    return run(locked, progress, patience_s=SAVE_PATIENCE_S, patient_in=ITERATION, when_cancelled=how_to_go_on)
