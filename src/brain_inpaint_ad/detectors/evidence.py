"""The detector that weighs evidence: what is unusual for this place in healthy brains, and against the other side.

Level and texture of every voxel are compared with registered healthy brains and with the mirror-image place; a small 3-D U-Net
that learned on healthy brains with implanted changes says how much all of it together looks like a change. The heat is
−log10 of the share of healthy brain voxels that look at least as changed: 3 means 1 in 1,000.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.ndimage import find_objects

from ..devices import is_fast_in_bfloat16
from ..errors import FitError
from ..nets.evidence import EvidenceNet
from ..prepare import Prepared
from ..progress import Progress, silent
from ..volume import Array
from ..weights.card import Card
from .features import features, local_mean, own_scale
from .healthy import Aligned, HealthyGroup, align
from .networks import OnePassDetector
from .register import REGISTRATION

MAPS = ("level for its place", "texture for its place", "level across", "texture across", "intensity", "brain")
MOST_SPREADS = 8.0  # scores beyond count as this
# Standard deviation of the Gaussian over which the network's answer is gathered. On the BraTS validation cases 4 mm raised
# AUPRC from 0.64 to 0.69.
GATHER_MM = 4.0
# Of the scan with the mean of the healthy brains laid over it. Whole brains had 0.70 and more, with tumours, too; brains upside
# down, back to front or cut in half 0.55 and less.
LEAST_AGREEMENT = 0.6


def weigh_up(aligned: Aligned, image: Array, brain: Array) -> Array:
    """What the network sees of a prepared scan: MAPS, float32 (6, slices, rows, columns), each about −3 to 3.

    Beyond the group's grid, where nothing is known of health, no place is unusual.
    """
    seen = features(image, brain, spacing_mm=aligned.grid.spacing[0])
    scores = np.concatenate([aligned.z_scores(seen, brain), aligned.mirrored_differences(seen, brain)])
    scores = np.where(aligned.known, np.clip(own_scale(scores, brain), -MOST_SPREADS, MOST_SPREADS) / 3, 0)
    level = np.where(brain, (image - 0.6) * 2, 0)
    return np.concatenate([scores, level[None], brain[None]]).astype(np.float32)


def box_of(brain: Array) -> tuple[slice, ...]:
    """The smallest box around the brain."""
    found: tuple[slice, ...] = find_objects(brain.astype(np.uint8))[0]
    return found


def logits_of(network: EvidenceNet, maps: Array, brain: Array, *, spacing_mm: float) -> Array:
    """The network's answer gathered over GATHER_MM, float32 (slices, rows, columns), 0 outside the brain.

    network: in evaluation mode. Only the box around the brain is computed.
    """
    device = next(network.parameters()).device
    fast = is_fast_in_bfloat16(device)
    box = box_of(brain)
    inputs = torch.from_numpy(np.ascontiguousarray(maps[(slice(None), *box)]))[None].to(device)
    inputs = inputs.contiguous(memory_format=torch.channels_last_3d)
    with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=fast):
        answer = network.unet(inputs).float()[0, 0].cpu().numpy()
    logits = np.zeros(brain.shape, dtype=np.float32)
    logits[box] = answer
    return local_mean(logits, brain, GATHER_MM / spacing_mm).astype(np.float32)


@dataclass(frozen=True, slots=True)
class EvidenceDetector(OnePassDetector):
    """A network on its device, with the healthy group it compares with."""

    network: EvidenceNet
    card: Card
    device: torch.device

    def __post_init__(self) -> None:
        self.network.to(self.device, memory_format=torch.channels_last_3d)  # type: ignore[call-overload]

    @property
    def engine(self) -> str:
        """The brain in one pass."""
        return f"one pass; gathered over {GATHER_MM:g} mm; registration {REGISTRATION}"

    def explained(self, prepared: Prepared, *, progress: Progress = silent) -> tuple[Array, Array]:
        """The heatmap, and the mean level of healthy brains at each place; both float32, 0 outside the brain.

        Heat: −log10 of the share of healthy brain voxels that look at least as changed.

        Raises FitError when the scan does not look like a whole brain the right way up.
        """
        progress(0.0, "laying healthy brains over the scan")
        aligned = align(HealthyGroup.from_arrays(self.network.group_arrays()), prepared.image)
        if not aligned.agreement >= LEAST_AGREEMENT:  # NaN, too
            raise FitError(
                f"{prepared.scan.name} does not look like the healthy brains (agreement {aligned.agreement:.2f}, at least "
                f"{LEAST_AGREEMENT:g} is needed): check orientation and brain mask, or choose a model that compares with none."
            )
        aligned.warn_of_doubt(prepared.scan.name)
        progress(0.5, "comparing with healthy brains")
        maps = weigh_up(aligned, prepared.image.array, prepared.brain)
        progress(0.7, "weighing the evidence")
        logits = logits_of(self.network, maps, prepared.brain, spacing_mm=prepared.image.grid.spacing[0])
        heat = np.where(prepared.brain, self.network.rarity(logits), 0).astype(np.float32)
        return heat, np.where(prepared.brain, np.clip(aligned.mean[0], 0, 1), 0).astype(np.float32)
