"""Algorithm 1 of Nguyen 2020: train G to rebuild what was erased from healthy slices, and D to see through it."""

from __future__ import annotations

from contextlib import closing
from dataclasses import asdict, dataclass
from math import isfinite
from pathlib import Path
from typing import Any, Unpack

import torch
from torch import Tensor

from ..devices import autocast
from ..errors import SettingsError
from ..nets.critic import Critic
from ..nets.unet import UNet, UNetSettings
from ..prepare import GridSettings
from ..progress import part_of
from ..weights.card import Card
from ..weights.store import load_generator, save_model
from . import loop
from .cards import new_card
from .data import draw_batch
from .erase import around, erase, paste, sample_windows
from .inspection import make_inspector
from .losses import critic_loss, fool_loss, l1_inside
from .run import Options, plan_run, tensorboard

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
    start_from: str | None = None,
    **options: Unpack[Options],
) -> int:
    """Train on the scans below `data`; everything lands in the folder `out`. Returns iterations done.

    start_from: name or path of a generator to begin with. The weights with their card are `generator.safetensors` and
    `generator.json`. Other options and errors: see `run.plan_run`.
    """
    run = plan_run(data, out, seed=settings.seed, iterations=iterations, **options)
    start, origin = _start(start_from)
    nets = build(settings, run.device, start=start)
    run.make_folder()
    state, _ = run.state(
        {"generator": nets.generator, "critic": nets.critic},
        {"generator": nets.generator_optimiser, "critic": nets.critic_optimiser},
        {**asdict(settings), "start_from": origin},
    )
    train_slices, validation = run.slices(settings.grid, settings)

    def step(rng: torch.Generator) -> dict[str, Tensor]:
        image, brain = draw_batch(train_slices, settings.batch, rng)
        window = sample_windows(brain, settings.draw_pixels(rng), rng)
        return training_step(nets, image.to(run.device), window.to(run.device), settings)

    with closing(tensorboard(out)) as board:
        sizes = {size: settings.pixels(size) for size in settings.sizes_mm}
        inspect = make_inspector(nets.generator, validation, sizes, board=board, folder=out)
        rest = part_of(run.progress, 0.1, 1)
        done = loop.run(state, step, run.limits, folder=out, logger=board, inspect=inspect, progress=rest)
        figures = inspect(done)
    training = {**run.facts(settings, done), "start_from": origin}
    save_model(
        nets.generator,
        out / "generator.safetensors",
        lambda digest: _card(settings, run.name, training=training, validation=figures, digest=digest),
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
    several = "windows of several sizes with one network, which the paper tried and rejected,"
    what = several if settings.other_windows_mm else "windows"
    return new_card(
        name,
        settings.grid,
        method="inpainting",
        description=f"Inpaints {what} in axial T1 slices of healthy adults (Nguyen 2020).",
        training=training,
        figures=dict(validation[settings.window_mm]),
        digest=digest,
        window_mm=settings.window_mm,
        width=settings.width,
        depth=settings.depth,
        max_width=settings.max_width,
        minmax="window",
        other_windows={
            f"{size:g}": {"thresholds": {}, "healthy_validation": dict(validation[size])}
            for size in sorted(settings.other_windows_mm)
        },
    )
