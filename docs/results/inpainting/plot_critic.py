"""Draw the critic's loss and the sharpness of validation windows from the TensorBoard logs of training runs.

    python docs/results/inpainting/plot_critic.py runs/t1-adversarial-32mm runs/t1-l1-only-32mm

Writes critic.png beside this file.
"""

import math
import sys
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

PANELS = {
    "train/critic": "critic's loss (chance: 2 ln 2)",
    "train/fool": "−log D(x̂): how far D is from being fooled",
    "validation/sharpness_inside": "sharpness, validation windows",
}


def main(runs: list[Path]) -> None:
    figure = Figure(figsize=(12, 3.4))
    axes = figure.subplots(1, len(PANELS))
    for run in runs:
        log = EventAccumulator(str(run / "tensorboard")).Reload()
        for axis, tag in zip(axes, PANELS, strict=True):
            events = log.Scalars(tag)
            axis.plot([event.step for event in events], [event.value for event in events], marker=".", label=run.name)
    for axis, title in zip(axes, PANELS.values(), strict=True):
        axis.set(title=title, xlabel="iteration")
        axis.title.set_fontsize(9)
    axes[0].axhline(2 * math.log(2), color="0.6", linestyle=":")
    axes[0].legend(fontsize=7)
    figure.tight_layout()
    FigureCanvasAgg(figure)
    figure.savefig(Path(__file__).with_name("critic.png"), dpi=80)


if __name__ == "__main__":
    main([Path(word) for word in sys.argv[1:]])
