"""Reading and writing scans through SimpleITK, with the checks ITK does not make."""

from __future__ import annotations

import logging
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from .errors import FormatError, InputError, OutputError
from .files import check_is_text, is_text, temporary_folder, write_atomically
from .intact import check_whole
from .memory import MemoryBound, full_memory_told
from .nifti_place import doubt_of_place
from .volume import Array, Grid, Volume

_LOG = logging.getLogger(__name__)
SUFFIXES = (".nii", ".nii.gz", ".nrrd", ".nhdr", ".mha", ".mhd")
MIN_SLICES = 8  # fewer voxels along an axis cannot show a brain in three dimensions
_SKEW = 1e-3  # how far axes may be from right angles: a quarter of a millimetre across a head


def read_scan(path: str | os.PathLike[str], *, bound: MemoryBound | None = None) -> Volume:
    """One 3-D scan of finite numbers. bound: checked against the header before the voxels are loaded.

    Raises FormatError (missing, unreadable, truncated, not a known kind) or InputError (4-D, colour, one slice,
    NaN or infinite voxels, constant, axes that are not at right angles).
    """
    path = Path(path)
    image = _read_image(path, bound)
    volume = _volume_from(image, path)
    if doubt := doubt_of_place(path, volume.grid):
        _LOG.warning("%s: %s", path.name, doubt)
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite and is refused as such
        array = volume.array.astype(np.float32, copy=False)
    check_values(array, str(path))
    return Volume(array, volume.grid, path.name)


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
    check_is_text(path)
    with write_atomically(path) as temporary:
        try:
            sitk.WriteImage(to_image(volume), str(temporary), useCompression=True)
            check_whole(temporary)  # on a full disk ITK writes half a NIfTI file and reports nothing
        except (RuntimeError, FormatError) as error:
            raise OutputError(f"{path} could not be written whole; is the disk full?") from error


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


def _read_image(path: Path, bound: MemoryBound | None = None) -> sitk.Image:
    _check_file(path)
    try:
        with full_memory_told(), _without_warnings(), _alone(path) as readable:
            check_whole(path)
            if bound is not None:
                bound.check(_stated_size(readable), str(path))
            return sitk.ReadImage(str(readable))
    except OSError as error:
        raise FormatError(f"{path} may not be read ({error.strerror}); check its permissions and free space.") from error
    except RuntimeError as error:
        raise FormatError(f"{path} could not be read ({_reason(error)}); is it a complete scan file?") from error


def _stated_size(path: Path) -> tuple[int, ...]:
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    reader.ReadImageInformation()
    return tuple(reader.GetSize())


def _check_file(path: Path) -> None:
    try:
        size = path.stat().st_size
        if path.is_dir():
            raise FormatError(f"{path} is a folder without DICOM files; give one file ({', '.join(SUFFIXES)}).")
        if not path.is_file():  # a pipe would keep us waiting
            raise FormatError(f"{path} is no ordinary file; give the path of a scan on disk.")
        if not path.name.lower().endswith(SUFFIXES):
            raise FormatError(f"{path.name} is not a file type this program reads; give one of {', '.join(SUFFIXES)}.")
        path.open("rb").close()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise FormatError(f"{path} does not exist; check the path.") from error
    except OSError as error:
        raise FormatError(f"{path} may not be read ({error.strerror}); check its permissions.") from error
    if size == 0:
        raise FormatError(f"{path} is empty (0 bytes); copy or export it again.")


@contextmanager
def _alone(path: Path) -> Iterator[Path]:
    """A copy where ITK would not read this very file.

    Asked for scan.nii.gz beside scan.nii, it takes the voxels of the latter (its issue 2243); it refuses endings of mixed
    case, and ends the process over letters that are none in UTF-8.
    """
    suffix = next(suffix for suffix in SUFFIXES if path.name.lower().endswith(suffix))
    beside = suffix == ".nii.gz" and path.with_suffix("").exists()
    odd = path.name[-len(suffix) :] not in (suffix, suffix.upper()) or not is_text(path)
    if odd and suffix in (".nhdr", ".mhd"):
        raise FormatError(f"{path} cannot be read under this name; rename it with plain letters.")
    if not (beside or odd):
        yield path
        return
    with temporary_folder() as folder:
        yield Path(shutil.copyfile(path, folder / f"scan{suffix}"))


@contextmanager
def _without_warnings() -> Iterator[None]:
    """ITK prints its warnings to the terminal, three times over; what matters of them is checked here."""
    before = sitk.ProcessObject.GetGlobalWarningDisplay()
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    try:
        yield
    finally:
        sitk.ProcessObject.SetGlobalWarningDisplay(before)


def _volume_from(image: sitk.Image, path: Path) -> Volume:
    if image.GetNumberOfComponentsPerPixel() > 1:
        kind = f"{image.GetNumberOfComponentsPerPixel()} values per voxel (colour or vectors)"
        raise InputError(f"{path} has {kind}; give a scan with one grey value per voxel.")
    if "complex" in image.GetPixelIDTypeAsString():
        raise InputError(f"{path} has complex voxels; give the magnitude image.")
    if image.GetDimension() == 4 and image.GetSize()[3] == 1:
        image = image[:, :, :, 0]
    if image.GetDimension() != 3:
        sizes = "×".join(map(str, image.GetSize()))
        raise InputError(f"{path} is {image.GetDimension()}-D ({sizes}); give one 3-D volume, for example one time point.")
    check_size(image.GetSize(), str(path))
    volume = from_image(image, path.name)
    check_grid(volume.grid, str(path))
    return volume


def check_size(size: Sequence[int], name: str) -> None:
    """Raises InputError when there are too few voxels along an axis to see a brain. name: for the message."""
    if min(size) < MIN_SLICES:
        sizes = "×".join(map(str, size))
        raise InputError(f"{name} holds {sizes} voxels; at least {MIN_SLICES} along each axis are needed to see a brain.")


def check_grid(grid: Grid, name: str) -> None:
    """Raises FormatError or InputError unless a scan's axes are finite and at right angles. name: for the message."""
    axes = np.reshape(grid.direction, (3, 3))
    if not np.isfinite(grid.affine).all():
        raise FormatError(f"{name} places its voxels at NaN or infinity; repair its header.")
    if np.abs(axes.T @ axes - np.eye(3)).max() > _SKEW:
        raise InputError(f"{name} has axes that are not at right angles; resample it to an ordinary grid first.")


def check_values(array: Array, name: str) -> None:
    """Raises InputError when a scan holds NaN or infinity or only one value. name: for the message."""
    if count := int((~np.isfinite(array)).sum()):
        raise InputError(f"{name} holds {count} voxels that are NaN or infinite; repair or export the scan again.")
    if array.min() == array.max():
        raise InputError(f"{name} holds the same value ({array.flat[0]:g}) everywhere; there is nothing to see in it.")


def _reason(error: Exception) -> str:
    """The first sentence of ITK's message, without the places in its source that come before."""
    said = str(error).split("ERROR: ")[-1].strip()
    return re.sub(r"^\w+\(0x\w+\): ", "", said).splitlines()[0].split(". ")[0].rstrip(".:")
