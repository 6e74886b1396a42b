"""What methods that rebuild whole slices share when they are trained: GANs and autoencoders."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Unpack

import numpy as np
import torch
from torch import Tensor, nn

from ..prepare import GridSettings
from ..progress import part_of
from ..segmentation.residual import TRAINING_RESIDUALS
from ..weights.store import save_model
from . import loop
from .cards import new_card
from .curves import Curves
from .data import Slices, draw_batch
from .run import Options, plan_run, save_picture, tensorboard

MODEL = "model.safetensors"
_VALIDATION_SEED = 20201
_SHOWN = 8  # validation slices in the picture


@dataclass(frozen=True, kw_only=True)
class SliceSettings:
    """What every method has; its own settings come on top."""

    spacing_mm: float = 2.0
    batch: int = 8  # Baur 2018, and Nguyen 2020 for AnoGAN
    seed: int = 0

    @property
    def grid(self) -> GridSettings:
        """The papers' field of 256 × 192 mm at this spacing."""
        return GridSettings.at(self.spacing_mm)


@dataclass(frozen=True, slots=True)
class Method:
    """What methods differ in.

    name: the card's method; network: the card's settings of `model`, which is what will be saved; step: one update from
    slices (batch, 1, rows, columns), gives losses to log; inspect: figures on validation slices of that shape, and pictures of
    their shape to show, one row of the mosaic each; rebuild: x̂ of slices (n, rows, columns), by the model in evaluation mode;
    sampled: training slices to take the residual threshold from.
    """

    name: str
    description: str
    network: dict[str, Any]
    model: nn.Module
    nets: dict[str, nn.Module]
    optimisers: dict[str, torch.optim.Optimizer]
    step: Callable[[Tensor, torch.Generator], dict[str, Tensor]]
    inspect: Callable[[Tensor], tuple[dict[str, float], list[Tensor]]]
    rebuild: Callable[[Tensor], Tensor]
    sampled: int = 1_000


def train_on_slices(
    data: Path,
    out: Path,
    settings: SliceSettings,
    make: Callable[[torch.device], Method],
    *,
    iterations: int,
    **options: Unpack[Options],
) -> int:
    """Train what `make` makes on the scans below `data`; everything lands in the folder `out`. Returns iterations done.

    The weights with their card are `model.safetensors` and `model.json`. Other options and errors: see `run.plan_run`.
    """
    run = plan_run(data, out, seed=settings.seed, iterations=iterations, **options)
    method = make(run.device)
    run.make_folder()
    state, since = run.state(method.nets, method.optimisers, asdict(settings))
    train_slices, validation = run.slices(settings.grid, settings)

    def step(rng: torch.Generator) -> dict[str, Tensor]:
        image, _ = draw_batch(train_slices, settings.batch, rng)
        return method.step(image.to(run.device), rng)

    with closing(tensorboard(out)) as board:
        curves = Curves(board, out, since=since)
        inspect = _inspector(method, validation, run.device, board=board, curves=curves, folder=out)
        rest = part_of(run.progress, 0.1, 1)
        done = loop.run(state, step, run.limits, folder=out, logger=curves, inspect=inspect, progress=rest)
        figures = inspect(done)
    thresholds = {TRAINING_RESIDUALS: round(_residual_percentile(method, train_slices, run.device), 6)}
    facts = {**run.facts(settings, done), "curve": curves.validation()}
    save_model(
        method.model,
        out / MODEL,
        lambda digest: new_card(
            run.name,
            settings.grid,
            method=method.name,
            description=method.description,
            training=facts,
            figures=figures,
            digest=digest,
            thresholds=thresholds,
            network=method.network,
        ),
    )
    return done


def make_seeded(seed: int, make: Callable[[], nn.Module], device: torch.device) -> nn.Module:
    """A freshly initialised network; equal seeds give equal weights, whatever else uses random numbers."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = make()
    return network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def _inspector(
    method: Method, validation: Slices, device: torch.device, *, board: Any, curves: Curves, folder: Path
) -> Callable[[int], dict[str, float]]:
    """Validation figures and a picture, always from the same 64 slices; the curves are drawn, too."""
    picked = torch.randperm(len(validation), generator=torch.Generator().manual_seed(_VALIDATION_SEED))[:64]
    image = validation.images[picked].float()[:, None].to(device)

    def inspect(iteration: int) -> dict[str, float]:
        figures, rows = method.inspect(image)
        for tag, value in figures.items():
            curves.add_scalar(f"validation/{tag}", value, iteration)
        strips = [torch.cat(list(row[:_SHOWN, 0].float().cpu()), dim=1) for row in rows]
        picture = torch.cat(strips, dim=0).clamp(0, 1).numpy()
        board.add_image("validation/samples", picture, iteration, dataformats="HW")
        save_picture(picture, folder / "samples.png")
        curves.write()
        return {tag: round(value, 4) for tag, value in figures.items()}

    return inspect


def _residual_percentile(method: Method, slices: Slices, device: torch.device, *, percent: float = 98.0) -> float:
    """Of |x − x̂| over the brain voxels of training slices drawn at random (Baur 2018, "Postprocessing")."""
    method.model.eval()
    picked = torch.randperm(len(slices), generator=torch.Generator().manual_seed(_VALIDATION_SEED))[: method.sampled]
    image = slices.images[picked].float().to(device)
    residuals = (method.rebuild(image) - image).abs().cpu()[slices.brain[picked]]
    return float(np.percentile(residuals.numpy(), percent))
