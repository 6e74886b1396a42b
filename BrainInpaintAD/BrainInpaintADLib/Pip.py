"""What pip brings, through Slicer's own `slicer.packaging`: the core's requirements, from the package index or from a folder.

That module exists only in the application; it is handed in, so that tests install nothing.
"""

from __future__ import annotations

import importlib
import logging
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

from slicer.i18n import tr as _

from .Packages import OPTIONAL, InstallError, canonical, constraintsFile, isSlicersOwn, nameOf

REQUIREMENTS = Path(__file__).resolve().parent.parent / "Resources" / "requirements.txt"
TORCH = "torch>=2.4"
_REQUESTER = "BrainInpaintAD"


class Pip:
    """Every call belongs on the main thread. What is optional may fail; of the rest, InstallError tells."""

    def __init__(self, packaging: ModuleType | None = None, requirements: Path = REQUIREMENTS) -> None:
        """packaging: stands in for slicer.packaging. InstallError when this Slicer has none."""
        self._packaging = packaging or _slicerPackaging()
        self._requirements = requirements

    def isMet(self, need: object) -> bool:
        """Whether Slicer's Python has it, in a version that will do."""
        return self._packaging.pip_check(need)

    def missing(self) -> list:
        """Requirements that are not met; Slicer's own packages never count, for pip must not touch them."""
        wanted = self._packaging.load_requirements(self._requirements)
        return [need for need in wanted if not isSlicersOwn(nameOf(need)) and not self.isMet(need)]

    def install(self, *, interactive: bool) -> None:
        """What is missing, from the package index."""
        needs = self.missing()
        needed = [need for need in needs if nameOf(need) not in OPTIONAL]
        with constraintsFile() as constraints:
            options = {"constraints": constraints, "requester": _REQUESTER, "prompt_install": False}
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

    def needsIn(self, folder: Path, wheels: dict[str, Path], *, hasTorch: bool) -> list:
        """What is missing, torch included, and has a wheel in the folder. InstallError when one that is needed has none.

        wheels: those this Python can use, by canonical name.
        """
        needs = [*([] if hasTorch else [TORCH]), *self.missing()]
        absent = [nameOf(need) for need in needs if canonical(nameOf(need)) not in wheels]
        absent = [name for name in absent if name not in OPTIONAL]
        if absent and any(folder.glob("*.whl")):
            text = _(
                "{folder} holds no wheel for this Python ({tag}) of: {names}. "
                "Run on a connected computer with the same Slicer: {command}"
            )
            tag = f"{sys.version_info.major}.{sys.version_info.minor}, {sysconfig.get_platform()}"
            names = ", ".join(absent)
            raise InstallError(text.format(folder=folder, tag=tag, names=names, command=self._downloadCommand()))
        return [need for need in needs if canonical(nameOf(need)) in wheels]

    def installFrom(self, folder: Path, needs: list, *, interactive: bool) -> None:
        """These, from the wheels of a folder."""
        self._fromFolder(folder, [need for need in needs if nameOf(need) not in OPTIONAL], interactive)
        _tryOptional(needs, lambda optional: self._fromFolder(folder, optional, False))

    def uninstall(self, names: list[str]) -> None:
        """These packages; nothing that they need goes along."""
        try:
            self._packaging.pip_uninstall(names)
        except Exception as error:
            text = _("The packages could not be removed ({error}); restart Slicer and press 'Remove' before anything else.")
            raise InstallError(text.format(error=error)) from error

    def _fromFolder(self, folder: Path, needs: list, interactive: bool) -> None:
        if not needs:
            return
        with constraintsFile() as constraints:
            try:
                self._packaging.pip_install(
                    ["--no-index", "--find-links", str(folder), *map(str, needs)],
                    constraints=constraints,
                    requester=_REQUESTER,
                    show_progress=interactive,
                )
            except Exception as error:
                text = _(
                    "The wheels in {folder} could not be installed ({error}); pip's messages are in the Python console. "
                    "To fill the folder anew, run on a connected computer with the same Slicer: {command}"
                )
                raise InstallError(text.format(folder=folder, error=error, command=self._downloadCommand())) from error

    def _downloadCommand(self) -> str:
        """What to run on a connected computer with the same Slicer and system, to fill a folder for `installFrom`."""
        names = [TORCH, *map(str, self._packaging.load_requirements(self._requirements))]
        quoted = " ".join(f'"{name}"' for name in names)
        return f"PythonSlicer -m pip download --only-binary :all: --dest wheels {quoted}"


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
