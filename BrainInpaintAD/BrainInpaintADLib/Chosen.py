"""What is chosen in the parameter node: scan, model, window and result, kept in agreement with each other."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import slicer

from . import Results
from .Models import Model
from .Parameters import Parameters
from .Results import ResultNodes
from .States import State


class Chosen:
    """onOther(): another scan or result is chosen. models: those there are, the default first; set by the panel."""

    def __init__(self, *, onOther: Callable[[], None]) -> None:
        self._onOther = onOther
        self.models: Sequence[Model] = ()
        self.parameters: Parameters | None = None  # None while there is no scene to work in
        self._scanId: str | None = None  # of the scan at the last look; "" is none, None is before the first look
        self._ready: tuple[object, tuple[int, ...]] = (None, ())  # what was looked up, and the windows found

    def setParameters(self, parameters: Parameters | None) -> None:
        """Look at this parameter node from now on."""
        self.parameters, self._scanId, self._ready = parameters, None, (None, ())
        self.chooseKnown()

    def model(self) -> Model | None:
        """The chosen model; None when it is not there."""
        name = self.parameters.model if self.parameters is not None else ""
        return next((model for model in self.models if model.name == name), None)

    def chooseKnown(self) -> None:
        """A model that is there and a window it has, when the parameter node names none or another."""
        model = self.model() or next(iter(self.models), None)
        if model is None or self.parameters is None:
            return
        if self.parameters.model != model.name:
            self.parameters.model = model.name
        size = self.parameters.windowMm
        if size not in model.windowsMm:
            self.parameters.windowMm = model.nearestMm(size)

    def result(self) -> ResultNodes | None:
        """The chosen result, as long as its nodes are there and its scan is the chosen one."""
        chosen = self._chosenResult()
        return chosen if chosen is not None and chosen.volumeNode is self.parameters.scan else None

    def setResult(self, result: ResultNodes) -> None:
        """Choose a result and its scan; what was chosen becomes the one to revert to."""
        parameters, chosen = self.parameters, self._chosenResult()
        self._onOther()
        if chosen is not None and chosen.heatmapNode is result.heatmapNode:
            return
        if chosen is not None:
            parameters.previousResult = chosen.heatmapNode
        elif parameters.previousResult is result.heatmapNode:
            parameters.previousResult = None
        parameters.scan, parameters.result = result.volumeNode, result.heatmapNode
        if any(model.name == result.model for model in self.models):
            parameters.model = result.model
            parameters.windowMm = result.windowMm
        self.chooseKnown()  # the model may have lost the size, or the window may be that of another model

    def takeReady(self) -> bool:
        """Choose the result for scan, model and window when it is in the scene; returns whether it is."""
        parameters = self.parameters
        ready = Results.findResult(parameters.scan, model=parameters.model, windowMm=parameters.windowMm)
        if ready is not None:
            self.setResult(ready)
        return ready is not None

    def followScan(self) -> None:
        """Another scan was chosen: from now on its newest result or none, and no word of what was before."""
        parameters, chosen = self.parameters, self._chosenResult()
        if parameters is None:
            return
        scan = parameters.scan
        scanId = scan.GetID() if scan is not None else ""
        isOther, self._scanId = scanId != self._scanId, scanId
        if isOther:
            self._onOther()
        if chosen is not None and chosen.volumeNode is scan:
            return
        if not isOther:
            if chosen is not None:
                parameters.scan = chosen.volumeNode  # a script has chosen a result without its scan
            return
        newest = _newestResult(scan)
        with slicer.util.NodeModify(parameters):
            if newest is not None:
                self.setResult(newest)
            elif chosen is not None:
                parameters.previousResult, parameters.result = chosen.heatmapNode, None

    def readyMm(self, state: State) -> tuple[int, ...]:
        """Windows of the model with a result in the scene; looked up only when something that matters has changed."""
        parameters, model = self.parameters, self.model()
        if parameters is None or parameters.scan is None or model is None:
            return ()
        scan = parameters.scan
        count = scan.GetScene().GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode")
        result = parameters.result
        resultId = result.GetID() if result is not None else ""  # no node: it would be held when the scene is closed
        key = (scan.GetID(), scan.GetMTime(), model.name, resultId, state, count)
        if key != self._ready[0]:
            sizes = (size for size in model.windowsMm if Results.findResult(scan, model=model.name, windowMm=size))
            self._ready = (key, tuple(sizes))
        return self._ready[1]

    def _chosenResult(self) -> ResultNodes | None:
        return Results.resultOf(self.parameters.result) if self.parameters is not None else None


def _newestResult(scan) -> ResultNodes | None:
    """The newest exact result of these voxels, whatever its model and window."""
    exact = [result for result in Results.resultsOf(scan) if not result.isPreview]
    found = (Results.findResult(scan, model=result.model, windowMm=result.windowMm) for result in reversed(exact))
    return next(filter(None, found), None)
