"""The made-up brain: two folded hemispheres, ventricles, deep grey matter, cerebellum and brain stem.

Everything is a function of the place in the world, so that one seed is one brain on whatever grid it is sampled.
Intensities are on a scale where 1 is the brightest tissue of the brain and white matter 0.9.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..volume import Array
from .shapes import Place, Waves, column, coverage, ellipsoid, intersection, paint, tube, union

CSF, GREY, WHITE = 0.2, 0.6, 0.9
_CENTRE, _RADII = (0.0, 0.0, 8.0), (64.5, 84.0, 56.0)  # mm: the cerebrum's egg
_FOLD_RADIUS_MM = 70.0  # folds are drawn on a sphere of the cerebrum's mean radius, and so run inwards from its surface
# Deep grey matter of the right half: centre, half-axes (mm), intensity.
_NUCLEI: tuple[tuple[Place, Place, float], ...] = (
    ((12.5, 20.0, 5.0), (6.5, 10.0, 9.0), 0.69),  # head of the caudate
    ((14.0, 2.0, 16.0), (4.0, 16.0, 5.0), 0.69),  # its body
    ((26.0, 4.0, 1.0), (7.0, 17.0, 10.0), 0.71),  # putamen
    ((19.0, 0.0, -1.0), (5.0, 9.0, 7.0), 0.82),  # pallidum
    ((10.5, -16.0, 5.0), (9.5, 15.0, 9.0), 0.78),  # thalamus
    ((24.0, -8.0, -20.0), (8.0, 17.0, 8.0), 0.62),  # amygdala and hippocampus
)


@dataclass(frozen=True, slots=True)
class Brain:
    """One made-up brain: what its seed decides."""

    scale: Array  # factors on the size along right, anterior, superior
    ventricles_mm: float  # added to the radius of the ventricles
    bend: tuple[Waves, Waves, Waves]
    folds: Waves  # the cortex' sulci are where it is 0
    dents: Waves  # the same for shallow sulci
    wriggle: tuple[Waves, Waves, Waves]  # how they deviate from straight cuts, in three directions
    sulci: Waves  # how deep they reach
    ribbon: Waves  # how thick the cortex is
    folia: Waves  # the cerebellum's sulci are where it is 0
    texture: Waves

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Brain:
        """The brain that `rng` comes to."""
        return cls(
            scale=column(rng.normal(1.0, 0.015, size=3).clip(0.97, 1.03)),
            ventricles_mm=float(rng.uniform(-0.7, 1.3)),
            bend=_three(rng, length_mm=75.0),
            folds=Waves.draw(rng, length_mm=26.0, count=24),
            dents=Waves.draw(rng, length_mm=26.0, count=20),
            wriggle=_three(rng, length_mm=32.0),
            sulci=Waves.draw(rng, length_mm=34.0, count=10),
            ribbon=Waves.draw(rng, length_mm=40.0, count=6),
            folia=Waves.draw(rng, length_mm=6.5, count=12, squeeze=(0.25, 0.7, 1.0)),
            texture=Waves.draw(rng, length_mm=15.0, count=12),
        )

    def depth(self, points: Array) -> Array:
        """mm below the surface of the brain with its sulci and cisterns closed, as a brain mask has them."""
        own = self._own(points)
        whole = union(_cerebrum(own), _cerebellum(own), round_mm=9)
        cisterns = ellipsoid(own, centre=(0, -24, -18), radii=(26, 16, 13))
        return union(whole, union(_stem(own), cisterns, round_mm=5), round_mm=9) + np.float32(0.7)

    def intensity(self, points: Array, *, edge_mm: float) -> Array:
        """T1 intensity at points of the brain; tissues pass into each other over `edge_mm`."""
        own = self._own(points)
        cerebrum = intersection(_cerebrum(own), -_beside_stem(own), round_mm=3)
        value = np.full(points.shape[1], CSF, dtype=np.float32)
        value = self._paint_cerebrum(value, own, cerebrum, edge_mm)
        value = self._paint_cerebellum(value, own, -cerebrum, edge_mm)
        value = paint(value, 0.82, coverage(_stem(own), edge_mm=edge_mm))
        value = paint(value, CSF, coverage(self._ventricles(own), edge_mm=edge_mm))
        return value * (1 + np.float32(0.02) * self.texture.value(points))

    def _own(self, points: Array) -> Array:
        """World points in the frame of the average brain, bent a little so that nothing is quite straight or even."""
        bent = np.stack([waves.value(points) for waves in self.bend])
        return np.asarray(points / self.scale + np.float32(1.6) * bent)

    def _paint_cerebrum(self, value: Array, own: Array, hull: Array, edge_mm: float) -> Array:
        surface = self._pial(own, hull)
        thick = 2.5 + 0.3 * self.ribbon.value(own)
        tissue = GREY + (WHITE - GREY) * coverage(surface - thick, edge_mm=edge_mm + 0.6)
        side = np.concatenate([np.abs(own[:1]), own[1:]])
        for centre, radii, grey in _NUCLEI:
            tissue = paint(tissue, grey, coverage(ellipsoid(side, centre=centre, radii=radii), edge_mm=edge_mm + 2))
        return paint(value, tissue, coverage(surface, edge_mm=edge_mm))

    def _pial(self, own: Array, hull: Array) -> Array:
        """mm from the nearest surface of the folded cerebrum: outside, fissure, insula or sulcus; negative in CSF."""
        smooth = intersection(hull, _fissure(own, wander=self.sulci.value(own)), round_mm=4)
        relative = (own - column(_CENTRE)) / column(_RADII)
        reach = np.maximum(np.sqrt((relative**2).sum(axis=0)), 0.2) ** np.float32(0.6)
        on_sphere = relative * (_FOLD_RADIUS_MM / reach)
        on_sphere += np.float32(2.2) * np.stack([waves.value(own) for waves in self.wriggle])
        core = ellipsoid(own, centre=(0, -6, 5), radii=(37, 44, 20)) + 2
        open_mm = 0.05 + 0.7 * np.exp(-np.maximum(smooth, 0) / 3)
        surface = intersection(smooth, _sylvian(own, wander=self.ribbon.value(own)), round_mm=4)
        for folds, mean_mm, spread_mm in ((self.folds, 20, 4), (self.dents, 9, 4)):
            longest = np.maximum(mean_mm + spread_mm * self.sulci.value(on_sphere), 2)
            beyond = np.maximum(np.maximum(smooth - longest, core), 0)
            sheet = np.sqrt((folds.distance(on_sphere) * reach) ** 2 + beyond**2)
            surface = intersection(surface, sheet - open_mm, round_mm=2.5)
        return surface

    def _paint_cerebellum(self, value: Array, own: Array, outside_cerebrum: Array, edge_mm: float) -> Array:
        hull = np.minimum(_cerebellum(own), outside_cerebrum - 1.5)
        sheet = self.folia.distance(own)
        beyond = 0.4 * np.maximum(hull - 9, 0)
        surface = intersection(hull, np.sqrt(sheet**2 + beyond**2) - 0.2, round_mm=2)
        tissue = GREY + (WHITE - GREY) * coverage(surface - 2.0, edge_mm=edge_mm + 1.0)
        return paint(value, tissue, coverage(surface, edge_mm=edge_mm))

    def _ventricles(self, own: Array) -> Array:
        side = np.concatenate([np.abs(own[:1]), own[1:]])
        wide = self.ventricles_mm
        lateral = union(
            tube(side, ends=((6.5, 28, 4), (9.5, 2, 20)), radius=6.0 + wide, flat=1.5),
            tube(side, ends=((9.5, 2, 20), (20, -34, 12)), radius=5.0 + wide, flat=1.5),
            round_mm=4,
        )
        back = tube(side, ends=((22, -36, 9), (26, -56, 3)), radius=3.2 + wide, flat=1.2)
        below = tube(side, ends=((24, -36, 4), (31, -12, -15)), radius=2.0 + 0.6 * wide)
        third = tube(own, ends=((0, -20, 2), (0, 3, -6)), radius=6.5, flat=4.0)
        fourth = ellipsoid(own, centre=(0, -35, -40), radii=(7, 5, 11))
        return union(union(union(lateral, back, round_mm=4), union(below, third)), fourth)


def _three(rng: np.random.Generator, *, length_mm: float) -> tuple[Waves, Waves, Waves]:
    first, second, third = (Waves.draw(rng, length_mm=length_mm, count=6) for _ in range(3))
    return first, second, third


def _cerebrum(own: Array) -> Array:
    """Depth in both hemispheres with the temporal lobes, unfolded; narrower in front, hollow below."""
    right, anterior, superior = own
    side = np.stack([np.abs(right) * (1 + np.float32(0.0018) * (anterior + 10)), anterior, superior])
    egg = ellipsoid(side, centre=_CENTRE, radii=_RADII, power=2.2)
    tent = 16 * np.exp(-(((anterior + 42) / 24) ** 2) - (right / 24) ** 2)
    upper = intersection(egg, superior + 22 - tent, round_mm=10)
    tilted = np.stack([side[0] + np.float32(0.12) * anterior, anterior, superior + np.float32(0.15) * anterior])
    temporal = ellipsoid(tilted, centre=(40, -4, -22), radii=(20, 42, 20))
    whole = union(upper, temporal, round_mm=6)
    cistern = ellipsoid(own, centre=(0, 0, -24), radii=(13, 13, 12))
    return intersection(whole, -cistern, round_mm=3)


def _beside_stem(own: Array) -> Array:
    """Depth in the cistern between the cerebrum and the midbrain, the midbrain included."""
    return np.asarray(np.minimum(np.minimum(_stem(own) + 2, -8 - own[2]), -16 - own[1]))


def _fissure(own: Array, *, wander: Array) -> Array:
    """mm from the fissure between the hemispheres, which ends at the core that joins them; negative in CSF."""
    core = ellipsoid(own, centre=(0, -6, 3), radii=(30, 37, 22))
    return np.asarray(np.sqrt((own[0] + wander) ** 2 + np.maximum(core, 0) ** 2) - np.float32(0.8))


def _sylvian(own: Array, *, wander: Array) -> Array:
    """mm from the lateral fissure and the insula at its bottom; negative in CSF."""
    side, anterior, superior = np.abs(own[0]), own[1], own[2]
    across = (superior + 4 + np.float32(0.4) * anterior) * np.float32(0.93) + wander
    ends = np.abs(anterior + 5) - 30
    outwards = side - 38 + np.float32(0.006) * (anterior + 5) ** 2 + 2 * wander
    lips = np.sqrt(across**2 + np.maximum(-outwards, 0) ** 2 + np.maximum(ends, 0) ** 2)
    floor = np.sqrt(outwards**2 + np.maximum(np.abs(across) - 13, 0) ** 2 + np.maximum(ends + 6, 0) ** 2)
    return np.asarray(np.minimum(lips, floor) - np.float32(0.4))


def _cerebellum(own: Array) -> Array:
    side = np.concatenate([np.abs(own[:1]), own[1:]])
    half = ellipsoid(side, centre=(22, -50, -38), radii=(29, 28, 23))
    return union(half, ellipsoid(own, centre=(0, -46, -30), radii=(14, 22, 25)), round_mm=6)


def _stem(own: Array) -> Array:
    pons = ellipsoid(own, centre=(0, -19, -37), radii=(17, 13, 14))
    midbrain = ellipsoid(own, centre=(0, -18, -18), radii=(16, 11, 14))
    medulla = tube(own, ends=((0, -24, -44), (0, -29, -61)), radius=8.5)
    return union(union(pons, midbrain, round_mm=5), medulla, round_mm=5)
