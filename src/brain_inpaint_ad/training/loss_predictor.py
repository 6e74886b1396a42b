"""Algorithm 1 of Mavropoulos 2021: learn how large the loss of a frozen G will be. For R as published, and for the dense R′."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Unpack

import torch
from torch import Tensor

from ..devices import autocast, is_fast_in_bfloat16
from ..errors import SettingsError
from ..heatmap.incremental import Incremental
from ..heatmap.losses import losses_of, rank_correlation
from ..heatmap.predicted import paint, read_losses, unmasked
from ..heatmap.windows import WindowSettings, window_corners
from ..nets.predictor import LossPredictor
from ..nets.unet import UNet, UNetSettings
from ..progress import part_of
from ..weights.card import Card
from ..weights.store import load_generator, save_model
from . import loop
from .anomalies import add_anomalies
from .data import Slices, draw_batch
from .erase import middle_corners, sample_corners
from .run import Options, plan_run, tensorboard

MASKS = ("middle", "brain")
_VALIDATION_SEED = 20212


@dataclass(frozen=True, kw_only=True)
class LossPredictorSettings:
    """What makes a predictor; stored in its checkpoint and card.

    dense: R′, a U-Net of `width` and `depth` that sees the unmasked slice, trained with made-up anomalies as well; otherwise
    R as published. masks: where R's windows lie while it learns, the middle third of the slice (published) or the brain.
    """

    dense: bool = False
    masks: str = "middle"
    width: int = 16
    depth: int = 4
    batch: int = 16
    rate: float | None = None  # α_R, which the thesis does not give; None: see `usual_rate`
    seed: int = 0

    def __post_init__(self) -> None:
        if self.masks not in MASKS:
            raise SettingsError(f"the masks must be one of {', '.join(MASKS)}, got {self.masks!r}")
        if self.rate is None:
            object.__setattr__(self, "rate", usual_rate(dense=self.dense))


def usual_rate(*, dense: bool) -> float:
    """α_R that was tried: at 1e-3 R's sigmoid closes within 50 iterations and stays at 0; R′ learns faster with it."""
    return 1e-3 if dense else 1e-4


@dataclass(frozen=True, slots=True)
class Teacher:
    """The frozen G whose loss is learned: its engine, its card, the window in pixels."""

    engine: Incremental
    card: Card
    size: int

    def losses(self, image: Tensor, corners: Tensor) -> Tensor:
        """L_rec of Algorithm 1, (n,), normalised as G's heatmap is. image: (slices, rows, columns)."""
        rebuilt = self.engine.rebuild(image, corners, size=self.size)
        return losses_of(rebuilt, image, corners, size=self.size, minmax=self.card.minmax)


def training_step(
    predictor: LossPredictor | UNet, optimiser: torch.optim.Optimizer, teacher: Teacher, batch: tuple[Tensor, Tensor, Tensor]
) -> dict[str, Tensor]:
    """Lines 5 to 9 of Algorithm 1. batch: image (n, rows, columns), brain (the same), corners (m, 3). Returns losses to log."""
    image, brain, corners = batch
    truth = teacher.losses(image, corners)
    predictor.train()
    guess = predicted(predictor, image, brain, corners, size=teacher.size)
    difference = (guess - truth).abs().mean()
    optimiser.zero_grad(set_to_none=True)
    difference.backward()
    optimiser.step()
    return {"difference": difference.detach(), "loss_of_generator": truth.mean()}


def predicted(predictor: LossPredictor | UNet, image: Tensor, brain: Tensor, corners: Tensor, *, size: int) -> Tensor:
    """The predictor's answer for each window, (m,)."""
    with autocast(image.device):
        if isinstance(predictor, LossPredictor):
            guess: Tensor = predictor(paint(image, corners, size=size))
            return guess.float()
        return read_losses(predictor(unmasked(image, brain))[:, 0].float(), corners, size=size)


def draw(slices: Slices, settings: LossPredictorSettings, size: int, rng: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """A batch for `training_step`, on the CPU: one window per slice for R, a grid of them at a random place for R′."""
    image, brain = draw_batch(slices, settings.batch, rng)
    if settings.dense:
        image = add_anomalies(image, brain, rng)
        return image[:, 0], brain, grid_corners(brain, size, rng)
    place = middle_corners if settings.masks == "middle" else sample_corners
    return image[:, 0], brain, place(brain, size, rng)


def grid_corners(brain: Tensor, size: int, rng: torch.Generator) -> Tensor:
    """Windows side by side from a random corner on, those that touch the brain: int64 (m, 3)."""
    _, rows, columns = brain.shape
    top, left = (int(n) for n in torch.randint(0, size, (2,), generator=rng))
    top, left = min(top, rows - size), min(left, columns - size)
    inside = brain[:, top : rows - (rows - top) % size, left : columns - (columns - left) % size]
    corners = window_corners(inside.numpy(), WindowSettings(size=size, stride=size))
    return torch.from_numpy(corners) + torch.tensor([0, top, left])


def train(
    data: Path,
    out: Path,
    *,
    generator: str,
    settings: LossPredictorSettings,
    iterations: int = 5_000,
    **options: Unpack[Options],
) -> int:
    """Train on the scans below `data`; generator: name or path of the G to learn from. Returns iterations done.

    The weights with their card are `predictor.safetensors` and `predictor.json`. Other options and errors: see `run.plan_run`;
    WeightsError for the generator.
    """
    run = plan_run(data, out, seed=settings.seed, iterations=iterations, **options)
    network, card = load_generator(generator)
    where = run.device
    dtype = torch.bfloat16 if is_fast_in_bfloat16(where) else torch.float32
    teacher = Teacher(Incremental(network.to(where), dtype=dtype), card, card.windows(4.0).size)
    run.make_folder()
    predictor = build(settings, where)
    rate = settings.rate or usual_rate(dense=settings.dense)
    optimiser = torch.optim.Adam(predictor.parameters(), rate)
    stored = {**asdict(settings), "iterations": iterations, "generator": card.sha256}
    state, _ = run.state({"predictor": predictor}, {"predictor": optimiser}, stored)
    train_slices, validation = run.slices(card.grid, settings)

    def step(rng: torch.Generator) -> dict[str, Tensor]:
        loop.slow_down(optimiser, rate, iterations)
        image, brain, corners = draw(train_slices, settings, teacher.size, rng)
        return training_step(predictor, optimiser, teacher, (image.to(where), brain.to(where), corners.to(where)))

    with closing(tensorboard(out)) as board:
        inspect = _inspector(predictor, teacher, validation, settings, board=board, folder=out)
        rest = part_of(run.progress, 0.1, 1)
        done = loop.run(state, step, run.limits, folder=out, logger=board, inspect=inspect, progress=rest)
        figures = inspect(done)
    training = {**run.facts(settings, done), "generator": {"name": card.name, "sha256": card.sha256}}
    save_model(
        predictor,
        out / "predictor.safetensors",
        lambda digest: _card(card, settings, run.name, training=training, validation=figures, digest=digest),
    )
    return done


def build(settings: LossPredictorSettings, device: torch.device) -> LossPredictor | UNet:
    """A freshly initialised predictor; equal seeds give equal weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        dense = UNet(UNetSettings(width=settings.width, depth=settings.depth)) if settings.dense else None
        predictor = dense or LossPredictor()
    return predictor.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def _inspector(
    predictor: LossPredictor | UNet,
    teacher: Teacher,
    validation: Slices,
    settings: LossPredictorSettings,
    *,
    board: Any,
    folder: Path,
) -> Callable[[int], dict[str, float]]:
    """Figures on 64 validation slices, always the same, healthy and with made-up anomalies; a picture of the losses."""
    rng = torch.Generator().manual_seed(_VALIDATION_SEED)
    picked = torch.randperm(len(validation), generator=rng)[:64]
    brain = validation.brain[picked]
    healthy = validation.images[picked].float()
    struck = add_anomalies(healthy[:, None], brain, rng, share=1.0)[:, 0]
    corners = grid_corners(brain, teacher.size, rng) if settings.dense else sample_corners(brain, teacher.size, rng)
    device = next(predictor.parameters()).device
    sets = {"healthy": healthy, **({"anomalous": struck} if settings.dense else {})}
    truths = {tag: teacher.losses(image.to(device), corners.to(device)).cpu() for tag, image in sets.items()}

    def inspect(iteration: int) -> dict[str, float]:
        predictor.eval()
        figures, guesses = {}, {}
        for tag, image in sets.items():
            with torch.inference_mode():
                on_device = image.to(device), brain.to(device), corners.to(device)
                guesses[tag] = predicted(predictor, *on_device, size=teacher.size).cpu()
            figures[f"{tag}_mean_difference"] = float((guesses[tag] - truths[tag]).abs().mean())
            figures[f"{tag}_rank_correlation"] = rank_correlation(guesses[tag], truths[tag])
        for tag, value in figures.items():
            board.add_scalar(f"validation/{tag}", value, iteration)
        _draw(truths, guesses, folder / "true_and_predicted.png")
        return {tag: round(value, 4) for tag, value in figures.items()}

    return inspect


def _draw(truths: dict[str, Tensor], guesses: dict[str, Tensor], path: Path) -> None:
    """Predicted over true loss, a point per window, a panel per set."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5 * len(truths), 5), layout="constrained")
    for axes, tag in zip(figure.subplots(1, len(truths), squeeze=False)[0], truths, strict=True):
        axes.scatter(truths[tag], guesses[tag], s=4, alpha=0.4)
        axes.axline((0.1, 0.1), slope=1, color="grey", linewidth=1)
        axes.set(title=f"{tag} validation slices", xlabel="loss of G", ylabel="predicted loss", aspect="equal")
    figure.savefig(path, dpi=100)


def _card(
    teacher: Card,
    settings: LossPredictorSettings,
    name: str,
    *,
    training: dict[str, Any],
    validation: dict[str, float],
    digest: str,
) -> Card:
    """The teacher's card but for what the predictor is: grid, window and normalisation are the same."""
    what = "in one pass over the slice (R′)" if settings.dense else "from each masked slice (R of Mavropoulos 2021)"
    return replace(
        teacher,
        name=name,
        description=f"Predicts the reconstruction loss of {teacher.name} {what}.",
        method="dense-loss-prediction" if settings.dense else "loss-prediction",
        width=settings.width if settings.dense else 64,
        depth=settings.depth if settings.dense else 4,
        max_width=None,
        training=training,
        thresholds={},
        healthy_validation=validation,
        sha256=digest,
    )
