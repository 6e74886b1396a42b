"""What surrounds the made-up brain: skull, scalp, face and neck, roughly, in T1's contrasts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..volume import Array
from .shapes import Place, Waves, coverage, ellipsoid, paint, tube, union

CSF, BONE, MARROW, MUSCLE, FAT, AIR = 0.2, 0.08, 0.45, 0.5, 1.0, 0.02  # white matter is 0.9
_CSF_MM, _SKULL_MM, _SCALP_MM = 2.0, 6.5, 6.0  # thickness of the layers around the brain
# Inside the face: centre of the right half, half-axes (mm), intensity; later ones lie on top.
_FACE: tuple[tuple[Place, Place, float], ...] = (
    ((30.0, 66.0, -30.0), (18.0, 20.0, 17.0), FAT),  # orbit
    ((31.0, 72.0, -30.0), (12.0, 12.0, 12.0), 0.2),  # eye
    ((9.0, 62.0, -50.0), (7.0, 26.0, 18.0), AIR),  # nose
    ((26.0, 58.0, -60.0), (13.0, 14.0, 15.0), AIR),  # maxillary sinus
    ((6.0, 74.0, -8.0), (12.0, 5.0, 10.0), AIR),  # frontal sinus
)


@dataclass(frozen=True, slots=True)
class Head:
    """What the seed decides about the tissue around a brain."""

    streaks: Waves  # fat between muscles
    marrow: Waves

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Head:
        """The head that `rng` comes to."""
        return cls(
            streaks=Waves.draw(rng, length_mm=16.0, count=10, squeeze=(1.0, 1.0, 0.5)),
            marrow=Waves.draw(rng, length_mm=30.0, count=6),
        )

    def intensity(self, points: Array, *, brain_depth: Array, edge_mm: float) -> Array:
        """T1 intensity around the brain. brain_depth: mm below the brain's surface at the same points."""
        skin = _skin(points, brain_depth)
        fat_share = coverage(1.5 - self.streaks.distance(points), edge_mm=edge_mm + 1)
        value = MUSCLE + (FAT - MUSCLE) * np.maximum(fat_share, coverage(_SCALP_MM - skin, edge_mm=edge_mm))
        value *= coverage(skin, edge_mm=edge_mm)
        value = self._paint_face(value, points, edge_mm)
        value = paint(value, BONE, coverage(brain_depth + _CSF_MM + _SKULL_MM, edge_mm=edge_mm))
        diploe = 1.2 + 0.6 * self.marrow.value(points) - np.abs(brain_depth + _CSF_MM + _SKULL_MM / 2)
        value = paint(value, MARROW, coverage(diploe, edge_mm=edge_mm))
        return paint(value, CSF, coverage(brain_depth + _CSF_MM, edge_mm=edge_mm))

    def _paint_face(self, value: Array, points: Array, edge_mm: float) -> Array:
        side = np.concatenate([np.abs(points[:1]), points[1:]])
        for centre, radii, tissue in _FACE:
            value = paint(value, tissue, coverage(ellipsoid(side, centre=centre, radii=radii), edge_mm=edge_mm))
        value = paint(value, AIR, coverage(tube(points, ends=((0, 22, -70), (0, -2, -130)), radius=8), edge_mm=edge_mm))
        spine = tube(points, ends=((0, -32, -72), (0, -42, -140)), radius=17)
        for shrunk_mm, tissue in ((0, MARROW), (6, BONE), (7.5, CSF), (11.5, 0.8)):  # bone, canal, cord
            value = paint(value, tissue, coverage(spine - shrunk_mm, edge_mm=edge_mm))
        return value


def _skin(points: Array, brain_depth: Array) -> Array:
    """mm below the skin."""
    around = brain_depth + (_CSF_MM + _SKULL_MM + _SCALP_MM)
    face = ellipsoid(points, centre=(0, 34, -66), radii=(58, 62, 66), power=2.4)
    neck = tube(points, ends=((0, -18, -60), (0, -24, -160)), radius=62, flat=1.05)
    nose = ellipsoid(points, centre=(0, 96, -52), radii=(14, 18, 20))
    return union(union(union(around, face, round_mm=25), neck, round_mm=25), nose, round_mm=8)
