"""The size of the window: a slider that stops at the sizes a model has."""

from __future__ import annotations

from collections.abc import Callable

import qt
from slicer.i18n import tr as _

from .Settings import WINDOW_MODEL
from .Situation import Situation

_NO_WINDOWS = (0,)  # the sizes of a model without
_PAUSE_MS = 300  # before a window size that is not ready starts a detection: the user may only be passing through it


class WindowSlider:
    """onWindow(mm): the user chose a window size."""

    def __init__(self, ui, *, onWindow: Callable[[int], None]) -> None:
        self._ui, self._onWindow = ui, onWindow
        self._situation: Situation | None = None
        self._pause = qt.QTimer()
        self._pause.setSingleShot(True)
        self._pause.setInterval(_PAUSE_MS)
        self._pause.connect("timeout()", self._chooseWindow)
        ui.windowSlider.connect("sliderMoved(int)", self._showSize)
        ui.windowSlider.connect("valueChanged(int)", self._onSize)

    def show(self, situation: Situation, *, isFree: bool) -> None:
        """Sizes, the current one, and which are ready. isFree: whether the user may move the slider."""
        self._situation = situation
        sizes = situation.model.windowsMm if situation.model is not None else ()
        slider = self._ui.windowSlider
        wasBlocked = slider.blockSignals(True)
        slider.maximum = max(len(sizes) - 1, 0)
        current = situation.parameters.windowMm if situation.parameters is not None else None
        if current in sizes:
            slider.value = sizes.index(current)
        slider.blockSignals(wasBlocked)
        slider.enabled = isFree and len(sizes) > 1
        self._showSize(slider.value)
        for widget in (slider, self._ui.windowTitleLabel, self._ui.windowLabel):
            widget.toolTip = windowToolTip(sizes)
        self._ui.readyLabel.text = readyText(sizes, situation.readyMm)
        self._ui.readyLabel.visible = len(sizes) > 1 or sizes == _NO_WINDOWS

    def stop(self) -> None:
        """Forget a size that was chosen and waits."""
        self._pause.stop()

    def _showSize(self, index: int) -> None:
        size = self._sizeAt(index)
        self._ui.windowLabel.text = _("{size} mm").format(size=size) if size else ""

    def _onSize(self, index: int) -> None:
        self._showSize(index)
        if self._sizeAt(index) in self._situation.readyMm:
            self._pause.stop()
            self._chooseWindow()
        else:
            self._pause.start()

    def _chooseWindow(self) -> None:
        size = self._sizeAt(self._ui.windowSlider.value)
        if size and self._situation.parameters is not None and not self._situation.state.isBusy:
            self._onWindow(size)

    def _sizeAt(self, index: int) -> int:
        sizes = self._situation.model.windowsMm if self._situation and self._situation.model else ()
        return sizes[index] if index < len(sizes) else 0


def windowToolTip(sizes: tuple[int, ...]) -> str:
    """What the window is, and where the slider stops."""
    text = _("Side of the erased square that the model fills in again, in mm.")
    if sizes == _NO_WINDOWS:
        hint = _("The chosen model has no windows; to set their size, choose the published model '{name}' under Inputs.")
        return text + " " + hint.format(name=WINDOW_MODEL)
    if len(sizes) < 2:
        return text + " " + _("This model has one size.")
    return (
        text
        + " "
        + _(
            "It stops at the sizes the model has: small windows find small anomalies, large windows large ones. A size that is "
            "ready is shown at once, another one starts a detection when a result of this scan is shown."
        )
    )


def readyText(sizes: tuple[int, ...], ready: tuple[int, ...]) -> str:
    """Which sizes can be shown at once, such as "16 · 32 · 64 mm; ready: 32 mm", or which model has windows."""
    if not sizes:
        return ""
    if sizes == _NO_WINDOWS:
        return _("This model has no windows; the published model '{name}' has.").format(name=WINDOW_MODEL)
    there = _("{sizes} mm").format(sizes=" · ".join(f"{size:g}" for size in sizes))
    if not ready:
        return _("{there}; none is ready").format(there=there)
    return _("{there}; ready: {ready} mm").format(there=there, ready=", ".join(f"{size:g}" for size in ready))
