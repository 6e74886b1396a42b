"""Which network a card describes: one line per method."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from ..errors import SettingsError, WeightsError
from ..nets.autoencoder import Autoencoder, AutoencoderSettings
from ..nets.evidence import EvidenceNet, EvidenceSettings
from ..nets.gan import FastGan, Gan, GanSettings
from ..nets.predictor import LossPredictor
from ..nets.unet import UNet, UNetSettings
from ..nets.volume_gan import VolumeGan, VolumeGanSettings
from .card import Card


def make_network(card: Card) -> nn.Module:
    """The network with fresh weights. Raises WeightsError when the card's settings are none."""
    try:
        return _NETWORKS[card.method](card)
    except (TypeError, SettingsError) as error:
        raise WeightsError(f"the card of {card.name} describes no network this version knows; update the program.") from error


def _unet(card: Card) -> nn.Module:
    return UNet(UNetSettings(width=card.width, depth=card.depth, max_width=card.max_width))


def _volume_gan(card: Card) -> nn.Module:
    return VolumeGan(VolumeGanSettings(**{**card.network, "field_mm": tuple(card.network.get("field_mm", ()))}))


_NETWORKS: dict[str, Callable[[Card], nn.Module]] = {  # by card.METHODS; the detectors are in pipeline
    "inpainting": _unet,
    "loss-prediction": lambda card: LossPredictor(),
    "dense-loss-prediction": _unet,
    "surprise": lambda card: UNet(UNetSettings(width=card.width, depth=card.depth, outputs=4)),
    "evidence": lambda card: EvidenceNet(EvidenceSettings(**card.network)),
    "anogan": lambda card: Gan(GanSettings(**card.network)),
    "autoencoder": lambda card: Autoencoder(AutoencoderSettings(**card.network)),
    "fanogan": lambda card: FastGan(GanSettings(**card.network)),
    "fanogan-3d": _volume_gan,
}
