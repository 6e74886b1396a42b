"""Single images of a series, of classic files (one each) and of multi-frame ones, as one kind of thing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset

from ..errors import BrainInpaintError, FormatError, InputError
from ..volume import Array


@dataclass(frozen=True, slots=True)
class Frame:
    """One image and where it lies. DICOM's own words and units (PS3.3 C.7.6.2), LPS mm.

    header, path: of its file; number: which frame of the file, from 0; place: of the centre of the first pixel; axes: the
    directions of growing column and row index, (2, 3); spacing: mm between rows and between columns; slope, intercept: from
    stored to real values.
    """

    header: Dataset
    path: Path
    number: int
    place: Array
    axes: Array
    spacing: tuple[float, float]
    slope: float
    intercept: float

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return int(self.header.Rows), int(self.header.Columns)


def frames_of(headers: Iterable[tuple[Dataset, Path]]) -> list[Frame]:
    """All images of a series, in no order. Raises InputError where one has no place in the world or is in colour."""
    found: list[Frame] = []
    for header, path in headers:
        try:
            found += _frames(header, path)
        except BrainInpaintError:
            raise
        except Exception as error:  # pydicom parses late, and damage shows as many different types
            raise FormatError(f"{path} is a damaged DICOM file ({type(error).__name__}); copy or export it again.") from error
    return found


def _frames(header: Dataset, path: Path) -> Iterator[Frame]:
    if int(header.get("SamplesPerPixel") or 1) > 1:
        raise InputError(f"{path} is in colour; give a series with one grey value per pixel.")
    per_frame = header.get("PerFrameFunctionalGroupsSequence")
    if per_frame is None:
        if int(header.get("NumberOfFrames") or 1) > 1:
            raise InputError(f"{path} has several frames and does not say where they lie; export the series as single images.")
        yield _frame(header, path, 0, [header])
        return
    shared = list(header.get("SharedFunctionalGroupsSequence") or [])
    for number, groups in enumerate(per_frame):
        yield _frame(header, path, number, [inner for groups_of in (groups, *shared) for inner in _opened(groups_of)])


def _opened(groups: Dataset) -> Iterator[Dataset]:
    """The items of the functional groups, in which the attributes are."""
    for element in groups:
        if element.VR == "SQ" and len(element.value) == 1:
            yield element.value[0]


def _frame(header: Dataset, path: Path, number: int, places: Sequence[Dataset]) -> Frame:
    place = _numbers(places, "ImagePositionPatient", 3, path)
    axes = _numbers(places, "ImageOrientationPatient", 6, path)
    rows_mm, columns_mm = _numbers(places, "PixelSpacing", 2, path)
    if not (rows_mm > 0 and columns_mm > 0):
        raise InputError(f"{path} states pixels of {rows_mm:g} × {columns_mm:g} mm; repair or export the series again.")
    slope, intercept = (
        _number(places, f"Rescale{name}", otherwise, path) for name, otherwise in (("Slope", 1), ("Intercept", 0))
    )
    return Frame(header, path, number, place, axes.reshape(2, 3), (float(rows_mm), float(columns_mm)), slope, intercept)


def _numbers(places: Sequence[Dataset], name: str, count: int, path: Path) -> Array:
    values = _floats(next((place.get(name) for place in places if place.get(name) is not None), None))
    if len(values) != count or not np.isfinite(values).all():
        raise InputError(f"{path} does not say where it lies ({name} is missing or unusable); give the original series.")
    return values


def _number(places: Sequence[Dataset], name: str, otherwise: float, path: Path) -> float:
    values = _floats(next((place.get(name) for place in places if place.get(name) is not None), otherwise))
    if len(values) != 1 or not np.isfinite(values).all():
        raise InputError(f"{path} has an unusable {name}; give the original series.")
    return float(values[0])


def _floats(value: Any) -> Array:
    """Empty where it is none or no numbers."""
    try:
        return np.atleast_1d(np.asarray([] if value is None else value, dtype=float))
    except (TypeError, ValueError):
        return np.empty(0)
