"""The packages the core needs, brought in the way Slicer wants it: torch by the PyTorch extension, the rest by pip.

Both collaborators are Slicer modules that exist only in the application; they are handed in, so that the order of
things can be tested without installing anything. Nothing is installed at start-up, only when the user asks for it.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

REQUIREMENTS = Path(__file__).resolve().parent.parent / "Resources" / "requirements.txt"
REQUESTER = "BrainInpaintAD"


class InstallError(RuntimeError):
    """What the core needs is not there; the message names the remedy."""


def torchIsPresent() -> bool:
    """Whether torch can be imported, found out without importing it: torch has no business in Slicer's process."""
    importlib.invalidate_caches()
    return find_spec("torch") is not None


class Installer:
    """Finds and installs what is missing."""

    def __init__(
        self,
        *,
        packaging: ModuleType | None = None,
        importTorchUtils: Callable[[], ModuleType] = lambda: importlib.import_module("PyTorchUtils"),
        hasTorch: Callable[[], bool] = torchIsPresent,
        requirements: Path = REQUIREMENTS,
    ) -> None:
        self._packaging = packaging or importlib.import_module("slicer.packaging")
        self._importTorchUtils = importTorchUtils
        self._hasTorch = hasTorch
        self._requirements = requirements

    def missing(self) -> list[str]:
        """What the core needs and Slicer's Python does not have, as requirement texts."""
        torch = [] if self._hasTorch() else ["torch"]
        wanted = self._packaging.load_requirements(self._requirements)
        return torch + [str(need) for need in wanted if not self._packaging.pip_check(need)]

    def check(self) -> None:
        """For scripts, which open no windows: raise InstallError when something is missing."""
        missing = self.missing()
        if missing:
            raise InstallError(
                f"Not installed yet: {', '.join(missing)}. Press 'Detect anomalies' in the module once, "
                "or call BrainInpaintADLogic().install()."
            )

    def ensure(self, *, interactive: bool = True) -> None:
        """Install what is missing; asks first when `interactive`. InstallError when the user declines or it fails."""
        if not self.missing():
            return
        self._ensureTorch(interactive)  # first: deepbet would otherwise let pip fetch a torch without CUDA
        try:
            self._packaging.pip_ensure(
                self._packaging.load_requirements(self._requirements),
                requester=REQUESTER,
                prompt_install=interactive,
                prompt_restart=interactive,
                show_progress=interactive,
            )
        except Exception as error:
            text = f"The Python packages were not installed ({error}); check the network and try again."
            raise InstallError(text) from error

    def _ensureTorch(self, interactive: bool) -> None:
        if self._hasTorch():
            return
        try:
            torchUtils = self._importTorchUtils()
        except ImportError as error:
            raise InstallError(
                "The PyTorch extension is missing; install 'PyTorch' in the Extensions Manager and restart Slicer."
            ) from error
        try:
            installed = torchUtils.PyTorchUtilsLogic().installTorch(askConfirmation=interactive)
        except Exception as error:
            raise InstallError(f"PyTorch was not installed ({error}); try it in the module 'PyTorch Utils'.") from error
        if installed is None:
            raise InstallError("PyTorch was not installed; the detection needs it.")
