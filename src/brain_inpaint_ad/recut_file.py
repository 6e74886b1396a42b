"""recut.npz: what superpixels and anomalies are cut from, so that another program can cut them anew without a network.

Arrays of one .npz, none of them pickled: `image` and `heat` (float32) and `brain` (bits) on the model grid, `scan_brain`
(bits) on the scan's, and `about`, JSON as bytes. Nothing in a file is trusted: sizes are checked before anything is unpacked.
"""

from __future__ import annotations

import io
import json
import os
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from .errors import FormatError, InputError
from .files import write_atomically
from .prepare import Prepared
from .prepare.intensity import THREE
from .segmentation.select import SegmentSettings
from .volume import Array, Grid, Volume

FORMAT = "brain-inpaint-ad recut 1"
ARRAYS = ("about", "image", "heat", "brain", "scan_brain")
_MAX_ABOUT = 2**20  # bytes
_MAX_VOXELS = 2**30  # of either grid
_MAX_HEADER = 4096  # bytes of an .npy file before its values


@dataclass(frozen=True, slots=True)
class RecutFile:
    """prepared: its scan's voxels are not kept, all 0 once read; heat: float32 on the model grid; report: plain JSON."""

    prepared: Prepared
    heat: Array
    settings: SegmentSettings
    thresholds: Mapping[str, float]
    report: dict[str, Any]


def write_recut(content: RecutFile, path: Path) -> None:
    """Write it whole or not at all. Raises OutputError."""
    prepared = content.prepared
    about = {
        "format": FORMAT,
        "model_grid": asdict(prepared.image.grid),
        "scan_grid": asdict(prepared.scan.grid),
        "scan": prepared.scan.name,
        "brain_source": prepared.brain_source,
        "landmarks": prepared.landmarks,
        "places": prepared.places,
        "settings": asdict(content.settings),
        "thresholds": dict(content.thresholds),
        "report": content.report,
    }
    with write_atomically(path) as temporary, temporary.open("wb") as stream:
        np.savez_compressed(
            stream,
            about=np.frombuffer(json.dumps(about).encode(), np.uint8),
            image=prepared.image.array.astype(np.float32),
            heat=content.heat.astype(np.float32),
            brain=np.packbits(prepared.brain),
            scan_brain=np.packbits(prepared.scan_brain),
        )


def read_recut(source: str | os.PathLike[str] | bytes) -> RecutFile:
    """A file that `write_recut` wrote, or its bytes. Raises FormatError or InputError, one sentence each."""
    name = called(source)
    try:
        with _opened(source, name) as archive:
            return _read(archive, name)
    except InputError:
        raise
    except MemoryError as error:
        raise InputError(f"{name} needs more memory than there is; close other programs and try again.") from error
    except OSError as error:
        raise FormatError(f"{name} cannot be read ({error.strerror or 'it is damaged'}); run the detection again.") from error
    # What zipfile, zlib, NumPy and JSON say of bytes that are not what they should be.
    except (
        ValueError,
        KeyError,
        TypeError,
        IndexError,
        OverflowError,
        EOFError,
        RecursionError,
        NotImplementedError,
        RuntimeError,
        zipfile.BadZipFile,
        zlib.error,
    ) as error:
        raise FormatError(f"{name} is damaged or no recut file of this program; run the detection again.") from error


def called(source: str | os.PathLike[str] | bytes) -> str:
    """How a message names it."""
    return "the recut file" if isinstance(source, bytes) else os.fspath(source)


@contextmanager
def _opened(source: str | os.PathLike[str] | bytes, name: str) -> Iterator[zipfile.ZipFile]:
    if not isinstance(source, bytes) and not Path(source).exists():
        raise FormatError(f"{name} does not exist; check the path.")
    with zipfile.ZipFile(io.BytesIO(source) if isinstance(source, bytes) else source) as archive:
        yield archive


def _read(archive: zipfile.ZipFile, name: str) -> RecutFile:
    if sorted(archive.namelist()) != sorted(f"{array}.npy" for array in ARRAYS):
        raise ValueError("other arrays")
    about = json.loads(_array(archive, "about", np.uint8, None).tobytes())
    if about["format"] != FORMAT:
        raise FormatError(f"{name} was written by another version of this program; run the detection again.")
    model_grid, scan_grid = _grid(about["model_grid"]), _grid(about["scan_grid"])
    image = _array(archive, "image", np.float32, model_grid.shape)
    heat = _array(archive, "heat", np.float32, model_grid.shape)
    brain, scan_brain = _bits(archive, "brain", model_grid), _bits(archive, "scan_brain", scan_grid)
    if not (np.isfinite(heat).all() and np.isfinite(image).all() and image.min() >= 0 and image.max() <= 1):
        raise InputError(f"{name} holds intensities or heat that no detection gives; run the detection again.")
    if not (brain.any() and scan_brain.any()):
        raise InputError(f"{name} shows no brain; run the detection again.")
    scan = Volume(np.broadcast_to(np.float32(0), scan_grid.shape), scan_grid, _text(about["scan"]))
    prepared = Prepared(
        Volume(image, model_grid, scan.name),
        brain,
        scan,
        scan_brain,
        _text(about["brain_source"]),
        *_landmarks(about),
    )
    thresholds = dict(zip(map(_text, about["thresholds"]), _numbers(about["thresholds"].values()), strict=True))
    if not isinstance(about["report"], dict):
        raise ValueError("no report")
    return RecutFile(prepared, heat, SegmentSettings(**about["settings"]), thresholds, about["report"])


def _array(archive: zipfile.ZipFile, name: str, kind: type, shape: tuple[int, ...] | None) -> Array:
    """One array of known kind and shape; shape None: one dimension, not long."""
    wanted = _MAX_ABOUT if shape is None else int(np.prod(shape)) * np.dtype(kind).itemsize
    if archive.getinfo(f"{name}.npy").file_size > wanted + _MAX_HEADER:
        raise ValueError("larger than it should be")
    found = np.lib.format.read_array(io.BytesIO(archive.read(f"{name}.npy")), allow_pickle=False)
    if found.dtype != kind or (found.ndim != 1 if shape is None else found.shape != shape):
        raise ValueError("of another kind or shape")
    return np.ascontiguousarray(found)


def _bits(archive: zipfile.ZipFile, name: str, grid: Grid) -> Array:
    voxels = int(np.prod(grid.shape))
    packed = _array(archive, name, np.uint8, (-(-voxels // 8),))
    return np.unpackbits(packed, count=voxels).astype(bool).reshape(grid.shape)


def _grid(content: dict[str, Any]) -> Grid:
    size = tuple(content["size"])
    if len(size) != 3 or not all(type(n) is int and n > 0 for n in size) or np.prod(size, dtype=float) > _MAX_VOXELS:
        raise ValueError("no size")
    spacing, origin, direction = (_numbers(content[key]) for key in ("spacing", "origin", "direction"))
    if (len(spacing), len(origin), len(direction)) != (3, 3, 9) or min(spacing) <= 0:
        raise ValueError("no grid")
    if abs(np.linalg.det(np.reshape(direction, (3, 3)))) < 1e-6:
        raise ValueError("flat")
    return Grid((size[0], size[1], size[2]), (spacing[0], spacing[1], spacing[2]), (origin[0], origin[1], origin[2]), direction)


def _numbers(values: Any) -> tuple[float, ...]:
    found = tuple(float(value) for value in values)
    if not np.isfinite(found).all():
        raise ValueError("not finite")
    return found


def _landmarks(about: Mapping[str, Any]) -> tuple[tuple[float, ...], tuple[str, ...], tuple[float, ...]]:
    """Landmarks, no doubts, and places, as `Prepared` has them; files of before have the usual places."""
    marks, places = _numbers(about["landmarks"]), _numbers(about.get("places", THREE.places))
    ascending = all(low < high for values in (marks, places) for low, high in pairwise(values))
    if len(marks) != len(places) or not ascending or (places[0], places[-1]) != (0, 1):
        raise ValueError("no landmarks")
    return marks, (), places


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("no text")
    return value
