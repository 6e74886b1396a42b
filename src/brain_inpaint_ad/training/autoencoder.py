"""Baur 2018: train an autoencoder of healthy slices, by its reconstruction, its prior and its critic, whichever it has."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Unpack, cast

import torch
from torch import Tensor

from ..detectors.reconstruction import rebuild_slices
from ..devices import autocast
from ..nets.autoencoder import Autoencoder, AutoencoderSettings
from ..nets.gan import GanSettings, SliceReader
from .loop import slow_down
from .losses import critic_loss, fool_loss, kl_to_normal
from .run import Options
from .slices import Method, SliceSettings, make_seeded, train_on_slices

_SHOWN_GAIN = 3  # of residuals in the picture


@dataclass(frozen=True, kw_only=True)
class AutoencoderTraining(SliceSettings):
    """kind, width: see AutoencoderSettings.

    The three λ are not published. L_rec is a mean over pixels and L_prior is divided by their number, too, so that their
    ratio 0.03 is the Laplace noise a variational kind expects in an intensity of [0, 1]. With λ₃ = 1, as for the inpainting
    generator of Nguyen 2020, the decoder answered the critic with a chequerboard (seen after 1,200 batches): its L1 is a mean
    over the dark background, too.
    """

    kind: str = "anovaegan"
    width: int = 16
    rate: float = 1e-3  # as published, "for the reconstruction objective"
    rate_critic: float = 1e-4  # as published, "for the adversarial training"
    rebuild_weight: float = 50.0  # λ₁
    prior_weight: float = 1.5  # λ₂
    fool_weight: float = 0.1  # λ₃

    @property
    def network(self) -> AutoencoderSettings:
        """The autoencoder for slices of this grid."""
        return AutoencoderSettings(kind=self.kind, rows=self.grid.rows, columns=self.grid.columns, width=self.width)


@dataclass(frozen=True, slots=True)
class Nets:
    """The autoencoder and, for adversarial kinds, its critic, each with its optimiser."""

    autoencoder: Autoencoder
    optimiser: torch.optim.Optimizer
    critic: SliceReader | None = None
    critic_optimiser: torch.optim.Optimizer | None = None


def build(settings: AutoencoderTraining, device: torch.device) -> Nets:
    """Freshly initialised networks; equal seeds give equal weights."""
    autoencoder = cast(Autoencoder, make_seeded(settings.seed, lambda: Autoencoder(settings.network), device))
    optimiser = torch.optim.Adam(autoencoder.parameters(), settings.rate)
    if not settings.network.parts.adversarial:
        return Nets(autoencoder, optimiser)
    sight = GanSettings(rows=settings.grid.rows, columns=settings.grid.columns, width=settings.width)
    critic = cast(SliceReader, make_seeded(settings.seed, lambda: SliceReader(sight, spectral=True), device))
    return Nets(autoencoder, optimiser, critic, torch.optim.Adam(critic.parameters(), settings.rate_critic, betas=(0.5, 0.999)))


def training_step(nets: Nets, image: Tensor, noise: Tensor, settings: AutoencoderTraining) -> dict[str, Tensor]:
    """L_VAE (equation 2's first part), then, in turn, L_Dis. Returns losses to log.

    image: (batch, 1, rows, columns); noise: (batch, *latent_shape) ~ N(0, I), which the variational kinds add to z.
    """
    nets.autoencoder.train()
    with autocast(image.device):
        mean, log_variance = nets.autoencoder.encode(image)
        latent = mean if log_variance is None else mean + noise * (log_variance / 2).exp()
        rebuilt = nets.autoencoder.decode(latent)
    losses = {"rebuild": (rebuilt.float() - image).abs().mean()}
    loss = settings.rebuild_weight * losses["rebuild"]
    if log_variance is not None:
        losses["prior"] = kl_to_normal(mean.float(), log_variance.float()).mean() / image[0].numel()
        loss = loss + settings.prior_weight * losses["prior"]
    if nets.critic is not None:
        nets.critic.requires_grad_(False)
        with autocast(image.device):
            losses["fool"] = fool_loss(nets.critic(rebuilt).float())
        loss = loss + settings.fool_weight * losses["fool"]
    nets.optimiser.zero_grad(set_to_none=True)
    loss.backward()
    nets.optimiser.step()
    if nets.critic is not None and nets.critic_optimiser is not None:
        nets.critic.requires_grad_(True)
        with autocast(image.device):
            logits = nets.critic(torch.cat([image, rebuilt.detach().to(image.dtype)]))
        losses["critic"] = critic_loss(*logits.float().chunk(2))
        nets.critic_optimiser.zero_grad(set_to_none=True)
        losses["critic"].backward()
        nets.critic_optimiser.step()
    return {name: value.detach() for name, value in losses.items()}


def train(data: Path, out: Path, *, settings: AutoencoderTraining, iterations: int = 30_000, **options: Unpack[Options]) -> int:
    """Train on the scans below `data`. Options and errors: see `train_on_slices`.

    iterations: the rates fall to nothing over the last third of them (the paper keeps them, for 150 epochs).
    """
    return train_on_slices(
        data, out, settings, lambda device: _method(settings, device, iterations), iterations=iterations, **options
    )


def _method(settings: AutoencoderTraining, device: torch.device, iterations: int) -> Method:
    nets = build(settings, device)
    shape = settings.network.latent_shape

    def step(image: Tensor, rng: torch.Generator) -> dict[str, Tensor]:
        slow_down(nets.optimiser, settings.rate, iterations)
        if nets.critic_optimiser is not None:
            slow_down(nets.critic_optimiser, settings.rate_critic, iterations)
        return training_step(nets, image, torch.randn(len(image), *shape, generator=rng).to(device), settings)

    players: dict[str, torch.nn.Module] = {"autoencoder": nets.autoencoder}
    optimisers = {"autoencoder": nets.optimiser}
    if nets.critic is not None and nets.critic_optimiser is not None:
        players["critic"], optimisers["critic"] = nets.critic, nets.critic_optimiser
    return Method(
        name="autoencoder",
        description=f"Rebuilds healthy axial T1 slices; what comes out different is unusual ({settings.kind}, Baur 2018).",
        network=asdict(settings.network),
        model=nets.autoencoder,
        nets=players,
        optimisers=optimisers,
        step=step,
        inspect=lambda image: inspect_rebuilt(nets.autoencoder, image),
        rebuild=lambda image: rebuild_slices(nets.autoencoder, image),
    )


def inspect_rebuilt(network: torch.nn.Module, image: Tensor) -> tuple[dict[str, float], list[Tensor]]:
    """L1 and PSNR on unseen slices (n, 1, rows, columns), where there is brain; slices, their reconstructions, residuals."""
    network.eval()
    rebuilt = rebuild_slices(network, image[:, 0])[:, None]
    brain = image > 0
    error = (rebuilt - image)[brain]
    figures = {"l1": float(error.abs().mean()), "psnr_db": float(-10 * torch.log10(error.square().mean()))}
    return figures, [image, rebuilt, _SHOWN_GAIN * (rebuilt - image).abs() * brain]
