"""From settings to a made-up scan: anatomy, lesions, gain and noise on a grid."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from ..errors import SettingsError
from ..volume import Array, Grid, Volume
from .brain import WHITE, Brain
from .head import Head
from .settings import Lesion, PhantomSettings
from .shapes import Waves, column, coverage

SCALE = 1000.0  # the scan's unit: white matter is 900
# Lowest and highest corner, mm to the right, anterior, superior.
_BRAIN_BOX = ((-82.0, -96.0, -84.0), (82.0, 96.0, 80.0))
_HEAD_BOX = ((-96.0, -116.0, -128.0), (96.0, 124.0, 96.0))
_PART_MM = 2.0  # coarser voxels are averages of parts no larger than this
_TO_LPS = np.array([-1.0, -1.0, 1.0])  # right, anterior, superior to LPS and back
_ANATOMY, _HEAD, _GAIN, _NOISE = range(4)  # independent random numbers for each


@dataclass(frozen=True)
class Phantom:
    """On one grid: scan: float32 T1; brain: bool mask; truth: int32, 0 healthy, 1…N the lesions as listed."""

    scan: Volume
    brain: Volume
    truth: Volume


def make_phantom(settings: PhantomSettings | None = None) -> Phantom:
    """A made-up T1 scan with known truth; equal settings give equal voxels.

    Raises SettingsError when a lesion's centre lies outside the brain.
    """
    settings = settings or PhantomSettings()
    world = _World.draw(settings)
    grid = _grid(settings)
    signal, inside, *lesions = _sample(world, grid)
    brain = inside >= 0.5
    truth = np.zeros(grid.shape, dtype=np.int32)
    for label, share in enumerate(lesions, start=1):
        truth[brain & (share >= 0.5)] = label
    noisy = _with_noise(signal, settings.noise * WHITE, np.random.default_rng([settings.seed, _NOISE]))
    scan = (noisy if settings.whole_head else np.where(brain, noisy, 0)) * np.float32(SCALE)
    image = Volume(scan, grid, "phantom")
    return Phantom(image, image.with_array(brain, "phantom's brain"), image.with_array(truth, "phantom's truth"))


@dataclass(frozen=True)
class _World:
    """Everything the scan shows, as a function of the place."""

    brain: Brain
    head: Head | None
    gain: Waves
    bias: float
    lesions: tuple[tuple[Lesion, float], ...]  # with the mean intensity of the healthy tissue in each

    @classmethod
    def draw(cls, settings: PhantomSettings) -> _World:
        brain = Brain.draw(np.random.default_rng([settings.seed, _ANATOMY]))
        head = Head.draw(np.random.default_rng([settings.seed, _HEAD])) if settings.whole_head else None
        gain = Waves.draw(np.random.default_rng([settings.seed, _GAIN]), length_mm=280.0, count=6)
        lesions = tuple((lesion, _healthy_mean(brain, lesion)) for lesion in settings.lesions)
        return cls(brain, head, gain, settings.bias, lesions)

    def rows(self, points: Array, edge_mm: float) -> Array:
        """Signal, brain share, one share per lesion: (2 + N, n)."""
        depth = self.brain.depth(points)
        rows = np.zeros((2 + len(self.lesions), points.shape[1]), dtype=np.float32)
        if self.head is not None:
            rows[0] = self.head.intensity(points, brain_depth=depth, edge_mm=edge_mm)
        near = depth > -edge_mm
        if near.any():
            rows[:, near] = self._near_brain(points[:, near], depth[near], rows[0, near], edge_mm)
        rows[0] *= 1 + self.bias * np.tanh(self.gain.value(points))
        return rows

    def _near_brain(self, points: Array, depth: Array, around: Array, edge_mm: float) -> list[Array]:
        inside = (depth > 0).astype(np.float32)
        tissue = self.brain.intensity(points, edge_mm=edge_mm)
        lesions = []
        for lesion, mean in self.lesions:
            beneath = lesion.radius_mm - np.linalg.norm(points - column(lesion.centre_mm), axis=0)
            share = coverage(beneath, edge_mm=float(np.hypot(lesion.softness_mm, edge_mm)))
            tissue = tissue + share * (lesion.evenness * (mean - tissue) + lesion.contrast * WHITE)
            lesions.append((beneath >= 0) * inside)
        if self.head is not None:
            tissue = around + (tissue - around) * coverage(depth, edge_mm=edge_mm)
        return [np.maximum(tissue, 0), inside, *lesions]


def _healthy_mean(brain: Brain, lesion: Lesion) -> float:
    """Mean intensity of the healthy brain where `lesion` will be."""
    steps = np.linspace(-1, 1, 13)
    ball = np.stack([axis.ravel() for axis in np.meshgrid(steps, steps, steps)])
    ball = ball[:, np.linalg.norm(ball, axis=0) <= 1]
    points = (ball * lesion.radius_mm + np.array(lesion.centre_mm)[:, None]).astype(np.float32)
    if brain.depth(column(lesion.centre_mm))[0] <= 0:
        raise SettingsError(
            f"the lesion at {lesion.centre_mm} mm (right, anterior, superior) lies outside the brain; "
            "move it towards (0, 0, 0)."
        )
    return float(brain.intensity(points[:, brain.depth(points) > 0], edge_mm=1.0).mean())


def _grid(settings: PhantomSettings) -> Grid:
    """The smallest grid that covers the brain's or the head's box in the wanted spacing and direction."""
    low, high = np.array(_HEAD_BOX if settings.whole_head else _BRAIN_BOX)
    turn = Rotation.from_euler("xyz", settings.rotation_degrees, degrees=True).as_matrix()
    direction = np.diag(_TO_LPS) @ turn @ np.diag(_TO_LPS)
    columns, rows, slices = settings.spacing
    spacing = np.array([columns, rows, slices])
    size = np.ceil(np.abs(direction.T) @ (high - low) / spacing - 1e-6).astype(int)
    origin = (low + high) / 2 * _TO_LPS - direction @ ((size - 1) / 2 * spacing)
    return Grid(
        (int(size[0]), int(size[1]), int(size[2])),
        (float(columns), float(rows), float(slices)),
        (float(origin[0]), float(origin[1]), float(origin[2])),
        tuple(float(number) for number in direction.ravel()),
    )


def _sample(world: _World, grid: Grid) -> Array:
    """The rows of `world` on `grid`: (2 + N, slices, rows, columns) float32, slice by slice to bound memory."""
    parts = np.ceil(np.array(grid.spacing) / _PART_MM - 1e-6).astype(int)
    edge_mm = float(np.hypot((np.array(grid.spacing) / parts).mean(), 0.6))
    # Indices of the parts of the voxels 0, 1, 2, … along columns and rows, and of the one slice at 0.
    across, down = (_part_indices(size, count) for size, count in zip(grid.size[:2], parts[:2], strict=True))
    result = np.empty((2 + len(world.lesions), *grid.shape), dtype=np.float32)
    for slice_index in range(grid.size[2]):
        through = _part_indices(1, parts[2]) + slice_index
        indices = np.meshgrid(through, down, across, indexing="ij")
        places = grid.to_world(np.stack([axis.ravel() for axis in indices], axis=1)) * _TO_LPS
        rows = world.rows(np.ascontiguousarray(places.T, dtype=np.float32), edge_mm)
        boxes = rows.reshape(len(rows), parts[2], grid.size[1], parts[1], grid.size[0], parts[0])
        result[:, slice_index] = boxes.mean(axis=(1, 3, 5))
    return result


def _part_indices(size: int, parts: int) -> Array:
    return (np.arange(size * parts) + 0.5) / parts - 0.5


def _with_noise(signal: Array, deviation: float, rng: np.random.Generator) -> Array:
    """Rician noise, as a magnitude image has it."""
    real, imaginary = rng.standard_normal((2, *signal.shape), dtype=np.float32) * np.float32(deviation)
    return np.asarray(np.hypot(signal + real, imaginary))
