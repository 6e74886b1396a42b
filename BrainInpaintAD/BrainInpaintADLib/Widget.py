"""The panel: what the user sees of a detection. It holds no result and no setting; those are in the parameter node."""

from __future__ import annotations

import qt
import slicer
import vtk
from slicer.i18n import tr as _

from . import Heatmap
from .Findings import summary
from .Parameters import Parameters, settingsFrom
from .Settings import WINDOW_MM
from .States import State
from .Worker import Progress

_POLL_MS = 100
_PERMILLE = 1000  # steps of the progress bar
_LOG_LINES = 500


class Panel:
    """Connects the widgets of the `.ui` file with the logic and one parameter node at a time."""

    def __init__(self, ui, logic) -> None:
        self._ui = ui
        self._logic = logic
        self._parameters: Parameters | None = None
        self._guiTag = self._observerTag = None
        self._detection = logic.newDetection(
            onState=self._onState, onProgress=self._onProgress, onLog=self._ui.logText.appendPlainText
        )
        self._timer = qt.QTimer()
        self._timer.setInterval(_POLL_MS)
        self._timer.connect("timeout()", self._detection.poll)
        self._prepareWidgets()
        self._showState()

    def setParameters(self, parameters: Parameters | None) -> None:
        """Show and change this parameter node from now on; None while there is no scene to work in."""
        if parameters is not None and self._isShown(parameters):
            return  # connecting again would double the signals: Slicer's disconnectGui leaves some behind
        if self._parameters is not None:
            self._parameters.disconnectGui(self._guiTag)
            self._parameters.RemoveObserver(self._observerTag)
        self._parameters = None
        if parameters is not None:
            self._guiTag = parameters.connectGui(self._ui)
            self._observerTag = parameters.AddObserver(vtk.vtkCommand.ModifiedEvent, self._onParameters)
        self._parameters = parameters
        self._showState()

    def close(self) -> None:
        """Stop everything: the scene or the application goes away."""
        self._detection.cancel()
        self._timer.stop()
        self.setParameters(None)

    def _isShown(self, parameters: Parameters) -> bool:
        return self._parameters is not None and self._parameters.parameterNode is parameters.parameterNode

    def _prepareWidgets(self) -> None:
        self._ui.windowLabel.text = _("{size} mm").format(size=WINDOW_MM)
        self._ui.logText.maximumBlockCount = _LOG_LINES
        self._ui.progressBar.maximum = _PERMILLE
        self._ui.detectButton.connect("clicked(bool)", self._onDetectButton)
        self._ui.exportButton.connect("clicked(bool)", self._onExportButton)

    def _onDetectButton(self, _checked: bool = False) -> None:
        if self._detection.state.isBusy:
            self._detection.cancel()
            return
        self._ui.logText.clear()
        with slicer.util.tryWithErrorDisplay(_("The detection could not be started.")):
            self._detection.start(
                self._parameters.scan,
                self._parameters.brainMask,
                settings=settingsFrom(self._parameters),
                install=self._logic.install,
            )

    def _onExportButton(self, _checked: bool = False) -> None:
        with slicer.util.tryWithErrorDisplay(_("The labelmap could not be exported."), waitCursor=True):
            node = self._logic.exportLabelmap(self._parameters.anomalies, self._parameters.resultScan)
            self._ui.statusLabel.text = _("Exported as '{name}'").format(name=node.GetName())

    def _onParameters(self, _caller: object = None, _event: object = None) -> None:
        if self._parameters.heatmap is not None:
            Heatmap.setOpacity(self._parameters.heatmap, self._parameters.heatmapOpacity)
        self._showState()

    def _onProgress(self, progress: Progress) -> None:
        self._ui.progressBar.value = round(progress.fraction * _PERMILLE)
        self._ui.stageLabel.text = stageText(progress)

    def _onState(self, state: State) -> None:
        if state is State.RUNNING:
            self._timer.start()
        elif not state.isBusy:
            self._timer.stop()
        if state is State.IDLE:
            self._takeResult()
        self._showState()
        if state is State.FAILED:
            self._ui.logText.appendPlainText(self._detection.failureText)

    def _takeResult(self) -> None:
        result = self._detection.result
        Heatmap.showOverlay(result.volumeNode, result.heatmapNode, opacity=self._parameters.heatmapOpacity)
        with slicer.util.NodeModify(self._parameters):
            self._parameters.heatmap = result.heatmapNode
            self._parameters.anomalies = result.segmentationNode
            self._parameters.resultScan = result.volumeNode
            self._parameters.summary = summary(result.findings)

    def _showState(self) -> None:
        """Every widget that depends on the state, in one place."""
        state, parameters = self._detection.state, self._parameters
        hasScan = parameters is not None and parameters.scan is not None
        button = self._ui.detectButton
        button.text = _("Cancel") if state.isBusy else _("Detect anomalies")
        button.enabled = hasScan or state.isBusy
        button.toolTip = _buttonToolTip(state, hasScan)
        self._ui.progressBar.visible = self._ui.stageLabel.visible = state.isBusy
        if not state.isBusy:
            self._ui.progressBar.value = 0
            self._ui.stageLabel.text = ""
        self._ui.inputsButton.enabled = not state.isBusy
        self._ui.statusLabel.text = self._statusText(state)
        hasResult = parameters is not None and None not in (parameters.anomalies, parameters.resultScan)
        self._ui.exportButton.enabled = hasResult and not state.isBusy

    def _statusText(self, state: State) -> str:
        if state is State.FAILED:
            return self._detection.failureText
        if state is State.IDLE:
            return self._parameters.summary if self._parameters is not None else ""
        return {
            State.INSTALLING: _("Installing what the detection needs…"),
            State.RUNNING: _("Looking for anomalies…"),
            State.IMPORTING: _("Bringing the result into the scene…"),
            State.CANCELLED: _("Cancelled; the scene is as it was."),
        }[state]


def stageText(progress: Progress) -> str:
    """What the core does and how long it still takes, such as "inpainting, 1 min 20 s left"."""
    if progress.secondsLeft is None:
        return progress.stage
    minutes, seconds = divmod(round(progress.secondsLeft), 60)
    text = _("{stage}, {minutes} min {seconds} s left") if minutes else _("{stage}, {seconds} s left")
    return text.format(stage=progress.stage, minutes=minutes, seconds=seconds)


def _buttonToolTip(state: State, hasScan: bool) -> str:
    if state.isBusy:
        return _("Stop the computation; the scene stays as it is.")
    if not hasScan:
        return _("Choose a T1 volume first.")
    return _("Look for anomalies in the chosen volume and add them as a new heatmap and a new segmentation.")
