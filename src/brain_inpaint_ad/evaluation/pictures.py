"""Pictures of the report: curves over all scans of a data set, and single cases. PNG and JPEG bytes."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ..volume import Array
from .metrics import CURVE


def draw_curves(curves: dict[str, tuple[Array, Array]], prevalence: float) -> bytes:
    """ROC and precision-recall side by side. curves: by detector, mean true rate and mean precision at CURVE."""
    figure = Figure(figsize=(11, 5))
    left, right = figure.subplots(1, 2)
    for name, (true_rate, precision) in curves.items():
        left.plot(CURVE, true_rate, label=name)
        right.plot(CURVE[1:], precision[1:], label=name)
    left.plot([0, 1], [0, 1], color="0.7", linestyle=":")
    right.axhline(prevalence, color="0.7", linestyle=":")
    left.set(xlabel="false-positive rate", ylabel="true-positive rate", title="ROC, mean over scans", xlim=(0, 1), ylim=(0, 1))
    right.set(xlabel="recall", ylabel="precision", title="Precision and recall, mean over scans", xlim=(0, 1), ylim=(0, 1))
    right.legend(fontsize=7)
    figure.tight_layout()
    return _bytes(figure, "png", dpi=90)


def draw_scales(panels: dict[str, dict[str, dict[str, Any]]]) -> bytes:
    """Figure 6 of Nguyen 2020, measured. panels: by detector and case, what scales.scale_study gives."""
    columns = min(2, len(panels))
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(5.5 * columns, 3.2 * rows + 0.5))
    axes = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True).ravel()
    colours: dict[str, str] = {}
    for axis, (name, cases) in zip(axes, panels.items(), strict=False):
        for case, study in cases.items():
            colour = colours.setdefault(case, f"C{len(colours) % 10}")
            axis.plot(study["scale"], study["dice"], color=colour)
            axis.plot(study["scale"], study["oracle"], color=colour, linestyle=":", linewidth=1)
            chosen = study["scale"].index(study["auto"])
            axis.plot(study["auto"], study["dice"][chosen], "o", color=colour, markeredgecolor="black")
        axis.axvline(75, color="0.7", linewidth=0.8)
        axis.set_title(name, fontsize=9, parse_math=False)
        axis.set(xscale="log", ylim=(0, 1), xlabel="scale", ylabel="Dice")
        axis.label_outer()
    for axis in axes[len(panels) :]:
        axis.set_axis_off()
    handles = [Line2D([], [], color=colour, label=case) for case, colour in colours.items()]
    figure.legend(handles=handles, loc="lower center", ncols=4, fontsize=7)
    figure.tight_layout(rect=(0, 0.5 / (3.2 * rows + 0.5), 1, 1))
    return _bytes(figure, "png", dpi=80)


def draw_training(curves: dict[str, dict[str, list[float]]]) -> bytes:
    """A panel for each figure. curves: by model, "iteration" and figures at it."""
    names = sorted({name for curve in curves.values() for name in curve if name != "iteration"})
    figure = Figure(figsize=(5.5 * len(names), 4))
    for axis, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
        for model, curve in curves.items():
            if name in curve:
                axis.plot(curve["iteration"], curve[name], label=model)
        axis.set_title(name, fontsize=9, parse_math=False)
        axis.set(xlabel="iteration")
        axis.legend(fontsize=7)
    figure.tight_layout()
    return _bytes(figure, "png", dpi=90)


def draw_case(view: dict[str, Array], title: str) -> bytes:
    """Slices with the truth (green) and what was found (cyan), below them the heatmap. view: of scoring.CaseScorer."""
    shown = view["slices"]
    figure = Figure(figsize=(1.9 * len(shown), 4.6), facecolor="black")
    axes = figure.subplots(2, len(shown), gridspec_kw={"wspace": 0.02, "hspace": 0.02})
    for column in range(len(shown)):
        rows, columns = _crop(np.asarray(view["image"].any(axis=0)))
        for row in range(2):
            axis = axes[row, column]
            axis.imshow(view["image"][column][rows, columns], cmap="gray", vmin=0, vmax=255)
            axis.set_axis_off()
            if row == 1:
                heat = view["heat"][column][rows, columns].astype(np.float32)
                hot = np.ma.masked_less_equal(heat, 0)
                axis.imshow(hot, cmap="inferno", vmin=0, vmax=float(view["top"]), alpha=0.6)
            for name, colour in (("truth", "lime"), ("found", "cyan")):
                if (outline := view[name][column][rows, columns]).any():
                    axis.contour(outline, levels=[0.5], colors=colour, linewidths=0.9)
    figure.suptitle(title, color="white", fontsize=9, y=0.985, parse_math=False)
    figure.subplots_adjust(left=0.005, right=0.995, top=0.92, bottom=0.005)
    return _bytes(figure, "jpeg", dpi=80)


def draw_windows(rows: list[list[tuple[str, Array]]]) -> bytes:
    """Labelled squares (rows, columns) in [0, 1], those of a row beside each other."""
    most = max(len(row) for row in rows)
    figure = Figure(figsize=(1.6 * most, 1.75 * len(rows)), facecolor="black")
    axes = figure.subplots(len(rows), most, squeeze=False, gridspec_kw={"wspace": 0.04, "hspace": 0.16})
    for axis in axes.flat:
        axis.set_axis_off()
    for row, members in enumerate(rows):
        for axis, (label, image) in zip(axes[row], members, strict=False):
            axis.imshow(image, cmap="gray", vmin=0, vmax=1)
            axis.set_title(label, color="white", fontsize=6, pad=2, parse_math=False)
    title = 0.15 / (1.75 * len(rows))  # room above the first row
    figure.subplots_adjust(left=0.005, right=0.995, top=1 - title, bottom=0.005)
    return _bytes(figure, "png", dpi=80)


def _crop(shown: Array) -> tuple[slice, slice]:
    """The part of a slice (rows, columns) that holds anything, with two pixels around."""
    rows, columns = (np.flatnonzero(shown.any(axis=axis)) for axis in (1, 0))
    return slice(max(0, rows[0] - 2), rows[-1] + 3), slice(max(0, columns[0] - 2), columns[-1] + 3)


def _bytes(figure: Figure, kind: str, *, dpi: int) -> bytes:
    FigureCanvasAgg(figure)
    stream = io.BytesIO()
    figure.savefig(stream, format=kind, dpi=dpi, facecolor=figure.get_facecolor())
    return stream.getvalue()
