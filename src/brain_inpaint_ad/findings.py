"""The table of anomalies: where, how large, how hot."""

from __future__ import annotations

import csv
import io
from dataclasses import asdict, dataclass, fields

import numpy as np
from scipy import ndimage
from skimage.filters import threshold_multiotsu

from .volume import Array, Volume

DARK = "Dark: as dark as fluid, as ventricles, sulci, cysts and dead tissue are; such parts may be normal"
_MOST_TOLD = 6  # anomalies with a line of their own on the terminal
_BOTH = 0.1  # of an anomaly on its smaller side, from which on it lies on both


@dataclass(frozen=True, slots=True)
class Finding:
    """One anomaly. Places in RAS mm, as Slicer shows them: its centre of mass, and (peak_…) its hottest voxel.

    slices: first and last of the scan, counted from 0. right_share: of its voxels, those to the right of the brain's middle;
    dark_share: those as dark as fluid. Both are shares in [0, 1].
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
    right_share: float
    dark_share: float


def list_findings(labelmap: Volume, heatmap: Volume, image: Volume, brain: Array) -> list[Finding]:
    """One row per label of `labelmap`, measured on `heatmap`; both on one grid.

    image, brain: the scan and its mask (bool) on any grid. The middle is the mask's centre of mass, along the file's own left
    and right; as dark as fluid is the darkest of three classes of the brain's voxels (Otsu 1979).
    """
    middle = float(image.grid.to_world(np.argwhere(brain).mean(axis=0, keepdims=True))[0, 0]) if brain.any() else 0.0
    darkest = _darkest_class(image.array[brain])
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
                right_share=round(float((world[:, 0] < middle).mean()), 3),
                dark_share=round(float((image.nearest(world) < darkest).mean()), 3),
            )
        )
    return found


def _darkest_class(values: Array) -> float:
    """Below which intensity a voxel is dark; 0 where there are no three classes."""
    if not values.size:
        return 0.0
    try:
        return float(threshold_multiotsu(values, classes=3)[0])  # type: ignore[no-untyped-call]
    except ValueError:
        return 0.0


def place_in_words(finding: Finding) -> str:
    """ "R 31 A -12 S 44": millimetres to the right, front and top of its hottest voxel."""
    return _in_mm(finding.peak_r_mm, finding.peak_a_mm, finding.peak_s_mm)


def finding_in_words(finding: Finding) -> str:
    """Size, side, places and what share of it is dark, in a line; sides are the patient's, by the file's own axes."""
    smaller = min(finding.right_share, 1 - finding.right_share)
    side = "right" if finding.right_share > 0.5 else "left"
    if smaller >= _BOTH:
        side = f"left and right ({100 * finding.right_share:.0f} % right)"
    centre = _in_mm(finding.r_mm, finding.a_mm, finding.s_mm)
    return (
        f"{finding.label}: {_in_ml(finding.volume_ml)}, {side}, centre {centre}, hottest at {place_in_words(finding)}, "
        f"{100 * finding.dark_share:.0f} % dark"
    )


def findings_in_words(findings: list[Finding]) -> str:
    """One sentence: how many anomalies, how large, and where the hottest voxel of them lies."""
    if not findings:
        return "Nothing found"
    total = sum(finding.volume_ml for finding in findings)
    hottest = max(findings, key=lambda finding: finding.peak_heat)
    count = f"{len(findings)} anomal{'y' if len(findings) == 1 else 'ies'}"
    return f"{count}, {_in_ml(total)}; hottest at {place_in_words(hottest)}"


def largest_in_words(findings: list[Finding]) -> list[str]:
    """One line for each of the largest, how many more there are, and what dark means."""
    lines = [finding_in_words(finding) for finding in findings[:_MOST_TOLD]]
    if (more := len(findings) - _MOST_TOLD) > 0:
        lines.append(f"{more} more in findings.csv")
    return [*lines, DARK] if findings else lines


def _in_ml(volume_ml: float) -> str:
    """With one decimal, or the first figure that is not 0; findings are measured to 0.001 ml."""
    if volume_ml >= 0.05:
        return f"{volume_ml:.1f} ml"
    return f"{volume_ml:.1g} ml" if volume_ml > 0 else "below 0.001 ml"


def _in_mm(*ras: float) -> str:
    return " ".join(f"{letter} {round(mm)}" for letter, mm in zip("RAS", ras, strict=True))


def findings_csv(findings: list[Finding]) -> str:
    """CSV text with a header, also when nothing was found."""
    text = io.StringIO()
    writer = csv.DictWriter(text, [field.name for field in fields(Finding)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(finding) for finding in findings)
    return text.getvalue()
