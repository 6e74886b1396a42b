"""The evidence network: a 3-D U-Net with the healthy group it was trained beside, and how rare its answers are in health."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from ..volume import Array
from .unet3d import UNet3d, UNet3dSettings

INPUTS = 6  # detectors.evidence.MAPS
EXPONENTS = np.arange(0, 5.01, 0.25)  # −log10 of the shares at which the answers of healthy voxels are kept


@dataclass(frozen=True, kw_only=True)
class EvidenceSettings:
    """channels: of the U-Net's levels; group_shape: slices, rows, columns of the healthy group; known: voxels it knows."""

    channels: tuple[int, ...]
    group_shape: tuple[int, int, int]
    known: int
    spacing_mm: float


class EvidenceNet(nn.Module):
    """A U-Net, and as buffers a healthy group (detectors.healthy) without components and the healthy answers at EXPONENTS."""

    template: Tensor
    mask: Tensor
    mean: Tensor
    spread: Tensor
    healthy_answers: Tensor

    def __init__(self, settings: EvidenceSettings) -> None:
        super().__init__()
        self.settings = settings
        self.unet = UNet3d(UNet3dSettings(inputs=INPUTS, channels=tuple(settings.channels)))
        self.register_buffer("template", torch.zeros(tuple(settings.group_shape)))
        self.register_buffer("mask", torch.zeros(tuple(settings.group_shape), dtype=torch.bool))
        self.register_buffer("mean", torch.zeros(2, settings.known))
        self.register_buffer("spread", torch.zeros(2, settings.known))
        self.register_buffer("healthy_answers", torch.linspace(0, 1, len(EXPONENTS)))

    def keep_group(self, arrays: Mapping[str, Array]) -> None:
        """Store what the detector needs of `HealthyGroup.to_arrays`."""
        for name, key in (("template", "template"), ("mask", "known"), ("mean", "mean"), ("spread", "spread")):
            values = torch.from_numpy(np.ascontiguousarray(arrays[key]))
            getattr(self, name).copy_(values)

    def group_arrays(self) -> dict[str, Array]:
        """What `HealthyGroup.from_arrays` takes."""
        known = self.mask.cpu().numpy()
        return {
            "template": self.template.cpu().numpy(),
            "spacing_mm": np.asarray(self.settings.spacing_mm),
            "known": known,
            "mean": self.mean.cpu().numpy(),
            "spread": self.spread.cpu().numpy(),
            "components": np.zeros((0, int(known.sum())), dtype=np.float32),
            "scans": np.asarray([], dtype=np.str_),
        }

    def keep_healthy(self, answers: Array) -> None:
        """Learn how rare answers are. answers: of all voxels of healthy brains never trained on, (n,)."""
        levels = np.maximum.accumulate(np.quantile(answers, 1 - 10.0**-EXPONENTS))
        levels += np.arange(len(levels)) * 1e-4  # strictly ascending, in half precision nearly
        self.healthy_answers.copy_(torch.from_numpy(levels))

    def rarity(self, answers: Array) -> Array:
        """−log10 of the share of healthy voxels with at least this answer; beyond the last one kept, on in a straight line."""
        levels = self.healthy_answers.cpu().double().numpy()
        beyond = np.maximum(answers - levels[-1], 0) * (EXPONENTS[-1] - EXPONENTS[-9]) / (levels[-1] - levels[-9])
        return np.asarray(np.interp(answers, levels, EXPONENTS) + beyond, dtype=np.float32)
