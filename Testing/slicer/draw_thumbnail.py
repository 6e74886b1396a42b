"""Draws the thumbnail of the sample scan: `python draw_thumbnail.py`. A sketch of a head with a bright rim, no scan."""

from pathlib import Path

import numpy as np
from PIL import Image

TARGET = Path(__file__).resolve().parents[2] / "BrainInpaintAD" / "Resources" / "Icons" / "MRBrainTumor1.png"
SIZE = 256  # pixels; Slicer scales it to its buttons


def draw() -> np.ndarray:
    """uint8 (rows, columns): skin, skull, cortex, white matter, ventricles, and a lesion whose rim takes up contrast."""
    rows, columns = np.mgrid[-1 : 1 : SIZE * 1j, -1 : 1 : SIZE * 1j]

    def inside(row, column, height, width, tilt=0.0):
        across = (columns - column) * np.cos(tilt) + (rows - row) * np.sin(tilt)
        along = (rows - row) * np.cos(tilt) - (columns - column) * np.sin(tilt)
        return (along / height) ** 2 + (across / width) ** 2 < 1

    angle = np.arctan2(rows, columns)
    folds = 0.03 * np.sin(17 * angle) + 0.02 * np.sin(29 * angle + 1)  # a hint of gyri
    picture = np.full((SIZE, SIZE), 12.0)
    picture[inside(0, 0, 0.92, 0.76)] = 190
    picture[inside(0, 0, 0.86, 0.70)] = 30
    picture[inside(0, 0, 0.80, 0.64)] = 105
    picture[(rows / 0.72) ** 2 + (columns / 0.56) ** 2 < 1 + 4 * folds] = 165
    picture[(np.abs(columns) < 0.012) & inside(0, 0, 0.79, 0.63)] = 60
    for side in (-1, 1):
        picture[inside(-0.06, side * 0.11, 0.24, 0.06, side * 0.25)] = 45
    picture[inside(-0.28, 0.30, 0.21, 0.18)] = 245
    picture[inside(-0.28, 0.30, 0.14, 0.12)] = 80
    return np.clip(picture, 0, 255).astype(np.uint8)


if __name__ == "__main__":
    Image.fromarray(draw()).resize((SIZE // 2, SIZE // 2), Image.Resampling.BOX).save(TARGET, optimize=True)
