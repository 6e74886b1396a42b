"""Healthy scans for whole-scan models: the template they share, their cubes, and what is drawn of them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..detectors.cube import CUBE_VERSION, centred, mean_template, on_cube, to_cube
from ..detectors.healthy import centred_grid
from ..errors import TrainingError
from ..io import read_scan
from ..prepare import PREPARATION, GridSettings
from ..prepare.kinds import prepare_as
from ..progress import Progress, part_of, silent
from ..volume import Array, Grid, Volume
from .data import Subject, identity_of, kept, load_prepared

SHIFT = 1  # voxels of the cube by which training cubes are moved at most, along each axis
BEND = 0.1  # of the logarithm of the exponent by which their contrast is bent


@dataclass(frozen=True, slots=True)
class CubeSource:
    """Where cubes come from: scans of one modality, prepared on one grid; all that took long is kept in `cache`."""

    cache: Path
    modality: str = "T1"
    grid: GridSettings = field(default_factory=GridSettings)

    def template(self, members: Sequence[Subject], *, named: Path | None = None, progress: Progress = silent) -> Volume:
        """What all are registered to, its middle at 0: the brain `named`, prepared like the others, or the members' mean."""
        if named is not None:
            image = prepare_as(self.modality, read_scan(named), settings=self.grid).image.array
            return centred(Volume(image, centred_grid(image.shape, self.grid.spacing_mm), named.name))
        if len(members) < 2:
            raise TrainingError("a mean of healthy brains needs two training scans or more; name a --template.")

        def make() -> dict[str, Array]:
            volumes = []
            for done, subject in enumerate(members):
                part_of(progress, 0, 0.3)(done / len(members), f"preparing {subject.name}")
                volumes.append(self._brain(subject)[0])
            mean = mean_template(volumes, progress=part_of(progress, 0.3, 1))
            return {"array": mean.array.astype(np.float16), "origin": np.asarray(mean.grid.origin)}

        made_from = [[identity_of(subject) for subject in members], *self._preparation]
        arrays = kept(self.cache, "template", made_from, make)
        grid = centred_grid(arrays["array"].shape, self.grid.spacing_mm)
        x, y, z = arrays["origin"].tolist()
        return Volume(arrays["array"].astype(np.float32), Grid(grid.size, grid.spacing, (x, y, z), grid.direction), "mean")

    def cubes(self, members: Sequence[Subject], template: Volume, *, progress: Progress = silent) -> Tensor:
        """Of all members, float16 (n, size, size, size) in [−1, 1]. template: as `cube_template` gives it."""
        sha256 = hashlib.sha256(np.ascontiguousarray(template.array).tobytes()).hexdigest()
        cubes = []
        for done, subject in enumerate(members):
            progress(done / len(members), f"registering {subject.name}")

            def make(subject: Subject = subject) -> dict[str, Array]:
                image, brain = self._brain(subject)
                return {"cube": to_cube(image, brain, template).values.astype(np.float16)}

            made_from = [identity_of(subject), *self._preparation, template.grid.spacing, sha256]
            cubes.append(kept(self.cache, f"cube-{subject.name}", made_from, make)["cube"])
        return torch.from_numpy(np.stack(cubes))

    @property
    def _preparation(self) -> list[object]:
        return [self.grid.identity(), PREPARATION, CUBE_VERSION, *([] if self.modality == "T1" else [self.modality])]

    def _brain(self, subject: Subject) -> tuple[Volume, Array]:
        image, brain = load_prepared(subject, self.cache, self.grid, modality=self.modality)
        return Volume(image.astype(np.float32), centred_grid(image.shape, self.grid.spacing_mm), subject.name), brain


def cube_template(template: Volume, *, size: int, field_mm: Sequence[float]) -> Volume:
    """The template on the cube, in the precision in which a model file keeps it."""
    coarse = on_cube(template, size=size, field_mm=field_mm)
    return coarse.with_array(coarse.array.astype(np.float16).astype(np.float32))


def draw_cubes(cubes: Tensor, count: int, rng: torch.Generator) -> Tensor:
    """Random cubes, half of them mirrored left to right, moved by up to SHIFT voxels, their contrast bent by up to 10 %.

    Returns float32 (count, 1, size, size, size) in [−1, 1], on the CPU.
    """
    picked = torch.randint(len(cubes), (count,), generator=rng)
    volume = cubes[picked].float()
    mirrored = torch.rand(count, generator=rng) < 0.5
    volume = torch.where(mirrored[:, None, None, None], volume.flip(3), volume)
    moves = torch.randint(-SHIFT, SHIFT + 1, (count, 3), generator=rng).tolist()
    moved = torch.stack([part.roll(tuple(move), (0, 1, 2)) for part, move in zip(volume, moves, strict=True)])
    gamma = torch.empty(count, 1, 1, 1).uniform_(-BEND, BEND, generator=rng).exp()
    return (2 * ((moved + 1) / 2).clamp(0, 1) ** gamma - 1)[:, None]
