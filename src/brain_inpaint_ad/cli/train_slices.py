"""`brain-inpaint-ad train anogan`, `autoencoder`, `fanogan`: methods that rebuild whole slices."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from ..progress import Progress
from .options import Data, Device, Minutes, Name, Note, Out, Resume, Style, Subjects
from .run import ProgressStyle
from .train import app, run_alone

Iterations = Annotated[int, typer.Option(help="Batches of 8 to see in all.")]
Seed = Annotated[int, typer.Option(help="Seed of weights, slices and noise.")]


@app.command()
def anogan(
    data: Data,
    out: Out,
    iterations: Iterations = 60_000,
    max_minutes: Minutes = None,
    resume: Resume = False,
    subjects: Subjects = None,
    seed: Seed = 0,
    width: Annotated[int, typer.Option(help="Channels of the finest maps.")] = 16,
    latent: Annotated[int, typer.Option(help="Length of the latent vector.")] = 64,
    name: Name = None,
    data_note: Note = "",
    device: Device = "auto",
    progress: Style = ProgressStyle.bar,
) -> None:
    """Train the GAN of AnoGAN (Schlegl 2017): healthy slices from noise."""

    def work(report: Progress) -> int:
        from ..training.anogan import AnoGanSettings, train

        return train(
            data,
            out,
            settings=AnoGanSettings(width=width, latent=latent, seed=seed),
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


class Kind(StrEnum):
    """Of autoencoders; see nets.autoencoder."""

    dae = "dae"
    sae_8 = "sae-8"
    sae_16 = "sae-16"
    sae_gan = "sae-gan"
    dvae = "dvae"
    svae = "svae"
    anovaegan = "anovaegan"


@app.command()
def autoencoder(
    data: Data,
    out: Out,
    kind: Annotated[Kind, typer.Option(help="d: dense, s: spatial z; v: variational; gan: adversarial.")] = Kind.anovaegan,
    iterations: Iterations = 30_000,
    max_minutes: Minutes = None,
    resume: Resume = False,
    subjects: Subjects = None,
    seed: Seed = 0,
    width: Annotated[int, typer.Option(help="Channels of the first maps.")] = 16,
    name: Name = None,
    data_note: Note = "",
    device: Device = "auto",
    progress: Style = ProgressStyle.bar,
) -> None:
    """Train an autoencoder of Baur 2018: healthy slices through a narrow z and back."""

    def work(report: Progress) -> int:
        from ..training.autoencoder import AutoencoderTraining, train

        return train(
            data,
            out,
            settings=AutoencoderTraining(kind=kind.value, width=width, seed=seed),
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
def fanogan(
    data: Data,
    out: Out,
    iterations: Iterations = 30_000,
    gan_iterations: Annotated[int, typer.Option(help="Of these the GAN's; the rest is the encoder's.")] = 20_000,
    max_minutes: Minutes = None,
    resume: Resume = False,
    subjects: Subjects = None,
    seed: Seed = 0,
    width: Annotated[int, typer.Option(help="Channels of the finest maps.")] = 16,
    latent: Annotated[int, typer.Option(help="Length of the latent vector.")] = 128,
    name: Name = None,
    data_note: Note = "",
    device: Device = "auto",
    progress: Style = ProgressStyle.bar,
) -> None:
    """Train f-AnoGAN (Schlegl 2019): a WGAN-GP, then an encoder into its latent space."""

    def work(report: Progress) -> int:
        from ..training.fanogan import FastGanSettings, train

        return train(
            data,
            out,
            settings=FastGanSettings(gan_iterations=gan_iterations, width=width, latent=latent, seed=seed),
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
