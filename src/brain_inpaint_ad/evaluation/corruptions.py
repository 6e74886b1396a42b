"""Healthy scans made bad, each in one way scans go wrong: what quality control must notice.

Intensities count from that of no signal. Motion, ghosting and noise are TorchIO's (Pérez-García 2021).
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace
from importlib.util import find_spec
from typing import Any

import numpy as np
import SimpleITK as sitk
import torch

from ..errors import SettingsError
from ..volume import Array, Volume

Corruption = Callable[[Volume, Array, np.random.Generator], tuple[Volume, Array]]


def motion(scan: Volume, brain: Array, rng: np.random.Generator) -> tuple[Volume, Array]:
    """Four movements of up to 10° and 10 mm during the acquisition (Shaw 2019)."""
    return _torchio("RandomMotion", scan, rng, degrees=10, translation=10, num_transforms=4), brain


def ghosting(scan: Volume, brain: Array, rng: np.random.Generator) -> tuple[Volume, Array]:
    """Four to eight ghosts along a random axis, as from pulsation or breathing."""
    return _torchio("RandomGhosting", scan, rng, num_ghosts=(4, 8), intensity=(0.7, 1.0)), brain


def noise(scan: Volume, brain: Array, rng: np.random.Generator) -> tuple[Volume, Array]:
    """Gaussian, a fifth of the brain's median intensity."""
    spread = 0.2 * float(np.median(scan.array[brain]))
    return _torchio("RandomNoise", scan, rng, mean=0.0, std=(spread, spread)), brain


def wrong_orientation(scan: Volume, brain: Array, rng: np.random.Generator) -> tuple[Volume, Array]:
    """The header turns the head by 90° or 180° about one axis of the world."""
    turn, axis = np.eye(3), rng.integers(3)
    angle = rng.choice([np.pi / 2, np.pi, -np.pi / 2])
    one, other = (n for n in range(3) if n != axis)
    turn[one, one] = turn[other, other] = np.cos(angle)
    turn[one, other], turn[other, one] = -np.sin(angle), np.sin(angle)
    direction = (turn.round() @ np.reshape(scan.grid.direction, (3, 3))).ravel()
    return replace(scan, grid=replace(scan.grid, direction=tuple(float(number) for number in direction))), brain


def missing_slices(scan: Volume, brain: Array, rng: np.random.Generator) -> tuple[Volume, Array]:
    """A fifth of the slices across one axis of the file are empty, in blocks of three."""
    axis = int(rng.integers(3))
    first, last = _extent(brain, axis)
    blocks = np.arange(first, last + 1, 3)
    values = scan.array.copy()
    for start in rng.choice(blocks, max(1, len(blocks) // 5), replace=False):
        values[_across(axis, slice(start, start + 3))] = _background(scan)
    return scan.with_array(values), brain


def clipped_field(scan: Volume, brain: Array, rng: np.random.Generator) -> tuple[Volume, Array]:
    """The field of view ends a quarter into the brain, at one end of one axis of the file."""
    axis = int(rng.integers(3))
    first, last = _extent(brain, axis)
    quarter = (last - first) // 4
    keep = slice(first + quarter, None) if rng.random() < 0.5 else slice(0, last - quarter)
    values, inside = np.full_like(scan.array, _background(scan)), np.zeros_like(brain)
    values[_across(axis, keep)], inside[_across(axis, keep)] = scan.array[_across(axis, keep)], brain[_across(axis, keep)]
    return scan.with_array(values), inside


CORRUPTIONS: dict[str, Corruption] = {
    "motion": motion,
    "ghosting": ghosting,
    "noise": noise,
    "wrong orientation": wrong_orientation,
    "missing slices": missing_slices,
    "clipped field": clipped_field,
}
FAILED_REGISTRATION = "failed registration"  # made after preparation, see `misplaced`
_WITH_TORCHIO = ("motion", "ghosting", "noise")
_TORCHIO_MISSING = 'corrupted scans are made with TorchIO, which is missing; run: pip install "torchio", or choose other kinds.'


def check_torchio(kinds: Collection[str]) -> None:
    """Raises SettingsError when some of the kinds need TorchIO, and it is missing."""
    if not set(kinds).isdisjoint(_WITH_TORCHIO) and find_spec("torchio") is None:
        raise SettingsError(_TORCHIO_MISSING)


def misplaced(transform: sitk.Transform, rng: np.random.Generator) -> sitk.Transform:
    """A registration that went wrong: 15° to 30° about a random axis and 10 to 25 mm beside."""
    axis, shift = rng.normal(size=3), rng.normal(size=3)
    wrong = sitk.VersorRigid3DTransform()
    wrong.SetRotation((axis / np.linalg.norm(axis)).tolist(), float(np.deg2rad(rng.uniform(15, 30))))
    wrong.SetTranslation((shift / np.linalg.norm(shift) * rng.uniform(10, 25)).tolist())
    return sitk.CompositeTransform([transform, wrong])  # the last is done first


def _torchio(name: str, scan: Volume, rng: np.random.Generator, **options: Any) -> Volume:
    """TorchIO draws from torch's global generator; it is put back as it was."""
    try:
        import torchio
    except ImportError as error:
        raise SettingsError(_TORCHIO_MISSING) from error
    values = torch.from_numpy(np.ascontiguousarray(scan.array, dtype=np.float32))[None]
    image = torchio.ScalarImage(tensor=values, affine=np.diag([*scan.grid.spacing[::-1], 1.0]))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(rng.integers(2**31)))
        corrupted = getattr(torchio, name)(**options)(image)
    return scan.with_array(corrupted.data[0].numpy().astype(np.float32))


def _extent(brain: Array, axis: int) -> tuple[int, int]:
    """First and last index along the axis that show brain."""
    shown = np.flatnonzero(brain.any(axis=tuple(n for n in range(3) if n != axis)))
    return int(shown[0]), int(shown[-1])


def _across(axis: int, part: slice) -> tuple[slice, ...]:
    return tuple(part if n == axis else slice(None) for n in range(3))


def _background(scan: Volume) -> float:
    return float(scan.array.min())
