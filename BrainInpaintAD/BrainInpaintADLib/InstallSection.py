"""What the detection needs: install it, also without a network, and take it away again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import qt
import slicer
from slicer.i18n import tr as _

from .Install import Installer
from .Situation import Situation


class InstallSection:
    """onChanged(): packages or models have come or gone."""

    def __init__(self, ui, *, makeInstaller: Callable[[], Installer], onChanged: Callable[[], None]) -> None:
        self._ui = ui
        self._makeInstaller = makeInstaller
        self._onChanged = onChanged
        self._isFree = True
        ui.installSection.connect("contentsCollapsed(bool)", self._onCollapsed)
        ui.installButton.connect("clicked(bool)", self._onInstall)
        ui.installFolderButton.connect("clicked(bool)", self._onFolder)
        ui.removeButton.connect("clicked(bool)", self._onRemove)

    def show(self, situation: Situation) -> None:
        """The buttons, enabled or not; what is installed is looked up when the section is opened."""
        isFree = not situation.state.isBusy
        if isFree != self._isFree:
            self._isFree = isFree
            self._lookUp()

    def _onCollapsed(self, isCollapsed: bool) -> None:
        if not isCollapsed:
            self._lookUp()

    def _lookUp(self) -> None:
        """Asking pip takes a moment, hence only while somebody looks."""
        ui = self._ui
        if ui.installSection.collapsed:
            return
        try:
            installer = self._makeInstaller()
            plan, removable = installer.plan(), installer.removable()
        except Exception as error:  # whatever is wrong with the packages must not close the panel
            ui.installLabel.text = _("What is installed could not be found out: {error}").format(error=error)
            return
        ui.installLabel.text = _("Everything the detection needs is installed.") if plan.isEmpty else plan.text
        ui.installButton.enabled = self._isFree and not plan.isEmpty
        ui.installButton.toolTip = self._why() or (
            _("Everything is installed.") if plan.isEmpty else _("Download and install what is missing; you are asked first.")
        )
        ui.installFolderButton.enabled = self._isFree
        ui.removeButton.enabled = self._isFree and bool(removable)
        names = ", ".join(removable)
        ui.removeButton.toolTip = self._why() or (
            _("Uninstall and delete: {names}. You are asked first.").format(names=names)
            if removable
            else _("This module has installed nothing.")
        )

    def _why(self) -> str:
        return "" if self._isFree else _("Wait until the computation has ended.")

    def _onInstall(self, _checked: bool = False) -> None:
        try:
            with slicer.util.tryWithErrorDisplay(_("Not everything could be installed.")):
                self._makeInstaller().ensure(interactive=True, everything=True)
        finally:
            self._done()

    def _onFolder(self, _checked: bool = False) -> None:
        chosen = qt.QFileDialog.getExistingDirectory(self._ui.installSection, _("Folder with wheels and models"))
        if not chosen:
            return
        try:
            with slicer.util.tryWithErrorDisplay(_("The folder could not be used.")):
                slicer.util.infoDisplay(self._makeInstaller().installFromFolder(Path(chosen)))
        finally:
            self._done()

    def _onRemove(self, _checked: bool = False) -> None:
        names = ", ".join(self._makeInstaller().removable())
        question = _("Uninstall and delete what this module brought in ({names})?").format(names=names)
        if not slicer.util.confirmYesNoDisplay(question, windowTitle=_("Remove")):
            return
        try:
            with slicer.util.tryWithErrorDisplay(_("Not everything could be removed.")):
                slicer.util.infoDisplay(self._makeInstaller().remove())
        finally:
            self._done()

    def _done(self) -> None:
        self._lookUp()
        self._onChanged()
