"""Train the evidence network: healthy brains with implanted changes, seen beside a group of healthy brains."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.ndimage import binary_erosion
from torch import Tensor, nn
from torch.nn import functional

from ..detectors.evidence import box_of, logits_of, weigh_up
from ..detectors.healthy import Aligned, HealthyGroup, align, build_group, centred_grid
from ..devices import autocast, pick_device
from ..extras import check_installed
from ..files import write_atomically
from ..nets.evidence import EvidenceNet, EvidenceSettings
from ..prepare import GridSettings
from ..prepare.intensity import normalise
from ..progress import Progress, part_of, silent
from ..volume import Array, Volume
from ..weights.card import Card
from ..weights.store import save_model
from . import loop
from .data import Scan, Subject, find_subjects, identity_of, load_scans
from .implants import implant
from .run import check_seed, run_folder, save_picture, split_members, tensorboard, training_facts, write_record
from .scanners import other_scanner

MODEL = "model.safetensors"
PER_SCAN = 5  # changed copies of each training scan
SAMPLES = 1  # goes up when the same scan would be changed in another way
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


@dataclass(frozen=True, slots=True)
class Sample:
    """maps: float16 (6, slices, rows, columns); brain, changed: bool of its shape; all in the box around the brain."""

    maps: Array
    brain: Array
    changed: Array


def train(
    data: Path,
    out: Path,
    *,
    settings: EvidenceTraining,
    iterations: int = 6_000,
    max_minutes: float | None = None,
    resume: bool = False,
    subjects: Path | None = None,
    device: str = "auto",
    name: str | None = None,
    data_note: str = "",
    progress: Progress = silent,
) -> int:
    """Train on the scans below `data`; everything lands in the folder `out`. Returns iterations done.

    The weights with their card are `model.safetensors` and `model.json`; other arguments as for `inpainting.train`.
    Raises TrainingError, InputError or SettingsError with what to do.
    """
    check_installed("sklearn", "scikit-learn", purpose="training the evidence network")
    where = pick_device(device)
    limits = loop.LoopSettings(iterations=iterations, seed=settings.seed, max_minutes=max_minutes)
    listed = find_subjects(data, subjects)
    members = split_members(listed)
    out = run_folder(out, resume=resume)
    cache, grid = out / "prepared", settings.grid
    learning = load_scans(members["train"], cache, grid, progress=part_of(progress, 0, 0.05))
    held_out = load_scans(members["validation"], cache, grid, progress=part_of(progress, 0.05, 0.06))
    group = _group(learning, settings.spacing_mm, out / f"group-{_origin(members['train'])}.npz", part_of(progress, 0.06, 0.15))
    net = _build(settings, group, where)
    averaged = loop.averaged(net.unet)
    optimiser = torch.optim.AdamW(net.unet.parameters(), settings.rate, weight_decay=1e-4)
    stored = {**asdict(settings), "subjects": {subject.name: subject.split for subject in listed}}
    state = loop.State({"unet": net.unet, "averaged": averaged}, {"unet": optimiser}, stored)
    if resume:
        loop.load(state, out / loop.CHECKPOINT)
    write_record(out, asdict(settings), listed)
    kept = out / f"samples-{_origin(listed, settings.seed)}"
    samples = make_samples(learning, group, PER_SCAN, kept, settings, part_of(progress, 0.15, 0.3))
    judged = make_samples(held_out, group, 1, kept, settings, part_of(progress, 0.3, 0.31))

    def step(rng: torch.Generator) -> dict[str, Tensor]:
        losses = training_step(net.unet, optimiser, *draw_cubes(samples, settings, rng), where)
        averaged.update_parameters(net.unet)
        return losses

    def average() -> EvidenceNet:
        """The network with the running mean of its weights, in evaluation mode."""
        mean = _build(settings, group, where)
        mean.unet.load_state_dict(averaged.module.state_dict())
        return mean.eval()

    with closing(tensorboard(out)) as board:
        inspect = _inspector(average, judged, settings, board=board, folder=out)
        done = loop.run(state, step, limits, folder=out, logger=board, inspect=inspect, progress=part_of(progress, 0.31, 0.95))
        figures = inspect(done)
    final = average()
    final.keep_healthy(_healthy_answers(final, held_out, group, part_of(progress, 0.95, 1)))
    facts = training_facts(asdict(settings), listed, iterations=done, note=data_note)
    facts["heat_from"] = [scan.name for scan in held_out]
    facts["seen"] = "Healthy brains with made-up changes (training.implants); no lesion."
    save_model(
        final,
        out / MODEL,
        lambda digest: _card(final, settings, name or out.name, training=facts, figures=figures, digest=digest),
    )
    return done


def make_samples(
    scans: list[Scan], group: HealthyGroup, copies: int, folder: Path, settings: EvidenceTraining, progress: Progress = silent
) -> list[Sample]:
    """Changed copies of every scan, as the network sees them; each is made once, from its name and number, and kept."""
    folder.mkdir(parents=True, exist_ok=True)
    samples = []
    for done, scan in enumerate(scans):
        progress(done / len(scans), f"implanting changes in {scan.name}")
        files = [folder / f"{scan.name}-{number}.npz" for number in range(copies)]
        aligned = None
        for number, file in enumerate(files):
            if not file.exists():
                image = _as_volume(scan, settings.spacing_mm)
                aligned = aligned or align(group, image)
                rng = np.random.default_rng([settings.seed, number, *scan.name.encode()])
                sample = _changed_copy(image.array, scan.brain, scans[rng.integers(len(scans))].image, aligned, rng)
                with write_atomically(file) as temporary, temporary.open("wb") as stream:
                    np.savez(stream, **asdict(sample))
            with np.load(file, allow_pickle=False) as arrays:
                samples.append(Sample(**arrays))
    return samples


def draw_cubes(samples: list[Sample], settings: EvidenceTraining, rng: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Cubes from random places of random samples, half of them mirrored: maps, changed, brain (batch, 1 or 6, patch³)."""
    chance = np.random.default_rng(int(torch.randint(2**62, (1,), generator=rng)))
    cubes = [_cube(samples[chance.integers(len(samples))], settings.patch, chance) for _ in range(settings.batch)]
    maps, changed, brain = (torch.from_numpy(np.stack(parts)) for parts in zip(*cubes, strict=True))
    return maps, changed, brain


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


def _changed_copy(image: Array, brain: Array, other: Array, aligned: Aligned, rng: np.random.Generator) -> Sample:
    if rng.random() < 0.3:  # skull strippers differ
        brain = binary_erosion(brain)
    changed, where = implant(image * brain, brain, other.astype(np.float32), rng, spacing_mm=aligned.grid.spacing[0])
    seen = normalise(other_scanner(changed, brain, rng), brain)
    box = box_of(brain)
    maps = weigh_up(aligned, seen, brain)[(slice(None), *box)]
    return Sample(maps.astype(np.float16), brain[box], (where & brain)[box])


def _cube(sample: Sample, side: int, rng: np.random.Generator) -> tuple[Array, Array, Array]:
    starts = [int(rng.integers(0, max(1, size - side + 1))) for size in sample.brain.shape]
    box = tuple(slice(start, start + side) for start in starts)
    missing = [(0, max(0, side - size)) for size in sample.brain.shape]
    parts = (sample.maps[(slice(None), *box)], sample.changed[box][None], sample.brain[box][None])
    cubes = [np.pad(part.astype(np.float32), [(0, 0), *missing]) for part in parts]
    if rng.random() < 0.5:
        cubes = [cube[..., ::-1].copy() for cube in cubes]
    return cubes[0], cubes[1], cubes[2]


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


def _as_volume(scan: Scan, spacing_mm: float) -> Volume:
    return Volume(scan.image.astype(np.float32), centred_grid(scan.image.shape, spacing_mm), scan.name)


def _healthy_answers(net: EvidenceNet, scans: list[Scan], group: HealthyGroup, progress: Progress) -> Array:
    """Of all brain voxels of the scans as they are."""
    answers = []
    for done, scan in enumerate(scans):
        progress(done / len(scans), f"how rare answers are in {scan.name}")
        image = _as_volume(scan, net.settings.spacing_mm)
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
    grid = settings.grid
    return Card(
        name=name,
        description="Weighs how unusual level and texture are for their place in healthy T1 brains and against the other side.",
        method="evidence",
        modality="T1",
        window_mm=0.0,
        width=0,
        depth=0,
        max_width=None,
        spacing_mm=grid.spacing_mm,
        rows=grid.rows,
        columns=grid.columns,
        minmax="slice",
        preprocessing="brain mask, N4, world-axial grid, percentiles 1/50/99 to 0.10/0.62/0.95, 0 outside the brain",
        training=training,
        thresholds={},
        healthy_validation=figures,
        sha256=digest,
        network=asdict(net.settings),
    )
