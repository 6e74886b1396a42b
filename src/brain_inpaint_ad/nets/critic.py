"""D: tells slices from G's reconstructions (Nguyen 2020), with spectral normalisation (Miyato 2018)."""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm


class Critic(nn.Module):
    """Input (batch, 1, side, side), side divisible by 8; output (batch, 1, side/8, side/8) logits, one per patch.

    The paper leaves D's layers open. Ours sees the surroundings of the window, not the whole slice: measured on IXI, a
    critic of whole slices stayed at chance (loss 2·ln 2) because a window changes one part in 48 of them.
    """

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        widths = [1, width, 2 * width, 4 * width]
        layers: list[nn.Module] = []
        for before, after in pairwise(widths):
            layers += [spectral_norm(nn.Conv2d(before, after, 4, stride=2, padding=1)), nn.LeakyReLU(0.2, inplace=True)]
        layers.append(spectral_norm(nn.Conv2d(widths[-1], 1, 3, padding=1)))
        self.layers = nn.Sequential(*layers)

    def forward(self, image: Tensor) -> Tensor:
        logits: Tensor = self.layers(image)
        return logits
