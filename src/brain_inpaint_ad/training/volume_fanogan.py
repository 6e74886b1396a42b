"""The run of 3-D f-AnoGAN's training: data, the three steps one after the other, each resumable, and the model's card."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..detectors.cube import field_around
from ..devices import autocast, pick_device
from ..errors import SettingsError, TrainingError
from ..nets.volume_gan import VolumeGan, encoder_losses
from ..progress import Progress, part_of, silent
from ..volume import Volume
from ..weights.card import Card
from ..weights.store import save_model
from . import loop
from .cards import new_card
from .cubes import CubeSource, cube_template, draw_cubes
from .curves import Curves
from .data import Subject, find_subjects
from .footprint import check_memory
from .run import run_folder, save_picture, tensorboard, training_facts, write_record
from .volume_gan import STEPS, VolumeGanTraining, build, encoder_step, gan_step, optimisers_of

ITERATIONS = {"gan": 20_000, "encoder": 10_000, "refine": 20_000}
MODEL = "fanogan.safetensors"
_AT_ONCE = 1e-6  # minutes: an iteration, and its checkpoint
_SHOWN = 4  # cubes in a picture
_LOOKED_AT = 16  # validation cubes at a time


def train(
    data: Path,
    out: Path,
    *,
    settings: VolumeGanTraining,
    step: str = "all",
    iterations: Mapping[str, int] = ITERATIONS,
    max_minutes: float | None = None,
    resume: bool = False,
    subjects: Path | None = None,
    template: Path | None = None,
    device: str = "auto",
    name: str | None = None,
    data_note: str = "",
    progress: Progress = silent,
) -> dict[str, int]:
    """Train on the scans below `data`; everything lands in the folder `out`, each step in a folder of its own.

    step: one of STEPS or "all"; iterations: of each step; max_minutes: of all steps in this call; template: a brain to
    register to (default: the mean of the training scans); the rest as `run.plan_run`. From the second step on, the
    weights with their card are `fanogan.safetensors` and `fanogan.json`. Returns iterations done, by step.
    Raises TrainingError, InputError or SettingsError with what to do.
    """
    chosen = _chosen(step)
    end = time.monotonic() + 60 * max_minutes if max_minutes is not None else float("inf")
    where = pick_device(device)
    listed = find_subjects(data, subjects)
    _check_order(chosen, out, resume=resume)
    run = _begin(settings, chosen, listed, out, template=template, device=where, progress=part_of(progress, 0, 0.15))
    done: dict[str, int] = {}
    for place, part in enumerate(chosen):
        begin, until = (0.15 + 0.85 * n / len(chosen) for n in (place, place + 1))
        minutes = (end - time.monotonic()) / 60
        if done and minutes <= 0:
            break
        limits = loop.LoopSettings(
            iterations=iterations[part],
            seed=settings.seed,
            max_minutes=max(minutes, _AT_ONCE) if max_minutes is not None else None,
            save_every=100,
            log_every=10,
        )
        done[part], figures = run.step(part, limits, progress=part_of(progress, begin, until))
        if part != "gan":
            run.save_model(part, figures, name=name or out.name, note=data_note)
        if done[part] < iterations[part]:
            break
    return done


@dataclass(frozen=True, slots=True)
class _Run:
    """What the three steps share. settings: with the template's field; listed: the subjects; cubes: by split."""

    gan: VolumeGan
    settings: VolumeGanTraining
    listed: list[Subject]
    cubes: dict[str, Tensor]
    out: Path
    stored: dict[str, Any]
    device: torch.device

    def step(self, part: str, limits: loop.LoopSettings, *, progress: Progress) -> tuple[int, dict[str, float]]:
        """One step from where it stands to its end; iterations done and validation figures."""
        folder = self.out / part
        folder.mkdir(parents=True, exist_ok=True)
        optimisers = optimisers_of(part, self.gan, self.settings)
        state = loop.State({"gan": self.gan}, optimisers, self.stored)
        begun = (folder / loop.CHECKPOINT).exists()
        if part != "gan" and not begun:
            before = self.out / STEPS[STEPS.index(part) - 1] / loop.CHECKPOINT
            loop.load(loop.State({"gan": self.gan}, {}, self.stored), before)
        since = loop.load(state, folder / loop.CHECKPOINT) if begun else 0
        update = self._update(part, optimisers, limits.iterations)
        with closing(tensorboard(folder)) as board:
            curves = Curves(board, folder, since=since)
            inspect = self._inspector(part, curves, folder)
            done = loop.run(state, update, limits, folder=folder, logger=curves, inspect=inspect, progress=progress)
            return done, inspect(done)

    def save_model(self, part: str, figures: dict[str, float], *, name: str, note: str) -> None:
        """The weights as this step left them, with their card. figures: of validation; note: on the data."""
        seen = self._seen(part)
        facts = training_facts(asdict(self.settings), self.listed, iterations=sum(seen.values()), note=note)
        training = {**facts, "iterations_by_step": seen}
        save_model(self.gan, self.out / MODEL, lambda digest: _card(self.settings, name, training, figures, digest))

    def _seen(self, part: str) -> dict[str, int]:
        """Iterations of the steps up to this one."""
        nothing = loop.State({}, {}, self.stored)
        return {before: loop.load(nothing, self.out / before / loop.CHECKPOINT) for before in STEPS[: STEPS.index(part) + 1]}

    def _update(
        self, part: str, optimisers: dict[str, torch.optim.Optimizer], iterations: int
    ) -> Callable[[torch.Generator], dict[str, Tensor]]:
        def update(rng: torch.Generator) -> dict[str, Tensor]:
            if part == "gan":
                volume = draw_cubes(self.cubes["train"], self.settings.batch_gan, rng).to(self.device)
                return gan_step(self.gan, optimisers, volume, self.settings, rng)
            loop.slow_down(optimisers["encoder"], self.settings.rate_encoder, iterations)
            volume = draw_cubes(self.cubes["train"], self.settings.batch_encoder, rng).to(self.device)
            return encoder_step(self.gan, optimisers, volume, refine=part == "refine")

        return update

    def _inspector(self, part: str, curves: Curves, folder: Path) -> Callable[[int], dict[str, float]]:
        """Validation figures and a picture, always of the same cubes or the same z; the curves are drawn, too."""
        volume = self.cubes["validation"][:_LOOKED_AT].float()[:, None].to(self.device)
        latent = torch.randn(_SHOWN, self.settings.network.latent, generator=torch.Generator().manual_seed(0)).to(self.device)

        def inspect(iteration: int) -> dict[str, float]:
            self.gan.eval()
            with torch.inference_mode(), autocast(self.device):
                made = (self.gan.generator(latent) if part == "gan" else self.gan(volume)).float()
                figures = {} if part == "gan" else self._figures(volume, made)
            for tag, value in figures.items():
                curves.add_scalar(f"validation/{tag}", value, iteration)
            shown = volume[:_SHOWN, 0].cpu()
            rows = [shown, made[: len(shown), 0].cpu()]
            save_picture(mosaic(rows if part == "gan" else [*rows, (rows[0] - rows[1]).abs() - 1]), folder / "samples.png")
            curves.write()
            return {tag: round(value, 5) for tag, value in figures.items()}

        return inspect

    def _figures(self, volume: Tensor, made: Tensor) -> dict[str, float]:
        image, features = encoder_losses(self.gan, volume, made)
        return {"image": float(image.mean()), "features": float(features.mean())}


def mosaic(rows: list[Tensor]) -> Any:
    """Middle slices of cubes, axial, coronal, sagittal: a line for each of `rows`, (n, size, size, size) in [−1, 1]."""
    lines = []
    for row in rows:
        middle = row.shape[1] // 2
        views = [view for cube in row for view in (cube[middle], cube[:, middle].flip(0), cube[:, :, middle].flip(0))]
        lines.append(torch.cat(views, dim=1))
    return ((torch.cat(lines, dim=0) + 1) / 2).clamp(0, 1).numpy()


def _chosen(step: str) -> tuple[str, ...]:
    if step not in (*STEPS, "all"):
        raise SettingsError(f"the step must be one of {', '.join(STEPS)} or all, got {step}")
    return STEPS if step == "all" else (step,)


def _check_order(chosen: tuple[str, ...], out: Path, *, resume: bool) -> None:
    """Raises TrainingError when a step would be begun twice, or before the one it builds on."""
    begun = [part for part in STEPS if (out / part / loop.CHECKPOINT).exists()]
    first = STEPS.index(chosen[0])
    if first and STEPS[first - 1] not in begun:
        raise TrainingError(f"{out} holds no trained step {STEPS[first - 1]!r} to build on; run it first, or --step all.")
    if resume and first and chosen[0] not in begun:
        return  # goes on from the step before
    mine = [part for part in chosen if part in begun]
    run_folder(out / (mine[0] if mine else chosen[0]), resume=resume)


def _begin(
    settings: VolumeGanTraining,
    chosen: tuple[str, ...],
    listed: list[Subject],
    out: Path,
    *,
    template: Path | None,
    device: torch.device,
    progress: Progress,
) -> _Run:
    """Template, cubes and fresh networks, if there is memory for the chosen steps; who is learned from is recorded."""
    members = {split: [s for s in listed if s.split == split] for split in ("train", "validation")}
    if not all(members.values()):
        raise TrainingError("the subject table needs scans of the splits train and validation.")
    check_memory(settings, chosen, sum(map(len, members.values())), device)
    source = CubeSource(out / "prepared", settings.modality, settings.grid)
    whole = source.template(members["train"], named=template, progress=part_of(progress, 0, 2 / 3))
    settings = replace(settings, network=replace(settings.network, field_mm=field_around(whole)))
    coarse = cube_template(whole, size=settings.network.size, field_mm=settings.network.field_mm)
    cubes = {split: source.cubes(some, coarse, progress=part_of(progress, 2 / 3, 1)) for split, some in members.items()}
    write_record(out, asdict(settings), listed)
    gan = build(settings, device)
    gan.template.copy_(torch.from_numpy(coarse.array))
    return _Run(gan, settings, listed, cubes, out, _stored(settings, listed, coarse), device)


def _stored(settings: VolumeGanTraining, listed: list[Subject], template: Volume) -> dict[str, Any]:
    """What a checkpoint must have been made with."""
    return {
        **asdict(settings),
        "template": hashlib.sha256(template.array.tobytes()).hexdigest(),
        "subjects": {subject.name: subject.split for subject in listed},
    }


def _card(settings: VolumeGanTraining, name: str, training: dict[str, Any], validation: dict[str, float], digest: str) -> Card:
    return new_card(
        name,
        settings.grid,
        method="fanogan-3d",
        description=f"Judges a whole {settings.modality} scan of an adult at once (3-D f-AnoGAN, Simarro 2020).",
        training=training,
        figures=validation,
        digest=digest,
        modality=settings.modality,
        preprocessing="brain mask, N4, percentiles 1/50/99 to 0.10/0.62/0.95, affine to the template, cube, [−1, 1]",
        network=asdict(settings.network),
    )
