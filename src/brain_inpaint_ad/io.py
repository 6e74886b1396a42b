"""Reading and writing scans through SimpleITK, with the checks ITK does not make.

ITK reads a truncated `.nii.gz` without a word and returns zeros for what is missing; `read_scan` decompresses
the whole stream first, which also verifies its checksum.
"""

from __future__ import annotations

import gzip
import os
import zlib
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from .errors import FormatError, InputError, OutputError
from .files import write_atomically
from .volume import Array, Grid, Volume

SUFFIXES = (".nii", ".nii.gz", ".nrrd", ".nhdr", ".mha", ".mhd")
MIN_SLICES = 8  # fewer voxels along an axis cannot show a brain in three dimensions
_CHUNK = 1 << 22


def read_scan(path: str | os.PathLike[str]) -> Volume:
    """One 3-D scan of finite numbers.

    Raises FormatError (missing, unreadable, truncated, not a known kind) or InputError (4-D, colour, one slice,
    NaN or infinite voxels, constant).
    """
    path = Path(path)
    image = _read_image(path)
    volume = _volume_from(image, path)
    _check_values(volume.array, path)
    return Volume(volume.array.astype(np.float32, copy=False), volume.grid, path.name)


def read_labels(path: str | os.PathLike[str]) -> Volume:
    """A mask or labelmap: whole numbers, on its own grid. Raises as `read_scan` does, but may be constant."""
    path = Path(path)
    volume = _volume_from(_read_image(path), path)
    values = volume.array
    if not np.isfinite(values).all() or not np.array_equal(values, np.round(values)):
        raise InputError(f"{path} is not a mask: it holds fractions or NaN; a mask has 0 outside the brain and 1 inside.")
    return Volume(values.astype(np.int32), volume.grid, path.name)


def write_volume(volume: Volume, path: str | os.PathLike[str]) -> None:
    """Write to a temporary name beside `path`, then move into place; float32 or integer as the array is."""
    path = Path(path)
    with write_atomically(path) as temporary:
        try:
            sitk.WriteImage(to_image(volume), str(temporary), useCompression=True)
        except RuntimeError as error:
            raise OutputError(f"{path} could not be written ({_last_line(error)}); is the disk full?") from error


def to_image(volume: Volume) -> sitk.Image:
    """The SimpleITK image of a volume, geometry included (bool becomes uint8)."""
    array = volume.array.astype(np.uint8) if volume.array.dtype == bool else volume.array
    image = sitk.GetImageFromArray(np.ascontiguousarray(array))
    image.SetSpacing(volume.grid.spacing)
    image.SetOrigin(volume.grid.origin)
    image.SetDirection(volume.grid.direction)
    return image


def from_image(image: sitk.Image, name: str = "volume") -> Volume:
    """The volume of a 3-D SimpleITK image."""
    return Volume(sitk.GetArrayFromImage(image), grid_of(image), name)


def grid_of(image: sitk.Image) -> Grid:
    """The grid of a 3-D SimpleITK image."""
    return Grid(image.GetSize(), image.GetSpacing(), image.GetOrigin(), image.GetDirection())


def resample(volume: Volume, grid: Grid, *, interpolator: int = sitk.sitkLinear) -> Array:
    """Values of `volume` at the voxels of `grid`, 0 outside; array of `grid.shape`, dtype kept (bool as uint8)."""
    reference = sitk.Image(grid.size, sitk.sitkUInt8)
    reference.SetSpacing(grid.spacing)
    reference.SetOrigin(grid.origin)
    reference.SetDirection(grid.direction)
    return sitk.GetArrayFromImage(sitk.Resample(to_image(volume), reference, sitk.Transform(), interpolator, 0.0))


def _read_image(path: Path) -> sitk.Image:
    _check_file(path)
    try:
        return sitk.ReadImage(str(path))
    except RuntimeError as error:
        raise FormatError(f"{path} could not be read ({_last_line(error)}); is it a complete scan file?") from error


def _check_file(path: Path) -> None:
    if not path.exists():
        raise FormatError(f"{path} does not exist; check the path.")
    if path.is_dir():
        raise FormatError(f"{path} is a folder; give one file ({', '.join(SUFFIXES)}).")
    if not path.name.lower().endswith(SUFFIXES):
        raise FormatError(f"{path.name} is of no kind this program reads; give one of {', '.join(SUFFIXES)}.")
    try:
        size = path.stat().st_size
        with path.open("rb") as stream:
            packed = stream.read(2) == b"\x1f\x8b"
    except OSError as error:
        raise FormatError(f"{path} may not be read ({error.strerror}); check its permissions.") from error
    if size == 0:
        raise FormatError(f"{path} is empty (0 bytes); copy or export it again.")
    if packed:
        size = _unpacked_size(path)
    if path.name.lower().endswith((".nii", ".nii.gz")):
        _check_nifti_size(path, size)


def _unpacked_size(path: Path) -> int:
    size = 0
    try:
        with gzip.open(path, "rb") as stream:
            while chunk := stream.read(_CHUNK):
                size += len(chunk)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise FormatError(f"{path} is truncated or damaged ({error}); copy or export it again.") from error
    except OSError as error:
        raise FormatError(f"{path} may not be read ({error}); check its permissions.") from error
    return size


def _check_nifti_size(path: Path, size: int) -> None:
    """ITK fills what a short file lacks with zeros; the header says how long the file must be."""
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
        bits = int(reader.GetMetaData("bitpix"))
        offset = float(reader.GetMetaData("vox_offset"))
    except (RuntimeError, ValueError) as error:
        raise FormatError(f"{path} has no readable NIfTI header ({_last_line(error)}).") from error
    needed = int(offset) + int(np.prod(reader.GetSize(), dtype=np.int64)) * bits // 8
    if size < needed:
        raise FormatError(f"{path} is truncated: {size} of {needed} bytes are there; copy or export it again.")


def _volume_from(image: sitk.Image, path: Path) -> Volume:
    if image.GetNumberOfComponentsPerPixel() > 1:
        kind = f"{image.GetNumberOfComponentsPerPixel()} values per voxel (colour or vectors)"
        raise InputError(f"{path} has {kind}; give a scan with one grey value per voxel.")
    if image.GetDimension() == 4 and image.GetSize()[3] == 1:
        image = image[:, :, :, 0]
    if image.GetDimension() != 3:
        sizes = "×".join(map(str, image.GetSize()))
        raise InputError(f"{path} is {image.GetDimension()}-D ({sizes}); give one 3-D volume, for example one time point.")
    if min(image.GetSize()) < MIN_SLICES:
        sizes = "×".join(map(str, image.GetSize()))
        raise InputError(f"{path} holds {sizes} voxels; at least {MIN_SLICES} along each axis are needed to see a brain.")
    return from_image(image, path.name)


def _check_values(array: Array, path: Path) -> None:
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        count = int((~np.isfinite(array)).sum())
        raise InputError(f"{path} holds {count} voxels that are NaN or infinite; repair or export the scan again.")
    if array.min() == array.max():
        raise InputError(f"{path} holds the same value ({array.flat[0]:g}) everywhere; there is nothing to see in it.")


def _last_line(error: Exception) -> str:
    """ITK's messages are many lines of source places; only the end speaks to people."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
