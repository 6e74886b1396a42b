"""Which detector reads a model: one line per method."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from ..devices import pick_device
from ..errors import SettingsError
from ..heatmap.incremental import MEMORY_MB
from ..weights.card import Card
from ..weights.store import DEFAULT_MODEL, load_model, with_window
from . import ModelDetector
from .evidence import EvidenceDetector
from .inpainting import InpaintingDetector
from .latent import SearchSettings
from .predicted import PredictedDetector
from .reconstruction import ReconstructionDetector
from .surprise import SurpriseDetector
from .whole_scan import WholeScanDetector

STRIDE_MM = 4.0  # k: 4 pixels of 1 mm in Nguyen 2020


@dataclass(frozen=True, slots=True)
class _Wishes:
    """How a detector is to run, as far as its method has a choice."""

    device: torch.device
    stride_mm: float
    engine: str
    memory_mb: float
    latent_steps: int | None


def _inpainting(network: Any, card: Card, wishes: _Wishes) -> ModelDetector:
    return InpaintingDetector(network, card, wishes.device, wishes.stride_mm, wishes.engine, wishes.memory_mb)


def _predicted(network: Any, card: Card, wishes: _Wishes) -> ModelDetector:
    return PredictedDetector(network, card, wishes.device, wishes.stride_mm, wishes.memory_mb)


def _evidence(network: Any, card: Card, wishes: _Wishes) -> ModelDetector:
    return EvidenceDetector(network, card, wishes.device)


def _surprise(network: Any, card: Card, wishes: _Wishes) -> ModelDetector:
    return SurpriseDetector(network, card, wishes.device, wishes.stride_mm, wishes.memory_mb)


def _anogan(network: Any, card: Card, wishes: _Wishes) -> ModelDetector:
    search = SearchSettings() if wishes.latent_steps is None else SearchSettings(steps=wishes.latent_steps)
    return ReconstructionDetector(network, card, wishes.device, search)


def _one_pass(network: Any, card: Card, wishes: _Wishes) -> ModelDetector:
    return ReconstructionDetector(network, card, wishes.device)


def _whole_scan(network: Any, card: Card, wishes: _Wishes) -> ModelDetector:
    return WholeScanDetector(network, card, wishes.device)


_DETECTORS: dict[str, Callable[[Any, Card, _Wishes], ModelDetector]] = {  # by card.METHODS; networks: weights.networks
    "inpainting": _inpainting,
    "loss-prediction": _predicted,
    "dense-loss-prediction": _predicted,
    "evidence": _evidence,
    "surprise": _surprise,
    "anogan": _anogan,
    "autoencoder": _one_pass,
    "fanogan": _one_pass,
    "fanogan-3d": _whole_scan,
}


def load_detector(
    model: str = DEFAULT_MODEL,
    *,
    window_mm: float | None = None,
    stride_mm: float = STRIDE_MM,
    engine: str = "incremental",
    max_memory_mb: float = MEMORY_MB,
    latent_steps: int | None = None,
    device: str = "auto",
) -> ModelDetector:
    """A detector ready to run; latent_steps: Γ of AnoGAN's search (None: 500). Raises WeightsError or SettingsError."""
    where = pick_device(device)
    network, card = load_model(with_window(model, window_mm))
    card = card if window_mm is None else card.at(window_mm)
    if not max_memory_mb > 0:
        raise SettingsError(f"the memory must be above 0 MB, got {max_memory_mb:g}.")
    if card.window_mm:
        card.windows(stride_mm)  # a stride that does not fit is refused before the work starts
    if engine != "incremental" and card.method != "inpainting":
        raise SettingsError(f"the model {card.name} inpaints no windows; leave --engine away.")
    if latent_steps is not None and card.method != "anogan":
        raise SettingsError(f"the model {card.name} searches no latent space; leave --latent-steps away.")
    return _DETECTORS[card.method](network, card, _Wishes(where, stride_mm, engine, max_memory_mb, latent_steps))
