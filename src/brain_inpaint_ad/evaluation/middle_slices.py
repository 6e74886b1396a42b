"""The comparison of Simarro 2020: a 2-D model on the middle axial slices, and which lesions can be seen there."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch

from ..detectors import ModelDetector
from ..devices import autocast
from ..io import resample
from ..nets.gan import FastGan
from ..prepare import Prepared
from ..progress import silent
from ..volume import Array, Volume

MIDDLE_VERSION = 1  # goes up when the same scan would be measured otherwise
MIDDLE_MM = 20.0  # on both sides of the brain's middle: the slices of the comparison show similar anatomy
_BATCH = 16  # slices in work at once


def middle_of(prepared: Prepared) -> Prepared:
    """The same scan, of which the middle slices alone count as brain."""
    shown = np.flatnonzero(prepared.brain.any(axis=(1, 2)))
    reach = round(MIDDLE_MM / prepared.image.grid.spacing[2])
    middle = int(shown[0] + shown[-1]) // 2
    brain = np.zeros_like(prepared.brain)
    brain[max(0, middle - reach) : middle + reach + 1] = prepared.brain[max(0, middle - reach) : middle + reach + 1]
    return replace(prepared, brain=brain)


def slices_score(detector: ModelDetector, prepared: Prepared) -> float:
    """Of the middle slices: the mean of equation 6 over them for f-AnoGAN, as for a whole scan; of other models the mean
    |x − x̂| in the brain.
    """
    middle = middle_of(prepared)
    network: Any = getattr(detector, "network", None)
    if not isinstance(network, FastGan):
        return float(detector.heatmap(middle, progress=silent)[middle.brain].mean())
    kappa = float(detector.card.training.get("settings", {}).get("feature_weight", 1.0))
    shown = middle.brain.any(axis=(1, 2))
    slices = torch.from_numpy(middle.image.array[shown])[:, None].to(detector.device)
    scores = []
    with torch.inference_mode(), autocast(detector.device):
        for image in slices.split(_BATCH):
            rebuilt, features = network(image), network.gan.critic.features
            apart = (features(image).float() - features(rebuilt).float()).square().flatten(1).mean(dim=1)
            scores.append((image - rebuilt.float()).square().flatten(1).mean(dim=1) + kappa * apart)
    return float(torch.cat(scores).mean())


def share_in_middle(lesion: Volume, prepared: Prepared) -> float:
    """Share of the lesion's volume that lies in the middle slices. lesion: bool, anywhere that `prepared` shows."""
    share = resample(lesion.with_array(lesion.array.astype(np.float32)), prepared.image.grid)
    inside: Array = share[middle_of(prepared).brain.any(axis=(1, 2))]
    return float(inside.sum() / share.sum()) if share.sum() > 0 else 0.0
