"""Which preparation a kind of scan gets."""

from __future__ import annotations

from ..progress import Progress, silent
from ..volume import Array, Volume
from . import Prepared, prepare
from .bias import counted_from, zero_of
from .brain import find_brain
from .ct import inside_skull, prepare_ct
from .extraction import AUTO
from .grid import GridSettings


def prepare_as(
    modality: str,
    scan: Volume,
    *,
    mask: Volume | None = None,
    settings: GridSettings | None = None,
    extraction: str = AUTO,
    use_gpu: bool = False,
    progress: Progress = silent,
) -> Prepared:
    """As `prepare`, or for "CT" as `prepare_ct`. modality: of a model's card."""
    if modality == "CT":
        return prepare_ct(scan, mask=mask, settings=settings, progress=progress)
    return prepare(scan, mask=mask, settings=settings, extraction=extraction, use_gpu=use_gpu, progress=progress)


def brain_as(modality: str, scan: Volume) -> Array:
    """The brain mask that `prepare_as` draws, bool on the scan's grid."""
    return inside_skull(scan) if modality == "CT" else find_brain(scan)[0]


def counted_as(modality: str, scan: Volume, brain: Array) -> Volume:
    """The scan with intensities from that of no signal, as `prepare_as` counts them; CTs keep Hounsfield units."""
    return scan if modality == "CT" else counted_from(zero_of(scan, brain), scan)
