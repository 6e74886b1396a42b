"""The rows of models that rebuild whole slices: AnoGAN's search, and the single pass of all others (Baur 2018, table 1).

Their networks are untrained: no time depends on weights.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import torch
from torch import Tensor, nn

from ..detectors.latent import SearchSettings, search_slices
from ..detectors.reconstruction import rebuild_slices
from ..errors import SettingsError
from ..nets.autoencoder import KINDS, Autoencoder, AutoencoderSettings
from ..nets.gan import FastGan, Gan, GanSettings
from .meters import seconds_of
from .race import Agreement, Sample
from .scene import Scene

SEARCH = "anogan-search"
PUBLISHED_STEPS = SearchSettings().steps
_STEPS = 5  # of the search that are run; every one costs the same
_QUICK = ("anovaegan",)
_Network = TypeVar("_Network", bound=nn.Module)


@dataclass(frozen=True, slots=True)
class WholeSlices:
    """rebuild: the part of the work that is run; share: of the whole work on these slices."""

    name: str
    rebuild: Callable[[], object]
    slices: int
    share: float
    whole: int
    device: torch.device
    against: str = SEARCH
    unit: str = "slices"

    def warm_up(self) -> None:
        """Once."""
        self.rebuild()

    def measure(self, turn: int) -> Sample:
        """The same slices in every turn: each costs the same."""
        return Sample([seconds_of(self.rebuild, self.device) / self.share / self.slices * self.whole], self.slices)

    def agreement(self) -> Agreement:
        """Untrained networks agree with nothing."""
        return Agreement()


def slice_rows(scene: Scene) -> list[WholeSlices]:
    """The search first; kinds whose latent space does not divide the slices of this grid are left out."""
    image = scene.image[scene.brain.flatten(1).any(1)]
    whole = len(image)
    image = image[whole // 2 :][: scene.plan.dense_slices]

    def row(name: str, rebuild: Callable[[], Tensor], share: float = 1.0) -> WholeSlices:
        return WholeSlices(name, rebuild, len(image), share, whole, scene.device)

    rows, columns = image.shape[1:]
    gan = GanSettings(rows=rows, columns=columns)
    search = SearchSettings(steps=_STEPS)
    made = [row(SEARCH, partial(search_slices, _ready(Gan(gan), scene), image, search), _STEPS / PUBLISHED_STEPS)]
    for kind in KINDS if scene.plan.complete else _QUICK:
        try:
            network = Autoencoder(AutoencoderSettings(kind=kind, rows=rows, columns=columns))
        except SettingsError:
            continue
        made.append(row(kind, partial(rebuild_slices, _ready(network, scene), image)))
    if scene.plan.complete:
        made.append(row("fanogan", partial(rebuild_slices, _ready(FastGan(gan), scene), image)))
    return made


def _ready(network: _Network, scene: Scene) -> _Network:
    network.eval().to(scene.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return network
