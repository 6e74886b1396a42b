"""The packages the core needs, brought in the way Slicer wants it: torch by the PyTorch extension, the rest by Pip.

The PyTorch extension is handed in, so that the order of things can be tested without installing anything. Nothing is
installed at start-up, only when the user asks for it. What was installed is written down, so that it can be removed again.
"""

from __future__ import annotations

import importlib
import sysconfig
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import slicer
from slicer.i18n import tr as _

from . import Models
from .AddedModels import AddedModels
from .InstallLedger import Ledger
from .InstallPlan import DOWNLOAD_MB, InstallItem, InstallPlan, torchItem
from .OfflineFolder import fittingWheels, wholeModels
from .Packages import OPTIONAL, InstallError, installedPackages, nameOf, neededBy, torchIsPresent
from .Pip import REQUIREMENTS, TORCH, Pip


def askUser(text: str) -> bool:
    """Slicer's OK / Cancel box."""
    return slicer.util.confirmOkCancelDisplay(text, windowTitle=_("BrainInpaintAD: install packages"))


class Installer:
    """Finds, installs and removes what the core needs. Every call belongs on the main thread."""

    def __init__(
        self,
        *,
        packaging: ModuleType | None = None,
        importTorchUtils: Callable[[], ModuleType] = lambda: importlib.import_module("PyTorchUtils"),
        hasTorch: Callable[[], bool] = torchIsPresent,
        confirm: Callable[[str], bool] = askUser,
        installedNames: Callable[[], set[str]] | None = None,
        requirements: Path = REQUIREMENTS,
        modelsFolder: Path | None = None,
    ) -> None:
        """packaging: stands in for slicer.packaging; installedNames: for the names of Python's packages, as pip writes them."""
        self._pip = Pip(packaging, requirements)
        self._importTorchUtils = importTorchUtils
        self._hasTorch = hasTorch
        self._confirm = confirm
        self._installedNames = installedNames or installedPackages
        ledgerFolder = modelsFolder.parent if modelsFolder else Models.homeFolder()  # models may lie elsewhere
        self._ledger = Ledger(ledgerFolder / "installed.json")
        self._models = AddedModels(modelsFolder or Models.userFolder(), self._ledger)

    def plan(self) -> InstallPlan:
        """What `ensure(everything=True)` would install."""
        torch = [] if self._hasTorch() else [torchItem()]
        pip = _("by pip, from the Python package index")
        needs = [nameOf(need) for need in self._pip.missing()]
        items = [InstallItem(name, pip, DOWNLOAD_MB.get(name, 1), name in OPTIONAL) for name in needs]
        return InstallPlan((*torch, *items), Path(sysconfig.get_path("purelib")))

    def missing(self) -> list[str]:
        """What the core cannot do without and Slicer's Python does not have, as requirement texts."""
        torch = [] if self._hasTorch() else ["torch"]
        return torch + [str(need) for need in self._pip.missing() if nameOf(need) not in OPTIONAL]

    def check(self) -> None:
        """For scripts, which open no windows: raise InstallError when something is missing."""
        self._refuseOldTorch()
        missing = self.missing()
        if missing:
            text = _(
                "Not installed yet: {names}. Press 'Detect anomalies' in the module once, "
                "or call slicer.modules.braininpaintad.logic().install()."
            )
            raise InstallError(text.format(names=", ".join(missing)))

    def ensure(self, *, interactive: bool = True, everything: bool = False) -> None:
        """Install what is missing; asks once, with `plan().text`, when `interactive`.

        everything: also when only something optional is missing. InstallError when the user declines or it fails.
        """
        self._refuseOldTorch()
        plan = self.plan()
        if plan.isEmpty or not (everything or self.missing()):
            return
        if interactive and not self._confirm(plan.text):
            raise InstallError(_("Nothing was installed; press the button again when you want the packages."))
        with self._recorded():
            self._ensureTorch()  # first: deepbet would otherwise let pip fetch a torch without CUDA
            self._pip.install(interactive=interactive)
        self._checkIsThere()

    def installFromFolder(self, folder: Path, *, interactive: bool = True) -> str:
        """Install without a network: wheels (`*.whl`) and models (`*.safetensors` with their `*.json`).

        Returns one line for the user. Nothing is changed unless every model is whole and no needed wheel is missing.
        torch comes from the folder too, because the PyTorch extension needs a network.
        """
        if not folder.is_dir():
            raise InstallError(
                _("There is no folder {folder}; choose the one with the wheels and models.").format(folder=folder)
            )
        models, wheels = wholeModels(folder), fittingWheels(folder)
        if not models and not any(folder.glob("*.whl")):
            text = _("{folder} holds neither wheels (.whl) nor models (.safetensors with .json); choose another folder.")
            raise InstallError(text.format(folder=folder))
        needs = self._pip.needsIn(folder, wheels, hasTorch=self._hasTorch())
        self._models.refuseToOverwrite(models)
        with self._recorded():
            self._pip.installFrom(folder, needs, interactive=interactive)
        self._models.copyIn(models)
        return self._folderText(needs, models)

    def removable(self) -> list[str]:
        """Packages and models that `remove` would take away."""
        return [*sorted(self._removablePackages()), *sorted(self._ledger.models)]

    def remove(self) -> str:
        """Uninstall what we installed and nothing else needs, delete models that were added. Returns one line for the user."""
        ours = self._ledger.packages & self._installedNames()
        going = self._removablePackages()
        if going:
            self._pip.uninstall(sorted(going))
        models = self._models.delete()
        self._ledger.write(packages=ours - going, models=set())
        text = _("Removed {packages} packages and {models} models.").format(packages=len(going), models=models)
        kept = ours - going
        return text + (" " + _("Other packages need: {names}.").format(names=", ".join(sorted(kept))) if kept else "")

    def _refuseOldTorch(self) -> None:
        if self._hasTorch() and not self._pip.isMet(TORCH):
            text = _(
                "The installed PyTorch does not meet {need}; uninstall it in the module 'PyTorch Utils' and restart Slicer."
            )
            raise InstallError(text.format(need=TORCH))

    def _ensureTorch(self) -> None:
        if self._hasTorch():
            return
        try:
            torchUtils = self._importTorchUtils()
        except ImportError as error:
            text = _("The PyTorch extension is missing; install 'PyTorch' in the Extensions Manager and restart Slicer.")
            raise InstallError(text) from error
        try:
            installed = torchUtils.PyTorchUtilsLogic().installTorch()
        except Exception as error:
            text = _("PyTorch was not installed ({error}); try it in the module 'PyTorch Utils'.")
            raise InstallError(text.format(error=error)) from error
        if installed is None:
            raise InstallError(_("PyTorch was not installed; the detection needs it. Try it in the module 'PyTorch Utils'."))

    def _checkIsThere(self) -> None:
        importlib.invalidate_caches()
        missing = self.missing()
        if missing:
            text = _("Still missing after the installation: {names}; restart Slicer and try again.")
            raise InstallError(text.format(names=", ".join(missing)))

    def _folderText(self, needs: list, models: dict[str, Path]) -> str:
        text = _("Installed {packages} packages and {models} models.").format(packages=len(needs), models=len(models))
        importlib.invalidate_caches()
        missing = self.missing()
        return text + (" " + _("Still missing: {names}.").format(names=", ".join(missing)) if missing else "")

    def _removablePackages(self) -> set[str]:
        names = self._installedNames()
        ours = self._ledger.packages & names
        return ours - neededBy(names - ours, ours)

    @contextmanager
    def _recorded(self) -> Iterator[None]:
        """Write down what appears meanwhile, even when the installation breaks off half-way."""
        before = self._installedNames()
        try:
            yield
        finally:
            importlib.invalidate_caches()
            self._ledger.write(packages=self._ledger.packages | (self._installedNames() - before))
