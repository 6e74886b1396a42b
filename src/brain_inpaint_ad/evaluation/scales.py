"""How much the scale matters (figure 6 of Nguyen 2020): Dice at every scale, the best segment there, and the automatic scale.

All on the model grid, where superpixels live. The threshold is that of the default scale: nothing but the scale changes.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from ..prepare import Prepared
from ..segmentation.recut import Recutter
from ..segmentation.scale import SCALES, choose_scale
from ..segmentation.select import Regions, SegmentSettings, select_anomalies
from ..volume import Array
from .controls import overlaps, pick_by
from .metrics import dice

STUDIED = ("slices", "volume")  # the segmentations that have one scale


def scale_study(
    prepared: Prepared, truth: Array, heat: Array, recutter: Recutter, segmentation: str, threshold: float
) -> dict[str, Any]:
    """One scan and heatmap under the default rule, as plain JSON.

    truth: bool on the model grid; heat: there, that of the recutter; segmentation: of STUDIED. Returns "scale": SCALES; "dice":
    at each; "oracle": Dice of the best segment (of every slice, or the one of the volume) at each, which knows the truth;
    "auto": the automatic scale.
    """
    settings = SegmentSettings(segmentation=segmentation)
    grid = prepared.image.grid
    dices, oracles = [], []
    for scale in SCALES:
        regions = recutter.regions(replace(settings, scale=scale))
        found = select_anomalies(regions, settings, threshold=threshold, voxel_mm3=grid.voxel_mm3) > 0
        dices.append(round(dice(found, truth), 4))
        oracles.append(round(_oracle(regions, truth, segmentation), 4))
    auto = choose_scale(recutter, heat, settings)
    return {"scale": [round(scale, 2) for scale in SCALES], "dice": dices, "oracle": oracles, "auto": round(auto, 2)}


def _oracle(regions: Regions, truth: Array, segmentation: str) -> float:
    of = overlaps(regions, truth)
    if segmentation == "volume":
        return float((2 * of.inside / (of.voxels + truth.sum())).max(initial=0.0))
    score = np.where(of.inside > 0, of.dice, -np.inf)
    return pick_by(score, of, truth, pixel_mm2=1.0).volume_dice
