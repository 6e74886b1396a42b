"""The networks that predict losses, and the row of R′, which takes whole slices."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from ..heatmap.predicted import predict_loss_map, read_losses
from ..nets.predictor import LossPredictor
from ..nets.unet import UNet, UNetSettings
from ..weights.card import Card
from ..weights.store import load_model, shipped_cards
from .meters import seconds_of
from .race import Agreement, Sample
from .scene import Judged, Scene


@dataclass(frozen=True, slots=True)
class Dense:
    """R′. corners: windows of the volume; comparable: whether it learned from the generator that runs here."""

    scene: Scene
    network: UNet
    judged: Judged
    corners: Tensor
    comparable: bool
    against: str
    name: str = "dense"
    unit: str = "slices"

    @property
    def whole(self) -> int:
        """Slices of the volume."""
        return len(self.scene.image)

    def warm_up(self) -> None:
        """The slices of the judged windows."""
        self._losses_of_judged()

    def measure(self, turn: int) -> Sample:
        """Slices from the first on: every one costs the same."""
        image, brain = self.scene.image[: self.scene.plan.dense_slices], self.scene.brain[: self.scene.plan.dense_slices]
        here = self.corners[self.corners[:, 0] < len(image)]
        seconds = seconds_of(
            lambda: read_losses(predict_loss_map(self.network, image, brain), here, size=self.judged.size), self.scene.device
        )
        return Sample([seconds / len(image) * self.whole], len(image))

    def agreement(self) -> Agreement:
        """With G's losses by the naive loop."""
        if not self.comparable:
            return Agreement()
        return self.judged.compare(self._losses_of_judged())

    def _losses_of_judged(self) -> Tensor:
        judged = self.judged
        return read_losses(predict_loss_map(self.network, judged.image, judged.brain), judged.corners, size=judged.size)


def find_predictor(method: str, generator: Card) -> tuple[nn.Module, bool]:
    """The shipped network of a method, and whether it learned the losses of this very generator.

    Where none is shipped, an untrained one: it takes as long.
    """
    cards = [card for card in shipped_cards() if card.method == method]
    if cards:
        nearest = max(cards, key=lambda card: _learned_from(card, generator))
        return load_model(nearest.name)[0], _learned_from(nearest, generator)
    return (LossPredictor() if method == "loss-prediction" else UNet(UNetSettings(width=16, depth=4))).eval(), False


def _learned_from(card: Card, generator: Card) -> bool:
    return bool(card.training.get("generator", {}).get("sha256") == generator.sha256)
