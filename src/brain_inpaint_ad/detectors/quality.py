"""Is a scan as a whole in order? A few plain measures of it, and how far they lie from those of healthy scans in good order.

Each measure is one number above 0 that somebody can check by looking: see `MEANING`. A lesion moves them little, since they are
about the whole brain; what spoils a scan moves at least one of them far.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy.ndimage import binary_erosion, gaussian_filter

from ..errors import WeightsError
from ..prepare import Prepared
from ..volume import Array

OK = "ok"


@dataclass(frozen=True, slots=True)
class Complaint:
    """What a measure beyond its limit means. limit: in standard deviations of the healthy scans' logarithms; large, small: the
    words when it is too large or too small ("": nothing bad).
    """

    limit: float
    large: str = ""
    small: str = ""


# The first beyond its limit speaks: causes before consequences. A tumour makes a brain fit worse and its slices less alike:
# the limits of these measures are wide. All were chosen on IXI and BraTS validation scans.
MEANING = {
    "steps": Complaint(8.0, "slices missing or uneven"),
    "noise": Complaint(5.0, "noisy"),
    "repeats": Complaint(7.0, "repeated structure (ghosting)"),
    "edges": Complaint(3.0, small="edges unclear (motion or ghosting)"),
    "misfit": Complaint(5.0, "does not fit the template (orientation, field of view or registration)"),
    "uncovered": Complaint(5.0, "brain incomplete (field of view or brain mask)"),
    "error": Complaint(4.0, "unusual all over"),
}
OF_THE_IMAGE = ("steps", "noise", "repeats", "edges")  # what can be said without a template and without a network
_RIM_MM = 4.0  # of the brain's border that is not looked at: masks end differently
_FINE_MM = 2.0  # standard deviation of the Gaussian that leaves the fine structure out
_BRIGHT = 0.7  # quantile of the brain's intensities above which it is white matter for the most part
_DETAIL_MM = 4.0  # standard deviation of the Gaussian that leaves out what is no detail of a ghost
_GHOST_MM = (18.0, 90.0)  # distances at which ghosts come: a field of 150 to 260 mm, eight to three of them
_OVERLAP = 0.15  # of the brain must meet its ghost, else chance speaks
_NEAR_MM = 8.0  # on both sides of a slice: what it is compared with
_WHOLE_SLICE = 0.1  # of the largest slice's brain; smaller ones differ by nature
_LEAST = 1e-4  # of measures, so that they have a logarithm


def image_measures(prepared: Prepared) -> dict[str, float]:
    """OF_THE_IMAGE, of the brain without its rim.

    steps: the largest difference of a slice's mean from the median of its neighbours, along any axis, in intensity.
    noise: median size of the fine structure in white matter, in intensity.
    repeats: how much fine structure returns at one distance along any axis: the sharpest peak of its correlation with itself.
    edges: how much the gradient is gathered in few places: logarithm of the voxels' number less the entropy of the gradient's
    size (McGee 2000, who finds motion by it); less when edges are doubled or drowned in noise.
    """
    spacing = prepared.image.grid.spacing[0]
    image, core = prepared.image.array, binary_erosion(prepared.brain, iterations=max(1, round(_RIM_MM / spacing)))
    core = core if core.any() else prepared.brain
    smooth = gaussian_filter(image, _FINE_MM / spacing)
    bright = core & (smooth > np.quantile(smooth[core], _BRIGHT))
    bright = bright if bright.any() else core
    gradient = np.sqrt(sum(np.gradient(image, axis=axis) ** 2 for axis in range(3)))[core]
    share = gradient / max(float(gradient.sum()), _LEAST)
    return {
        "steps": max(_largest_step(image, core, axis, round(_NEAR_MM / spacing)) for axis in range(3)),
        "noise": float(np.median(np.abs(image - smooth)[bright])),
        "repeats": max(_largest_repeat(image, prepared.brain, axis, spacing) for axis in range(3)),
        "edges": float(np.log(len(share)) + (share * np.log(np.maximum(share, 1e-12))).sum()),
    }


def _largest_step(image: Array, core: Array, axis: int, near: int) -> float:
    across = tuple(other for other in range(3) if other != axis)
    counts = core.sum(axis=across)
    shown = counts >= _WHOLE_SLICE * counts.max()
    means = np.where(core, image, 0).sum(axis=across)[shown] / counts[shown]
    around = [np.median(means[max(0, place - near) : place + near + 1]) for place in range(len(means))]
    return float(np.abs(means - around).max())


def _largest_repeat(image: Array, brain: Array, axis: int, spacing_mm: float) -> float:
    """Correlation within the mask (Padfield 2012) of the fine structure with itself moved along the axis, less that 2 voxels
    before and behind: a ghost lies at one distance, what is smooth or alike by nature at all around it.
    """
    sigma = _DETAIL_MM / spacing_mm
    around = gaussian_filter(image, sigma) / np.maximum(gaussian_filter(brain.astype(np.float32), sigma), 0.1)
    core = binary_erosion(brain, iterations=2)
    fine, mask = np.where(core, image - around, 0), core.astype(np.float32)
    count, across = 2 * image.shape[axis], tuple(other for other in range(3) if other != axis)
    moved, power, shown = (np.fft.rfft(part, count, axis=axis) for part in (fine, fine**2, mask))

    def along(first: Array, second: Array) -> Array:
        return np.asarray(np.fft.irfft((first * np.conj(second)).sum(axis=across), count))

    scale = np.sqrt(np.maximum(along(power, shown) * along(shown, power), _LEAST))
    likeness, overlap = along(moved, moved) / scale, along(shown, shown)
    peak = np.abs(likeness - (np.roll(likeness, 2) + np.roll(likeness, -2)) / 2)
    distances = np.arange(*(round(end / spacing_mm) for end in _GHOST_MM))
    distances = distances[(distances < count // 2) & (overlap[np.minimum(distances, count - 1)] > _OVERLAP * overlap[0])]
    return float(peak[distances].max(initial=0.0))


@dataclass(frozen=True, slots=True)
class QualityNorm:
    """Mean and standard deviation of the measures' base-10 logarithms in healthy scans, by name."""

    mean: Mapping[str, float]
    spread: Mapping[str, float]

    @classmethod
    def of(cls, scans: Sequence[Mapping[str, float]]) -> QualityNorm:
        """From the measures of two healthy scans or more."""
        logs = {name: [_log(scan[name]) for scan in scans] for name in scans[0]}
        return cls(
            {name: round(float(np.mean(values)), 5) for name, values in logs.items()},
            {name: round(max(float(np.std(values, ddof=1)), 1e-3), 5) for name, values in logs.items()},
        )

    @classmethod
    def from_json(cls, stored: Any) -> QualityNorm:
        """The inverse of `to_json`. Raises WeightsError for anything else."""
        try:
            mean, spread = ({str(k): float(v) for k, v in stored[part].items()} for part in ("mean", "spread"))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise WeightsError("the model's card has no measures of quality; calibrate the model again.") from error
        if mean.keys() != spread.keys() or not mean.keys() <= MEANING.keys() or not all(v > 0 for v in spread.values()):
            raise WeightsError("the model's card has other measures of quality than this version; calibrate the model again.")
        return cls(mean, spread)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON."""
        return asdict(self)

    def deviations(self, measures: Mapping[str, float]) -> dict[str, float]:
        """Of each measure that healthy scans are known of, in their standard deviations."""
        known = self.mean.keys() & measures.keys()
        return {name: (_log(measures[name]) - self.mean[name]) / self.spread[name] for name in MEANING if name in known}

    def doubt(self, measures: Mapping[str, float]) -> float:
        """The largest deviation in a bad direction, as a share of its limit: beyond 1 the scan is in doubt."""
        return max((size for size, _ in self._complaints(measures)), default=0.0)

    def words(self, measures: Mapping[str, float]) -> str:
        """OK, or what looks wrong."""
        return next((text for size, text in self._complaints(measures) if size >= 1), OK)

    def _complaints(self, measures: Mapping[str, float]) -> Iterator[tuple[float, str]]:
        for name, deviation in self.deviations(measures).items():
            complaint = MEANING[name]
            for size, text in ((deviation, complaint.large), (-deviation, complaint.small)):
                if text:
                    yield size / complaint.limit, text


def _log(value: float) -> float:
    return float(np.log10(max(value, _LEAST)))
