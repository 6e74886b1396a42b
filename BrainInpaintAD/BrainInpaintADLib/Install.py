"""The packages the core needs, brought in the way Slicer wants it: torch by the PyTorch extension, the rest by pip.

Both collaborators are Slicer modules that exist only in the application; they are handed in, so that the order of
things can be tested without installing anything. Nothing is installed at start-up, only when the user asks for it.
What was installed is written down, so that the user can have it removed again.
"""

from __future__ import annotations

import importlib
import logging
import sys
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
from .Packages import (
    OPTIONAL,
    InstallError,
    canonical,
    constraintsFile,
    installedPackages,
    isSlicersOwn,
    nameOf,
    neededBy,
    torchIsPresent,
)

REQUIREMENTS = Path(__file__).resolve().parent.parent / "Resources" / "requirements.txt"
REQUESTER = "BrainInpaintAD"
TORCH = "torch>=2.4"


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
        self._packaging = packaging or _slicerPackaging()
        self._importTorchUtils = importTorchUtils
        self._hasTorch = hasTorch
        self._confirm = confirm
        self._installedNames = installedNames or installedPackages
        self._requirements = requirements
        ledgerFolder = modelsFolder.parent if modelsFolder else Models.homeFolder()  # models may lie elsewhere
        self._ledger = Ledger(ledgerFolder / "installed.json")
        self._models = AddedModels(modelsFolder or Models.userFolder(), self._ledger)

    def plan(self) -> InstallPlan:
        """What `ensure(everything=True)` would install."""
        torch = [] if self._hasTorch() else [torchItem()]
        pip = _("by pip, from the Python package index")
        needs = [nameOf(need) for need in self._missingByPip()]
        items = [InstallItem(name, pip, DOWNLOAD_MB.get(name, 1), name in OPTIONAL) for name in needs]
        return InstallPlan((*torch, *items), Path(sysconfig.get_path("purelib")))

    def missing(self) -> list[str]:
        """What the core cannot do without and Slicer's Python does not have, as requirement texts."""
        torch = [] if self._hasTorch() else ["torch"]
        return torch + [str(need) for need in self._missingByPip() if nameOf(need) not in OPTIONAL]

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
            self._ensurePackages(interactive)
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
        needs = self._needsFromFolder(folder, wheels)
        self._models.refuseToOverwrite(models)
        with self._recorded():
            if needs:
                self._pipFromFolder(folder, [need for need in needs if nameOf(need) not in OPTIONAL], interactive)
            _tryOptional(needs, lambda optional: self._pipFromFolder(folder, optional, False))
        self._models.copyIn(models)
        return self._folderText(needs, models)

    def downloadCommand(self) -> str:
        """What to run on a connected computer with the same Slicer and system, to fill a folder for `installFromFolder`."""
        names = [TORCH, *map(str, self._packaging.load_requirements(self._requirements))]
        quoted = " ".join(f'"{name}"' for name in names)
        return f"PythonSlicer -m pip download --only-binary :all: --dest wheels {quoted}"

    def removable(self) -> list[str]:
        """Packages and models that `remove` would take away."""
        return [*sorted(self._removablePackages()), *sorted(self._ledger.models)]

    def remove(self) -> str:
        """Uninstall what we installed and nothing else needs, delete models that were added. Returns one line for the user."""
        ours = self._ledger.packages & self._installedNames()
        going = self._removablePackages()
        if going:
            try:
                self._packaging.pip_uninstall(sorted(going))
            except Exception as error:
                text = _("The packages could not be removed ({error}); restart Slicer and press 'Remove' before anything else.")
                raise InstallError(text.format(error=error)) from error
        models = self._models.delete()
        self._ledger.write(packages=ours - going, models=set())
        text = _("Removed {packages} packages and {models} models.").format(packages=len(going), models=models)
        kept = ours - going
        return text + (" " + _("Other packages need: {names}.").format(names=", ".join(sorted(kept))) if kept else "")

    def _missingByPip(self) -> list:
        """Requirements that are not met; Slicer's own packages never count, for pip must not touch them."""
        wanted = self._packaging.load_requirements(self._requirements)
        return [need for need in wanted if not isSlicersOwn(nameOf(need)) and not self._packaging.pip_check(need)]

    def _refuseOldTorch(self) -> None:
        if self._hasTorch() and not self._packaging.pip_check(TORCH):
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

    def _ensurePackages(self, interactive: bool) -> None:
        needs = self._missingByPip()
        needed = [need for need in needs if nameOf(need) not in OPTIONAL]
        with constraintsFile() as constraints:
            options = {"constraints": constraints, "requester": REQUESTER, "prompt_install": False}
            if needed:
                try:
                    shown = {"prompt_restart": interactive, "show_progress": interactive}
                    self._packaging.pip_ensure(needed, **options, **shown)
                except Exception as error:
                    text = _(
                        "The Python packages were not installed ({error}); check the network and try again, "
                        "or install them from a folder."
                    )
                    raise InstallError(text.format(error=error)) from error
            quiet = {"prompt_restart": False, "show_progress": False}  # its failure is not worth a dialogue
            _tryOptional(needs, lambda optional: self._packaging.pip_ensure(optional, **options, **quiet))

    def _pipFromFolder(self, folder: Path, needs: list, interactive: bool) -> None:
        if not needs:
            return
        with constraintsFile() as constraints:
            try:
                self._packaging.pip_install(
                    ["--no-index", "--find-links", str(folder), *map(str, needs)],
                    constraints=constraints,
                    requester=REQUESTER,
                    show_progress=interactive,
                )
            except Exception as error:
                text = _(
                    "The wheels in {folder} could not be installed ({error}); pip's messages are in the Python console. "
                    "To fill the folder anew, run on a connected computer with the same Slicer: {command}"
                )
                raise InstallError(text.format(folder=folder, error=error, command=self.downloadCommand())) from error

    def _checkIsThere(self) -> None:
        importlib.invalidate_caches()
        missing = self.missing()
        if missing:
            text = _("Still missing after the installation: {names}; restart Slicer and try again.")
            raise InstallError(text.format(names=", ".join(missing)))

    def _needsFromFolder(self, folder: Path, wheels: dict[str, Path]) -> list:
        """The requirements to install from the folder. InstallError when one that is needed has no wheel there."""
        needs = [*([] if self._hasTorch() else [TORCH]), *self._missingByPip()]
        absent = [nameOf(need) for need in needs if canonical(nameOf(need)) not in wheels]
        absent = [name for name in absent if name not in OPTIONAL]
        if absent and any(folder.glob("*.whl")):
            text = _(
                "{folder} holds no wheel for this Python ({tag}) of: {names}. "
                "Run on a connected computer with the same Slicer: {command}"
            )
            tag = f"{sys.version_info.major}.{sys.version_info.minor}, {sysconfig.get_platform()}"
            names = ", ".join(absent)
            raise InstallError(text.format(folder=folder, tag=tag, names=names, command=self.downloadCommand()))
        return [need for need in needs if canonical(nameOf(need)) in wheels]

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


def _slicerPackaging() -> ModuleType:
    try:
        return importlib.import_module("slicer.packaging")
    except ImportError as error:
        raise InstallError(_("This Slicer is too old to install packages; use version 5.12 or later.")) from error


def _tryOptional(needs: list, install: Callable[[list], object]) -> None:
    for need in needs:
        if nameOf(need) in OPTIONAL:
            try:
                install([need])
            except Exception as error:
                logging.warning("The optional package %s was not installed: %s", need, error)
