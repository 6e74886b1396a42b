"""f-AnoGAN (Schlegl 2019) on slices: first a WGAN-GP (Gulrajani 2017), then an encoder into its latent space ("izi_f")."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Unpack, cast

import torch
from torch import Tensor

from ..detectors.reconstruction import rebuild_slices
from ..devices import autocast
from ..errors import SettingsError
from ..nets.gan import FastGan, Gan, GanSettings
from .autoencoder import inspect_rebuilt
from .loop import steps_done
from .losses import gradient_penalty
from .run import Options
from .slices import Method, SliceSettings, make_seeded, train_on_slices

Optimisers = dict[str, torch.optim.Optimizer]


@dataclass(frozen=True, kw_only=True)
class FastGanSettings(SliceSettings):
    """gan_iterations: batches D sees before the encoder's turn comes; latent, width: see GanSettings. All else as published."""

    gan_iterations: int = 20_000
    latent: int = 128
    width: int = 16
    rate: float = 1e-4  # of G and D; Adam with β = (0, 0.9)
    rate_encoder: float = 5e-5  # RMSProp
    critic_steps: int = 5  # of D, to each of G
    penalty_weight: float = 10.0
    feature_weight: float = 1.0  # κ

    def __post_init__(self) -> None:
        if self.gan_iterations < 1 or self.critic_steps < 1:
            got = f"{self.gan_iterations} and {self.critic_steps}"
            raise SettingsError(f"the GAN needs at least 1 iteration and 1 step of D to each of G, got {got}")

    @property
    def gan(self) -> GanSettings:
        """The networks for slices of this grid; the penalty holds D, so spectral normalisation does not."""
        grid = self.grid
        return GanSettings(rows=grid.rows, columns=grid.columns, latent=self.latent, width=self.width, spectral=False)


def build(settings: FastGanSettings, device: torch.device) -> tuple[FastGan, Optimisers]:
    """Freshly initialised networks and the optimisers of generator, critic and encoder."""
    network = cast(FastGan, make_seeded(settings.seed, lambda: FastGan(settings.gan), device))
    return network, {
        "generator": torch.optim.Adam(network.gan.generator.parameters(), settings.rate, betas=(0.0, 0.9)),
        "critic": torch.optim.Adam(network.gan.critic.parameters(), settings.rate, betas=(0.0, 0.9)),
        "encoder": torch.optim.RMSprop(network.encoder.parameters(), settings.rate_encoder),
    }


def gan_step(
    gan: Gan, optimisers: Optimisers, image: Tensor, rng: torch.Generator, settings: FastGanSettings
) -> dict[str, Tensor]:
    """One step of D, and of G after each `critic_steps` of them. image: (batch, 1, rows, columns). Returns losses to log."""
    gan.train()
    latent = torch.randn(len(image), settings.latent, generator=rng).to(image.device)
    with autocast(image.device), torch.no_grad():
        made = gan(latent)
    made = made.to(image.dtype)
    with autocast(image.device):
        real, fake = gan.critic(torch.cat([image, made])).float().chunk(2)
    distance = real.mean() - fake.mean()
    mixed = torch.rand(len(image), 1, 1, 1, generator=rng).to(image.device)
    penalty = gradient_penalty(gan.critic, mixed * image + (1 - mixed) * made)
    optimisers["critic"].zero_grad(set_to_none=True)
    (settings.penalty_weight * penalty - distance).backward()
    optimisers["critic"].step()
    if steps_done(optimisers["critic"]) % settings.critic_steps == 0:
        gan.critic.requires_grad_(False)
        with autocast(image.device):
            score = gan.critic(gan(latent)).float().mean()
        optimisers["generator"].zero_grad(set_to_none=True)
        (-score).backward()
        optimisers["generator"].step()
        gan.critic.requires_grad_(True)
    return {"wasserstein": distance.detach(), "penalty": penalty.detach()}


def encoder_step(network: FastGan, optimisers: Optimisers, image: Tensor, settings: FastGanSettings) -> dict[str, Tensor]:
    """izi_f: mean squared difference of slices plus κ times that of D's features; G and D stay as they are."""
    network.gan.eval().requires_grad_(False)
    network.encoder.train()
    with autocast(image.device):
        rebuilt = network(image)
        seen, remade = network.gan.critic.features(image), network.gan.critic.features(rebuilt)
    losses = {
        "rebuild": (rebuilt.float() - image).square().mean(),
        "features": (seen.float() - remade.float()).square().mean(),
    }
    optimisers["encoder"].zero_grad(set_to_none=True)
    (losses["rebuild"] + settings.feature_weight * losses["features"]).backward()
    optimisers["encoder"].step()
    network.gan.requires_grad_(True)
    return {name: value.detach() for name, value in losses.items()}


def train(data: Path, out: Path, *, settings: FastGanSettings, iterations: int = 30_000, **options: Unpack[Options]) -> int:
    """Train on the scans below `data`; iterations: of GAN and encoder together. Options and errors: see `train_on_slices`."""
    if iterations <= settings.gan_iterations:
        raise SettingsError(f"of {iterations} iterations {settings.gan_iterations} are the GAN's; the encoder needs some, too.")
    return train_on_slices(data, out, settings, lambda device: _method(settings, device), iterations=iterations, **options)


def _method(settings: FastGanSettings, device: torch.device) -> Method:
    network, optimisers = build(settings, device)

    def step(image: Tensor, rng: torch.Generator) -> dict[str, Tensor]:
        if steps_done(optimisers["critic"]) < settings.gan_iterations:
            return gan_step(network.gan, optimisers, image, rng, settings)
        return encoder_step(network, optimisers, image, settings)

    return Method(
        name="fanogan",
        description="Rebuilds axial T1 slices as a GAN of healthy ones; what differs is unusual (f-AnoGAN, Schlegl 2019).",
        network=asdict(settings.gan),
        model=network,
        nets={"network": network},
        optimisers=optimisers,
        step=step,
        inspect=lambda image: _inspect(network, image, can_rebuild=steps_done(optimisers["encoder"]) > 0),
        rebuild=lambda image: rebuild_slices(network, image),
    )


def _inspect(network: FastGan, image: Tensor, *, can_rebuild: bool) -> tuple[dict[str, float], list[Tensor]]:
    """As for autoencoders, and free samples in the first row. can_rebuild: else the encoder has learned nothing: no figures."""
    figures, rows = inspect_rebuilt(network, image)
    figures = figures if can_rebuild else {}
    latent = torch.randn(len(image), network.settings.latent, generator=torch.Generator().manual_seed(0)).to(image.device)
    with torch.no_grad(), autocast(image.device):
        return figures, [network.gan(latent).float(), *rows]
