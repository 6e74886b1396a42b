"""The three steps of 3-D f-AnoGAN (Simarro 2020): the GAN, the encoder with G and D frozen, encoder and G together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..devices import autocast
from ..errors import SettingsError
from ..nets.volume_gan import LIGHT, VolumeGan, VolumeGanSettings, encoder_losses
from ..prepare import GridSettings
from .losses import gradient_penalty

STEPS = ("gan", "encoder", "refine")


@dataclass(frozen=True, kw_only=True)
class VolumeGanTraining:
    """What makes a model; stored in its checkpoints and card. network.field_mm is set by the template.

    batch_gan, batch_encoder: cubes in a step; rate_gan, rate_encoder: of Adam; penalty: λ of equation 2.
    The paper gives none of these numbers; those of Kwon 2019 where it has one.
    """

    network: VolumeGanSettings = LIGHT
    modality: str = "T1"
    spacing_mm: float = 2.0  # of the grid scans are prepared on, before they become cubes
    batch_gan: int = 4
    batch_encoder: int = 8
    rate_gan: float = 2e-4
    rate_encoder: float = 5e-4
    penalty: float = 10.0
    seed: int = 0

    @property
    def grid(self) -> GridSettings:
        """The papers' field of 256 × 192 mm at this spacing."""
        return GridSettings(spacing_mm=self.spacing_mm, rows=round(256 / self.spacing_mm), columns=round(192 / self.spacing_mm))

    def __post_init__(self) -> None:
        if min(self.batch_gan, self.batch_encoder) < 2:
            raise SettingsError("a batch needs 2 cubes or more, since its mean and spread normalise the maps.")


def build(settings: VolumeGanTraining, device: torch.device) -> VolumeGan:
    """Freshly initialised networks; equal seeds give equal weights, whatever else uses random numbers."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        gan = VolumeGan(settings.network)
    return gan.to(device, memory_format=torch.channels_last_3d)  # type: ignore[call-overload, no-any-return]


def optimisers_of(step: str, gan: VolumeGan, settings: VolumeGanTraining) -> dict[str, torch.optim.Optimizer]:
    """Of the networks that a step trains, by name."""
    if step == "gan":
        # β as Gulrajani 2017 for the gradient penalty
        return {
            name: torch.optim.Adam(net.parameters(), settings.rate_gan, betas=(0.0, 0.9))
            for name, net in (("generator", gan.generator), ("critic", gan.critic))
        }
    trained = [*gan.encoder.parameters(), *(gan.generator.parameters() if step == "refine" else ())]
    return {"encoder": torch.optim.Adam(trained, settings.rate_encoder, betas=(0.5, 0.999))}


def gan_step(
    gan: VolumeGan,
    optimisers: Mapping[str, torch.optim.Optimizer],
    volume: Tensor,
    settings: VolumeGanTraining,
    rng: torch.Generator,
) -> dict[str, Tensor]:
    """Step 1: D descends on equation 2, then G on equation 3. volume: (batch, 1, size, size, size). Returns losses to log."""
    gan.train()
    latent = torch.randn(len(volume), gan.settings.latent, generator=rng).to(volume.device)
    mix = torch.rand(len(volume), generator=rng).to(volume.device)
    with autocast(volume.device):
        made = gan.generator(latent)
        still = made.detach().float()
        apart, penalty = critic_losses(gan.critic, volume, still, mix)
    _descend(apart + settings.penalty * penalty, optimisers["critic"])

    gan.critic.requires_grad_(False)
    with autocast(volume.device):
        fool = -gan.critic(made).float().mean()
    _descend(fool, optimisers["generator"])
    gan.critic.requires_grad_(True)
    return {"distance": -apart.detach(), "penalty": penalty.detach(), "generator": fool.detach()}


def critic_losses(critic: nn.Module, real: Tensor, fake: Tensor, mix: Tensor) -> tuple[Tensor, Tensor]:
    """The terms of equation 2: E[D(x̃)] − E[D(x)], and the penalty at x̂ between real and fake; two scalars.

    real, fake: (batch, …); mix: (batch,) in [0, 1], the share of the real one. λ is the caller's.
    """
    share = mix.reshape(-1, *[1] * (real.ndim - 1))
    apart = critic(fake).float().mean() - critic(real).float().mean()
    return apart, gradient_penalty(critic, share * real + (1 - share) * fake)


def encoder_step(
    gan: VolumeGan, optimisers: Mapping[str, torch.optim.Optimizer], volume: Tensor, *, refine: bool
) -> dict[str, Tensor]:
    """Steps 2 and 3: E descends on L_img + κ L_feat (equations 4 to 6), in step 3 (refine) G with it; D stays as it is."""
    gan.eval()
    gan.encoder.train()
    gan.generator.train(refine)
    gan.generator.requires_grad_(refine)
    gan.critic.requires_grad_(False)
    with autocast(volume.device):
        image, features = (loss.mean() for loss in encoder_losses(gan, volume, gan(volume)))
    _descend(image + gan.settings.feature_weight * features, optimisers["encoder"])
    gan.requires_grad_(True)
    return {"image": image.detach(), "features": features.detach()}


def _descend(loss: Tensor, optimiser: torch.optim.Optimizer) -> None:
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    optimiser.step()
