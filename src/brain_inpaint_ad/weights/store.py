"""Find a model by name or path, check it, and make its network."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from ..errors import SettingsError, WeightsError
from ..files import write_atomically
from ..nets.predictor import LossPredictor
from ..nets.unet import UNet, UNetSettings
from ..nets.volume_gan import VolumeGan, VolumeGanSettings
from .card import Card, read_card, sha256_of

SHIPPED = Path(__file__).parent / "shipped"
DEFAULT_MODEL = "t1-inpaint-32mm"
FAST_MODEL = "t1-inpaint-32mm-fast"  # three levels instead of four; R and R′ learned from it

_SIZE = re.compile(r"-\d+(\.\d+)?mm(?=-|$)")  # of the window, in a model's name


def shipped_cards() -> list[Card]:
    """Cards of the models that came with the package, by name."""
    return [read_card(path) for path in sorted(SHIPPED.glob("*.json"), key=lambda path: path.stem)]


def find_model(name: str) -> Path:
    """The safetensors file of a shipped model or of a path. Raises WeightsError with what there is."""
    path = Path(name) if name.endswith(".safetensors") else SHIPPED / f"{name}.safetensors"
    if not path.is_file():
        known = ", ".join(card.name for card in shipped_cards()) or "none"
        raise WeightsError(f"there is no model {name}; shipped are: {known}; or give the path of a .safetensors file.")
    return path


def windows_of(name: str) -> dict[float, str]:
    """Window sizes in mm that a model has, ascending, and the name or path of the model for each.

    Models in one folder whose names differ in `-<n>mm` only are one model with several sizes.
    """
    path = find_model(name)
    own = {read_card(path.with_suffix(".json")).window_mm: name}
    if not _SIZE.search(path.stem):
        return own
    family = [(card, other) for card, other in _cards_beside(path) if _familial(other) == _familial(path)]
    others = {card.window_mm: str(other) if name.endswith(".safetensors") else other.stem for card, other in family}
    return dict(sorted((others | own).items()))


def with_window(name: str, window_mm: float | None) -> str:
    """The model of the same family with this window; `name` itself for None. Raises SettingsError with the sizes there are."""
    if window_mm is None:
        return name
    sizes = windows_of(name)
    if window_mm not in sizes:
        there = ", ".join(f"{size:g}" for size in sizes)
        raise SettingsError(f"the model {find_model(name).stem} was trained for windows of {there} mm, not {window_mm:g} mm.")
    return sizes[window_mm]


def find_preview(name: str, card: Card) -> str | None:
    """The path of a dense predictor for the same scans, grid and windows, beside the model or shipped; None without one."""
    for near in (find_model(name), SHIPPED / "any"):
        for other, path in _cards_beside(near):
            same = (other.window_mm, other.modality, other.grid) == (card.window_mm, card.modality, card.grid)
            if other.method == "dense-loss-prediction" and same:
                return str(path)
    return None


def _cards_beside(path: Path) -> Iterator[tuple[Card, Path]]:
    """Cards and weights in a model's folder; what is no model or is just being written is passed over."""
    for other in sorted(path.parent.glob("*.safetensors")):
        with suppress(WeightsError):
            yield read_card(other.with_suffix(".json")), other


def _familial(path: Path) -> str:
    return _SIZE.sub("-mm", path.stem, count=1)


def load_model(name: str) -> tuple[nn.Module, Card]:
    """Network in evaluation mode, float32 on the CPU, and its card. Raises WeightsError."""
    path = find_model(name)
    card = read_card(path.with_suffix(".json"))
    if sha256_of(path) != card.sha256:
        raise WeightsError(f"{path} is not the file its card describes (SHA-256 differs); install the model again.")
    network = _network(card)
    try:
        stored = load_file(path)
        network.load_state_dict({key: t.float() if t.is_floating_point() else t for key, t in stored.items()})
    except (SafetensorError, RuntimeError, OSError) as error:
        what = f"a U-Net of width {card.width} and depth {card.depth}" if card.width else f"a network for {card.method}"
        raise WeightsError(f"{path} does not hold {what}, as its card says; install the model again.") from error
    if not all(torch.isfinite(value).all() for value in network.state_dict().values()):
        raise WeightsError(f"{path} holds NaN or infinite weights; install the model again.")
    return network.eval(), card


def load_generator(name: str) -> tuple[UNet, Card]:
    """As `load_model`, for work that needs a generator. Raises WeightsError when the model is something else."""
    network, card = load_model(name)
    if card.method != "inpainting" or not isinstance(network, UNet):
        raise WeightsError(f"{card.name} is no generator (its method is {card.method}); name an inpainting model.")
    return network, card


def _network(card: Card) -> nn.Module:
    if card.method == "loss-prediction":
        return LossPredictor()
    if card.method == "fanogan-3d":
        return _volume_gan(card)
    return UNet(UNetSettings(width=card.width, depth=card.depth, max_width=card.max_width))


def _volume_gan(card: Card) -> VolumeGan:
    try:
        field_mm = tuple(float(length) for length in card.network["field_mm"])
        return VolumeGan(VolumeGanSettings(**{**card.network, "field_mm": field_mm}))
    except (KeyError, TypeError, ValueError) as error:
        raise WeightsError(f"the card of {card.name} describes no network of this version ({error}); update it.") from error


def save_model(network: nn.Module, path: Path, make_card: Callable[[str], Card]) -> Card:
    """Write half-precision weights and the card that `make_card` makes from their SHA-256."""
    half = {
        key: value.detach().cpu().half().contiguous() if value.is_floating_point() else value.cpu().contiguous()
        for key, value in network.state_dict().items()
    }
    with write_atomically(path) as temporary:
        save_file(half, temporary)
    card = make_card(sha256_of(path))
    write_card(card, path.with_suffix(".json"))
    return card


def write_card(card: Card, path: Path) -> None:
    """Write the card's JSON, whole or not at all."""
    with write_atomically(path) as temporary:
        temporary.write_text(card.to_json(), encoding="utf-8")


def with_thresholds(card: Card, thresholds: dict[str, float], healthy: dict[str, object]) -> Card:
    """The card after calibration on healthy scans."""
    return replace(card, thresholds=thresholds, healthy_validation={**card.healthy_validation, **healthy})
