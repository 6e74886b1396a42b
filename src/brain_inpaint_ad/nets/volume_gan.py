"""The networks of 3-D f-AnoGAN (Simarro 2020, figures 1 and 3), after the 3-D GAN of Kwon 2019.

Where the figures alone say it, we took: the encoder is the critic with `latent` answers and a tanh behind them, as Kwon's
encoder; f(x) is what the critic's last layer sees (the asterisk of figure 3 is not in our copy).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..errors import SettingsError

HALVINGS = 4  # between the cube and the coarsest maps
_FOLD = ((0.0, 0.0, 1.0), (0.0, 1.0, 1.0), (1.0, 1.0, 0.0), (1.0, 0.0, 0.0))  # see UpConv


@dataclass(frozen=True, kw_only=True)
class VolumeGanSettings:
    """size: voxels along each side of the cube, a multiple of 16; width: channels at half that size, doubled at each further
    halving; latent: length of z; field_mm: what the cube covers from right to left, front to back, foot to head;
    feature_weight: κ of equation 6.
    """

    size: int = 64
    width: int = 64
    latent: int = 2500
    field_mm: tuple[float, float, float] = (144.0, 176.0, 144.0)
    feature_weight: float = 1.0  # as in f-AnoGAN (Schlegl 2019); the paper gives no number

    def __post_init__(self) -> None:
        if self.size < 2**HALVINGS or self.size % 2**HALVINGS:
            raise SettingsError(f"the cube's side must be a multiple of {2**HALVINGS} voxels, got {self.size}")
        if self.width < 1 or self.latent < 1:
            raise SettingsError(f"width and latent must be at least 1, got {self.width} and {self.latent}")
        if len(self.field_mm) != 3 or not min(self.field_mm) > 0:
            raise SettingsError(f"the cube's field must be three lengths above 0 mm, got {self.field_mm}")
        if not self.feature_weight >= 0:
            raise SettingsError(f"the weight of the features must not be negative, got {self.feature_weight:g}")

    @property
    def channels(self) -> list[int]:
        """After each halving, the finest first: 64, 128, 256, 512 as published."""
        return [self.width * 2**level for level in range(HALVINGS)]

    @property
    def coarse(self) -> int:
        """Side of the coarsest maps."""
        return self.size >> HALVINGS


PUBLISHED = VolumeGanSettings()
LIGHT = VolumeGanSettings(width=16, latent=256)  # trains on a CPU; 12 MB in half precision


class UpConv(nn.Module):
    """Each voxel repeated twice along each axis, then a convolution of 3³: Kwon's way up.

    Both together are a transposed convolution of 4³ whose kernel is `_FOLD` applied to the 3 taps of each axis: the same
    numbers without the large map between (5 to 10 times faster on CPUs).
    """

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(nn.Conv3d(before, after, 3, bias=False).weight.detach())
        self.register_buffer("fold", torch.tensor(_FOLD), persistent=False)

    def forward(self, maps: Tensor) -> Tensor:
        fold = self.get_buffer("fold")
        kernel = torch.einsum("oiabc,xa,yb,zc->ioxyz", self.weight, fold, fold, fold)
        return functional.conv_transpose3d(maps, kernel, stride=2, padding=1)


class VolumeGenerator(nn.Module):
    """G: z (batch, latent) to cubes (batch, 1, size, size, size) in (−1, 1)."""

    def __init__(self, settings: VolumeGanSettings) -> None:
        super().__init__()
        downwards = settings.channels[::-1]
        layers: list[nn.Module] = [
            nn.Unflatten(1, (settings.latent, 1, 1, 1)),
            nn.ConvTranspose3d(settings.latent, downwards[0], settings.coarse, bias=False),
            nn.BatchNorm3d(downwards[0]),
            nn.ReLU(inplace=True),
        ]
        for before, after in pairwise(downwards):
            layers += [UpConv(before, after), nn.BatchNorm3d(after), nn.ReLU(inplace=True)]
        self.layers = nn.Sequential(*layers, UpConv(downwards[-1], 1), nn.Tanh())

    def forward(self, latent: Tensor) -> Tensor:
        volume: Tensor = self.layers(latent)
        return volume


class VolumeReader(nn.Module):
    """Cubes (batch, 1, size, size, size) to `answers` numbers each: the critic D with one, the encoder with z."""

    def __init__(self, settings: VolumeGanSettings, *, answers: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for level, (before, after) in enumerate(pairwise([1, *settings.channels])):
            layers.append(nn.Conv3d(before, after, 4, stride=2, padding=1))
            if level:
                layers.append(nn.BatchNorm3d(after))
            layers.append(nn.LeakyReLU(0.2, inplace=True))
        self.layers = nn.Sequential(*layers)
        self.head = nn.Sequential(nn.Conv3d(settings.channels[-1], answers, settings.coarse), nn.Flatten())

    def features(self, volume: Tensor) -> Tensor:
        """f(x): the maps before the head, (batch, 8·width, size/16, size/16, size/16)."""
        maps: Tensor = self.layers(volume)
        return maps

    def forward(self, volume: Tensor) -> Tensor:
        answer: Tensor = self.head(self.features(volume))
        return answer


class VolumeGan(nn.Module):
    """3-D f-AnoGAN: generator, critic, encoder, and the template that scans are registered to.

    Input cubes (batch, 1, size, size, size) in [−1, 1], output their reconstructions G(E(x)).
    """

    template: Tensor

    def __init__(self, settings: VolumeGanSettings) -> None:
        super().__init__()
        self.settings = settings
        self.generator = VolumeGenerator(settings)
        self.critic = VolumeReader(settings, answers=1)
        self.encoder = nn.Sequential(VolumeReader(settings, answers=settings.latent), nn.Tanh())
        self.register_buffer("template", torch.zeros((settings.size,) * 3))

    def forward(self, volume: Tensor) -> Tensor:
        rebuilt: Tensor = self.generator(self.encoder(volume))
        return rebuilt


def encoder_losses(gan: VolumeGan, volume: Tensor, rebuilt: Tensor) -> tuple[Tensor, Tensor]:
    """L_img and L_feat of each cube (equations 4 and 5), both (batch,)."""
    image = (volume - rebuilt).float().square().flatten(1).mean(dim=1)
    seen, remade = gan.critic.features(volume), gan.critic.features(rebuilt)
    return image, (seen.float() - remade.float()).square().flatten(1).mean(dim=1)
