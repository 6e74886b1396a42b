"""`brain-inpaint-ad train fanogan-3d`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from ..progress import Progress
from .options import Device, Minutes, Name, Note, Resume, Style, Subjects
from .run import ProgressStyle
from .train_command import app, trained, what_next


class Step(StrEnum):
    """Which part of the training."""

    all = "all"
    gan = "gan"
    encoder = "encoder"
    refine = "refine"


class Modality(StrEnum):
    """What kind of scans."""

    t1 = "T1"
    ct = "CT"


@app.command("fanogan-3d")
def fanogan_3d(
    data: Annotated[Path, typer.Option(help="Folder of healthy scans, with subjects.csv in it or above it.")],
    out: Annotated[Path, typer.Option(help="Folder of the run: a folder for each step, weights.")],
    step: Annotated[Step, typer.Option(help="gan, then encoder, then refine; all: one after the other.")] = Step.all,
    gan_iterations: Annotated[int, typer.Option(help="Batches of the GAN step.")] = 20_000,
    encoder_iterations: Annotated[int, typer.Option(help="Batches of the encoder step.")] = 10_000,
    refine_iterations: Annotated[int, typer.Option(help="Batches of the refinement.")] = 20_000,
    max_minutes: Minutes = None,
    resume: Resume = False,
    subjects: Subjects = None,
    template: Annotated[
        Path | None, typer.Option(help="Brain to register to.", show_default="the mean of the training scans", readable=False)
    ] = None,
    modality: Annotated[Modality, typer.Option(help="T1, or CT in Hounsfield units.")] = Modality.t1,
    size: Annotated[int, typer.Option(help="Voxels along each side of the cube, a multiple of 16.")] = 64,
    width: Annotated[int, typer.Option(help="Channels of the finest maps; 64 as published.")] = 16,
    latent: Annotated[int, typer.Option(help="Length of the latent vector; 2500 as published.")] = 256,
    seed: Annotated[int, typer.Option(help="Seed of weights, cubes and noise.")] = 0,
    name: Name = None,
    data_note: Note = "",
    device: Device = "auto",
    progress: Style = ProgressStyle.bar,
) -> None:
    """Train 3-D f-AnoGAN (Simarro 2020): GAN, encoder, refinement of both."""

    asked = {"gan": gan_iterations, "encoder": encoder_iterations, "refine": refine_iterations}

    def work(report: Progress) -> dict[str, int]:
        from ..nets.volume_gan import VolumeGanSettings
        from ..training.volume_fanogan import train
        from ..training.volume_gan import VolumeGanTraining

        network = VolumeGanSettings(size=size, width=width, latent=latent)
        return train(
            data,
            out,
            settings=VolumeGanTraining(network=network, modality=modality.value, seed=seed),
            step=step.value,
            iterations=asked,
            max_minutes=max_minutes,
            resume=resume,
            subjects=subjects,
            template=template,
            device=device,
            name=name,
            data_note=data_note,
            progress=report,
        )

    parts = [part.value for part in Step if step in (Step.all, part) and part is not Step.all]
    done = trained(work, out, progress, steps=parts)
    if progress is not ProgressStyle.jsonl:
        steps = ", ".join(f"{part} {count}" for part, count in done.items())
        is_done = all(done.get(part, 0) >= asked[part] for part in parts)
        weights = out / "fanogan.safetensors"
        if weights.exists():
            after = what_next(weights, is_done=is_done)
        else:
            after = "weights come with the encoder's step" + ("" if is_done else "; the same command with --resume goes on")
        typer.echo(f"iterations done: {steps}; {after}")
