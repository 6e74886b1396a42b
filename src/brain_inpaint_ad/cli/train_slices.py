"""`brain-inpaint-ad train anogan`, `autoencoder`, `fanogan`: methods that rebuild whole slices."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from functools import partial
from typing import Annotated

import typer

from .train_command import train_command

Seed = Annotated[int, typer.Option(help="Seed of weights, slices and noise.")]


@train_command("anogan", iterations=60_000, batch="8")
def anogan(
    seed: Seed = 0,
    width: Annotated[int, typer.Option(help="Channels of the finest maps.")] = 16,
    latent: Annotated[int, typer.Option(help="Length of the latent vector.")] = 64,
) -> Callable[..., int]:
    """Train the GAN of AnoGAN (Schlegl 2017): healthy slices from noise."""
    from ..training.anogan import AnoGanSettings, train

    return partial(train, settings=AnoGanSettings(width=width, latent=latent, seed=seed))


class Kind(StrEnum):
    """Of autoencoders; see nets.autoencoder."""

    dae = "dae"
    sae_8 = "sae-8"
    sae_16 = "sae-16"
    sae_gan = "sae-gan"
    dvae = "dvae"
    svae = "svae"
    anovaegan = "anovaegan"


@train_command("autoencoder", iterations=30_000, batch="8")
def autoencoder(
    kind: Annotated[Kind, typer.Option(help="d: dense, s: spatial z; v: variational; gan: adversarial.")] = Kind.anovaegan,
    seed: Seed = 0,
    width: Annotated[int, typer.Option(help="Channels of the first maps.")] = 16,
) -> Callable[..., int]:
    """Train an autoencoder of Baur 2018: healthy slices through a narrow z and back."""
    from ..training.autoencoder import AutoencoderTraining, train

    return partial(train, settings=AutoencoderTraining(kind=kind.value, width=width, seed=seed))


@train_command("fanogan", iterations=30_000, batch="8")
def fanogan(
    gan_iterations: Annotated[int, typer.Option(help="Of these the GAN's; the rest is the encoder's.")] = 20_000,
    seed: Seed = 0,
    width: Annotated[int, typer.Option(help="Channels of the finest maps.")] = 16,
    latent: Annotated[int, typer.Option(help="Length of the latent vector.")] = 128,
) -> Callable[..., int]:
    """Train f-AnoGAN (Schlegl 2019): a WGAN-GP, then an encoder into its latent space."""
    from ..training.fanogan import FastGanSettings, train

    return partial(train, settings=FastGanSettings(gan_iterations=gan_iterations, width=width, latent=latent, seed=seed))
