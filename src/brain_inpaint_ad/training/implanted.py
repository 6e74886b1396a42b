"""Healthy brains with implanted changes, as the evidence network sees them: made once and kept; cubes of them drawn."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from scipy.ndimage import binary_erosion
from torch import Tensor

from ..detectors.evidence import box_of, weigh_up
from ..detectors.healthy import Aligned, HealthyGroup, align, centred_grid
from ..files import write_atomically
from ..prepare.intensity import normalise
from ..progress import Progress, silent
from ..volume import Array, Volume
from .data import Scan
from .implants import implant
from .scanners import other_scanner

SAMPLES = 2  # goes up when the same scan would be changed in another way


@dataclass(frozen=True, slots=True)
class Sample:
    """maps: float16 (6, slices, rows, columns); brain, changed: bool of its shape; all in the box around the brain."""

    maps: Array
    brain: Array
    changed: Array


def make_samples(
    scans: list[Scan],
    group: HealthyGroup,
    copies: int,
    folder: Path,
    *,
    seed: int,
    progress: Progress = silent,
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
                image = as_volume(scan, group.template.grid.spacing[0])
                aligned = aligned or align(group, image)
                rng = np.random.default_rng([seed, number, *scan.name.encode()])
                sample = _changed_copy(image.array, scan.brain, scans[rng.integers(len(scans))].image, aligned, rng)
                with write_atomically(file) as temporary, temporary.open("wb") as stream:
                    np.savez(stream, **asdict(sample))
            with np.load(file, allow_pickle=False) as arrays:
                samples.append(Sample(**arrays))
    return samples


def draw_cubes(samples: list[Sample], count: int, side: int, rng: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Cubes from random places of random samples, half of them mirrored: maps, changed, brain (count, 1 or 6, side³)."""
    chance = np.random.default_rng(int(torch.randint(2**62, (1,), generator=rng)))
    cubes = [_cube(samples[chance.integers(len(samples))], side, chance) for _ in range(count)]
    maps, changed, brain = (torch.from_numpy(np.stack(parts)) for parts in zip(*cubes, strict=True))
    return maps, changed, brain


def as_volume(scan: Scan, spacing_mm: float) -> Volume:
    """On a centred grid, as healthy groups are."""
    return Volume(scan.image.astype(np.float32), centred_grid(scan.image.shape, spacing_mm), scan.name)


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
