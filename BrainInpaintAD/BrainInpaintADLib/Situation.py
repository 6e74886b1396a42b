"""What the panel's sections need to know to show themselves: a snapshot, made anew after every change."""

from __future__ import annotations

from dataclasses import dataclass

from slicer.i18n import tr as _

from .Models import Card, Model
from .Parameters import Parameters
from .Results import KEY, SCAN, ResultNodes
from .States import State


@dataclass(frozen=True)
class Situation:
    """Where things stand. Sections read it; what the user does they tell the panel."""

    state: State
    parameters: Parameters | None = None  # None while there is no scene to work in
    model: Model | None = None  # the chosen one; None when no model is there
    result: ResultNodes | None = None  # what the views show: the preview, else the chosen result
    readyMm: tuple[int, ...] = ()  # windows whose result for scan and model is in the scene
    hasPrevious: bool = False  # a result to revert to
    failureText: str = ""  # of the last detection
    isEndOld: bool = False  # the user has gone on to something else since the last detection failed or was cancelled
    cutRefusal: str = ""  # why the result could not be cut with the settings the panel shows

    @property
    def card(self) -> Card | None:
        """Of the chosen model at the chosen window."""
        if self.model is None or self.parameters is None:
            return None
        return self.model.cards.get(self.parameters.windowMm)

    @property
    def hasScan(self) -> bool:
        return self.parameters is not None and self.parameters.scan is not None

    @property
    def scanRefusal(self) -> str:
        """Why the chosen volume is no scan to look for anomalies in; "" when it may be one."""
        scan = self.parameters.scan if self.hasScan else None
        if scan is None or (scan.GetAttribute(KEY) is None and scan.GetNodeReferenceID(SCAN) is None):
            return ""
        return _("'{name}' was made by this module; choose the scan itself.").format(name=scan.GetName())

    @property
    def hasWholeResult(self) -> bool:
        """Whether there is a result to work with: no preview, and nothing on its way to replace it."""
        return self.result is not None and not self.result.isPreview and not self.state.isBusy

    @property
    def whyNotYet(self) -> str:
        """Why what needs a result cannot be used; "" when it can."""
        if self.hasWholeResult:
            return ""
        if self.state.isBusy:
            return _("Wait until the computation has ended.")
        return _("There is no result yet; press 'Detect anomalies' first.")
