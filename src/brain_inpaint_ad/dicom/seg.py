"""Anomalies as a DICOM segmentation that belongs to the series they were found in."""

from __future__ import annotations

from collections.abc import Iterable
from copy import copy
from pathlib import Path

import highdicom
import numpy as np
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes

from .. import __version__
from ..errors import InputError
from ..files import write_atomically
from ..volume import Array, Volume
from . import without_warnings
from .frames import Frame
from .read import DicomOrigin

_MAY_BE_EMPTY = (
    *("PatientID", "PatientName", "PatientBirthDate", "PatientSex"),
    *("StudyID", "StudyDate", "StudyTime", "AccessionNumber", "ReferringPhysicianName"),
)
_NEEDED = ("SOPInstanceUID", "SOPClassUID", "StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID")


def write_seg(labelmap: Volume, scan: Volume, path: Path, *, model: str) -> None:
    """One segment per label, 1…N, on the grid of `scan`, whose patient and study it takes over.

    labelmap: whole numbers on the grid of `scan`, at least one above 0; scan: as `read_series` gave it; model: who found it.
    Raises InputError when the series lacks what a SEG must refer to.
    """
    if not isinstance(scan.origin, DicomOrigin):
        raise InputError(f"{scan.name} was not read from DICOM; a DICOM SEG has nothing to refer to.")
    frames = scan.origin.frames
    sources, pixels = _as_stored(frames, labelmap.array)
    first = sources[0]
    count = int(labelmap.array.max())
    with without_warnings():
        segmentation = highdicom.seg.Segmentation(
            source_images=sources,
            pixel_array=pixels.astype(np.uint16 if count > 255 else np.uint8),
            segmentation_type=highdicom.seg.SegmentationTypeValues.BINARY,
            segment_descriptions=[_described(label, model) for label in range(1, count + 1)],
            series_instance_uid=highdicom.UID(),
            series_number=1000 + int(first.get("SeriesNumber") or 0),
            sop_instance_uid=highdicom.UID(),
            instance_number=1,
            manufacturer="BrainInpaintAD",
            manufacturer_model_name="brain-inpaint-ad",
            software_versions=__version__,
            device_serial_number=__version__,
            content_label="ANOMALIES",
            content_description="Research software; not a medical device",
            series_description="Anomalies (research)",
        )
        with write_atomically(path) as temporary:
            segmentation.save_as(temporary)


def _as_stored(frames: tuple[Frame, ...], labels: Array) -> tuple[list[Dataset], Array]:
    """Headers as highdicom wants them, and the labels in the order of their images."""
    files = {frame.path for frame in frames}
    if len(files) == len(frames):
        return [_complete(frame.header, frame.path) for frame in frames], labels
    if len(files) > 1:
        raise InputError("the series is spread over several multi-frame files, which a DICOM SEG cannot refer to at once.")
    order = np.argsort([frame.number for frame in frames])
    return [_complete(frames[0].header, frames[0].path)], labels[order]


def _complete(header: Dataset, path: Path) -> Dataset:
    """With empty values where the standard allows them and scanners or anonymisers left them out."""
    if missing := [name for name in _NEEDED if not header.get(name)]:
        raise InputError(f"{path} lacks {missing[0]}, which a DICOM SEG must refer to; leave --dicom-seg away.")
    whole = copy(header)
    for name in _absent(header):
        setattr(whole, name, "")
    return whole


def _absent(header: Dataset) -> Iterable[str]:
    return (name for name in _MAY_BE_EMPTY if name not in header)


def _described(label: int, model: str) -> highdicom.seg.SegmentDescription:
    found_by = highdicom.AlgorithmIdentificationSequence(
        name=f"brain-inpaint-ad {model}", family=codes.DCM.ArtificialIntelligence, version=__version__
    )
    return highdicom.seg.SegmentDescription(
        segment_number=label,
        segment_label=f"anomaly {label}",
        segmented_property_category=codes.SCT.MorphologicallyAbnormalStructure,
        segmented_property_type=codes.SCT.Lesion,
        algorithm_type=highdicom.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=found_by,
    )
