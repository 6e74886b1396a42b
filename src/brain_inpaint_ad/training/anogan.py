"""AnoGAN's first half (Schlegl 2017): a GAN that makes healthy slices from noise. The second is in `detectors.latent`."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Unpack, cast

import torch
from torch import Tensor

from ..detectors.latent import SearchSettings, search_slices
from ..devices import autocast
from ..nets.gan import Gan, GanSettings
from .losses import critic_loss, fool_loss
from .run import Options
from .slices import Method, SliceSettings, make_seeded, train_on_slices

_LOOKED_AT = 8  # slices, for the figures while training
_LOOK_STEPS = 100


@dataclass(frozen=True, kw_only=True)
class AnoGanSettings(SliceSettings):
    """latent, width: see GanSettings; rates of Adam, with β₁ = 0.5 (Radford 2016); latent_steps: Γ of the searches at the end,
    in training slices, which the card's residual threshold comes from.
    """

    latent: int = 64
    width: int = 16
    rate_generator: float = 2e-4
    rate_critic: float = 2e-4
    latent_steps: int = SearchSettings.steps

    @property
    def gan(self) -> GanSettings:
        """The networks for slices of this grid."""
        return GanSettings(rows=self.grid.rows, columns=self.grid.columns, latent=self.latent, width=self.width)


def build(settings: AnoGanSettings, device: torch.device) -> tuple[Gan, dict[str, torch.optim.Optimizer]]:
    """Freshly initialised players and their optimisers, called generator and critic."""
    gan = cast(Gan, make_seeded(settings.seed, lambda: Gan(settings.gan), device))
    rates = {"generator": settings.rate_generator, "critic": settings.rate_critic}
    return gan, {
        name: torch.optim.Adam(getattr(gan, name).parameters(), rate, betas=(0.5, 0.999)) for name, rate in rates.items()
    }


def training_step(gan: Gan, optimisers: dict[str, torch.optim.Optimizer], image: Tensor, latent: Tensor) -> dict[str, Tensor]:
    """D learns to tell, then G to fool. image: (batch, 1, rows, columns); latent: (batch, length). Returns losses to log."""
    gan.train()
    with autocast(image.device):
        made = gan(latent)
    with autocast(image.device):
        logits = gan.critic(torch.cat([image, made.detach().to(image.dtype)]))
    real, fake = logits.float().chunk(2)
    told_apart = critic_loss(real, fake)
    optimisers["critic"].zero_grad(set_to_none=True)
    told_apart.backward()
    optimisers["critic"].step()

    gan.critic.requires_grad_(False)
    with autocast(image.device):
        fool = fool_loss(gan.critic(made).float())
    optimisers["generator"].zero_grad(set_to_none=True)
    fool.backward()
    optimisers["generator"].step()
    gan.critic.requires_grad_(True)
    return {"critic": told_apart.detach(), "fool": fool.detach()}


def train(data: Path, out: Path, *, settings: AnoGanSettings, iterations: int = 60_000, **options: Unpack[Options]) -> int:
    """Train on the scans below `data`; iterations: as Nguyen 2020 for AnoGAN. Options and errors: see `train_on_slices`."""
    return train_on_slices(data, out, settings, lambda device: _method(settings, device), iterations=iterations, **options)


def _method(settings: AnoGanSettings, device: torch.device) -> Method:
    gan, optimisers = build(settings, device)

    def step(image: Tensor, rng: torch.Generator) -> dict[str, Tensor]:
        latent = torch.randn(len(image), settings.latent, generator=rng)
        return training_step(gan, optimisers, image, latent.to(device))

    return Method(
        name="anogan",
        description="Makes healthy axial T1 slices; what the nearest of them lacks is unusual (AnoGAN, Schlegl 2017).",
        network=asdict(settings.gan),
        model=gan,
        nets={"gan": gan},
        optimisers=optimisers,
        step=step,
        inspect=lambda image: _inspect(gan, image, SearchSettings(steps=min(settings.latent_steps, _LOOK_STEPS))),
        rebuild=lambda image: search_slices(gan, image, SearchSettings(steps=settings.latent_steps)),
        sampled=64,  # a search takes its time
    )


def _inspect(gan: Gan, image: Tensor, search: SearchSettings) -> tuple[dict[str, float], list[Tensor]]:
    """How near a short search comes to unseen slices; free samples, the nearest slices and the slices themselves."""
    gan.eval()
    rng = torch.Generator().manual_seed(0)
    latent = torch.randn(_LOOKED_AT, gan.settings.latent, generator=rng).to(image.device)
    with torch.no_grad(), autocast(image.device):
        samples = gan(latent).float()
    image = image[:_LOOKED_AT]
    nearest = search_slices(gan, image[:, 0], search)[:, None]
    return {"l1_of_nearest": float((nearest - image).abs().mean())}, [samples, nearest, image]
