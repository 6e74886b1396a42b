"""Per-subject figures on the scan's own grid, inside the brain."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..result import Result
from ..volume import Array


@dataclass(frozen=True, slots=True)
class Scores:
    """One subject. The ranking figures are None for a healthy one, where there is nothing to rank.

    auroc, auprc: of the heatmap over brain voxels; prevalence: share of abnormal brain voxels (AUPRC of a coin);
    dice: of the labelmap with the truth; found_ml: volume of the labelmap; anomalies: how many, volumes_ml: of each.
    """

    auroc: float | None
    auprc: float | None
    prevalence: float
    dice: float | None
    found_ml: float
    anomalies: int
    volumes_ml: list[float]


def score(result: Result, truth: Array | None) -> Scores:
    """truth: bool on the scan's grid, or None for a healthy subject."""
    from sklearn.metrics import average_precision_score, roc_auc_score

    found = result.labelmap.array > 0
    volumes_ml = [finding.volume_ml for finding in result.findings]
    found_ml = round(float(found.sum() * result.labelmap.grid.voxel_mm3 / 1000), 2)
    if truth is None or not truth[result.prepared.scan_brain].any():  # nothing to rank
        return Scores(None, None, 0.0, None, found_ml, len(volumes_ml), volumes_ml)
    brain = result.prepared.scan_brain
    expected, heat = truth[brain], result.heatmap.array[brain]
    return Scores(
        round(float(roc_auc_score(expected, heat)), 4),
        round(float(average_precision_score(expected, heat)), 4),
        round(float(expected.mean()), 4),
        round(dice(found, truth), 4),
        found_ml,
        len(volumes_ml),
        volumes_ml,
    )


def dice(found: Array, truth: Array) -> float:
    """2|A∩B| / (|A| + |B|); 1 when both are empty."""
    total = int(np.count_nonzero(found)) + int(np.count_nonzero(truth))
    return 1.0 if total == 0 else 2 * int(np.count_nonzero(found & truth)) / total
