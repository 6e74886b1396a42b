"""The card of a model that was just trained."""

from __future__ import annotations

from typing import Any

from ..prepare import GridSettings
from ..weights.card import Card

USUAL = "brain mask, N4, world-axial grid, percentiles 1/50/99 to 0.10/0.62/0.95, 0 outside the brain"


def new_card(
    name: str,
    grid: GridSettings,
    *,
    method: str,
    description: str,
    training: dict[str, Any],
    figures: dict[str, Any],
    digest: str,
    modality: str = "T1",
    window_mm: float = 0.0,
    width: int = 0,
    depth: int = 0,
    max_width: int | None = None,
    minmax: str = "slice",
    preprocessing: str = USUAL,
    thresholds: dict[str, float] | None = None,
    network: dict[str, Any] | None = None,
    other_windows: dict[str, dict[str, Any]] | None = None,
) -> Card:
    """Fields as in Card; figures: its healthy_validation; digest: its sha256. Unless told otherwise, of T1 without windows."""
    return Card(
        name=name,
        description=description,
        method=method,
        modality=modality,
        window_mm=window_mm,
        width=width,
        depth=depth,
        max_width=max_width,
        spacing_mm=grid.spacing_mm,
        rows=grid.rows,
        columns=grid.columns,
        minmax=minmax,
        preprocessing=preprocessing,
        training=training,
        thresholds=thresholds or {},
        healthy_validation=figures,
        sha256=digest,
        network=network or {},
        other_windows=other_windows or {},
    )
