"""Train the surprise network: from the surroundings of an erased window, what level and texture are to be expected in it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Unpack

import numpy as np
import torch
from torch import Tensor

from ..detectors.features import features
from ..detectors.surprise import as_targets, expectation
from ..devices import autocast
from ..nets.unet import UNet, UNetSettings
from ..prepare import GridSettings
from ..prepare.intensity import normalise
from ..progress import Progress, part_of
from ..weights.card import Card
from ..weights.store import load_generator, save_model
from . import loop
from .cards import new_card
from .data import MIN_BRAIN_MM2, Scan, load_scans
from .erase import erase, sample_windows
from .inpainting import begin_with
from .run import Options, check_seed, plan_run, split_members, tensorboard, write_record
from .scanners import other_scanner

MODEL = "model.safetensors"
_VALIDATION_SEED = 20201
_LONGEST_STEP = 5.0  # norm of the gradient: likelihoods of narrow Gaussians are steep


@dataclass(frozen=True, kw_only=True)
class SurpriseTraining:
    """What makes a surprise network; stored in its checkpoint and card."""

    window_mm: float = 32.0
    spacing_mm: float = 2.0
    width: int = 16
    depth: int = 4
    batch: int = 16
    rate: float = 3e-4
    seed: int = 0

    def __post_init__(self) -> None:
        check_seed(self.seed)

    @property
    def grid(self) -> GridSettings:
        """The papers' field of 256 × 192 mm at this spacing."""
        return GridSettings.at(self.spacing_mm)

    @property
    def window_pixels(self) -> int:
        """Side γ of the window in pixels."""
        return round(self.window_mm / self.spacing_mm)


@dataclass(frozen=True, slots=True)
class Seen:
    """Slices: images float16 (n, rows, columns), brain bool of that shape, targets float16 (n, 2, rows, columns)."""

    images: Tensor
    brain: Tensor
    targets: Tensor


def train(
    data: Path,
    out: Path,
    *,
    settings: SurpriseTraining,
    iterations: int = 6_000,
    start_from: str | None = None,
    **options: Unpack[Options],
) -> int:
    """Train on the scans below `data`; everything lands in the folder `out`. Returns iterations done.

    start_from: a generator whose features to begin with. The weights with their card are `model.safetensors` and `model.json`.
    Other options and errors: see `run.plan_run`.
    """
    run = plan_run(data, out, seed=settings.seed, iterations=iterations, **options)
    where, progress = run.device, run.progress
    members = split_members(run.listed)
    network, origin = _build(settings, start_from, where)
    averaged = loop.averaged(network)
    optimiser = torch.optim.Adam(network.parameters(), settings.rate)
    run.make_folder()
    stored = {**asdict(settings), "start_from": origin}
    state, _ = run.state({"network": network, "averaged": averaged}, {"network": optimiser}, stored)
    learning, held_out = (
        _seen(
            load_scans(members[split], out / "prepared", settings.grid, progress=part_of(progress, start, start + 0.05)),
            settings,
            copies=copies,
            progress=part_of(progress, start + 0.05, start + 0.1),
        )
        for split, start, copies in (("train", 0.0, 2), ("validation", 0.1, 1))
    )
    write_record(out, asdict(settings), run.listed)

    def step(rng: torch.Generator) -> dict[str, Tensor]:
        network.train()
        image, brain, targets = (part.to(where) for part in draw_seen(learning, settings.batch, rng))
        window = sample_windows(brain, settings.window_pixels, rng).to(where)
        with autocast(where):
            answer = network(erase(image, window))
        loss = surprise_loss(answer.float(), targets, window * brain[:, None])
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), _LONGEST_STEP)
        optimiser.step()
        averaged.update_parameters(network)
        return {"surprise": loss.detach()}

    with closing(tensorboard(out)) as board:
        inspect = _inspector(averaged.module, held_out, settings, board)
        rest = part_of(progress, 0.2, 1)
        done = loop.run(state, step, run.limits, folder=out, logger=board, inspect=inspect, progress=rest)
        figures = inspect(done)
    facts = {**run.facts(settings, done), "start_from": origin}
    save_model(averaged.module, out / MODEL, lambda digest: _card(settings, run.name, facts, figures, digest))
    return done


def surprise_loss(answer: Tensor, targets: Tensor, where: Tensor) -> Tensor:
    """Negative logarithm of the Gaussian likelihood of the targets, averaged over the marked pixels; a scalar.

    answer: (batch, 4, rows, columns) of the network; targets: (batch, 2, …); where: (batch, 1, …), 1 where it counts.
    """
    mean, spread = expectation(answer)
    value = torch.log(spread) + 0.5 * ((targets - mean) / spread) ** 2
    return (value * where).sum() / (where.sum() * targets.shape[1])


def draw_seen(slices: Seen, count: int, rng: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Random slices, half the batches mirrored, moved by up to 4 pixels: image (count, 1, …), brain (count, …), targets."""
    picked = torch.randint(len(slices.images), (count,), generator=rng)
    parts = [slices.images[picked].float()[:, None], slices.brain[picked][:, None], slices.targets[picked].float()]
    mirrored = bool(torch.rand(1, generator=rng) < 0.5)
    rows, columns = (int(n) for n in torch.randint(-4, 5, (2,), generator=rng))
    image, brain, targets = ((part.flip(3) if mirrored else part).roll((rows, columns), (2, 3)) for part in parts)
    return image, brain[:, 0], targets


def _build(settings: SurpriseTraining, start_from: str | None, device: torch.device) -> tuple[UNet, dict[str, str]]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        network = UNet(UNetSettings(width=settings.width, depth=settings.depth, outputs=4))
    origin = {}
    if start_from is not None:
        generator, card = load_generator(start_from)
        begin_with(network, generator, but=("head.weight", "head.bias"))
        origin = {"name": card.name, "sha256": card.sha256}
    return network.to(device, memory_format=torch.channels_last), origin  # type: ignore[call-overload]


def _seen(scans: list[Scan], settings: SurpriseTraining, *, copies: int, progress: Progress) -> Seen:
    """Slices with enough brain of each scan, and of copies as other scanners would show it."""
    images, brains, targets = [], [], []
    for done, scan in enumerate(scans):
        progress(done / len(scans), f"level and texture of {scan.name}")
        shown = scan.brain.sum(axis=(1, 2)) * settings.spacing_mm**2 >= MIN_BRAIN_MM2
        for copy in range(copies):
            image = scan.image.astype(np.float32)
            if copy:
                rng = np.random.default_rng([settings.seed, copy, *scan.name.encode()])
                image = normalise(other_scanner(image, scan.brain, rng), scan.brain)
            target = as_targets(features(image, scan.brain, spacing_mm=settings.spacing_mm), scan.brain)
            images.append(image[shown].astype(np.float16))
            brains.append(scan.brain[shown])
            targets.append(target[:, shown].swapaxes(0, 1).astype(np.float16))
    return Seen(*(torch.from_numpy(np.concatenate(parts)) for parts in (images, brains, targets)))


def _inspector(network: Any, held_out: Seen, settings: SurpriseTraining, board: Any) -> Callable[[int], dict[str, float]]:
    """The loss on 128 validation windows, always the same."""
    rng = torch.Generator().manual_seed(_VALIDATION_SEED)
    picked = torch.randperm(len(held_out.images), generator=rng)[:128]
    image, brain = held_out.images[picked].float()[:, None], held_out.brain[picked]
    targets, window = held_out.targets[picked].float(), sample_windows(brain, settings.window_pixels, rng)

    def inspect(iteration: int) -> dict[str, float]:
        network.eval()
        device = next(network.parameters()).device
        with torch.inference_mode(), autocast(device):
            answer = torch.cat([network(part.to(device)) for part in erase(image, window).split(32)])
        loss = float(surprise_loss(answer.float().cpu(), targets, window * brain[:, None]))
        board.add_scalar("validation/surprise", loss, iteration)
        return {"surprise": round(loss, 4)}

    return inspect


def _card(settings: SurpriseTraining, name: str, training: dict[str, Any], validation: dict[str, float], digest: str) -> Card:
    return new_card(
        name,
        settings.grid,
        method="surprise",
        description=f"Expects level and texture in windows of {settings.window_mm:g} mm from what is around them (healthy T1).",
        training=training,
        figures=dict(validation),
        digest=digest,
        window_mm=settings.window_mm,
        width=settings.width,
        depth=settings.depth,
    )
