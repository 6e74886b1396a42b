"""Start, cancel, progress, what was found and what is said of the scan as a whole, and the log."""

from __future__ import annotations

from collections.abc import Callable

import qt
from slicer.i18n import tr as _

from .ScanScore import ScanReport, scoreHtml
from .Situation import Situation
from .States import State
from .Worker import Progress

_PERMILLE = 1000  # steps of the progress bar
_LOG_LINES = 500


class RunSection:
    """onDetect(), onCancel(), onRevert(): what the user asked for."""

    def __init__(self, ui, *, onDetect: Callable[[], None], onCancel: Callable[[], None], onRevert: Callable[[], None]) -> None:
        self._ui = ui
        self._isBusy = False
        self._onDetect, self._onCancel = onDetect, onCancel
        ui.logText.maximumBlockCount = _LOG_LINES
        ui.progressBar.maximum = _PERMILLE
        ui.detectButton.connect("clicked(bool)", self._onButton)
        ui.revertButton.connect("clicked(bool)", lambda _checked=False: onRevert())
        self._escape = qt.QShortcut(ui.detectButton.parentWidget())
        self._escape.setKey(qt.QKeySequence("Esc"))
        self._escape.setContext(qt.Qt.WidgetWithChildrenShortcut)
        self._escape.connect("activated()", self._onEscape)

    def show(self, situation: Situation) -> None:
        """Every widget of the section, enabled or not, with the reason in its tooltip."""
        ui, state = self._ui, situation.state
        self._isBusy = state.isBusy
        button = ui.detectButton
        button.text = _("&Cancel") if state.isBusy else _("&Detect anomalies")
        canStart = situation.hasScan and situation.model is not None and not situation.scanRefusal
        button.enabled = canStart or state in (State.INSTALLING, State.RUNNING)
        button.toolTip = _buttonToolTip(situation)
        ui.revertButton.enabled = situation.hasPrevious and not state.isBusy
        ui.revertButton.toolTip = _revertToolTip(situation)
        ui.progressBar.visible = ui.stageLabel.visible = state.isBusy
        if not state.isBusy:
            ui.progressBar.value = 0
            ui.stageLabel.text = ""
        self.showStatus(statusText(situation))
        self._showScan(situation.result.scanReport if situation.result is not None else ScanReport())

    def _showScan(self, report: ScanReport) -> None:
        """Score and quality of the scan as a whole, where the result tells of them."""
        ui = self._ui
        ui.scoreLabel.text = scoreHtml(report.score) if report.score is not None else ""
        ui.scoreLabel.visible = report.score is not None
        ui.qualityLabel.text = report.warning
        ui.qualityLabel.visible = bool(report.warning)

    def showProgress(self, progress: Progress) -> None:
        self._ui.progressBar.value = round(progress.fraction * _PERMILLE)
        self._ui.stageLabel.text = stageText(progress)

    def showStatus(self, text: str) -> None:
        """The status line, until something changes."""
        self._ui.statusLabel.text = text
        self._ui.statusLabel.visible = bool(text)

    def log(self, line: str) -> None:
        self._ui.logText.appendPlainText(line)

    def clearLog(self) -> None:
        self._ui.logText.clear()

    def _onButton(self, _checked: bool = False) -> None:
        if self._isBusy:
            self._onCancel()
        else:
            self._onDetect()

    def _onEscape(self) -> None:
        if self._isBusy:
            self._onCancel()


def statusText(situation: Situation) -> str:
    """What was found, or what happens instead."""
    found = situation.result.summary if situation.result is not None else ""
    if situation.isEndOld and not situation.state.isBusy:
        return situation.cutRefusal or found
    if situation.state is State.FAILED:
        return situation.failureText
    if situation.state is State.RUNNING and situation.result is not None and situation.result.isPreview:
        return _("Preview: {summary}. The exact heatmap follows…").format(summary=found)
    return {
        State.IDLE: situation.cutRefusal or found,
        State.INSTALLING: _("Installing what the detection needs…"),
        State.RUNNING: _("Looking for anomalies…"),
        State.IMPORTING: _("Bringing the result into the scene…"),
        State.CANCELLED: _("Cancelled; the scene is as it was."),
    }[situation.state]


def stageText(progress: Progress) -> str:
    """What the core does and how long it still takes, such as "inpainting, 1 min 20 s left"."""
    if progress.secondsLeft is None:
        return progress.stage
    minutes, seconds = divmod(round(progress.secondsLeft), 60)
    text = _("{stage}, {minutes} min {seconds} s left") if minutes else _("{stage}, {seconds} s left")
    return text.format(stage=progress.stage, minutes=minutes, seconds=seconds)


def _buttonToolTip(situation: Situation) -> str:
    if situation.state.isBusy:
        return _("Stop the computation (Esc); the scene stays as it is.")
    if situation.model is None:
        return _("No model is there; install the extension again.")
    if not situation.hasScan:
        return _("Choose a T1 volume first.")
    if situation.scanRefusal:
        return situation.scanRefusal
    return _("Look for anomalies in the chosen volume and add them as a new heatmap and a new segmentation.")


def _revertToolTip(situation: Situation) -> str:
    if situation.state.isBusy:
        return _("Wait until the computation has ended.")
    if not situation.hasPrevious:
        return _("There is no earlier result.")
    return _("Show the result before this one, with its settings; pressing again comes back.")
