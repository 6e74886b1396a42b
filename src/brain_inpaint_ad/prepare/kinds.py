"""Which preparation a kind of scan gets."""

from __future__ import annotations

from ..progress import Progress, silent
from ..volume import Volume
from . import Prepared, prepare
from .ct import prepare_ct
from .grid import GridSettings


def prepare_as(
    modality: str,
    scan: Volume,
    *,
    mask: Volume | None = None,
    settings: GridSettings | None = None,
    use_gpu: bool = False,
    progress: Progress = silent,
) -> Prepared:
    """As `prepare`, or for "CT" as `prepare_ct`. modality: of a model's card."""
    if modality == "CT":
        return prepare_ct(scan, mask=mask, settings=settings, progress=progress)
    return prepare(scan, mask=mask, settings=settings, use_gpu=use_gpu, progress=progress)
