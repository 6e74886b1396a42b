"""Per-subject figures on the scan's own grid, inside the brain."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from scipy import ndimage

from ..volume import Array, Volume

LEAST_LESION_ML = 0.1  # smaller parts of the truth are not counted as lesions
LEAST_COVER = 0.1  # of a lesion's volume that must be marked for it to count as found
CURVE = np.linspace(0, 1, 101)  # where curves are read off


@dataclass(frozen=True, slots=True)
class Found:
    """What one rule marks in one scan, beside the truth.

    dice, lesions_found: None in a healthy scan; found_ml: all that is marked; false_ml: of that, outside the truth.
    """

    dice: float | None
    found_ml: float
    false_ml: float
    lesions_found: int | None


@dataclass(frozen=True, slots=True)
class Scores:
    """One scan. The ranking figures are None for a healthy one, where there is nothing to rank.

    auroc, auprc: of the heatmap over brain voxels; prevalence: share of abnormal brain voxels (AUPRC of a coin);
    dice, found_ml: of the labelmap of the default rule; anomalies: how many of them, volumes_ml: of each;
    dice_ceiling: best Dice of any threshold on this heatmap, which knows the truth; lesions: parts of the truth that count;
    tail: mean heat of the hottest 1 % of brain voxels, the scan's own score;
    rules: by name ("regions 1 %", "voxels 5 %"), as far as there are thresholds.
    """

    auroc: float | None
    auprc: float | None
    prevalence: float
    dice: float | None
    found_ml: float
    anomalies: int
    volumes_ml: list[float]
    dice_ceiling: float | None = None
    lesions: int | None = None
    tail: float = 0.0
    rules: dict[str, Found] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Ranking:
    """How a heatmap orders brain voxels. true_rate: of the ROC at false-positive rates CURVE; precision: at recalls CURVE."""

    auroc: float
    auprc: float
    prevalence: float
    dice_ceiling: float
    true_rate: Array
    precision: Array


def rank(heat: Array, abnormal: Array, *, missed: int = 0) -> Ranking:
    """heat, abnormal: of all brain voxels (n,); missed: abnormal voxels outside the brain, which only lower the ceiling."""
    from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score, roc_curve

    false_rate, true_rate, _ = roc_curve(abnormal, heat)
    precision, recall, _ = precision_recall_curve(abnormal, heat)
    positives = int(abnormal.sum())
    hits = recall * positives
    marked = hits / np.maximum(precision, 1e-12)
    ceiling = float((2 * hits / (marked + positives + missed)).max())
    return Ranking(
        auroc=float(roc_auc_score(abnormal, heat)),
        auprc=float(average_precision_score(abnormal, heat)),
        prevalence=float(abnormal.mean()),
        dice_ceiling=ceiling,
        true_rate=np.interp(CURVE, false_rate, true_rate),
        precision=np.interp(CURVE, recall[::-1], precision[::-1]),
    )


def compare_marks(marked: Array, truth: Array | None, *, voxel_mm3: float) -> Found:
    """marked, truth: bool on one grid; truth None: healthy."""
    ml = voxel_mm3 / 1000
    found_ml = round(float(np.count_nonzero(marked)) * ml, 2)
    if truth is None:
        return Found(None, found_ml, found_ml, None)
    false_ml = round(float(np.count_nonzero(marked & ~truth)) * ml, 2)
    covers = lesion_covers(marked, truth, voxel_mm3=voxel_mm3)
    return Found(round(dice(marked, truth), 4), found_ml, false_ml, int((covers >= LEAST_COVER).sum()))


def lesion_covers(marked: Array, truth: Array, *, voxel_mm3: float) -> Array:
    """Marked share of every lesion: parts of the truth, corners connecting, of LEAST_LESION_ML or more (largest if none)."""
    parts, count = ndimage.label(truth, structure=np.ones((3, 3, 3)))
    if count == 0:
        return np.zeros(0)
    sizes = np.bincount(parts.ravel(), minlength=count + 1)[1:]
    inside = np.bincount(parts[marked], minlength=count + 1)[1:]
    counts = sizes >= min(LEAST_LESION_ML * 1000 / voxel_mm3, sizes.max())
    return np.asarray(inside[counts] / sizes[counts])


def dice(found: Array, truth: Array) -> float:
    """2|A∩B| / (|A| + |B|); 1 when both are empty."""
    total = int(np.count_nonzero(found)) + int(np.count_nonzero(truth))
    return 1.0 if total == 0 else 2 * int(np.count_nonzero(found & truth)) / total


def hottest_mean(heat: Volume, brain: Array, share: float = 0.01) -> float:
    """Mean heat of the hottest `share` of brain voxels."""
    values = heat.array[brain]
    count = max(1, round(share * values.size))
    return float(np.partition(values, values.size - count)[-count:].mean())
