"""Whether a scan file is whole: its own header against its length and checksums, before ITK reads it.

ITK fills what a short NIfTI file lacks with zeros, hands out voxels from damaged compressed MHA and NRRD files, takes
memory for whatever a header claims, and guesses where a NIfTI header has no usable voxel spacing.
"""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import SimpleITK as sitk

from .errors import FormatError

_CHUNK = 1 << 16
_GZIP = b"\x1f\x8b"
# By the size of the header (NIfTI-1, NIfTI-2): where a field is and what it holds.
_NIFTI_FIELDS = {
    348: {
        "dim": (40, "8h"),
        "datatype": (70, "h"),
        "pixdim": (76, "8f"),
        "vox_offset": (108, "f"),
        "sform_code": (254, "h"),
        "srow": (280, "12f"),
    },
    540: {
        "dim": (16, "8q"),
        "datatype": (12, "h"),
        "pixdim": (104, "8d"),
        "vox_offset": (168, "q"),
        "sform_code": (348, "i"),
        "srow": (400, "12d"),
    },
}
# Bytes per voxel by NIfTI's code of the type; those ITK reads.
_NIFTI_BYTES = {2: 1, 4: 2, 8: 4, 16: 4, 32: 8, 64: 8, 128: 3, 256: 1, 512: 2, 768: 4, 1024: 8, 1280: 8, 1792: 16, 2304: 4}


@dataclass(frozen=True, slots=True)
class _Stored:
    """Where voxels lie: in `path` from byte `start` on, packed how ("", "gzip", "zlib"), how many bytes unpacked."""

    path: Path
    start: int
    packing: str
    length: int


def check_whole(path: Path) -> None:
    """Raises FormatError when a header cannot be used, a stream is damaged, or fewer voxels are there than stated.

    path: an existing file whose suffix is one of io.SUFFIXES. RuntimeErrors are ITK's, about its header.
    """
    try:
        stored = _find_voxels(path)
        there = _length(stored) if stored else 0
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise FormatError(f"{path} is truncated or damaged ({error}); copy or export it again.") from error
    except OSError as error:
        raise FormatError(f"{error.filename or path} cannot be read ({error.strerror}); check the file.") from error
    if stored and there < stored.length:
        raise FormatError(f"{path} is truncated: {there} of {stored.length} bytes are there; copy or export it again.")


def _find_voxels(path: Path) -> _Stored | None:
    """None where the voxels are spread over files or written as text: then ITK has the word."""
    name = path.name.lower()
    if name.endswith((".nii", ".nii.gz")):
        return _in_nifti(path)
    return _in_metaimage(path) if name.endswith((".mha", ".mhd")) else _in_nrrd(path)


def _length(stored: _Stored) -> int:
    """Bytes that are there, unpacked; reads a packed stream to its end and its checksum."""
    with stored.path.open("rb") as stream:
        if not stored.packing:
            return max(0, stored.path.stat().st_size - stored.start)
        stream.seek(stored.start)
        return _gzip_length(stream) if stored.packing == "gzip" else _zlib_length(stream)


def _gzip_length(stream: BinaryIO) -> int:
    with gzip.GzipFile(fileobj=stream) as unpacked:
        return sum(len(chunk) for chunk in iter(lambda: unpacked.read(_CHUNK), b""))


def _zlib_length(stream: BinaryIO) -> int:
    machine, size = zlib.decompressobj(), 0
    while not machine.eof and (chunk := stream.read(_CHUNK)):
        size += len(machine.decompress(chunk))
    if not machine.eof:
        raise EOFError("the compressed voxels end too early")
    return size


def _in_nifti(path: Path) -> _Stored:
    with path.open("rb") as stream:
        packing = "gzip" if stream.read(2) == _GZIP else ""
    if packing and not path.name.lower().endswith(".gz"):
        raise FormatError(f"{path} is compressed; rename it to {path.name}.gz.")
    with gzip.open(path) if packing else path.open("rb") as stream:
        fields = _nifti_fields(stream.read(max(_NIFTI_FIELDS)))
    if problem := _nifti_problem(fields):
        raise FormatError(f"{path} has no usable NIfTI header ({problem}); copy or export it again.")
    count, *sizes = fields["dim"]
    voxels = math.prod(max(1, size) for size in sizes[:count])
    return _Stored(path, 0, packing, int(fields["vox_offset"][0]) + voxels * _NIFTI_BYTES[fields["datatype"][0]])


def _nifti_fields(head: bytes) -> dict[str, tuple[Any, ...]]:
    """The fields of either version in either byte order; none when the header is neither."""
    for size, fields in _NIFTI_FIELDS.items():
        for order in "<>":
            if len(head) >= size and struct.unpack_from(order + "i", head) == (size,):
                return {name: struct.unpack_from(order + kind, head, at) for name, (at, kind) in fields.items()}
    return {}


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
    if not 0 <= fields["vox_offset"][0] < math.inf:
        return f"voxels from byte {fields['vox_offset'][0]:g} on"
    return None


def _in_metaimage(path: Path) -> _Stored | None:
    head, start = _text_header(path, "=")
    data = head.get("elementdatafile", "LIST")
    if data.startswith("LIST") or "%" in data or "headersize" in head or head.get("binarydata", "True") != "True":
        return None
    packing = "zlib" if head.get("compresseddata") == "True" else ""
    place = (path, start) if data == "LOCAL" else (path.parent / data, 0)
    return _Stored(*place, packing, _stated_length(path))


def _in_nrrd(path: Path) -> _Stored | None:
    head, start = _text_header(path, ":")
    data = head.get("data file", head.get("datafile", ""))
    packing = {"raw": "", "gzip": "gzip", "gz": "gzip"}.get(head.get("encoding", ""))
    skips = head.keys() & {"line skip", "lineskip", "byte skip", "byteskip"}
    if packing is None or skips or data.startswith("LIST") or "%" in data:
        return None
    place = (path.parent / data, 0) if data else (path, start)
    return _Stored(*place, packing, _stated_length(path))


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
    return math.prod(reader.GetSize()) * int(reader.GetNumberOfComponents()) * int(component)
