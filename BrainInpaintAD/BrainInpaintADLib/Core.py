"""Where the core lies, which Python runs it, and the command line between the two.

The core travels with the extension as source (`BrainInpaintADCore` beside the module), so an offline Slicer needs
wheels for its dependencies only. It is put on the path of the worker process, never on Slicer's own.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

from .Settings import Settings

PACKAGE = "brain_inpaint_ad"
MODULE_FOLDER = Path(__file__).resolve().parent.parent


class CoreMissingError(RuntimeError):
    """The extension was installed without its core."""


def coreFolder(moduleFolder: Path = MODULE_FOLDER) -> Path:
    """The folder that holds the package: beside the installed module, or `src` of a source checkout."""
    candidates = (moduleFolder / "BrainInpaintADCore", moduleFolder.parent / "src")
    for candidate in candidates:
        if (candidate / PACKAGE / "__init__.py").is_file():
            return candidate
    looked = " and ".join(str(candidate) for candidate in candidates)
    raise CoreMissingError(f"The package {PACKAGE} is neither in {looked}; install the extension again.")


def pythonExecutable() -> str:
    """Slicer's own Python, which sees the packages Slicer installed; outside Slicer the running one."""
    return shutil.which("PythonSlicer") or sys.executable


def environment(core: Path, base: Mapping[str, str] | None = None) -> dict[str, str]:
    """The worker's environment: this process's, with the core on the path and text in UTF-8."""
    inherited = dict(os.environ if base is None else base)
    path = [str(core), *filter(None, [inherited.get("PYTHONPATH")])]
    return inherited | {"PYTHONPATH": os.pathsep.join(path), "PYTHONUTF8": "1", "PYTHONUNBUFFERED": "1"}


def detectCommand(scan: Path, out: Path, settings: Settings, *, mask: Path | None = None) -> list[str]:
    """The command that writes the results of `scan` to the folder `out` and reports progress as JSON lines."""
    given = ["--mask", str(mask)] if mask else []
    head = [pythonExecutable(), "-m", PACKAGE, "detect", str(scan), "--out", str(out)]
    return [*head, *given, *settings.arguments(), "--progress", "jsonl"]
