"""A model's card in a screenful, for people; programs read the card itself."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Any

from .card import Card
from .folders import Installed, check_whole, user_folder
from .store import DEFAULT_MODEL

WIDTH = 100
_SHARES = {"_healthy_voxels_1_percent": "1 %", "_healthy_voxels_5_percent": "5 %"}


def told(model: Installed) -> str:
    """What it is, what it was trained on, from which heat on it marks, how well it does, its SHA-256: `WIDTH` letters wide.

    Raises WeightsError when the file is not the one its card describes.
    """
    card = check_whole(model.path)
    lines = [
        ("what", card.description),
        ("method", f"{card.method}, {card.modality}{_windows(card)}"),
        ("grid", f"{card.rows} × {card.columns} voxels of {card.spacing_mm:g} mm"),
        ("preparation", card.preprocessing),
        ("training", _training(card.training)),
        *((f"threshold, {share}", text) for share, text in _thresholds(card.thresholds).items()),
        ("cut by", f"{card.segmentation}, where no --segmentation is given"),
        ("healthy scans", _figures(card.healthy_validation)),
        ("weights", f"{model.path} ({model.path.stat().st_size / 1e6:.1f} MB)"),
        ("SHA-256", card.sha256),
    ]
    return "\n".join([f"{model.name} ({status(model)})", *(_line(*line) for line in lines)]) + "\n"


def status(model: Installed) -> str:
    """Whether it shipped or is found by its name, and whether it is what `detect` takes."""
    is_added = model.path.parent.resolve() == user_folder().resolve()
    whose = "shipped" if model.is_shipped else "added" if is_added else "a file, not added"
    return f"{whose}, default" if model.is_shipped and model.name == DEFAULT_MODEL else whose


def _windows(card: Card) -> str:
    sizes = ", ".join(f"{size:g}" for size in sorted(card.sizes_mm) if size)
    return f", windows of {sizes} mm" if sizes else ", no windows"


def _training(training: Mapping[str, Any]) -> str:
    subjects = training.get("subjects")
    split = ", ".join(f"{len(who)} {name}" for name, who in subjects.items()) if isinstance(subjects, dict) else ""
    steps = f"{training['iterations']} iterations" if "iterations" in training else ""
    return "; ".join(part for part in (split, steps, str(training.get("data", ""))) if part) or "not said"


def _thresholds(thresholds: Mapping[str, float]) -> dict[str, str]:
    """By the share of healthy brain they let through: "slices 1.53, volume 1.46 …"; others by their own name."""
    found: dict[str, list[str]] = {}
    for key, heat in thresholds.items():
        ending = next((ending for ending in _SHARES if f"_{key}".endswith(ending)), None)
        share = _SHARES[ending] if ending else "other"
        name = f"_{key}".removesuffix(ending).strip("_") or "slices" if ending else key.replace("_", " ")
        found.setdefault(share, []).append(f"{name} {heat:.3g}")
    return {share: ", ".join(texts) for share, texts in found.items()} or {"none": "not calibrated"}


def _figures(figures: Mapping[str, Any]) -> str:
    """Numbers only, in the card's words; how many scans they come from first."""
    scans = figures.get("scans")
    parts = [f"n = {len(scans)}"] if isinstance(scans, list) else []
    parts += [f"{key.replace('_', ' ')} {value:g}" for key, value in figures.items() if type(value) in (int, float)]
    return ", ".join(parts) or "not measured"


def _line(name: str, text: str) -> str:
    """Nothing within a word is broken: paths and hashes are for copying."""
    wrapper = textwrap.TextWrapper(WIDTH, break_on_hyphens=False, break_long_words=False)
    wrapper.initial_indent, wrapper.subsequent_indent = f"  {name:<18}", " " * 20
    return wrapper.fill(text)
