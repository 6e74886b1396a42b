"""overview.png: axial slices, the heatmap over them, outlines of what was found."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from .volume import Array, Grid, Volume

COLUMNS = 6


def draw_overview(path: Path, prepared: Volume, heatmap: Array, labelmap: Array, *, title: str, hot: float) -> None:
    """Two rows of slices: the scan with outlines, and the same with heat.

    prepared: [0, 1], heatmap and labelmap: (slices, rows, columns) on the model grid, as a radiologist looks at them (the
    patient's left on the right). hot: the heat from which on a region is an anomaly; the colours reach a third beyond it,
    or to the hottest voxels of the scan. Above each slice stands where it lies: superior mm of the scan's own origin.
    """
    image = prepared.array
    top = max(hot * 4 / 3, float(np.percentile(heatmap[heatmap > 0], 99.5)) if heatmap.any() else 1.0)
    figure = Figure(figsize=(2.1 * COLUMNS, 6.4), facecolor="black")
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
    figure.suptitle(title, color="white", fontsize=12, y=0.985, parse_math=False)
    figure.text(0.5, 0.018, "R is left · research software, not a medical device", color="0.6", fontsize=8, ha="center")
    figure.subplots_adjust(left=0.005, right=0.925, top=0.9, bottom=0.05)
    if shown is not None:
        bar = figure.colorbar(shown, cax=figure.add_axes((0.935, 0.08, 0.012, 0.36)))
        bar.ax.tick_params(colors="0.7", labelsize=7)
        bar.set_label("heat", color="0.7", fontsize=8)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # a file name in letters the font lacks
        figure.savefig(path, dpi=110, format="png", facecolor="black", metadata={"Software": "brain-inpaint-ad"})


def place_of(grid: Grid, index: int) -> str:
    """Where an axial slice lies, in the words of the table of findings: "S 32 mm", below the origin "S -8 mm"."""
    return f"S {round(float(grid.to_world(np.array([[index, 0, 0]]))[0, 2]))} mm"


def _slices_to_show(image: Array, labelmap: Array) -> Array:
    """Evenly spaced through the anomalies; through the brain when nothing was found."""
    marked = np.flatnonzero((labelmap if labelmap.any() else image > 0).any(axis=(1, 2)))
    inner = np.linspace(0.1, 0.9, COLUMNS) * (len(marked) - 1)
    picked = marked[inner.round().astype(int)]
    if len(np.unique(picked)) < COLUMNS:  # an anomaly of few slices: show its neighbours too
        middle = int(np.clip(np.median(marked), COLUMNS // 2, len(image) - COLUMNS // 2))
        picked = np.arange(middle - COLUMNS // 2, middle - COLUMNS // 2 + COLUMNS)
    return np.asarray(picked)
