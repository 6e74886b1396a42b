"""Where the core lies, which Python runs it, and the command line between the two.

The core travels with the extension as source (`BrainInpaintADCore` beside the module), so an offline Slicer needs
wheels for its dependencies only. Detection runs in a process of its own; Slicer's process imports the core for the
re-cut alone, which needs no torch.
"""

from __future__ import annotations

import importlib
import os
import shutil
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

from slicer.i18n import tr as _

from . import Models
from .Settings import Settings

PACKAGE = "brain_inpaint_ad"
MODULE_FOLDER = Path(__file__).resolve().parent.parent
PREVIEW_READY = "preview ready"  # the stage the core reports once the preview's files are whole
_NEEDED_IN_SLICER = {"skimage": "scikit-image"}  # what the re-cut imports and Slicer does not bring


class CoreMissingError(RuntimeError):
    """The core, or what it needs inside Slicer, is not installed; the message names the remedy."""


def coreFolder(moduleFolder: Path = MODULE_FOLDER) -> Path:
    """The folder that holds the package: beside the installed module, or `src` of a source checkout."""
    candidates = (moduleFolder / "BrainInpaintADCore", moduleFolder.parent / "src")
    for candidate in candidates:
        if (candidate / PACKAGE / "__init__.py").is_file():
            return candidate
    text = _("The package {package} is neither in {places}; install the extension again.")
    places = " nor ".join(str(candidate) for candidate in candidates)
    raise CoreMissingError(text.format(package=PACKAGE, places=places))


def shippedModelsFolder(core: Path | None = None) -> Path:
    """Where the models lie that travel with the core. Raises CoreMissingError."""
    return (core or coreFolder()) / PACKAGE / "weights" / "shipped"


def importCore() -> ModuleType:
    """The core in this process, for the re-cut: the same files the worker runs. Raises CoreMissingError; never loads torch."""
    for module, package in _NEEDED_IN_SLICER.items():
        importlib.invalidate_caches()
        if module not in sys.modules and find_spec(module) is None:
            text = _("The Python package '{package}' is missing; press 'Install' in the module and try again.")
            raise CoreMissingError(text.format(package=package))
    folder = str(coreFolder())
    if folder not in sys.path:
        sys.path.insert(0, folder)  # it holds nothing else, and a copy that pip installed may be another version
    return importlib.import_module(PACKAGE)


def pythonExecutable() -> str:
    """Slicer's own Python, which sees the packages Slicer installed; outside Slicer the running one."""
    return shutil.which("PythonSlicer") or sys.executable


def environment(core: Path, base: Mapping[str, str] | None = None) -> dict[str, str]:
    """The worker's environment: this process's, with the core on the path and text in UTF-8."""
    inherited = dict(os.environ if base is None else base)
    path = [str(core), *filter(None, [inherited.get("PYTHONPATH")])]
    return inherited | {"PYTHONPATH": os.pathsep.join(path), "PYTHONUTF8": "1", "PYTHONUNBUFFERED": "1"}


def previewFolder(out: Path) -> Path:
    """Where the preview of the results in `out` is written."""
    return out.with_name(f"{out.name} preview")


def detectCommand(scan: Path, out: Path, settings: Settings, *, mask: Path | None = None) -> list[str]:
    """The command that writes the results of `scan` to the folder `out` and reports progress as JSON lines.

    What sliders need (`recut.npz`) comes always; the reconstruction and a preview where the model has them; window and stride
    are named only where it has windows.
    Raises Models.ModelsError when there is no such model or window.
    """
    model = Models.findModel(settings.model)
    card = model.card(settings.windowMm)
    return [
        *(pythonExecutable(), "-m", PACKAGE, "detect", str(scan), "--out", str(out)),
        *(("--mask", str(mask)) if mask else ()),
        *("--model", card.argument),
        *(("--window-mm", f"{card.windowMm:g}") if card.windowMm else ()),
        *settings.arguments(),
        *(("--reconstruction",) if model.canReconstruct else ()),
        *(("--preview", str(previewFolder(out))) if card.windowMm in model.previewsMm else ()),
        *("--recut", "--progress", "jsonl"),
    ]
