"""The packages the core needs, brought in the way Slicer wants it: torch by the PyTorch extension, the rest by pip.

Both collaborators are Slicer modules that exist only in the application; they are handed in, so that the order of
things can be tested without installing anything. Nothing is installed at start-up, only when the user asks for it.
What was installed is written down, so that the user can have it removed again.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import logging
import re
import shutil
import sys
import sysconfig
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType

import slicer
from slicer.i18n import tr as _

from . import Models

REQUIREMENTS = Path(__file__).resolve().parent.parent / "Resources" / "requirements.txt"
REQUESTER = "BrainInpaintAD"
TORCH = "torch>=2.4"
OPTIONAL = ("numba",)  # of the requirements: without it everything works but the volume segmentation, and sliders are slow
KEPT_AS_THEY_ARE = ("numpy", "scipy", "SimpleITK", "torch")  # Slicer and other extensions rely on these very versions

_TORCH_CPU_MB, _TORCH_CUDA_MB = 200, 2500
_DOWNLOAD_MB = {  # about, with what they bring along; others count as 1
    "deepbet": 25,  # pandas, nibabel
    "matplotlib": 20,
    "numba": 60,  # llvmlite
    "scikit-image": 25,
}


class InstallError(RuntimeError):
    """What the core needs is not there, or could not be removed; the message names the remedy."""


@dataclass(frozen=True)
class InstallItem:
    """One thing that would be installed."""

    name: str
    source: str  # who brings it
    megabytes: int  # about how much is downloaded
    isOptional: bool = False


@dataclass(frozen=True)
class InstallPlan:
    """What would be installed, and where."""

    items: tuple[InstallItem, ...]  # empty: everything is there
    folder: Path  # of Slicer's Python packages

    @property
    def isEmpty(self) -> bool:
        return not self.items

    @property
    def megabytes(self) -> int:
        return sum(item.megabytes for item in self.items)

    @property
    def text(self) -> str:
        """The whole dialogue: what, from where, about how large, into which folder."""
        if self.isEmpty:
            return _("Everything the detection needs is installed.")
        return "\n".join(
            [
                _("The detection needs Python packages that Slicer does not have yet:"),
                "",
                *(_itemText(item) for item in self.items),
                "",
                _("Together about {megabytes} MB to download, into {folder}.").format(
                    megabytes=self.megabytes, folder=self.folder
                ),
                _("The detection's own code and models came with the extension."),
                _("Everything can be removed again with the button 'Remove' in the module."),
            ]
        )


def torchIsPresent() -> bool:
    """Whether torch can be imported, found out without importing it: torch has no business in Slicer's process."""
    return _isPresent("torch")


def hasNumba() -> bool:
    """Whether the volume segmentation is possible and sliders are fast."""
    return _isPresent("numba")


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
        self._installedNames = installedNames or _installedNames
        self._requirements = requirements
        self._modelsFolder = modelsFolder or Models.userFolder()
        ledgerFolder = modelsFolder.parent if modelsFolder else Models.homeFolder()  # models may lie elsewhere
        self._ledger = _Ledger(ledgerFolder / "installed.json")

    def plan(self) -> InstallPlan:
        """What `ensure(everything=True)` would install."""
        torch = [] if self._hasTorch() else [_torchItem()]
        pip = _("by pip, from the Python package index")
        needs = [_nameOf(need) for need in self._missingByPip()]
        items = [InstallItem(name, pip, _DOWNLOAD_MB.get(name, 1), name in OPTIONAL) for name in needs]
        return InstallPlan((*torch, *items), Path(sysconfig.get_path("purelib")))

    def missing(self) -> list[str]:
        """What the core cannot do without and Slicer's Python does not have, as requirement texts."""
        torch = [] if self._hasTorch() else ["torch"]
        return torch + [str(need) for need in self._missingByPip() if _nameOf(need) not in OPTIONAL]

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
        models, wheels = _wholeModels(folder), _fittingWheels(folder)
        if not models and not any(folder.glob("*.whl")):
            text = _("{folder} holds neither wheels (.whl) nor models (.safetensors with .json); choose another folder.")
            raise InstallError(text.format(folder=folder))
        needs = self._needsFromFolder(folder, wheels)
        self._refuseToOverwrite(models)
        with self._recorded():
            if needs:
                self._pipFromFolder(folder, [need for need in needs if _nameOf(need) not in OPTIONAL], interactive)
            _tryOptional(needs, lambda optional: self._pipFromFolder(folder, optional, False))
        self._copyModels(models)
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
        models = self._ledger.models
        for name in models:
            for path in reversed(_filesOf(self._modelsFolder, name)):  # the card first: it is what lists a model
                path.unlink(missing_ok=True)
        self._ledger.write(packages=ours - going, models=set())
        text = _("Removed {packages} packages and {models} models.").format(packages=len(going), models=len(models))
        kept = ours - going
        return text + (" " + _("Other packages need: {names}.").format(names=", ".join(sorted(kept))) if kept else "")

    def _missingByPip(self) -> list:
        """Requirements that are not met; Slicer's own packages never count, for pip must not touch them."""
        wanted = self._packaging.load_requirements(self._requirements)
        return [need for need in wanted if not _isSlicersOwn(_nameOf(need)) and not self._packaging.pip_check(need)]

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
        needed = [need for need in needs if _nameOf(need) not in OPTIONAL]
        with _constraints() as constraints:
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
        with _constraints() as constraints:
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
        absent = [_nameOf(need) for need in needs if _canonical(_nameOf(need)) not in wheels]
        absent = [name for name in absent if name not in OPTIONAL]
        if absent and any(folder.glob("*.whl")):
            text = _(
                "{folder} holds no wheel for this Python ({tag}) of: {names}. "
                "Run on a connected computer with the same Slicer: {command}"
            )
            tag = f"{sys.version_info.major}.{sys.version_info.minor}, {sysconfig.get_platform()}"
            names = ", ".join(absent)
            raise InstallError(text.format(folder=folder, tag=tag, names=names, command=self.downloadCommand()))
        return [need for need in needs if _canonical(_nameOf(need)) in wheels]

    def _refuseToOverwrite(self, models: dict[str, Path]) -> None:
        taken = [name for name in models if name not in self._ledger.models and _filesOf(self._modelsFolder, name)[0].exists()]
        if taken:
            text = _("{folder} already holds a model called {names}, put there by somebody else; rename or delete it first.")
            raise InstallError(text.format(folder=self._modelsFolder, names=", ".join(taken)))

    def _copyModels(self, models: dict[str, Path]) -> None:
        try:
            self._modelsFolder.mkdir(parents=True, exist_ok=True)
            for name, weights in models.items():
                for path in _filesOf(weights.parent, name):  # weights first: a card without them would be listed
                    unfinished = self._modelsFolder / f".{path.name}"
                    shutil.copyfile(path, unfinished)
                    unfinished.replace(self._modelsFolder / path.name)
                self._ledger.write(models=self._ledger.models | {name})
        except OSError as error:
            text = _("The models could not be copied to {folder} ({error}); make room or ask for the right to write there.")
            raise InstallError(text.format(folder=self._modelsFolder, error=error.strerror)) from error

    def _folderText(self, needs: list, models: dict[str, Path]) -> str:
        text = _("Installed {packages} packages and {models} models.").format(packages=len(needs), models=len(models))
        importlib.invalidate_caches()
        missing = self.missing()
        return text + (" " + _("Still missing: {names}.").format(names=", ".join(missing)) if missing else "")

    def _removablePackages(self) -> set[str]:
        names = self._installedNames()
        ours = self._ledger.packages & names
        return ours - _neededBy(names - ours, ours)

    @contextmanager
    def _recorded(self) -> Iterator[None]:
        """Write down what appears meanwhile, even when the installation breaks off half-way."""
        before = self._installedNames()
        try:
            yield
        finally:
            importlib.invalidate_caches()
            self._ledger.write(packages=self._ledger.packages | (self._installedNames() - before))


class _Ledger:
    """What we installed: packages per Python (each Slicer has its own), and models, which all share."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @property
    def packages(self) -> set[str]:
        return set(self._read()["packages"].get(sys.prefix, ()))

    @property
    def models(self) -> set[str]:
        return set(self._read()["models"])

    def write(self, *, packages: set[str] | None = None, models: set[str] | None = None) -> None:
        """Change one or both. InstallError when the folder cannot be written."""
        content = self._read()
        if packages is not None:
            content["packages"][sys.prefix] = sorted(packages)
        if models is not None:
            content["models"] = sorted(models)
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            unfinished = self._path.with_suffix(".part")
            unfinished.write_text(json.dumps(content, indent=2), encoding="utf-8")
            unfinished.replace(self._path)
        except OSError as error:
            text = _("{path} cannot be written ({error}), so that 'Remove' would not know what to remove; make room there.")
            raise InstallError(text.format(path=self._path, error=error.strerror)) from error

    def _read(self) -> dict:
        try:
            content = json.loads(self._path.read_text(encoding="utf-8"))
            return {"packages": dict(content["packages"]), "models": list(content["models"])}
        except (OSError, ValueError, TypeError, KeyError):
            return {"packages": {}, "models": []}


def _slicerPackaging() -> ModuleType:
    try:
        return importlib.import_module("slicer.packaging")
    except ImportError as error:
        raise InstallError(_("This Slicer is too old to install packages; use version 5.12 or later.")) from error


def _isPresent(module: str) -> bool:
    if module in sys.modules:
        return True
    spec = find_spec(module)
    return spec is not None and spec.origin is not None  # a folder left behind by a broken uninstall has no origin


def _tryOptional(needs: list, install: Callable[[list], object]) -> None:
    for need in needs:
        if _nameOf(need) in OPTIONAL:
            try:
                install([need])
            except Exception as error:
                logging.warning("The optional package %s was not installed: %s", need, error)


def _isSlicersOwn(name: str) -> bool:
    return name in KEPT_AS_THEY_ARE and _isPresent(name)


def _torchItem() -> InstallItem:
    hasGpu = shutil.which("nvidia-smi") is not None
    name = _("PyTorch for NVIDIA GPUs") if hasGpu else _("PyTorch")
    return InstallItem(name, _("by the PyTorch extension"), _TORCH_CUDA_MB if hasGpu else _TORCH_CPU_MB)


def _itemText(item: InstallItem) -> str:
    optional = _(", optional") if item.isOptional else ""
    return f"• {item.name} ({item.source}, {item.megabytes} MB{optional})"


def _nameOf(need: object) -> str:
    """The package a requirement speaks of: "scikit-image>=0.22" → "scikit-image"."""
    return re.match(r"[\w.-]+", str(need))[0]


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _installedNames() -> set[str]:
    return {_canonical(name) for found in metadata.distributions() if (name := found.metadata["Name"])}


def _neededBy(others: Iterable[str], ours: set[str]) -> set[str]:
    """Which of our packages the others need, directly or through each other."""
    needed: set[str] = set()
    asking = list(others)
    while asking:
        fresh = (_directNeeds(asking.pop()) & ours) - needed
        needed |= fresh
        asking.extend(fresh)
    return needed


def _directNeeds(name: str) -> set[str]:
    try:
        needs = metadata.requires(name) or ()
    except metadata.PackageNotFoundError:
        return set()
    return {_canonical(_nameOf(need)) for need in needs if "extra ==" not in need}


@contextmanager
def _constraints() -> Iterator[Path]:
    """A pip constraints file that holds Slicer's own packages at the versions they have."""
    lines = []
    for name in KEPT_AS_THEY_ARE:
        try:
            lines.append(f"{name}=={metadata.version(name)}\n")
        except metadata.PackageNotFoundError:
            continue  # Slicer's own build may carry no metadata
    with TemporaryDirectory(prefix="BrainInpaintAD-", ignore_cleanup_errors=True) as folder:
        path = Path(folder) / "constraints.txt"
        path.write_text("".join(lines), encoding="utf-8")
        yield path


def _fittingWheels(folder: Path) -> dict[str, Path]:
    """The folder's wheels that this Python can use, by canonical name."""
    from packaging.tags import sys_tags  # third-party, but slicer.packaging needs it too
    from packaging.utils import InvalidWheelFilename, parse_wheel_filename

    here = set(sys_tags())
    found = {}
    for path in sorted(folder.glob("*.whl")):
        try:
            name, _version, _build, tags = parse_wheel_filename(path.name)
        except InvalidWheelFilename:
            continue
        if tags & here:
            found[str(name)] = path
    return found


def _wholeModels(folder: Path) -> dict[str, Path]:
    """The folder's models, name of the files → weights. InstallError when one lacks its card or is not what it says."""
    models = {}
    for weights in sorted(folder.glob(f"*{Models.SUFFIX}")):
        try:
            card = Models.readCard(weights.with_suffix(".json"))
        except Models.ModelsError as error:
            text = _("'{name}' has no usable card beside it: {error}")
            raise InstallError(text.format(name=weights.name, error=error)) from error
        if _sha256(weights) != card.sha256:
            text = _("'{name}' is damaged: its SHA-256 is not the one of its card; copy both files again.")
            raise InstallError(text.format(name=weights.name))
        models[weights.stem] = weights
    return models


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _filesOf(folder: Path, model: str) -> tuple[Path, Path]:
    """Weights and card of a model, by the name of its files."""
    return folder / f"{model}{Models.SUFFIX}", folder / f"{model}.json"
