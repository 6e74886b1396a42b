"""Pictures of a study of scan scores: figure 7 of Simarro 2020 for our trials, ROC curves, what the model expected."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ..detectors.whole_scan import ScanNorm
from .scan_metrics import auroc, name_of, roc
from .scan_trials import Trial

_SEED = 0
_MOST_EXAMPLES = 14


def draw_scores(trials: Sequence[Trial], norm: ScanNorm) -> bytes:
    """A PNG: the logarithm of the score of every scan, a column of points per kind and size, the Youden point as a line."""
    columns = dict.fromkeys((trial.kind, trial.size_ml) for trial in trials)
    figure = _figure(max(6.0, 0.62 * len(columns)), 5)
    axes = figure.subplots()
    rng = np.random.default_rng(_SEED)
    for place, (kind, size_ml) in enumerate(columns):
        scores = [t.measures["score"] for t in trials if (t.kind, t.size_ml) == (kind, size_ml) and not t.refused]
        if scores:
            beside = place + rng.uniform(-0.2, 0.2, len(scores))
            axes.plot(beside, np.log10(scores), "o", markersize=3.5, alpha=0.7)
            axes.plot([place - 0.3, place + 0.3], [np.log10(np.median(scores))] * 2, color="0.2", linewidth=1.2)
    axes.axhline(np.log10(norm.abnormal_from), color="0.5", linestyle=":", label="Youden point")
    labels = [name_of(kind, size_ml) for kind, size_ml in columns]
    axes.set_xticks(range(len(labels)), labels, rotation=60, ha="right", fontsize=8)
    axes.set(ylabel="log10 of the anomaly score")
    axes.legend(fontsize=8)
    return _png(figure)


def draw_roc(curves: Mapping[str, Mapping[str, tuple[Sequence[float], Sequence[float]]]], threshold: float) -> bytes:
    """A PNG: a panel per entry, in it a curve per contender with its clean and its other values; the first's Youden point."""
    figure = _figure(4.6 * len(curves), 5)
    for number, (axes, (title, contenders)) in enumerate(
        zip(figure.subplots(1, len(curves), squeeze=False)[0], curves.items(), strict=True)
    ):
        for name, (clean, other) in contenders.items():
            axes.plot(*roc(clean, other), linewidth=1.6, label=f"{name}: AUC {auroc(clean, other):.2f}")
        if number == 0:
            clean, other = next(iter(contenders.values()))
            false, true = (float(np.mean(np.asarray(values) >= threshold)) for values in (clean, other))
            axes.plot(false, true, "o", color="0.2", label="Youden point")
        axes.plot([0, 1], [0, 1], color="0.7", linestyle=":", linewidth=1)
        axes.set(title=title, xlabel="1 − specificity", ylabel="recall", xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
        axes.legend(fontsize=8, loc="lower right")
    return _png(figure)


def draw_examples(trials: Sequence[Trial]) -> bytes:
    """A PNG: of the first scan of each kind, the slice with the largest error: seen, expected, difference."""
    firsts: dict[str, Trial] = {}
    for trial in sorted(trials, key=lambda trial: -(trial.size_ml or 0)):
        if trial.view is not None:
            firsts.setdefault(trial.kind, trial)
    shown = sorted(firsts.values(), key=lambda trial: list(dict.fromkeys(t.kind for t in trials)).index(trial.kind))
    shown = shown[:_MOST_EXAMPLES]
    figure = _figure(1.4 * max(1, len(shown)), 4.6)
    for column, trial in zip(figure.subplots(3, max(1, len(shown)), squeeze=False).T, shown, strict=False):
        assert trial.view is not None
        seen, expected = trial.view
        for axes, picture, most in zip(column, (seen, expected, np.abs(seen - expected)), (1, 1, 0.5), strict=True):
            axes.imshow(picture, cmap="gray", vmin=0, vmax=most, origin="upper")
            axes.axis("off")
        column[0].set_title(name_of(trial.kind, trial.size_ml), fontsize=7)
    return _png(figure)


def _figure(width: float, height: float) -> Any:
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _png(figure: Any) -> bytes:
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=100)
    return stream.getvalue()
