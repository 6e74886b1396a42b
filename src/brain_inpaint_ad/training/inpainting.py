"""Algorithm 1 of Nguyen 2020: train G to rebuild what was erased from healthy slices, and D to see through it."""

from __future__ import annotations

from contextlib import closing
from dataclasses import asdict, dataclass
from math import isfinite
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..devices import autocast, pick_device
from ..errors import SettingsError
from ..nets.critic import Critic
from ..nets.unet import UNet, UNetSettings
from ..prepare import GridSettings
from ..progress import Progress, part_of, silent
from ..weights.card import Card
from ..weights.store import load_generator, save_model
from . import loop
from .data import draw_batch, find_subjects
from .erase import around, erase, paste, sample_windows
from .inspection import make_inspector
from .losses import critic_loss, fool_loss, l1_inside
from .run import load_splits, run_folder, tensorboard, training_facts, write_record

WINDOWS_MM = (8, 16, 32, 64)  # the sizes of the paper


@dataclass(frozen=True, kw_only=True)
class InpaintingSettings:
    """What makes a generator; stored in its checkpoint and card.

    other_windows_mm: further sizes for the same network: each batch is drawn one of all. Tried and rejected in Nguyen 2020
    ("Segmentation Quality"): such a network rebuilds parts of tumours, too. fool_weight 0 is L1 alone; the critic still learns.
    """

    window_mm: float = 32.0
    other_windows_mm: tuple[float, ...] = ()
    spacing_mm: float = 2.0
    width: int = 16
    depth: int = 4
    max_width: int | None = None
    batch: int = 16  # as published
    rate_generator: float = 1e-4  # α_G, as published
    rate_critic: float = 1e-3  # α_D, as published
    rebuild_weight: float = 50.0  # λ_rec, as published
    fool_weight: float = 1.0  # λ_adv, as published
    seed: int = 0

    def __post_init__(self) -> None:
        for size in self.sizes_mm:
            if size not in WINDOWS_MM:
                raise SettingsError(f"the window must be one of {WINDOWS_MM} mm, got {size:g}")
            if self.sizes_mm.count(size) > 1:
                raise SettingsError(f"the window of {size:g} mm is named twice; name each size once")
        if not (isfinite(self.fool_weight) and self.fool_weight >= 0):
            raise SettingsError(f"the weight of the adversarial loss must be 0 or more, got {self.fool_weight:g}")

    @property
    def sizes_mm(self) -> tuple[float, ...]:
        """All sides of windows, the card's first."""
        return (self.window_mm, *self.other_windows_mm)

    @property
    def grid(self) -> GridSettings:
        """The papers' field of 256 × 192 mm at this spacing."""
        return GridSettings.at(self.spacing_mm)

    def draw_pixels(self, rng: torch.Generator) -> int:
        """Side γ of the windows of one batch in pixels."""
        drawn = int(torch.randint(len(self.sizes_mm), (1,), generator=rng)) if self.other_windows_mm else 0
        return self.pixels(self.sizes_mm[drawn])

    def pixels(self, size_mm: float) -> int:
        """A window's side on the grid."""
        return round(size_mm / self.spacing_mm)


@dataclass(frozen=True, slots=True)
class Nets:
    """The two players and their optimisers."""

    generator: UNet
    critic: Critic
    generator_optimiser: torch.optim.Optimizer
    critic_optimiser: torch.optim.Optimizer


def build(settings: InpaintingSettings, device: torch.device, *, start: UNet | None = None) -> Nets:
    """Freshly initialised networks; equal seeds give equal weights, whatever else uses random numbers.

    start: a generator whose weights G begins with; it may have more levels. Raises SettingsError when the shapes differ.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        generator = UNet(UNetSettings(width=settings.width, depth=settings.depth, max_width=settings.max_width))
        critic = Critic()
    if start is not None:
        begin_with(generator, start)
    generator.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    critic.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    # β₁ = 0.5 is usual for GANs (Radford 2016); the paper names only the rates.
    return Nets(
        generator,
        critic,
        torch.optim.Adam(generator.parameters(), settings.rate_generator, betas=(0.5, 0.999)),
        torch.optim.Adam(critic.parameters(), settings.rate_critic, betas=(0.5, 0.999)),
    )


def begin_with(generator: UNet, start: UNet, *, but: tuple[str, ...] = ()) -> None:
    """Copy the weights of `start`, all `but` the named ones. Raises SettingsError when the shapes differ."""
    own, given = generator.state_dict(), start.state_dict()
    try:
        generator.load_state_dict({key: own[key] if key in but else given[key] for key in own})
    except (KeyError, RuntimeError) as error:
        have, want = (" + ".join(map(str, settings.channels)) for settings in (start.settings, generator.settings))
        raise SettingsError(
            f"a U-Net of {want} channels by level cannot start from one of {have}; give the same --width and --max-width, "
            "and a --depth that is not larger."
        ) from error


def training_step(nets: Nets, image: Tensor, window: Tensor, settings: InpaintingSettings) -> dict[str, Tensor]:
    """Lines 7 to 11 of Algorithm 1. image, window: (batch, 1, rows, columns). Returns losses to log.

    L_rec is averaged over the window's pixels, and D sees the window with its surroundings: outside the window the slice is
    known, and a loss over the whole frame, as printed, would spend itself on copying.
    """
    nets.generator.train()
    with autocast(image.device):
        filled = nets.generator(erase(image, window))
    filled = filled.float()
    real_patch, fake_patch = around(image, window), around(paste(filled, image, window), window)
    rebuild = l1_inside(filled, image, window)

    nets.critic.requires_grad_(False)
    with autocast(image.device):
        fool_logits = nets.critic(fake_patch)
    fool = fool_loss(fool_logits.float())
    nets.generator_optimiser.zero_grad(set_to_none=True)
    (settings.rebuild_weight * rebuild + settings.fool_weight * fool).backward()
    nets.generator_optimiser.step()

    nets.critic.requires_grad_(True)
    with autocast(image.device):
        logits = nets.critic(torch.cat([real_patch, fake_patch.detach()]))
    real, fake = logits.float().chunk(2)
    told_apart = critic_loss(real, fake)
    nets.critic_optimiser.zero_grad(set_to_none=True)
    told_apart.backward()
    nets.critic_optimiser.step()
    return {"rebuild": rebuild.detach(), "fool": fool.detach(), "critic": told_apart.detach()}


def train(
    data: Path,
    out: Path,
    *,
    settings: InpaintingSettings,
    iterations: int = 30_000,
    max_minutes: float | None = None,
    resume: bool = False,
    subjects: Path | None = None,
    start_from: str | None = None,
    device: str = "auto",
    name: str | None = None,
    data_note: str = "",
    progress: Progress = silent,
) -> int:
    """Train on the scans below `data`; everything lands in the folder `out`. Returns iterations done.

    start_from: name or path of a generator to begin with; name: of the model, default the folder's; data_note: source and
    licence of the data, for the model's card.
    The weights with their card are `generator.safetensors` and `generator.json`.
    Raises TrainingError, InputError or SettingsError with what to do.
    """
    limits = loop.LoopSettings(iterations=iterations, seed=settings.seed, max_minutes=max_minutes)
    where = pick_device(device)
    listed = find_subjects(data, subjects)
    start, origin = _start(start_from)
    nets = build(settings, where, start=start)
    out = run_folder(out, resume=resume)  # made last: a refused setting leaves no folder behind
    state = loop.State(
        {"generator": nets.generator, "critic": nets.critic},
        {"generator": nets.generator_optimiser, "critic": nets.critic_optimiser},
        {**asdict(settings), "start_from": origin, "subjects": {subject.name: subject.split for subject in listed}},
    )
    if resume:
        loop.load(state, out / loop.CHECKPOINT)  # refused now rather than after every scan was prepared
    train_slices, validation = load_splits(listed, out / "prepared", settings.grid, progress=part_of(progress, 0, 0.1))
    write_record(out, asdict(settings), listed)

    def step(rng: torch.Generator) -> dict[str, Tensor]:
        image, brain = draw_batch(train_slices, settings.batch, rng)
        window = sample_windows(brain, settings.draw_pixels(rng), rng)
        return training_step(nets, image.to(where), window.to(where), settings)

    with closing(tensorboard(out)) as board:
        sizes = {size: settings.pixels(size) for size in settings.sizes_mm}
        inspect = make_inspector(nets.generator, validation, sizes, board=board, folder=out)
        done = loop.run(state, step, limits, folder=out, logger=board, inspect=inspect, progress=part_of(progress, 0.1, 1))
        figures = inspect(done)
    training = {**training_facts(asdict(settings), listed, iterations=done, note=data_note), "start_from": origin}
    save_model(
        nets.generator,
        out / "generator.safetensors",
        lambda digest: _card(settings, name or out.name, training=training, validation=figures, digest=digest),
    )
    return done


def _start(model: str | None) -> tuple[UNet | None, dict[str, str]]:
    """The generator to begin with, and its name and SHA-256 for checkpoint and card."""
    if model is None:
        return None, {}
    generator, card = load_generator(model)
    return generator, {"name": card.name, "sha256": card.sha256}


def _card(
    settings: InpaintingSettings,
    name: str,
    *,
    training: dict[str, Any],
    validation: dict[float, dict[str, float]],
    digest: str,
) -> Card:
    """validation: figures by size of the window in mm."""
    grid = settings.grid
    several = "windows of several sizes with one network, which the paper tried and rejected,"
    what = several if settings.other_windows_mm else "windows"
    return Card(
        name=name,
        description=f"Inpaints {what} in axial T1 slices of healthy adults (Nguyen 2020).",
        method="inpainting",
        modality="T1",
        window_mm=settings.window_mm,
        width=settings.width,
        depth=settings.depth,
        max_width=settings.max_width,
        spacing_mm=grid.spacing_mm,
        rows=grid.rows,
        columns=grid.columns,
        minmax="window",
        preprocessing="brain mask, N4, world-axial grid, percentiles 1/50/99 to 0.10/0.62/0.95, 0 outside the brain",
        training=training,
        thresholds={},
        healthy_validation=dict(validation[settings.window_mm]),
        sha256=digest,
        other_windows={
            f"{size:g}": {"thresholds": {}, "healthy_validation": dict(validation[size])}
            for size in sorted(settings.other_windows_mm)
        },
    )
