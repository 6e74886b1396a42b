"""The panel's inputs: scan, mask and model, and whether they fit each other."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from slicer.i18n import tr as _

from .Models import Model
from .ScanFit import fitText
from .Scene import SceneError, checkScan
from .Situation import Situation


class InputsSection:
    """onModel(name): the user chose another model. onSample(): the user wants the sample scan."""

    def __init__(self, ui, models: Sequence[Model], *, onModel: Callable[[str], None], onSample: Callable[[], None]) -> None:
        self._ui = ui
        self._models: list[Model] = []
        self._onModel = onModel
        self.setModels(models)
        self._ui.modelComboBox.connect("currentIndexChanged(int)", self._onIndex)
        self._ui.sampleButton.connect("clicked(bool)", lambda _checked=False: onSample())

    def setModels(self, models: Sequence[Model]) -> None:
        """What the user can choose from."""
        self._models = list(models)
        wasBlocked = self._ui.modelComboBox.blockSignals(True)
        self._ui.modelComboBox.clear()
        self._ui.modelComboBox.addItems([model.name for model in self._models])
        self._ui.modelComboBox.blockSignals(wasBlocked)

    def show(self, situation: Situation) -> None:
        """Every widget of the section, enabled or not, with the reason in its tooltip."""
        ui, model = self._ui, situation.model
        isFree = not situation.state.isBusy and situation.parameters is not None
        for widget in (ui.scanSelector, ui.maskSelector, ui.sampleButton):
            widget.enabled = isFree
        ui.modelComboBox.enabled = isFree and bool(self._models)
        ui.modelTextLabel.text = model.text if model is not None else _("No model is there; install the extension again.")
        ui.modelComboBox.toolTip = ui.modelTextLabel.text
        wasBlocked = ui.modelComboBox.blockSignals(True)
        ui.modelComboBox.currentIndex = self._models.index(model) if model in self._models else -1
        ui.modelComboBox.blockSignals(wasBlocked)
        doubt = doubtText(situation)
        ui.fitLabel.text = doubt
        ui.fitLabel.visible = bool(doubt)

    def collapse(self) -> None:
        """The user is done with it."""
        self._ui.inputsSection.collapsed = True

    def _onIndex(self, index: int) -> None:
        if index >= 0:
            self._onModel(self._models[index].name)


def doubtText(situation: Situation) -> str:
    """Why the chosen volume cannot be used or may not fit, in one line; "" when all is well."""
    if not situation.hasScan:
        return ""
    if situation.scanRefusal:
        return situation.scanRefusal
    scan = situation.parameters.scan
    try:
        checkScan(scan)
    except SceneError as error:
        return str(error)
    return fitText(situation.model, scan)
