"""`brain-inpaint-ad train evidence` and `train surprise`."""

from __future__ import annotations

from typing import Annotated

import typer

from ..progress import Progress
from .options import Data, Device, Minutes, Name, Note, Out, Resume, Style, Subjects
from .run import ProgressStyle
from .train import app, run_alone


@app.command()
def evidence(
    data: Data,
    out: Out,
    iterations: Annotated[int, typer.Option(help="Batches of 2 cubes to see in all.")] = 6_000,
    max_minutes: Minutes = None,
    resume: Resume = False,
    subjects: Subjects = None,
    seed: Annotated[int, typer.Option(help="Seed of weights, cubes and implanted changes.")] = 0,
    name: Name = None,
    data_note: Note = "",
    device: Device = "auto",
    progress: Style = ProgressStyle.bar,
) -> None:
    """Train the default detector: healthy brains with implanted changes, seen beside a group of healthy brains."""

    def work(report: Progress) -> int:
        from ..training.evidence import EvidenceTraining, train

        return train(
            data,
            out,
            settings=EvidenceTraining(seed=seed),
            iterations=iterations,
            max_minutes=max_minutes,
            resume=resume,
            subjects=subjects,
            device=device,
            name=name,
            data_note=data_note,
            progress=report,
        )

    run_alone(work, out, progress, iterations)


@app.command()
def surprise(
    data: Data,
    out: Out,
    iterations: Annotated[int, typer.Option(help="Batches of 16 to see in all.")] = 6_000,
    max_minutes: Minutes = None,
    resume: Resume = False,
    subjects: Subjects = None,
    start_from: Annotated[str | None, typer.Option(help="Generator whose features to begin with.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of weights, slices and windows.")] = 0,
    name: Name = None,
    data_note: Note = "",
    device: Device = "auto",
    progress: Style = ProgressStyle.bar,
) -> None:
    """Train the surprise detector: from its surroundings, the level and texture to be expected in a window."""

    def work(report: Progress) -> int:
        from ..training.surprise import SurpriseTraining, train

        return train(
            data,
            out,
            settings=SurpriseTraining(seed=seed),
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

    run_alone(work, out, progress, iterations)
