"""Whether a scan file is whole: its own header against its length and checksums, before ITK reads it.

ITK fills what a short NIfTI file lacks with zeros and makes 0 of its NaN, hands out voxels from damaged compressed MHA
and NRRD files, takes memory for whatever a header claims, and guesses where a NIfTI header has no usable voxel spacing.
"""

from __future__ import annotations

import gzip
import math
import os
import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import SimpleITK as sitk

from .errors import FormatError, InputError

_CHUNK = 1 << 16
_NO_FILE_IS_LONGER = 2**53  # bytes; Python's seek knows nothing beyond 2**63
_NDIMS = re.compile(rb"^[ \t]*NDims[ \t]*[=:]?(.*)$", re.MULTILINE)
_META_DIMENSIONS = 10  # the most that MetaIO has room for
_GZIP = b"\x1f\x8b"
# By the size of the header (NIfTI-1, NIfTI-2): where a field is and what it holds.
_NIFTI_FIELDS = {
    348: {
        "dim": (40, "8h"),
        "datatype": (70, "h"),
        "pixdim": (76, "8f"),
        "vox_offset": (108, "f"),
        "xyzt_units": (123, "b"),
        "qform_code": (252, "h"),
        "sform_code": (254, "h"),
        "quatern": (256, "3f"),
        "qoffset": (268, "3f"),
        "srow": (280, "12f"),
    },
    540: {
        "dim": (16, "8q"),
        "datatype": (12, "h"),
        "pixdim": (104, "8d"),
        "vox_offset": (168, "q"),
        "qform_code": (344, "i"),
        "sform_code": (348, "i"),
        "quatern": (352, "3d"),
        "qoffset": (376, "3d"),
        "srow": (400, "12d"),
        "xyzt_units": (500, "i"),
    },
}
# Bytes per voxel by NIfTI's code of the type; those ITK reads.
_NIFTI_BYTES = {2: 1, 4: 2, 8: 4, 16: 4, 32: 8, 64: 8, 128: 3, 256: 1, 512: 2, 768: 4, 1024: 8, 1280: 8, 1792: 16, 2304: 4}


@dataclass(frozen=True, slots=True)
class _Stored:
    """Where voxels lie.

    path, start: in which file from which byte on; packing: "", "gzip" or "zlib"; skip: bytes before the voxels once
    unpacked; length: bytes of voxels, unpacked; floats: their NumPy type when they are NIfTI's floating-point numbers.
    """

    path: Path
    start: int
    packing: str
    length: int
    skip: int = 0
    floats: str = ""


def check_whole(path: Path) -> None:
    """Raises FormatError when a header cannot be used, a stream is damaged, or fewer voxels are there than stated.

    path: an existing file whose suffix is one of io.SUFFIXES. InputError: a NIfTI file holds NaN or infinity.
    A RuntimeError is ITK's, about the header.
    """
    try:
        if stored := _find_voxels(path):
            _check_voxels(stored, path)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise FormatError(f"{path} is truncated or damaged ({error}); copy or export it again.") from error
    except OSError as error:
        raise FormatError(f"{error.filename or path} cannot be read ({error.strerror}); check the file.") from error


def _find_voxels(path: Path) -> _Stored | None:
    """None where the voxels are spread over files or written as text: then ITK has the word."""
    name = path.name.lower()
    if name.endswith((".nii", ".nii.gz")):
        return _in_nifti(path)
    return _in_metaimage(path) if name.endswith((".mha", ".mhd")) else _in_nrrd(path)


def _check_voxels(stored: _Stored, path: Path) -> None:
    there, odd = 0, 0
    for chunk in _chunks(stored):
        if stored.floats:
            odd += _count_not_finite(chunk[: max(0, stored.length - there)], stored.floats)
        there += len(chunk)
    if there < stored.length:
        raise FormatError(f"{path} is truncated: {there} of {stored.length} bytes are there; copy or export it again.")
    if odd:
        raise InputError(f"{path} holds {odd} voxels that are NaN or infinite; repair or export the scan again.")


def _count_not_finite(content: bytes, dtype: str) -> int:
    values = np.frombuffer(content[: len(content) // int(dtype[-1]) * int(dtype[-1])], dtype)
    return int((~np.isfinite(values)).sum())


def _chunks(stored: _Stored) -> Iterator[bytes]:
    """The voxels' bytes, unpacked; a packed stream is read to its end and its checksum."""
    with stored.path.open("rb") as stream:
        stream.seek(stored.start)
        if stored.packing == "zlib":
            yield from _inflated(stream)
            return
        plain = gzip.GzipFile(fileobj=stream) if stored.packing == "gzip" else stream
        plain.seek(stored.skip, os.SEEK_CUR)
        while chunk := plain.read(_CHUNK):
            yield chunk


def _inflated(stream: BinaryIO) -> Iterator[bytes]:
    machine = zlib.decompressobj()
    while not machine.eof and (chunk := stream.read(_CHUNK)):
        yield machine.decompress(chunk)
    if not machine.eof:
        raise EOFError("the compressed voxels end too early")


def _in_nifti(path: Path) -> _Stored:
    packing = "gzip" if _is_packed(path) else ""
    if packing and not path.name.lower().endswith(".gz"):
        raise FormatError(f"{path} is compressed; rename it to {path.name}.gz.")
    order, fields = nifti_header(path)
    if problem := _nifti_problem(fields):
        raise FormatError(f"{path} has no usable NIfTI header ({problem}); copy or export it again.")
    count, *sizes = fields["dim"]
    kind, skip = fields["datatype"][0], int(fields["vox_offset"][0])
    length = math.prod(max(1, size) for size in sizes[:count]) * _NIFTI_BYTES[kind]
    return _Stored(path, 0, packing, length, skip, {16: f"{order}f4", 64: f"{order}f8"}.get(kind, ""))


def _is_packed(path: Path) -> bool:
    with path.open("rb") as stream:
        return stream.read(2) == _GZIP


def nifti_header(path: Path) -> tuple[str, dict[str, tuple[Any, ...]]]:
    """Byte order and fields of either version, packed or not; no fields when it is neither. Raises OSError, EOFError."""
    with gzip.open(path) if path.name.lower().endswith(".gz") and _is_packed(path) else path.open("rb") as stream:
        head = stream.read(max(_NIFTI_FIELDS))
    for size, fields in _NIFTI_FIELDS.items():
        for order in "<>":
            if len(head) >= size and struct.unpack_from(order + "i", head) == (size,):
                return order, {name: struct.unpack_from(order + kind, head, at) for name, (at, kind) in fields.items()}
    return "<", {}


def _nifti_problem(fields: dict[str, tuple[Any, ...]]) -> str | None:
    if not fields:
        return "it does not begin like one"
    count, spacing = fields["dim"][0], fields["pixdim"][1:4]
    if not 1 <= count <= 7:
        return f"{count} dimensions"
    if fields["datatype"][0] not in _NIFTI_BYTES:
        return f"voxels of the unknown type {fields['datatype'][0]}"
    if not all(0 < mm < math.inf for mm in spacing[:count]):
        return f"a voxel spacing of {' × '.join(f'{mm:g}' for mm in spacing)} mm"
    if fields["sform_code"][0] > 0 and not all(map(math.isfinite, fields["srow"])):
        return "a place that is not a number"
    if not 0 <= fields["vox_offset"][0] < _NO_FILE_IS_LONGER:
        return f"voxels from byte {fields['vox_offset'][0]:g} on"
    return None


def _in_metaimage(path: Path) -> _Stored | None:
    head, start = _text_header(path, "=")
    _check_dimensions(path, start)
    data = head.get("elementdatafile", "LIST")
    _check_inside(data, path)
    if data.startswith("LIST") or "%" in data or "headersize" in head or head.get("binarydata", "True") != "True":
        return None
    packing = "zlib" if head.get("compresseddata") == "True" else ""
    place = (path, start) if data == "LOCAL" else (path.parent / data, 0)
    return _Stored(*place, packing, _stated_length(path))


def _check_dimensions(path: Path, start: int) -> None:
    """Raises FormatError unless a MetaImage header states one small number of dimensions: of others ITK's reader dies."""
    with path.open("rb") as stream:
        stated = [line[1] for line in _NDIMS.finditer(stream.read(start))]
    if len(stated) != 1 or not stated[0].strip().isdigit() or not 1 <= int(stated[0]) <= _META_DIMENSIONS:
        raise FormatError(
            f"{path} could not be read: it does not state one number of dimensions (NDims, 1 to 10); copy or export it again."
        )


def _in_nrrd(path: Path) -> _Stored | None:
    head, start = _text_header(path, ":")
    data = head.get("data file", head.get("datafile", ""))
    _check_inside(data, path)
    packing = {"raw": "", "gzip": "gzip", "gz": "gzip"}.get(head.get("encoding", ""))
    skips = head.keys() & {"line skip", "lineskip", "byte skip", "byteskip"}
    if packing is None or skips or data.startswith("LIST") or "%" in data:
        return None
    place = (path.parent / data, 0) if data else (path, start)
    return _Stored(*place, packing, _stated_length(path))


def _check_inside(data: str, path: Path) -> None:
    """Raises FormatError for a header that would have another file of this machine read as its voxels. data: what it names."""
    if not data.isprintable():
        raise FormatError(f"{path} names no usable file for its voxels; copy or export it again.")
    parts = data.replace("\\", "/").split("/")
    if ".." in parts or parts[0] == "" != data or ":" in parts[0]:
        raise FormatError(f"{path} names voxels outside of its own folder ({data}); put both files into one folder.")


def _text_header(path: Path, separator: str) -> tuple[dict[str, str], int]:
    """The lines "key separator value" at the head of a file, keys in small letters, and where its voxels would begin."""
    found: dict[str, str] = {}
    with path.open("rb") as stream:
        while "elementdatafile" not in found and (line := stream.readline(_CHUNK)).strip():
            key, _, value = line.decode("utf-8", "replace").partition(separator)
            found[key.strip().lower()] = value.strip()
        return found, stream.tell()


def _stated_length(path: Path) -> int:
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    reader.ReadImageInformation()
    component = sitk.Image((1, 1), reader.GetPixelIDValue()).GetSizeOfPixelComponent()
    return int(math.prod(reader.GetSize()) * reader.GetNumberOfComponents() * component)
