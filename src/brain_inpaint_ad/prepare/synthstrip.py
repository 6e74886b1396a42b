"""Brain extraction by SynthStrip (Hoopes 2022) with a weights file the user brings, `synthstrip.1.pt`: any sequence.

Steps and numbers are those of the published program (FreeSurfer's mri_synthstrip): the scan's own axes, ordered to left,
inferior and anterior; 1 mm by the nearest voxel; the box around what is not dark, in sides of 192, 256 or 320 mm; intensities
from 0 to the 99th percentile; brain is what lies less than 1 mm outside the surface.
"""

from __future__ import annotations

from itertools import permutations
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
_LIA = ((0, 1), (2, -1), (1, -1))  # LPS axis and sense of left, inferior and anterior


def extract(scan: Volume, *, weights: Path, use_gpu: bool, progress: Progress) -> Array:
    """Brain mask, bool of the scan's shape. Raises WeightsError or NoBrainError."""
    import torch

    network = load_network(weights).eval()
    head, grid = conformed(scan)
    top = float(np.percentile(head, 99))
    if top <= 0:
        raise NoBrainError(f"no brain was found in {scan.name}: it is dark nearly everywhere; give a mask with --mask.")
    head = np.clip(head / top, 0, 1)
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


def conformed(scan: Volume) -> tuple[Array, Grid]:
    """The head as the network sees it, float32, left axis first, its darkest value 0, 0 outside; and the grid it lies on."""
    from ..nets.synthstrip import UNIT

    directions = np.reshape(scan.grid.direction, (3, 3))
    worlds = [world for world, _ in _LIA]
    order = list(max(permutations(range(3)), key=lambda axes: float(np.abs(directions[worlds, list(axes)]).sum())))
    senses = np.array([sense * np.sign(directions[world, axis]) for (world, sense), axis in zip(_LIA, order, strict=True)])
    head = (scan.array - scan.array.min()).astype(np.float32).transpose(2, 1, 0).transpose(order)
    head = head[tuple(slice(None, None, int(sense)) for sense in senses)]
    spacing = np.asarray(scan.grid.spacing)[order]
    axes = directions[:, order] * senses
    first = np.where(senses > 0, 0, np.array(head.shape) - 1)[np.argsort(order)]  # where the turned head begins
    origin = scan.grid.to_world(first[None, ::-1])[0]

    starts = np.zeros(3)  # in voxels of the turned head: where the network's grid begins
    steps = SPACING_MM / spacing
    for axis in range(3):
        count = head.shape[axis]
        size = int(np.ceil(count / steps[axis] - 1e-3))  # but for what rounding adds
        places = (np.arange(size) - size / 2) * steps[axis] + count / 2  # the published program's middle: half a voxel on
        head = _taken(head, np.minimum(np.floor(places + 0.5).astype(int), count - 1), axis)
        starts[axis] = places[0]
    box = ndimage.find_objects((head > 0).astype(np.uint8))
    for axis, part in enumerate(box[0] if box else (slice(0, size) for size in head.shape)):
        size = int(np.clip(np.ceil((part.stop - part.start) / UNIT) * UNIT, *SIDES))
        begins = part.start - int((size - (part.stop - part.start)) / 2)
        places = np.arange(begins, begins + size)
        head = _taken(head, np.where((places >= part.start) & (places < part.stop), places, -1), axis)
        starts[axis] += begins * steps[axis]
    corner = tuple((origin + axes @ (starts * spacing)).tolist())
    return np.ascontiguousarray(head), Grid(head.shape, (SPACING_MM,) * 3, corner, tuple(axes.ravel().tolist()))


def _taken(values: Array, places: Array, axis: int) -> Array:
    """Values at places along an axis, 0 where there are none."""
    inside = (places >= 0) & (places < values.shape[axis])
    shape = [1, 1, 1]
    shape[axis] = len(places)
    return np.asarray(np.take(values, np.where(inside, places, 0), axis=axis) * inside.reshape(shape))


def _largest_filled(inside: Array, name: str) -> Array:
    parts, count = ndimage.label(inside)
    if count == 0:
        raise NoBrainError(f"no brain was found in {name}: SynthStrip marks nothing; if it shows one, give a mask with --mask.")
    return np.asarray(ndimage.binary_fill_holes(parts == np.argmax(np.bincount(parts.ravel())[1:]) + 1))
