"""Check a model and make its network; write new ones."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ..errors import SettingsError, WeightsError
from ..files import write_atomically
from ..nets.unet import UNet
from ..segmentation.residual import TRAINING_RESIDUALS
from .card import Card, read_card, sha256_of
from .folders import SHIPPED, SUFFIX, cards_by_name, cards_in, check_whole, find_model
from .networks import make_network

DEFAULT_MODEL = "t1-evidence"
WINDOW_MODEL = "t1-inpaint-32mm"  # the published method: what a wish for windows or for an engine means
SCORE_MODEL = "t1-fanogan3d"  # judges whole scans
FAST_MODEL = "t1-inpaint-32mm-fast"  # three levels instead of four; R and R′ learned from it

_SIZE = re.compile(r"-\d+(\.\d+)?mm(?=-|$)")  # of the window, in a model's name


def shipped_cards() -> list[Card]:
    """Cards of the models that came with the package, by name."""
    return [read_card(path) for path in sorted(SHIPPED.glob("*.json"), key=lambda path: path.stem)]


def model_for(model: str | None, *, wants_windows: bool) -> str:
    """The model that was named; without a name the default, or, where windows are wanted, the published one."""
    if model is not None:
        return model
    return WINDOW_MODEL if wants_windows else DEFAULT_MODEL


def windows_of(name: str) -> dict[float, str]:
    """Window sizes in mm that a model has, ascending, and the name or path of the model for each.

    Models whose names differ in `-<n>mm` only are one model with several sizes; one network may have several.
    Of a path, those in its folder.
    """
    path = find_model(name)
    own = dict.fromkeys(sorted(read_card(path.with_suffix(".json")).sizes_mm), name)
    if not _SIZE.search(path.stem):
        return own
    by_path = name.endswith(SUFFIX)
    near = cards_in(path.parent) if by_path else cards_by_name()
    family = [(card, other) for card, other in near if _familial(other) == _familial(path)]
    others = {size: str(other) if by_path else other.stem for card, other in reversed(family) for size in card.sizes_mm}
    return dict(sorted((others | own).items()))


def with_window(name: str, window_mm: float | None) -> str:
    """The model of the same family with this window; `name` itself for None. Raises SettingsError with the sizes there are."""
    if window_mm is None:
        return name
    sizes = windows_of(name)
    if window_mm not in sizes and 0.0 in sizes:
        raise SettingsError(f"the model {find_model(name).stem} looks at whole slices; leave the window away.")
    if window_mm not in sizes:
        there = ", ".join(f"{size:g}" for size in sizes)
        raise SettingsError(f"the model {find_model(name).stem} was trained for windows of {there} mm, not {window_mm:g} mm.")
    return sizes[window_mm]


def find_preview(name: str, card: Card) -> str | None:
    """The path of a dense predictor for the same scans, grid and windows, beside the model or shipped; None without one."""
    for near in (find_model(name).parent, SHIPPED):
        for other, path in cards_in(near):
            same = (other.window_mm, other.modality, other.grid) == (card.window_mm, card.modality, card.grid)
            if other.method == "dense-loss-prediction" and same:
                return str(path)
    return None


def _familial(path: Path) -> str:
    return _SIZE.sub("-mm", path.stem, count=1)


def load_model(name: str) -> tuple[nn.Module, Card]:
    """Network in evaluation mode, float32 on the CPU, and its card. Raises WeightsError."""
    path = find_model(name)
    card = check_whole(path)
    network = make_network(card)
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


def save_model(network: nn.Module, path: Path, make_card: Callable[[str], Card]) -> Card:
    """Write the weights, in half precision where that holds them, and the card that `make_card` makes from their SHA-256."""
    with write_atomically(path) as temporary:
        save_file({key: _halved(value.detach().cpu()).contiguous() for key, value in network.state_dict().items()}, temporary)
    card = make_card(sha256_of(path))
    write_card(card, path.with_suffix(".json"))
    return card


def _halved(value: Tensor) -> Tensor:
    """Values beyond 65,504 (variances that BatchNorm keeps of dense layers) stay as they are."""
    if not value.is_floating_point() or (value.abs() > torch.finfo(torch.half).max).any():
        return value
    return value.half()


def write_card(card: Card, path: Path) -> None:
    """Write the card's JSON, whole or not at all."""
    with write_atomically(path) as temporary:
        temporary.write_text(card.to_json(), encoding="utf-8")


def with_thresholds(card: Card, thresholds: dict[str, float], healthy: dict[str, object]) -> Card:
    """The card after calibration on healthy scans; the threshold from training scans stays."""
    kept = {name: value for name, value in card.thresholds.items() if name == TRAINING_RESIDUALS}
    return replace(card, thresholds={**thresholds, **kept}, healthy_validation={**card.healthy_validation, **healthy})
