"""What the `train` commands share: their options, a folder to themselves, and what is said at the end."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from shlex import quote
from typing import Annotated, Any, TypeVar, get_type_hints

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


def train_command(
    name: str, *, iterations: int, batch: str, weights: str = "model.safetensors"
) -> Callable[[Callable[..., Callable[..., int]]], None]:
    """Makes `train NAME` of a function that takes the method's own options and returns its `train`, settings filled in.

    Options that all commands have are added to them, see `_shared`. iterations: by default; batch: what one sees; weights: the
    file in the folder of the run.
    """
    common = dict(inspect.signature(_shared).parameters)
    number = Annotated[int, typer.Option(help=f"Batches of {batch} to see in all.")]
    count = inspect.Parameter("iterations", inspect.Parameter.KEYWORD_ONLY, default=iterations, annotation=number)

    def register(prepare: Callable[..., Callable[..., int]]) -> None:
        def command(*, data: Path, out: Path, iterations: int, progress: ProgressStyle, **others: Any) -> None:
            own = {option: value for option, value in others.items() if option not in common}
            shared = {option: value for option, value in others.items() if option in common}

            def work(report: Progress) -> int:
                return prepare(**own)(data, out, iterations=iterations, progress=report, **shared)

            done = trained(work, out, progress)
            if progress is not ProgressStyle.jsonl:
                count = f"{done} iterations" if done >= iterations else f"{done} of {iterations} iterations"
                typer.echo(f"{count} done; {what_next(out / weights, is_done=done >= iterations)}")

        hints = get_type_hints(_shared, include_extras=True) | get_type_hints(prepare, include_extras=True)
        data, out, *last = common.values()
        order = (data, out, count, *inspect.signature(prepare).parameters.values(), *last)
        parameters = [p.replace(kind=p.KEYWORD_ONLY, annotation=hints.get(p.name, p.annotation)) for p in order]
        command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        command.__annotations__ = {p.name: p.annotation for p in parameters}
        app.command(name, help=prepare.__doc__)(command)

    return register


def what_next(weights: Path, *, is_done: bool) -> str:
    """Where the weights are, and what can be done now."""
    ready = f"brain-inpaint-ad calibrate {quote(str(weights))} --data FOLDER"
    return f"weights are in {weights}; " + (
        f"next: {ready}" if is_done else f"the same command with --resume goes on, or: {ready}"
    )


def trained(work: Callable[[Progress], _Done], out: Path, progress: ProgressStyle, *, steps: Sequence[str] = ("",)) -> _Done:
    """What `work` answers, done in a folder that no other run uses; a cancel waits for the iteration and its checkpoint.

    steps: folders below `out` that have a checkpoint of their own.
    """

    def locked(report: Progress) -> _Done:
        with only_run_in(out):
            return work(report)

    def how_to_go_on() -> str:
        begun = any((out / step / "checkpoint.pt").exists() for step in steps)
        return "The same command with --resume goes on." if begun else "Prepared scans are kept; the same command starts again."

    return run(locked, progress, patience_s=SAVE_PATIENCE_S, patient_in=ITERATION, when_cancelled=how_to_go_on)


def _shared(
    data: Data,
    out: Out,
    max_minutes: Minutes = None,
    resume: Resume = False,
    subjects: Subjects = None,
    name: Name = None,
    data_note: Note = "",
    device: Device = "auto",
    progress: Style = ProgressStyle.bar,
) -> None:
    """Only its signature is used."""
