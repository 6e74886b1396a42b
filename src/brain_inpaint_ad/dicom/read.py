"""A DICOM series as a volume."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom

from ..errors import FormatError
from ..io import check_grid, check_size, check_values
from ..memory import MemoryBound
from ..progress import Progress, part_of, silent
from ..volume import Array, Volume
from .frames import Frame, frames_of
from .series import choose_series, list_series
from .stack import stacked


@dataclass(frozen=True, slots=True)
class DicomOrigin:
    """What a volume was read from: one frame per slice, first to last; series: `Series.told`."""

    frames: tuple[Frame, ...]
    series: dict[str, str | int]


def read_series(
    path: Path, *, series: str | None = None, bound: MemoryBound | None = None, progress: Progress = silent
) -> Volume:
    """One series of a folder or file: float32, real values (slope and intercept of each slice applied), slices in order.

    series: its number or UID; needed where there are several with enough slices. The volume is called after the number of
    the series, never after a patient, and its `origin` is a DicomOrigin. Raises SettingsError (which series?), FormatError
    (damaged), InputError (no grid: see `stacked`; too few slices; constant; not finite).
    """
    chosen = choose_series(list_series(path, progress=part_of(progress, 0.0, 0.5)), series, path)
    name = f"series {chosen.number or chosen.uid} in {path}"
    frames, grid = stacked(frames_of(chosen.headers), name)
    check_size(grid.size, name)
    check_grid(grid, name)
    if bound is not None:
        bound.check(grid.size, name)
    array = np.empty(grid.shape, np.float32)
    stored: tuple[Path, Array] | None = None
    for index, frame in enumerate(frames):
        progress(0.5 + 0.5 * index / len(frames), f"reading DICOM series {chosen.number}".strip())
        if stored is None or stored[0] != frame.path:
            stored = frame.path, _stored(frame.path)
        values = stored[1] if stored[1].ndim == 2 else _at(stored[1], frame)
        if values.shape != frame.shape:
            raise FormatError(f"{frame.path} holds other images than its header says; copy or export it again.")
        with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite and is refused as such
            array[index] = values * frame.slope + frame.intercept
    check_values(array, name)
    return Volume(array, grid, f"DICOM series {chosen.number}".strip(), DicomOrigin(tuple(frames), chosen.told()))


def _at(values: Array, frame: Frame) -> Array:
    if frame.number >= len(values):
        raise FormatError(f"{frame.path} holds fewer images than its header says; copy or export it again.")
    return np.asarray(values[frame.number])


def _stored(path: Path) -> Array:
    """Values as they are in the file: (rows, columns) or (frames, rows, columns)."""
    try:
        return np.asarray(pydicom.dcmread(path).pixel_array)
    except MemoryError:
        raise
    except Exception as error:  # damage and missing decoders show as many different types
        raise FormatError(
            f"the image in {path} cannot be read ({type(error).__name__}); it is truncated, damaged or packed in a way that "
            "needs another decoder, so export it uncompressed."
        ) from error
