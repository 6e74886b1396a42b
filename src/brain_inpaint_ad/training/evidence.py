"""Train the evidence network: healthy brains with implanted changes, seen beside a group of healthy brains."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Unpack

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from ..detectors.evidence import logits_of, weigh_up
from ..detectors.healthy import HealthyGroup, align
from ..detectors.make_group import build_group
from ..devices import autocast
from ..extras import check_installed
from ..files import write_atomically
from ..nets.evidence import EvidenceNet, EvidenceSettings
from ..prepare import GridSettings
from ..progress import Progress, part_of
from ..volume import Array
from ..weights.card import Card
from ..weights.store import save_model
from . import loop
from .cards import new_card
from .data import Scan, Subject, identity_of, load_scans
from .implanted import SAMPLES, Sample, as_volume, draw_cubes, make_samples
from .run import Options, check_seed, plan_run, save_picture, split_members, tensorboard, write_record

MODEL = "model.safetensors"
PER_SCAN = 5  # changed copies of each training scan
_DICE_SHARE = 0.3  # of the loss; the rest is cross-entropy


@dataclass(frozen=True, kw_only=True)
class EvidenceTraining:
    """What makes an evidence network; stored in its checkpoint and card. patch: side of the cubes in voxels."""

    spacing_mm: float = 2.0
    channels: tuple[int, ...] = (8, 16, 32, 48)
    batch: int = 2
    patch: int = 64
    rate: float = 1e-3
    seed: int = 0

    def __post_init__(self) -> None:
        check_seed(self.seed)

    @property
    def grid(self) -> GridSettings:
        """The papers' field of 256 × 192 mm at this spacing."""
        return GridSettings.at(self.spacing_mm)


def train(
    data: Path,
    out: Path,
    *,
    settings: EvidenceTraining,
    iterations: int = 6_000,
    **options: Unpack[Options],
) -> int:
    """Train on the scans below `data`; everything lands in the folder `out`. Returns iterations done.

    The weights with their card are `model.safetensors` and `model.json`. Other options and errors: see `run.plan_run`.
    """
    check_installed("sklearn", "scikit-learn", purpose="training the evidence network")
    run = plan_run(data, out, seed=settings.seed, iterations=iterations, **options)
    where, progress = run.device, run.progress
    members = split_members(run.listed)
    run.make_folder()
    cache, grid = out / "prepared", settings.grid
    learning = load_scans(members["train"], cache, grid, progress=part_of(progress, 0, 0.05))
    held_out = load_scans(members["validation"], cache, grid, progress=part_of(progress, 0.05, 0.06))
    group = _group(learning, settings.spacing_mm, out / f"group-{_origin(members['train'])}.npz", part_of(progress, 0.06, 0.15))
    net = _build(settings, group, where)
    averaged = loop.averaged(net.unet)
    optimiser = torch.optim.AdamW(net.unet.parameters(), settings.rate, weight_decay=1e-4)
    state, _ = run.state({"unet": net.unet, "averaged": averaged}, {"unet": optimiser}, asdict(settings))
    write_record(out, asdict(settings), run.listed)
    kept = out / f"samples-{_origin(run.listed, settings.seed)}"
    samples = make_samples(learning, group, PER_SCAN, kept, seed=settings.seed, progress=part_of(progress, 0.15, 0.3))
    judged = make_samples(held_out, group, 1, kept, seed=settings.seed, progress=part_of(progress, 0.3, 0.31))

    def step(rng: torch.Generator) -> dict[str, Tensor]:
        losses = training_step(net.unet, optimiser, *draw_cubes(samples, settings.batch, settings.patch, rng), where)
        averaged.update_parameters(net.unet)
        return losses

    def average() -> EvidenceNet:
        """The network with the running mean of its weights, in evaluation mode."""
        mean = _build(settings, group, where)
        mean.unet.load_state_dict(averaged.module.state_dict())
        return mean.eval()

    with closing(tensorboard(out)) as board:
        inspect = _inspector(average, judged, settings, board=board, folder=out)
        rest = part_of(progress, 0.31, 0.95)
        done = loop.run(state, step, run.limits, folder=out, logger=board, inspect=inspect, progress=rest)
        figures = inspect(done)
    final = average()
    final.keep_healthy(_healthy_answers(final, held_out, group, part_of(progress, 0.95, 1)))
    facts = run.facts(settings, done)
    facts["heat_from"] = [scan.name for scan in held_out]
    facts["seen"] = "Healthy brains with made-up changes (training.implants); no lesion."
    save_model(
        final,
        out / MODEL,
        lambda digest: _card(final, settings, run.name, training=facts, figures=figures, digest=digest),
    )
    return done


def training_step(
    unet: nn.Module, optimiser: torch.optim.Optimizer, maps: Tensor, changed: Tensor, brain: Tensor, device: torch.device
) -> dict[str, Tensor]:
    """Cross-entropy and soft Dice (Milletari 2016) inside the brain. Returns losses to log."""
    unet.train()
    target, inside = changed.to(device), brain.to(device)
    with autocast(device):
        logits = unet(maps.to(device).contiguous(memory_format=torch.channels_last_3d))
    logits = logits.float()
    entropy = (functional.binary_cross_entropy_with_logits(logits, target, reduction="none") * inside).sum() / inside.sum()
    chance = torch.sigmoid(logits) * inside
    overlap = 1 - (2 * (chance * target).sum() + 1) / (chance.sum() + target.sum() + 1)
    optimiser.zero_grad(set_to_none=True)
    (entropy + _DICE_SHARE * overlap).backward()
    optimiser.step()
    return {"entropy": entropy.detach(), "overlap": overlap.detach()}


def _origin(subjects: list[Subject], *settings: object) -> str:
    """Changes with the scans' files, their splits, the preparation, the implants and `settings`."""
    files = [[*identity_of(subject), subject.split] for subject in subjects]
    what = json.dumps([files, SAMPLES, settings])
    return hashlib.sha256(what.encode()).hexdigest()[:16]


def _group(scans: list[Scan], spacing_mm: float, kept: Path, progress: Progress) -> HealthyGroup:
    """Of the training scans; registering them takes minutes, so it is kept in the run's folder."""
    if not kept.exists():
        brains = [(scan.name, scan.image.astype(np.float32), scan.brain) for scan in scans]
        group = build_group(brains, spacing_mm=spacing_mm, progress=progress)
        with write_atomically(kept) as temporary, temporary.open("wb") as stream:
            np.savez_compressed(stream, allow_pickle=False, **group.to_arrays())
    with np.load(kept, allow_pickle=False) as arrays:
        return HealthyGroup.from_arrays(dict(arrays))


def _build(settings: EvidenceTraining, group: HealthyGroup, device: torch.device) -> EvidenceNet:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        net = EvidenceNet(
            EvidenceSettings(
                channels=settings.channels,
                group_shape=group.template.grid.shape,
                known=int(group.known.sum()),
                spacing_mm=settings.spacing_mm,
            )
        )
    net.keep_group(group.to_arrays())
    return net.to(device, memory_format=torch.channels_last_3d)  # type: ignore[call-overload, no-any-return]


def _healthy_answers(net: EvidenceNet, scans: list[Scan], group: HealthyGroup, progress: Progress) -> Array:
    """Of all brain voxels of the scans as they are."""
    answers = []
    for done, scan in enumerate(scans):
        progress(done / len(scans), f"how rare answers are in {scan.name}")
        image = as_volume(scan, net.settings.spacing_mm)
        maps = weigh_up(align(group, image), image.array, scan.brain)
        answers.append(logits_of(net, maps, scan.brain, spacing_mm=net.settings.spacing_mm)[scan.brain])
    return np.concatenate(answers)


def _inspector(
    average: Callable[[], EvidenceNet], judged: list[Sample], settings: EvidenceTraining, *, board: Any, folder: Path
) -> Callable[[int], dict[str, float]]:
    """How well implanted changes in validation brains are found, and a picture."""

    def inspect(iteration: int) -> dict[str, float]:
        from sklearn.metrics import average_precision_score, roc_auc_score

        net = average()
        areas: list[float] = []
        precisions: list[float] = []
        strips: list[Array] = []
        for sample in judged:
            if not sample.changed.any():
                continue
            answer = logits_of(net, sample.maps.astype(np.float32), sample.brain, spacing_mm=settings.spacing_mm)
            truth, values = sample.changed[sample.brain], answer[sample.brain]
            areas.append(roc_auc_score(truth, values))
            precisions.append(average_precision_score(truth, values))
            if len(strips) < 8:
                strips.append(_strip(sample, answer))
        if not areas:  # few validation scans, and none of them was changed
            return {}
        figures = {"auroc_implants": float(np.mean(areas)), "auprc_implants": float(np.mean(precisions))}
        for tag, value in figures.items():
            board.add_scalar(f"validation/{tag}", value, iteration)
        save_picture(np.concatenate(strips, axis=1), folder / "samples.png")
        return {tag: round(value, 4) for tag, value in figures.items()}

    return inspect


def _strip(sample: Sample, answer: Array, rows: int = 96, columns: int = 80) -> Array:
    """The slice with most change: brain, answer, truth, one below the other."""
    index = int(sample.changed.sum(axis=(1, 2)).argmax())
    parts = (sample.maps[4, index] / 2 + 0.6, 1 / (1 + np.exp(-answer[index])), sample.changed[index])
    framed = [np.zeros((rows, columns)) for _ in parts]
    for frame, part in zip(framed, parts, strict=True):
        shown = np.where(sample.brain[index], part, 0)[:rows, :columns]
        frame[: shown.shape[0], : shown.shape[1]] = shown
    return np.clip(np.concatenate(framed), 0, 1)


def _card(
    net: EvidenceNet, settings: EvidenceTraining, name: str, *, training: dict[str, Any], figures: dict[str, Any], digest: str
) -> Card:
    return new_card(
        name,
        settings.grid,
        method="evidence",
        description="Weighs how unusual level and texture are for their place in healthy T1 brains and against the other side.",
        training=training,
        figures=figures,
        digest=digest,
        network=asdict(net.settings),
    )
