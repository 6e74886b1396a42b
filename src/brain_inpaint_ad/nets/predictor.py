"""R: guesses how large G's reconstruction loss will be, from the masked slice alone (Mavropoulos 2021, figure 5)."""

from __future__ import annotations

from torch import Tensor, nn

SIDE = 256  # rows and columns R takes


class LossPredictor(nn.Module):
    """Input (batch, 1, 256, 256): a slice with its window painted white. Output (batch,): the loss, in (0, 1).

    Layers in the order of figure 5, 1,558,273 parameters. The figure gives shapes and counts; they leave one reading for
    strides (2) and padding (1) of the 3×3 convolutions, and a 4×4 one that ends at one pixel. The slope of LeakyReLU is
    not given: 0.2, as usual in discriminators, whose structure R follows.
    """

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, 64, 3, stride=2, padding=1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(64, 128, 3, stride=2, padding=1),
            nn.MaxPool2d(2),
            nn.LeakyReLU(0.2),
            nn.BatchNorm2d(128),
            nn.Conv2d(128, 256, 3, stride=2, padding=1),
            nn.MaxPool2d(2),
            nn.LeakyReLU(0.2),
            nn.Conv2d(256, 512, 3, stride=2, padding=1),
            nn.MaxPool2d(2),
            nn.LeakyReLU(0.2),
            nn.Conv2d(512, 1, 4, stride=2, padding=1),
            nn.Sigmoid(),
        )

    def forward(self, painted: Tensor) -> Tensor:
        loss: Tensor = self.layers(painted)
        return loss.flatten()
