"""BrainInpaintAD: what in this brain scan is not normal, as far as a model of healthy brains can tell.

    import brain_inpaint_ad as ad
    result = ad.detect("t1.nii.gz")
    result.save("results")

Names are loaded when first used: importing the package does not import torch, so that Slicer may do it at start-up.
Research software; not a medical device.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .errors import (
        BrainInpaintError,
        Cancelled,
        FormatError,
        GeometryError,
        InputError,
        NoBrainError,
        OutputError,
        SettingsError,
        TrainingError,
        WeightsError,
    )
    from .findings import Finding
    from .io import read_labels, read_scan, write_volume
    from .phantom import Lesion, PhantomSettings, make_phantom
    from .pipeline import detect
    from .prepare import Prepared
    from .result import Result, load_recut
    from .scan_score import ScanScore, score
    from .segmentation.felzenszwalb import felzenszwalb
    from .volume import Grid, Volume

__version__ = "0.1.0"  # the only place; Slicer runs the source tree, where no package metadata is

_HOME = {
    "BrainInpaintError": "errors",
    "Cancelled": "errors",
    "Finding": "findings",
    "FormatError": "errors",
    "GeometryError": "errors",
    "Grid": "volume",
    "InputError": "errors",
    "Lesion": "phantom",
    "NoBrainError": "errors",
    "OutputError": "errors",
    "PhantomSettings": "phantom",
    "Prepared": "prepare",
    "Result": "result",
    "ScanScore": "scan_score",
    "SettingsError": "errors",
    "TrainingError": "errors",
    "Volume": "volume",
    "WeightsError": "errors",
    "detect": "pipeline",
    "felzenszwalb": "segmentation.felzenszwalb",
    "load_recut": "result",
    "make_phantom": "phantom",
    "read_labels": "io",
    "read_scan": "io",
    "score": "scan_score",
    "write_volume": "io",
}

__all__ = [
    "BrainInpaintError",
    "Cancelled",
    "Finding",
    "FormatError",
    "GeometryError",
    "Grid",
    "InputError",
    "Lesion",
    "NoBrainError",
    "OutputError",
    "PhantomSettings",
    "Prepared",
    "Result",
    "ScanScore",
    "SettingsError",
    "TrainingError",
    "Volume",
    "WeightsError",
    "detect",
    "felzenszwalb",
    "load_recut",
    "make_phantom",
    "read_labels",
    "read_scan",
    "score",
    "write_volume",
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(f".{_HOME[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
