"""Brain extraction by SynthStrip (Hoopes 2022) with a weights file the user brings, `synthstrip.1.pt`: any sequence.

Steps and numbers are those of the published program (FreeSurfer's mri_synthstrip): 1 mm, axes to left, inferior and anterior,
sides of 192, 256 or 320 mm, intensities from 0 to the 99th percentile; brain is what lies less than 1 mm outside the surface.
"""

from __future__ import annotations

from pathlib import Path
from pickle import UnpicklingError  # the name of an error; nothing is unpickled here
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from ..errors import NoBrainError, WeightsError
from ..io import resample
from ..memory import full_memory_told
from ..progress import Progress
from ..volume import Array, Grid, Volume

if TYPE_CHECKING:
    from ..nets.synthstrip import SynthStrip

SPACING_MM = 1.0
SIDES = (192, 320)  # least and most voxels along an axis
BORDER_MM = 1.0
FAR_MM = 100.0  # beyond the network's field
_LIA = (1.0, 0.0, 0.0, 0.0, 0.0, -1.0, 0.0, -1.0, 0.0)  # LPS directions of the axes to left, inferior and anterior


def extract(scan: Volume, *, weights: Path, use_gpu: bool, progress: Progress) -> Array:
    """Brain mask, bool of the scan's shape. Raises WeightsError or NoBrainError."""
    import torch

    network = load_network(weights).eval()
    grid = conformed_grid(scan.grid)
    values = resample(scan.with_array((scan.array - scan.array.min()).astype(np.float32)), grid)
    top = float(np.percentile(values, 99))
    if top <= 0:
        raise NoBrainError(f"no brain was found in {scan.name}: it is dark nearly everywhere; give a mask with --mask.")
    head = np.ascontiguousarray(np.clip(values / top, 0, 1).transpose(2, 1, 0))  # as the network's axes: left first
    progress(0.0, "finding the brain (SynthStrip)")
    device = torch.device("cuda" if use_gpu else "cpu")
    with full_memory_told(), torch.inference_mode():
        answer = network.to(device)(torch.from_numpy(head)[None, None].to(device))
    distance = np.ascontiguousarray(answer[0, 0].float().cpu().numpy().transpose(2, 1, 0))
    on_scan = resample(Volume(distance - FAR_MM, grid), scan.grid) + FAR_MM  # linear; FAR_MM where the field ends
    return _largest_filled(on_scan < BORDER_MM, scan.name)


def load_network(weights: Path) -> SynthStrip:
    """Reads tensors only: a file that would run code is refused. Raises WeightsError."""
    import torch

    from ..nets.synthstrip import SynthStrip

    try:
        content = torch.load(weights, map_location="cpu", weights_only=True)
        network = SynthStrip()
        network.load_state_dict(content["model_state_dict"])
    except OSError as error:
        raise WeightsError(f"{weights} cannot be read ({error.strerror}); give SynthStrip's weights file.") from error
    except (UnpicklingError, RuntimeError, EOFError, KeyError, TypeError, AttributeError, ValueError, IndexError) as error:
        raise WeightsError(
            f"{weights} does not hold SynthStrip's weights; give the file synthstrip.1.pt as published."
        ) from error
    return network


def conformed_grid(grid: Grid) -> Grid:
    """The network's grid about the middle of the scan's field; sides are multiples of the network's unit."""
    from ..nets.synthstrip import UNIT

    last = np.asarray(grid.shape) - 1
    corners = grid.to_world(np.array(np.meshgrid(*((-0.5, end + 0.5) for end in last), indexing="ij")).reshape(3, -1).T)
    x, y, z = corners.max(axis=0) - corners.min(axis=0)
    i, j, k = (int(np.clip(np.ceil(mm / SPACING_MM / UNIT) * UNIT, *SIDES)) for mm in (x, z, y))
    steps = np.reshape(_LIA, (3, 3)) * SPACING_MM
    middle = grid.to_world(last[None] / 2)[0]
    left, posterior, superior = (middle - steps @ (np.array([i, j, k]) - 1) / 2).tolist()
    return Grid((i, j, k), (SPACING_MM,) * 3, (left, posterior, superior), _LIA)


def _largest_filled(inside: Array, name: str) -> Array:
    parts, count = ndimage.label(inside)
    if count == 0:
        raise NoBrainError(f"no brain was found in {name}: SynthStrip marks nothing; if it shows one, give a mask with --mask.")
    return np.asarray(ndimage.binary_fill_holes(parts == np.argmax(np.bincount(parts.ravel())[1:]) + 1))
