"""A scale that needs no label: the one at which superpixels sort the heat best."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..progress import Progress, part_of, silent
from ..volume import Array
from .recut import DEFAULT_SCALE, Recutter
from .select import Regions, SegmentSettings

SCALES = tuple(DEFAULT_SCALE * 2.0**octave for octave in range(-3, 4))  # 9.4 to 600, stops of the slider all of them


def choose_scale(recutter: Recutter, heatmap: Array, settings: SegmentSettings, *, progress: Progress = silent) -> float:
    """The one of SCALES with the best `separation`; the finer one of equals.

    heatmap: that of the recutter; settings: all but their scale counts.
    """
    scores = []
    for done, scale in enumerate(SCALES):
        part = part_of(progress, done / len(SCALES), (done + 1) / len(SCALES))
        scores.append(separation(recutter.regions(replace(settings, scale=scale), progress=part), heatmap))
    return SCALES[int(np.argmax(scores))]


def separation(regions: Regions, heatmap: Array) -> float:
    """How much the heat of one scale's regions varies between them against within them; 0 where nothing can be told.

    Caliński & Harabasz 1974, equation 3: (B / (regions − 1)) / (W / (voxels − regions)). Few large regions that mix hot and
    cold raise W; regions too many lower B / (regions − 1).
    """
    inside = regions.labels > 0
    heat, labels = heatmap[inside].astype(np.float64), regions.labels[inside]
    count = len(regions.heat) - 1
    if not 1 < count < len(heat):
        return 0.0
    means = regions.heat[labels]
    between, within = float(((means - heat.mean()) ** 2).sum()), float(((heat - means) ** 2).sum())
    return between / (count - 1) / (within / (len(heat) - count)) if within > 0 else 0.0
