"""The table of anomalies: where, how large, how hot."""

from __future__ import annotations

import csv
import io
from dataclasses import asdict, dataclass, fields

import numpy as np
from scipy import ndimage

from .volume import Volume


@dataclass(frozen=True, slots=True)
class Finding:
    """One anomaly. Places in RAS mm, as Slicer shows them: its centre of mass, and (peak_…) its hottest voxel.

    slices: first and last of the scan, counted from 0.
    """

    label: int
    volume_ml: float
    r_mm: float
    a_mm: float
    s_mm: float
    mean_heat: float
    peak_heat: float
    first_slice: int
    last_slice: int
    peak_r_mm: float
    peak_a_mm: float
    peak_s_mm: float


def list_findings(labelmap: Volume, heatmap: Volume) -> list[Finding]:
    """One row per label of `labelmap`, measured on `heatmap`; both on one grid."""
    found = []
    for label, box in enumerate(ndimage.find_objects(labelmap.array), start=1):
        if box is None:
            continue
        inside = labelmap.array[box] == label
        heat = heatmap.array[box][inside]
        corner = np.array([part.start for part in box])
        world = labelmap.grid.to_world(np.argwhere(inside) + corner)  # LPS
        left, posterior, superior = world.mean(axis=0)
        peak_left, peak_posterior, peak_superior = world[heat.argmax()]
        found.append(
            Finding(
                label=label,
                volume_ml=round(float(inside.sum() * labelmap.grid.voxel_mm3 / 1000), 3),
                r_mm=round(-float(left), 2),
                a_mm=round(-float(posterior), 2),
                s_mm=round(float(superior), 2),
                mean_heat=round(float(heat.mean()), 5),
                peak_heat=round(float(heat.max()), 5),
                first_slice=box[0].start,
                last_slice=box[0].stop - 1,
                peak_r_mm=round(-float(peak_left), 2),
                peak_a_mm=round(-float(peak_posterior), 2),
                peak_s_mm=round(float(peak_superior), 2),
            )
        )
    return found


def findings_csv(findings: list[Finding]) -> str:
    """CSV text with a header, also when nothing was found."""
    text = io.StringIO()
    writer = csv.DictWriter(text, [field.name for field in fields(Finding)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(finding) for finding in findings)
    return text.getvalue()
