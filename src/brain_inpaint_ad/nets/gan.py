"""GANs of whole slices: latent vector to slice and back, for AnoGAN (Schlegl 2017) and f-AnoGAN (Schlegl 2019)."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from ..errors import SettingsError

HALVINGS = 4  # between a slice and the generator's first maps


@dataclass(frozen=True, kw_only=True)
class GanSettings:
    """rows, columns: of a slice, divisible by 16; latent: length of z; width: channels of the finest maps, doubled at each
    of four halvings; spectral: whether D is held by spectral normalisation (WGAN-GP holds it by a penalty instead).
    """

    rows: int = 128
    columns: int = 96
    latent: int = 64  # as Baur 2018 (table 1) for AnoGAN
    width: int = 16
    spectral: bool = True

    def __post_init__(self) -> None:
        if self.rows % 2**HALVINGS or self.columns % 2**HALVINGS or min(self.rows, self.columns) < 2**HALVINGS:
            raise SettingsError(f"slices must be a multiple of {2**HALVINGS} pixels, got {self.rows} × {self.columns}")
        if self.latent < 1 or self.width < 1:
            raise SettingsError(f"latent and width must be at least 1, got {self.latent} and {self.width}")

    @property
    def channels(self) -> list[int]:
        """Of the maps after each halving, the finest first."""
        return [self.width * 2**level for level in range(HALVINGS)]

    @property
    def coarse(self) -> tuple[int, int, int]:
        """Channels, rows and columns of the coarsest maps."""
        return self.channels[-1], self.rows >> HALVINGS, self.columns >> HALVINGS


class LatentGenerator(nn.Module):
    """G, a DCGAN (Radford 2016): z (batch, latent) ~ N(0, I) to slices (batch, 1, rows, columns) in (0, 1).

    Leaky, unlike Radford's: to make the large background dark, G first switches all maps off in the brain, and with plain
    ReLUs nothing there learned any more (measured: flat grey brains after 1,500 batches).
    """

    def __init__(self, settings: GanSettings) -> None:
        super().__init__()
        self.settings = settings
        channels, rows, columns = settings.coarse
        layers: list[nn.Module] = [
            nn.Linear(settings.latent, channels * rows * columns, bias=False),
            nn.Unflatten(1, settings.coarse),
            nn.BatchNorm2d(channels),
            nn.LeakyReLU(0.2, inplace=True),
        ]
        for before, after in pairwise([*reversed(settings.channels), settings.width]):
            layers += [
                nn.ConvTranspose2d(before, after, 4, stride=2, padding=1, bias=False),
                nn.BatchNorm2d(after),
                nn.LeakyReLU(0.2, inplace=True),
            ]
        self.layers = nn.Sequential(*layers, nn.Conv2d(settings.width, 1, 3, padding=1), nn.Sigmoid())

    def forward(self, latent: Tensor) -> Tensor:
        image: Tensor = self.layers(latent)
        return image


class SliceReader(nn.Module):
    """Slices (batch, 1, rows, columns) to `answers` numbers each: D with one, f-AnoGAN's encoder with a whole z."""

    def __init__(self, settings: GanSettings, *, answers: int = 1, spectral: bool = False) -> None:
        super().__init__()
        held = spectral_norm if spectral else lambda module: module
        layers: list[nn.Module] = []
        for before, after in pairwise([1, *settings.channels]):
            layers += [held(nn.Conv2d(before, after, 4, stride=2, padding=1)), nn.LeakyReLU(0.2, inplace=True)]
        channels, rows, columns = settings.coarse
        self.layers = nn.Sequential(*layers)
        self.head = nn.Sequential(nn.Flatten(), held(nn.Linear(channels * rows * columns, answers)))

    def features(self, image: Tensor) -> Tensor:
        """f(·) of the discrimination loss: the maps before the head, (batch, channels, rows/16, columns/16)."""
        maps: Tensor = self.layers(image)
        return maps

    def forward(self, image: Tensor) -> Tensor:
        answer: Tensor = self.head(self.features(image))
        return answer


class Gan(nn.Module):
    """The two players. Input z, output slices; `critic` gives a logit per slice, and the features that a search compares."""

    def __init__(self, settings: GanSettings) -> None:
        super().__init__()
        self.settings = settings
        self.generator = LatentGenerator(settings)
        self.critic = SliceReader(settings, spectral=settings.spectral)

    def forward(self, latent: Tensor) -> Tensor:
        image: Tensor = self.generator(latent)
        return image


class FastGan(nn.Module):
    """f-AnoGAN: an encoder in the place of AnoGAN's search. Slices (batch, 1, rows, columns) to G(E(x)), the same shape."""

    def __init__(self, settings: GanSettings) -> None:
        super().__init__()
        self.settings = settings
        self.gan = Gan(settings)
        self.encoder = SliceReader(settings, answers=settings.latent)

    def forward(self, image: Tensor) -> Tensor:
        rebuilt: Tensor = self.gan(self.encoder(image))
        return rebuilt
