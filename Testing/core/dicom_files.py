"""Volumes written as scanners write them: one file per slice, or one multi-frame file. With every identifier a patient has."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import EnhancedMRImageStorage, ExplicitVRLittleEndian, MRImageStorage, generate_uid

from brain_inpaint_ad.volume import Volume

# Words that occur nowhere else, so that finding one in an output is proof.
IDENTIFIERS = {
    "PatientName": "Xanthippe^Quirrelmann",
    "PatientID": "PID-4711-XQ",
    "PatientBirthDate": "19331231",
    "OtherPatientNames": "Xanthi^Quirrel",
    "PatientAddress": "Zwiebelgasse 99",
    "PatientTelephoneNumbers": "0190-334455",
    "AccessionNumber": "ACC-998877",
    "InstitutionName": "Klinik Wolkenkuckucksheim",
    "ReferringPhysicianName": "Zappelphilipp^Doktor",
    "OperatorsName": "Operateur^Otto",
    "StudyID": "STUDY-5566",
    "StudyDescription": "Kopf von Quirrelmann",
    "StudyDate": "20011009",
}


def save_classic(
    volume: Volume,
    folder: Path,
    *,
    number: int = 3,
    description: str = "t1 mprage",
    study: str | None = None,
    scale: Callable[[int], tuple[float, float]] = lambda slice_: (1.0, 0.0),
    keep: Iterable[int] | None = None,
    tilt_mm: float = 0.0,
    modality: str = "MR",
    change: Callable[[Dataset, int], None] = lambda header, slice_: None,
) -> Path:
    """One file per slice, in an order that is not theirs.

    scale: slope and intercept of a slice; keep: slices to write; tilt_mm: how far each slice is moved along its columns
    against the one before; change: a last word on each file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    uid, frame_of_reference, study = generate_uid(), generate_uid(), study or generate_uid()
    slices = range(volume.grid.shape[0]) if keep is None else keep
    for slice_ in slices:
        header = _common(volume, number, description, modality, uid, study, frame_of_reference)
        header.file_meta.MediaStorageSOPClassUID = header.SOPClassUID = MRImageStorage
        header.InstanceNumber = slice_ + 1
        columns = np.reshape(volume.grid.direction, (3, 3))[:, 1]
        header.ImagePositionPatient = _place(volume, slice_, tilt_mm * slice_ * columns)
        header.ImageOrientationPatient = _orientation(volume)
        header.PixelSpacing = [_short(volume.grid.spacing[1]), _short(volume.grid.spacing[0])]
        header.SliceThickness = _short(volume.grid.spacing[2])
        slope, intercept = scale(slice_)
        header.RescaleSlope, header.RescaleIntercept = _short(slope), _short(intercept)
        header.PixelData = _stored(volume.array[slice_], slope, intercept).tobytes()
        change(header, slice_)
        header.save_as(folder / f"IM{(slice_ * 7919) % 10007:05d}", enforce_file_format=True)
    return folder


def save_enhanced(volume: Volume, path: Path, *, number: int = 5, reverse: bool = True) -> Path:
    """All slices in one file, the last one first, each with a slope and intercept of its own."""
    path.parent.mkdir(parents=True, exist_ok=True)
    header = _common(volume, number, "t1 enhanced", "MR", generate_uid(), generate_uid(), generate_uid())
    header.file_meta.MediaStorageSOPClassUID = header.SOPClassUID = EnhancedMRImageStorage
    count = volume.grid.shape[0]
    header.NumberOfFrames, header.InstanceNumber = count, 1
    shared, per_frame, pixels = Dataset(), [], []
    orientation, measures = Dataset(), Dataset()
    orientation.ImageOrientationPatient = _orientation(volume)
    measures.PixelSpacing = [_short(volume.grid.spacing[1]), _short(volume.grid.spacing[0])]
    measures.SliceThickness = _short(volume.grid.spacing[2])
    shared.PlaneOrientationSequence, shared.PixelMeasuresSequence = Sequence([orientation]), Sequence([measures])
    for slice_ in reversed(range(count)) if reverse else range(count):
        frame, place, values = Dataset(), Dataset(), Dataset()
        place.ImagePositionPatient = _place(volume, slice_, np.zeros(3))
        slope, intercept = 0.5 + slice_ / 100, float(slice_)
        values.RescaleSlope, values.RescaleIntercept, values.RescaleType = _short(slope), _short(intercept), "US"
        frame.PlanePositionSequence, frame.PixelValueTransformationSequence = Sequence([place]), Sequence([values])
        per_frame.append(frame)
        pixels.append(_stored(volume.array[slice_], slope, intercept))
    header.SharedFunctionalGroupsSequence = Sequence([shared])
    header.PerFrameFunctionalGroupsSequence = Sequence(per_frame)
    header.PixelData = np.stack(pixels).tobytes()
    header.save_as(path, enforce_file_format=True)
    return path


def _common(
    volume: Volume, number: int, description: str, modality: str, uid: str, study: str, frame_of_reference: str
) -> Dataset:
    header = Dataset()
    header.file_meta = FileMetaDataset()
    header.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    header.file_meta.MediaStorageSOPInstanceUID = header.SOPInstanceUID = generate_uid()
    header.StudyInstanceUID, header.SeriesInstanceUID, header.FrameOfReferenceUID = study, uid, frame_of_reference
    header.Modality, header.SeriesNumber, header.SeriesDescription = modality, number, description
    header.PatientSex, header.StudyTime, header.Manufacturer = "O", "101112", "Phantom"
    for name, value in IDENTIFIERS.items():
        setattr(header, name, value)
    header.Rows, header.Columns = volume.grid.shape[1:]
    header.SamplesPerPixel, header.PhotometricInterpretation = 1, "MONOCHROME2"
    header.BitsAllocated = header.BitsStored = 16
    header.HighBit, header.PixelRepresentation = 15, 0
    return header


def _orientation(volume: Volume) -> list[str]:
    direction = np.reshape(volume.grid.direction, (3, 3))
    return [_short(value) for value in (*direction[:, 0], *direction[:, 1])]


def _place(volume: Volume, slice_: int, moved_mm: np.ndarray) -> list[str]:
    return [_short(mm) for mm in volume.grid.to_world(np.array([[slice_, 0, 0]]))[0] + moved_mm]


def _stored(values: np.ndarray, slope: float, intercept: float) -> np.ndarray:
    return np.clip(np.round((values - intercept) / slope), 0, 65535).astype("<u2")


def _short(value: float) -> str:
    """A DICOM decimal string has 16 characters."""
    return f"{value:.10g}"[:16]
