"""The autoencoders of Baur 2018: one encoder and decoder, and what kinds of them differ in, the latent space between."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from torch import Tensor, nn

from ..errors import SettingsError

MOST_CHANNELS = 128
LATENT_CHANNELS = 64  # z of the spatial kinds
LATENT_LENGTH = 512  # z of the dense kinds
_DENSE_CHANNELS = 16  # what the dense kinds leave of the deepest maps: else their linear layers would outweigh all others


@dataclass(frozen=True, slots=True)
class Kind:
    """One row of the paper's table 1. halvings: log₂ of what a slice's sides are divided by, 4 for z of 16 × 16 from 256."""

    dense: bool = False
    variational: bool = False
    adversarial: bool = False
    halvings: int = 4


KINDS = {
    "dae": Kind(dense=True),
    "sae-8": Kind(halvings=5),
    "sae-16": Kind(),
    "sae-gan": Kind(adversarial=True),
    "dvae": Kind(dense=True, variational=True),
    "svae": Kind(variational=True),
    "anovaegan": Kind(variational=True, adversarial=True),
}


@dataclass(frozen=True, kw_only=True)
class AutoencoderSettings:
    """kind: of KINDS; rows, columns: of a slice, divisible by 2 to the power of the kind's halvings; width: channels of the
    first maps, doubled at each halving up to 128.
    """

    kind: str = "anovaegan"
    rows: int = 128
    columns: int = 96
    width: int = 16

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise SettingsError(f"the kind must be one of {', '.join(KINDS)}, got {self.kind!r}")
        unit = 2 ** KINDS[self.kind].halvings
        if self.rows % unit or self.columns % unit or min(self.rows, self.columns) < unit:
            raise SettingsError(f"slices for {self.kind} must be a multiple of {unit} pixels, got {self.rows} × {self.columns}")
        if not 1 <= self.width <= MOST_CHANNELS:
            raise SettingsError(f"width must be 1 to {MOST_CHANNELS}, got {self.width}")

    @property
    def parts(self) -> Kind:
        """What the kind is made of."""
        return KINDS[self.kind]

    @property
    def channels(self) -> list[int]:
        """After each of the five convolutions."""
        return [min(self.width * 2**level, MOST_CHANNELS) for level in range(5)]

    @property
    def strides(self) -> list[int]:
        """Of the five convolutions: the fifth halves for z of 8 × 8 only, so that all kinds have the same layers."""
        return [2, 2, 2, 2, 2 if self.parts.halvings == 5 else 1]

    @property
    def deepest(self) -> tuple[int, int, int]:
        """Channels, rows and columns of the maps on both sides of the latent space."""
        halvings = self.parts.halvings
        return self.channels[-1], self.rows >> halvings, self.columns >> halvings

    @property
    def latent_shape(self) -> tuple[int, ...]:
        """Of one z."""
        return (LATENT_LENGTH,) if self.parts.dense else (LATENT_CHANNELS, *self.deepest[1:])


class Autoencoder(nn.Module):
    """Slices (batch, 1, rows, columns) in [0, 1] to slices as the model knows them, in (0, 1).

    The paper builds on VAEGAN (Larsen 2016) without listing layers: 5×5 convolutions with stride, BatchNorm and LeakyReLU,
    and their mirror image. z is 16 × 16 × 64 for its 256 × 256 slices, a quarter of the numbers; other slices give other z of
    a quarter, by the same layers.
    """

    def __init__(self, settings: AutoencoderSettings) -> None:
        super().__init__()
        self.settings = settings
        channels = [1, *settings.channels]
        self.encoder = nn.Sequential(
            *(_down(*pair, stride) for pair, stride in zip(pairwise(channels), settings.strides, strict=True))
        )
        back = [*reversed(settings.channels), settings.width]
        self.decoder = nn.Sequential(
            *(_up(*pair, stride) for pair, stride in zip(pairwise(back), reversed(settings.strides), strict=True)),
            nn.Conv2d(settings.width, 1, 3, padding=1),  # 3×3 takes the chequerboard of strides away
            nn.Sigmoid(),
        )
        self.mean = self._into_latent()
        self.log_variance = self._into_latent() if settings.parts.variational else None
        self.out_of_latent = self._out_of_latent()

    def encode(self, image: Tensor) -> tuple[Tensor, Tensor | None]:
        """Mean of z, (batch, *latent_shape), and of the variational kinds the logarithm of its variance, the same shape."""
        maps = self.encoder(image)
        return self.mean(maps), None if self.log_variance is None else self.log_variance(maps)

    def decode(self, latent: Tensor) -> Tensor:
        """z to slices."""
        image: Tensor = self.decoder(self.out_of_latent(latent))
        return image

    def forward(self, image: Tensor) -> Tensor:
        return self.decode(self.encode(image)[0])

    def _into_latent(self) -> nn.Module:
        channels, rows, columns = self.settings.deepest
        if not self.settings.parts.dense:
            return nn.Conv2d(channels, LATENT_CHANNELS, 1)
        flat = _DENSE_CHANNELS * rows * columns
        return nn.Sequential(nn.Conv2d(channels, _DENSE_CHANNELS, 1), nn.Flatten(), nn.Linear(flat, LATENT_LENGTH))

    def _out_of_latent(self) -> nn.Module:
        channels, rows, columns = self.settings.deepest
        if not self.settings.parts.dense:
            return nn.Conv2d(LATENT_CHANNELS, channels, 1)
        linear = nn.Linear(LATENT_LENGTH, _DENSE_CHANNELS * rows * columns)
        return nn.Sequential(linear, nn.Unflatten(1, (_DENSE_CHANNELS, rows, columns)), nn.Conv2d(_DENSE_CHANNELS, channels, 1))


def _down(before: int, after: int, stride: int) -> nn.Sequential:
    convolution = nn.Conv2d(before, after, 5, stride=stride, padding=2, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(after), nn.LeakyReLU(0.2, inplace=True))


def _up(before: int, after: int, stride: int) -> nn.Sequential:
    convolution = nn.ConvTranspose2d(before, after, 5, stride=stride, padding=2, output_padding=stride - 1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(after), nn.LeakyReLU(0.2, inplace=True))
