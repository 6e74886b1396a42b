"""The rows as bars."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from .race import Row
from .report import Report, duration, hardware_in_words, times

_REFERENCE, _OURS = "0.6", "#2a6f97"


def draw_plot(path: Path, report: Report) -> None:
    """Seconds on a logarithmic axis, with the ratio at each bar; heatmaps above, superpixels below."""
    cut = [row for row in report.rows if row.unit == "cuts"]
    heat = [row for row in report.rows if row.unit != "cuts"]
    figure = Figure(figsize=(10.0, 2.2 + 0.36 * len(report.rows)), layout="constrained")
    FigureCanvasAgg(figure)
    upper, lower = figure.subplots(2, 1, height_ratios=[len(heat), len(cut)])
    _draw_bars(upper, heat, title="Heatmap of one brain")
    _draw_bars(lower, cut, title="Superpixels of one slice, and of one brain in 3-D")
    lower.set_xlabel("seconds; at the bars: how many times faster than the grey row above, and peak memory", fontsize=9)
    figure.suptitle(hardware_in_words(report.hardware), fontsize=9, x=0.01, ha="left", color="0.3", parse_math=False)
    figure.savefig(path, dpi=110, format="png", metadata={"Software": "brain-inpaint-ad"})


def _draw_bars(axes: Axes, rows: Sequence[Row], *, title: str) -> None:
    names = [row.name for row in rows]
    colours = [_REFERENCE if row.name == row.against else _OURS for row in rows]
    axes.barh(names, [row.seconds for row in rows], color=colours)
    for place, row in enumerate(rows):
        memory = "" if row.peak_mb is None else f" · {row.peak_mb:.0f} MB"
        axes.annotate(
            f"{duration(row.seconds)} · {times(row.ratio)}{memory}",
            (row.seconds, place),
            xytext=(4, 0),
            textcoords="offset points",
            va="center",
            fontsize=8,
        )
    seconds = [row.seconds for row in rows]
    axes.set(xscale="log", xlim=(min(seconds) / 3, max(seconds) * 30))
    axes.set_title(title, fontsize=10, loc="left")
    axes.invert_yaxis()
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)
