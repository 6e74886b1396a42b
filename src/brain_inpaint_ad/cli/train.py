"""`brain-inpaint-ad train inpainting`, `loss-predictor`, `evidence`, `surprise`: methods that look at windows and places."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from functools import partial
from typing import Annotated

import typer

from .train_command import train_command


@train_command("inpainting", iterations=30_000, batch="16", weights="generator.safetensors")
def inpainting(
    window_mm: Annotated[
        list[float] | None,
        typer.Option(
            help="Side of the erased window: 8, 16, 32 or 64 mm. Repeated: one network for several sizes, the first is its "
            "default; the paper tried that and rejected it.",
            show_default="32",
        ),
    ] = None,
    width: Annotated[int, typer.Option(help="Channels of the U-Net's first level.")] = 16,
    depth: Annotated[int, typer.Option(help="Poolings of the U-Net, 1 to 4: fewer are faster and see less far.")] = 4,
    max_width: Annotated[int | None, typer.Option(help="Most channels of any level: makes depth cheap.")] = None,
    start_from: Annotated[str | None, typer.Option(help="Model to begin with: fine-tunes it on your scans.")] = None,
    fool_weight: Annotated[float, typer.Option(help="Weight of the adversarial loss beside 50 × L1; 0: L1 alone.")] = 1.0,
    seed: Annotated[int, typer.Option(help="Seed of weights, slices and windows.")] = 0,
) -> Callable[..., int]:
    """Train the generator of Nguyen 2020: rebuild what was erased from healthy slices."""
    from ..training.inpainting import InpaintingSettings, train

    first, *others = window_mm or [32.0]
    settings = InpaintingSettings(
        window_mm=first,
        other_windows_mm=tuple(others),
        width=width,
        depth=depth,
        max_width=max_width,
        fool_weight=fool_weight,
        seed=seed,
    )
    return partial(train, settings=settings, start_from=start_from)


class Masks(StrEnum):
    """Where R's windows lie while it learns."""

    middle = "middle"
    brain = "brain"


@train_command("loss-predictor", iterations=5_000, batch="16", weights="predictor.safetensors")
def loss_predictor(
    model: Annotated[str, typer.Option(help="The generator whose loss is learned: name or path.")] = "t1-inpaint-32mm-fast",
    dense: Annotated[bool, typer.Option("--dense", help="R′: one pass per slice, learns on made-up anomalies, too.")] = False,
    masks: Annotated[Masks, typer.Option(help="R only: windows in the middle third (published) or the brain.")] = Masks.middle,
    seed: Annotated[int, typer.Option(help="Seed of weights, slices, windows and anomalies.")] = 0,
) -> Callable[..., int]:
    """Train R of Mavropoulos 2021, or the dense R′: predict how large a generator's loss will be."""
    from ..training.loss_predictor import LossPredictorSettings, train

    return partial(train, generator=model, settings=LossPredictorSettings(dense=dense, masks=masks.value, seed=seed))


@train_command("evidence", iterations=6_000, batch="2 cubes")
def evidence(
    seed: Annotated[int, typer.Option(help="Seed of weights, cubes and implanted changes.")] = 0,
) -> Callable[..., int]:
    """Train the default detector: healthy brains with implanted changes, seen beside a group of healthy brains."""
    from ..training.evidence import EvidenceTraining, train

    return partial(train, settings=EvidenceTraining(seed=seed))


@train_command("surprise", iterations=6_000, batch="16")
def surprise(
    start_from: Annotated[str | None, typer.Option(help="Generator whose features to begin with.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of weights, slices and windows.")] = 0,
) -> Callable[..., int]:
    """Train the surprise detector: from its surroundings, the level and texture to be expected in a window."""
    from ..training.surprise import SurpriseTraining, train

    return partial(train, settings=SurpriseTraining(seed=seed), start_from=start_from)
