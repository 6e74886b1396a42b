"""Means over subjects, and how sure they are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import bootstrap

RESAMPLES = 9_999
SEED = 0
LEAST_SUBJECTS = 3  # of fewer, resampling says nothing


@dataclass(frozen=True, slots=True)
class Summary:
    """mean, spread: over subjects (population standard deviation); low, high: 95 % interval of the mean, NaN for too few."""

    mean: float
    spread: float
    low: float
    high: float
    subjects: int

    def text(self, digits: int = 3) -> str:
        """As it stands in a table."""
        if self.subjects == 0:
            return "–"
        words = f"{self.mean:.{digits}f} ± {self.spread:.{digits}f}"
        return words if math.isnan(self.low) else f"{words} [{self.low:.{digits}f}, {self.high:.{digits}f}]"


def summarise(values: Sequence[float], subjects: Sequence[str]) -> Summary:
    """values: one per scan; subjects: whose scan it is. Scans of one subject are averaged before anything else.

    Percentile bootstrap over subjects (Efron 1979), SciPy's, with a fixed seed.
    """
    own: dict[str, list[float]] = {}
    for value, subject in zip(values, subjects, strict=True):
        own.setdefault(subject, []).append(value)
    means = np.array([np.mean(members) for members in own.values()])
    if len(means) == 0:
        return Summary(math.nan, math.nan, math.nan, math.nan, 0)
    low, high = math.nan, math.nan
    if len(means) >= LEAST_SUBJECTS:
        found = bootstrap(
            (means,), np.mean, n_resamples=RESAMPLES, method="percentile", rng=np.random.default_rng(SEED)
        ).confidence_interval
        low, high = float(found.low), float(found.high)
    return Summary(float(means.mean()), float(means.std()), low, high, len(means))
