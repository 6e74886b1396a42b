"""Window size (see WindowSlider) and regions: sliders whose result follows at once where it can.

A slider's events only start a single-shot timer, so of many events in a row the last value is cut, once, and nothing
queues up. While the scale slider is dragged one slice is cut; the parameter node hears of the value when it is let go.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

import qt
from slicer.i18n import tr as _

from . import CutKinds, Views
from .Findings import FindingsError
from .Packages import hasNumba
from .Parameters import cutFields, cutOf, isCutKnown, rememberCut, setCut, settingsFrom
from .Recut import Recut, RecutError
from .Results import ResultNodes
from .Scene import SceneError
from .Segments import SegmentsError
from .Settings import PUBLISHED, SUITED, Settings
from .Situation import Situation
from .WindowSlider import WindowSlider

_REFUSALS = (RecutError, SceneError, SegmentsError, FindingsError)  # their messages name the remedy

_YIELD_MS, _SLEEP_S = 20, 0.005  # of every 25 ms, 5 for the thread that loads
_WARM_MS = 300  # after a result has come: the views are drawn first


class CutSection:
    """onWindow(mm): the user chose a window size. onCut(result): it was cut anew. onRefused(text): why it could not be."""

    def __init__(
        self,
        ui,
        *,
        onWindow: Callable[[int], None],
        onCut: Callable[[ResultNodes], None],
        onRefused: Callable[[str], None],
        makeRecut: Callable[[ResultNodes], Recut] = Recut,
    ) -> None:
        self._ui = ui
        self._onCut, self._onRefused = onCut, onRefused
        self._windows = WindowSlider(ui, onWindow=onWindow)
        self._makeRecut = makeRecut
        self._situation: Situation | None = None
        self._recut: Recut | None = None
        self._recutOf = ""  # id of the heatmap node `_recut` belongs to
        self._scale = 0.0  # where the dragged slider is
        self._hasNumba = hasNumba()
        self._known: object = None  # which result was shown last, and the cut it had
        self._refused: object = None  # which result could not be cut how: not tried again and again
        self._refusal = ""  # why
        self._live = self._timer(0, self._cutSlice)
        self._whole = self._timer(0, self._cutVolume)
        self._warm = self._timer(_WARM_MS, self._prepare)
        self._surfaces = self._timer(_WARM_MS, self._showSurfaces)
        self._yield = self._timer(_YIELD_MS, self._letLoad)
        ui.scaleSlider.connect("valueIsChanging(double)", self._onScale)
        ui.resetButton.connect("clicked(bool)", self._onReset)

    def nameChoices(self) -> None:
        """Words instead of keys, once the parameter node has filled the boxes (it goes by index)."""
        _name(self._ui.ruleComboBox, (_("Calibrated on healthy scans"), _("Paper: hottest region of each slice")))
        _name(self._ui.segmentationComboBox, CutKinds.choiceTexts(CutKinds.PUBLISHED_KIND))

    def lookUpPackages(self) -> None:
        """What can be cut may have changed; looking takes too long for every event of a slider."""
        self._hasNumba = hasNumba()
        self._refused = None

    def show(self, situation: Situation) -> None:
        """Every widget of the section, enabled or not; a result that no longer fits the settings is cut anew."""
        self._situation = situation
        self._follow(situation)
        ui, isFree = self._ui, not situation.state.isBusy and situation.parameters is not None
        self._windows.show(situation, isFree=isFree)
        ui.scaleSlider.enabled = ui.resetButton.enabled = isFree
        for widget in (ui.ruleComboBox, ui.sigmaSpinBox, ui.minSizeSpinBox, ui.minVolumeSpinBox):
            widget.enabled = isFree
        self._showKinds(situation, isFree)

    def refusal(self, result: ResultNodes, settings: Settings) -> str:
        """Why this result could not be cut with these settings; "" when it could or was not tried."""
        return self._refusal if self._refused == _cutKey(result, settings) else ""

    def close(self) -> None:
        """Stop all that is waiting and forget the result; the scene goes away."""
        self._letGo()
        self._known = self._refused = None

    def _letGo(self) -> None:
        self._windows.stop()
        for timer in (self._live, self._whole, self._warm, self._surfaces, self._yield):
            timer.stop()
        if self._recut is not None:
            with suppress(Exception):  # its nodes may be gone
                self._recut.close()
        self._recut, self._recutOf = None, ""

    def _timer(self, delayMs: int, receive: Callable[[], None]):
        timer = qt.QTimer()
        timer.setSingleShot(True)
        timer.setInterval(delayMs)
        timer.connect("timeout()", receive)
        return timer

    # Regions

    def _showKinds(self, situation: Situation, isFree: bool) -> None:
        """What regions are cut in, and what their least size is counted in."""
        ui, parameters = self._ui, situation.parameters
        for widget in (ui.segmentationComboBox, ui.segmentationLabel):
            widget.toolTip = CutKinds.choiceToolTip(hasNumba=self._hasNumba)
        if parameters is None:
            ui.segmentationComboBox.enabled = False
            return
        chosen = parameters.segmentation
        # a scene of another computer may ask for what cannot be cut here: then there must be a way back
        ui.segmentationComboBox.enabled = isFree and (self._hasNumba or CutKinds.needsNumba(chosen))
        suits = situation.card.segmentation if situation.card is not None else CutKinds.PUBLISHED_KIND
        suited, kind = (CutKinds.kindOf(wish, parameters.rule, suits, hasNumba=self._hasNumba) for wish in (SUITED, chosen))
        _name(ui.segmentationComboBox, CutKinds.choiceTexts(suited))
        ui.minSizeSpinBox.suffix = CutKinds.sizeUnit(kind)

    def _onReset(self, _checked: bool = False) -> None:
        parameters = self._situation.parameters
        was = parameters.StartModify()  # one change, one cut
        for name, value in PUBLISHED.items():
            setattr(parameters, name, value)
        parameters.EndModify(was)

    def _onScale(self, scale: float) -> None:
        self._scale = scale
        self._live.start()

    def _follow(self, situation: Situation) -> None:
        """A Recut for the result that is shown, and a cut when the panel's settings were changed since it is."""
        root = situation.result.heatmapNode.GetID() if situation.hasWholeResult else ""
        if root != self._recutOf:
            self._letGo()
            self._recutOf = root
            if root:
                self._recut = self._makeRecut(situation.result)
                self._warm.start()
        if self._recut is None or situation.parameters is None:
            return
        wanted = settingsFrom(situation.parameters)
        if not isCutKnown(situation.result.heatmapNode):
            rememberCut(situation.result.heatmapNode, wanted)  # from now on, changes count
        known = cutOf(situation.result.heatmapNode, wanted)
        if self._known != _cutKey(situation.result, known):  # another result, or cut by others: the panel follows
            self._known, self._refused = _cutKey(situation.result, known), None
            self._whole.stop()
            setCut(situation.parameters, known)
        elif known != wanted and self._refused != _cutKey(situation.result, wanted):
            self._live.stop()
            self._whole.start()

    def _prepare(self) -> None:
        if self._recut is not None and self._recut.canRecut:
            with suppress(RecutError):  # the user has not asked for anything yet
                self._recut.warm()
                self._yield.start()

    def _letLoad(self) -> None:
        """Slicer keeps Python to itself while Qt waits: the loading thread gets its turn when we sleep."""
        if self._recut is not None and self._recut.isLoading:
            time.sleep(_SLEEP_S)
            self._yield.start()

    def _cutSlice(self) -> None:
        if self._recut is None or not self._recut.canRecut or self._refused is not None:
            return
        settings = settingsFrom(self._situation.parameters)
        dragged = replace(settings, scale=self._scale)
        try:
            if dragged == settings:  # back where the drag began: nothing will follow
                self._recut.endPreview()
            else:
                self._recut.showSlice(dragged)
        except _REFUSALS as error:
            self._refuse(dragged, error)

    def _cutVolume(self) -> None:
        if self._recut is None:
            return
        settings = settingsFrom(self._situation.parameters)
        try:
            if not self._recut.canRecut:
                raise RecutError(_("This result cannot be cut anew; the new settings hold for the next detection."))
            had3D = Views.is3DShown(self._situation.result.segmentationNode)
            result = self._recut.apply(settings, withSurfaces=False)
        except _REFUSALS as error:
            self._refuse(settings, error)
            return
        if had3D:
            self._surfaces.start()  # later: they take as long as the cut, and the slice views are what the user looks at
        rememberCut(result.heatmapNode, settings)
        self._known, self._refused = _cutKey(result, settings), None
        self._onCut(result)

    def _refuse(self, settings: Settings, error: Exception) -> None:
        self._refused, self._refusal = _cutKey(self._situation.result, settings), str(error)
        with suppress(*_REFUSALS):
            self._recut.endPreview()
        self._onRefused(self._refusal)

    def _showSurfaces(self) -> None:
        result = self._situation.result
        if result is not None and result.segmentationNode.GetScene() is not None:
            Views.show3D(result.segmentationNode, True)


def _name(box, texts: tuple[str, ...]) -> None:
    for index, text in enumerate(texts):
        box.setItemText(index, text)


def _cutKey(result: ResultNodes, settings: Settings) -> tuple[str, tuple]:
    return result.heatmapNode.GetID(), cutFields(settings)
