"""Figure 7 of Simarro 2020, for our trials: the logarithm of the score of every scan, by kind."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ..detectors.whole_scan import ScanNorm
from .scan_trials import Trial

_SEED = 0


def draw_scores(trials: Sequence[Trial], norm: ScanNorm) -> bytes:
    """A PNG: one column of points per kind and size, the Youden point as a line."""
    columns = dict.fromkeys((trial.kind, trial.size_ml) for trial in trials)
    figure = Figure(figsize=(max(6.0, 0.62 * len(columns)), 5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    rng = np.random.default_rng(_SEED)
    for place, (kind, size_ml) in enumerate(columns):
        scores = [t.measures["score"] for t in trials if (t.kind, t.size_ml) == (kind, size_ml) and not t.refused]
        if scores:
            beside = place + rng.uniform(-0.2, 0.2, len(scores))
            axes.plot(beside, np.log10(scores), "o", markersize=3.5, alpha=0.7)
            axes.plot([place - 0.3, place + 0.3], [np.log10(np.median(scores))] * 2, color="0.2", linewidth=1.2)
    axes.axhline(np.log10(norm.abnormal_from), color="0.5", linestyle=":", label="Youden point")
    labels = [kind if size_ml is None else f"{kind}, {size_ml:g} ml" for kind, size_ml in columns]
    axes.set_xticks(range(len(labels)), labels, rotation=60, ha="right", fontsize=8)
    axes.set(ylabel="log10 of the anomaly score")
    axes.legend(fontsize=8)
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=100)
    return stream.getvalue()
