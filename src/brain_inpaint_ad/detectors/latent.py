"""AnoGAN's mapping (Schlegl 2017): the z whose slice is most alike, found by backpropagation, all slices of a batch at once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from ..devices import autocast
from ..errors import SettingsError
from ..nets.gan import Gan
from ..progress import Progress, silent

_SEED = 2017  # the first z of every slice


@dataclass(frozen=True, kw_only=True)
class SearchSettings:
    """steps: Γ; feature_weight: λ of the discrimination loss, 1 − λ goes to the residual loss; rate: of Adam."""

    steps: int = 500  # as published
    feature_weight: float = 0.1  # as published
    rate: float = 0.05
    batch: int = 32  # slices searched for together; changes no slice's result but for rounding

    def __post_init__(self) -> None:
        if self.steps < 1 or self.batch < 1:
            raise SettingsError(f"the latent search needs at least 1 step and 1 slice, got {self.steps} and {self.batch}")
        if not (0 <= self.feature_weight <= 1 and self.rate > 0):
            got = f"{self.feature_weight:g} and {self.rate:g}"
            raise SettingsError(f"the feature weight must be 0 to 1 and the rate above 0, got {got}")

    def __str__(self) -> str:
        return f"latent search, {self.steps} steps, λ {self.feature_weight:g}, rate {self.rate:g}"


def search_slices(gan: Gan, image: Tensor, settings: SearchSettings, *, progress: Progress = silent) -> Tensor:
    """G(z_Γ) for slices (n, rows, columns) in [0, 1]: float32 of the same shape.

    gan: in evaluation mode, on the slices' device; its weights are not touched.
    """
    first = torch.randn(gan.settings.latent, generator=torch.Generator().manual_seed(_SEED)).to(image.device)
    found, trainable = [], [parameter for parameter in gan.parameters() if parameter.requires_grad]
    try:
        gan.requires_grad_(False)
        for begin in range(0, len(image), settings.batch):
            part = image[begin : begin + settings.batch, None]
            latent = first.expand(len(part), -1).clone().requires_grad_()
            for step in _descend(gan, part, latent, settings):
                progress((begin + len(part) * step / settings.steps) / len(image), "searching the latent space")
            with torch.no_grad(), autocast(image.device):
                found.append(gan(latent).float()[:, 0])
    finally:
        for parameter in trainable:
            parameter.requires_grad_(True)
    return torch.cat(found) if found else torch.zeros_like(image)


def mapping_losses(gan: Gan, image: Tensor, seen: Tensor, latent: Tensor) -> tuple[Tensor, Tensor]:
    """Residual loss Σ|x − G(z)| and discrimination loss Σ|f(x) − f(G(z))| of each slice, both (n,).

    seen: f(x), D's last features; latent: (n, length).
    """
    with autocast(image.device):
        rebuilt = gan(latent)
        remade = gan.critic.features(rebuilt)
    return _distance(image, rebuilt), _distance(seen, remade)


def _distance(first: Tensor, second: Tensor) -> Tensor:
    return (first.float() - second.float()).abs().sum(dim=(1, 2, 3))


def _descend(gan: Gan, image: Tensor, latent: Tensor, settings: SearchSettings) -> Iterator[int]:
    """Move `latent` (n, length) down both losses; yields each step's number before it is taken."""
    with torch.no_grad(), autocast(image.device):
        seen = gan.critic.features(image)
    optimiser = torch.optim.Adam([latent], settings.rate)
    for step in range(settings.steps):
        yield step
        residual, discrimination = mapping_losses(gan, image, seen, latent)
        optimiser.zero_grad(set_to_none=True)
        # summed over slices: each z feels the gradient of its own slice alone
        ((1 - settings.feature_weight) * residual + settings.feature_weight * discrimination).sum().backward()
        optimiser.step()
