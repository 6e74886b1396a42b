"""overview.png: axial slices, the heatmap over them, outlines of what was found."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from .volume import Array, Grid, Volume

COLUMNS = 6


def draw_overview(
    path: Path, prepared: Volume, heatmap: Array, labelmap: Array, *, title: str, hot: float, made_by: str = ""
) -> None:
    """Two rows of slices: the scan with outlines, and the same with heat.

    prepared: [0, 1], heatmap and labelmap: (slices, rows, columns) on the model grid, as a radiologist looks at them (the
    patient's left on the right). hot: the heat from which on a region is an anomaly, marked at the colours, which reach as
    far beyond it, or to the hottest voxels of the scan; made_by: for the last line. Above each slice stands where it lies:
    superior mm of the scan's own origin.
    """
    box = (slice(None), *_around(prepared.array))
    image, heatmap, labelmap = prepared.array[box], heatmap[box], labelmap[box]
    top = max(hot * 2, float(np.percentile(heatmap[heatmap > 0], 99.5)) if heatmap.any() else 1.0)
    figure = Figure(figsize=(2.1 * COLUMNS, 5.8), facecolor="black")
    FigureCanvasAgg(figure)
    axes = figure.subplots(2, COLUMNS, gridspec_kw={"wspace": 0.02, "hspace": 0.02})
    shown = None
    for column, index in enumerate(_slices_to_show(image, labelmap)):
        for row in range(2):
            axis = axes[row, column]
            axis.imshow(image[index], cmap="gray", vmin=0, vmax=1, interpolation="bilinear")
            axis.set_axis_off()
            if row == 1:
                heat = np.ma.masked_less_equal(heatmap[index], 0)
                shown = axis.imshow(heat, cmap="inferno", vmin=0, vmax=top, alpha=0.6)
            if labelmap[index].any():
                axis.contour(labelmap[index] > 0, levels=[0.5], colors="cyan", linewidths=0.9)
        axes[0, column].set_title(place_of(prepared.grid, int(index)), color="0.7", fontsize=8, pad=2)
    for column, letter, at in ((0, "R", 0.03), (COLUMNS - 1, "L", 0.97)):  # as radiologists look: R on the left
        for row in range(2):
            place = axes[row, column].transAxes
            axes[row, column].text(at, 0.5, letter, color="0.8", fontsize=9, ha="center", va="center", transform=place)
    figure.suptitle(title, color="white", fontsize=12, y=0.985, parse_math=False)
    last = f"{made_by}{' · ' * bool(made_by)}research software, not a medical device"
    figure.text(0.5, 0.018, last, color="0.6", fontsize=8, ha="center", parse_math=False)
    figure.subplots_adjust(left=0.005, right=0.925, top=0.9, bottom=0.05)
    if shown is not None:
        bar = figure.colorbar(shown, cax=figure.add_axes((0.935, 0.08, 0.012, 0.36)))
        bar.ax.tick_params(colors="0.7", labelsize=7)
        bar.set_label("heat" if hot <= 0 else "heat; line: threshold of a region's mean", color="0.7", fontsize=8)
        if hot > 0:
            bar.ax.axhline(hot, color="cyan", linewidth=1.2)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # a file name in letters the font lacks
        figure.savefig(path, dpi=110, format="png", facecolor="black", metadata={"Software": "brain-inpaint-ad"})


def place_of(grid: Grid, index: int) -> str:
    """Where an axial slice lies, in the words of the table of findings: "S 32 mm", below the origin "S -8 mm"."""
    return f"S {round(float(grid.to_world(np.array([[index, 0, 0]]))[0, 2]))} mm"


def _around(image: Array, margin: int = 3) -> tuple[slice, slice]:
    """The rows and columns that show brain in any slice, and some around."""
    shown: Array = np.asarray((image > 0).any(axis=0))
    spans = []
    for axis in (1, 0):
        places = np.flatnonzero(shown.any(axis=axis))
        first, last = (int(places[0]), int(places[-1])) if len(places) else (0, shown.shape[1 - axis] - 1)
        spans.append(slice(max(0, first - margin), last + margin + 1))
    return spans[0], spans[1]


def _slices_to_show(image: Array, labelmap: Array) -> Array:
    """Evenly spaced through the anomalies; through the brain when nothing was found."""
    marked = np.flatnonzero((labelmap if labelmap.any() else image > 0).any(axis=(1, 2)))
    inner = np.linspace(0.1, 0.9, COLUMNS) * (len(marked) - 1)
    picked = marked[inner.round().astype(int)]
    if len(np.unique(picked)) < COLUMNS:  # an anomaly of few slices: show its neighbours too
        middle = int(np.clip(np.median(marked), COLUMNS // 2, len(image) - COLUMNS // 2))
        picked = np.arange(middle - COLUMNS // 2, middle - COLUMNS // 2 + COLUMNS)
    return np.asarray(picked)
