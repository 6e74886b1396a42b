"""The panel: brings sections, detection and parameter node together. It holds no setting: those are in the parameter node.

Whatever changes (a parameter, the state, a node) ends in `_refresh`: one snapshot is taken and every section shows it.
"""

from __future__ import annotations

import qt
import slicer
import vtk
from slicer.i18n import tr as _

from . import Findings, Results
from .CutSection import CutSection
from .DisplaySection import DisplaySection
from .ExportSection import ExportSection
from .FindingsSection import FindingsSection, keyOf
from .InputsSection import InputsSection
from .InstallSection import InstallSection
from .Models import Model
from .Parameters import Parameters, rememberCut, setCut, settingsFrom
from .Results import ResultNodes
from .RunSection import RunSection
from .Settings import Settings
from .Situation import Situation
from .States import State

_POLL_MS = 100
_MOST_ROUNDS = 5  # of showing anew because showing has changed a parameter; one is enough as things are


class Panel:
    """Connects the widgets of the `.ui` file with the logic and one parameter node at a time."""

    def __init__(self, ui, logic) -> None:
        self._ui, self._logic = ui, logic
        self._models: list[Model] = []
        self._parameters: Parameters | None = None
        self._guiTag = self._observerTag = None
        self._isShowing = self._isStale = False
        self._isEndOld = False
        self._preview: ResultNodes | None = None
        self._settings: Settings | None = None  # of the detection that runs
        self._ready: tuple[object, tuple[int, ...]] = (None, ())  # what was looked up, and the windows found
        self._scanId: str | None = None  # of the scan at the last look; "" is none, None is before the first look
        self._watched: ResultNodes | None = None  # the result that is shown, and its observers
        self._watchTags: list[tuple[object, int]] = []
        self._summed: object = None  # what the summary was made from
        self._run = RunSection(ui, onDetect=self.detect, onCancel=self._cancel, onRevert=self.revert)
        self._inputs = InputsSection(ui, (), onModel=self._onModel, onSample=self._onSample)
        self._cut = CutSection(
            ui, onWindow=self._onWindow, onCut=self._onCut, onRefused=self._onRefused, makeRecut=logic.newRecut
        )
        self._findings = FindingsSection(ui, onKept=self._onKept)
        self._display = DisplaySection(ui)
        self._export = ExportSection(ui, onDone=self._onExported)
        self._install = InstallSection(ui, makeInstaller=logic.newInstaller, onChanged=self._onPackages)
        self._sections = (
            self._inputs, self._run, self._cut, self._findings, self._display, self._export, self._install
        )  # fmt: skip
        self._timer = qt.QTimer()
        self._timer.setInterval(_POLL_MS)
        self._detection = logic.newDetection(
            onState=self._onState, onProgress=self._run.showProgress, onLog=self._run.log, onPreview=self._onPreview
        )
        self._timer.connect("timeout()", self._detection.poll)
        self._later = qt.QTimer()
        self._later.setSingleShot(True)
        self._later.setInterval(0)
        self._later.connect("timeout()", self._refresh)
        self._loadModels()
        self._refresh()

    def setParameters(self, parameters: Parameters | None) -> None:
        """Show and change this parameter node from now on; None while there is no scene to work in."""
        if parameters is not None and self._isShown(parameters):
            self._refresh()  # nodes may have gone while another module was open
            return  # connecting again would double the signals: Slicer's disconnectGui leaves some behind
        if self._parameters is not None:
            self._parameters.disconnectGui(self._guiTag)
            self._parameters.RemoveObserver(self._observerTag)
        self._parameters = self._scanId = None
        if parameters is not None:
            widgets = [widget for widget in vars(self._ui).values() if widget.property("SlicerParameterName")]
            byName = {widget.property("SlicerParameterName"): widget for widget in widgets}
            # not connectGui: that keeps the tag to itself, and without it nothing can be disconnected
            self._guiTag = parameters.connectParametersToGui(byName)
            self._cut.nameChoices()
            self._parameters = parameters
            self._chooseKnown()
            self._observerTag = parameters.AddObserver(vtk.vtkCommand.ModifiedEvent, self._refresh)
        self._refresh()

    def refreshLater(self) -> None:
        """Nodes have come, gone or changed, perhaps ours: look again once all that belongs to it has happened, too."""
        if self._parameters is not None:
            self._later.start()

    def close(self) -> None:
        """Stop everything: the scene or the application goes away."""
        self._detection.cancel()
        self._timer.stop()
        self._unwatch()
        self._later.stop()
        self._preview = self._detection.result = self._summed = None  # what holds nodes would hold their voxels
        self._ready = (None, ())
        self._isEndOld = True
        self._run.clearLog()
        self.setParameters(None)
        self._cut.close()

    def detect(self) -> None:
        """Start a detection with the settings of the parameter node; a dialogue says why it cannot."""
        self._run.clearLog()
        self._settings = self._panelSettings()
        with slicer.util.tryWithErrorDisplay(_("The detection could not be started.")):
            self._detection.start(
                self._parameters.scan, self._parameters.brainMask, settings=self._settings, install=self._logic.install
            )

    def revert(self) -> None:
        """The result before this one, with its scan and the settings it has."""
        before = Results.resultOf(self._parameters.previousResult)
        if before is not None:
            with slicer.util.NodeModify(self._parameters):
                self._setResult(before)

    # What the user and the detection do

    def _cancel(self) -> None:
        self._detection.cancel()

    def _onModel(self, name: str) -> None:
        with slicer.util.NodeModify(self._parameters):
            self._parameters.model = name
            self._chooseKnown()
            self._showIfReady()

    def _onWindow(self, sizeMm: int) -> None:
        """Another size: shown at once when it is ready, computed when the user is looking at this scan's result."""
        if sizeMm == self._parameters.windowMm:
            return
        shown = self._result()
        with slicer.util.NodeModify(self._parameters):
            self._parameters.windowMm = sizeMm
            isReady = self._showIfReady()
        if not isReady and shown is not None:
            self.detect()

    def _onSample(self) -> None:
        with slicer.util.tryWithErrorDisplay(_("The sample scan could not be loaded."), waitCursor=True):
            self._parameters.scan = self._logic.loadSample()
            self._run.log(self._logic.sampleCaution())

    def _onCut(self, _result: ResultNodes) -> None:
        self._isEndOld = True
        self._refresh()

    def _onRefused(self, text: str) -> None:
        self._isEndOld = True
        self._refresh()
        self._run.log(text)
        self._run.showStatus(text)

    def _onKept(self) -> None:
        self._isEndOld = True
        self._refresh()

    def _onExported(self, text: str) -> None:
        self._run.log(text)
        self._run.showStatus(text)

    def _onPackages(self) -> None:
        self._loadModels()
        self._cut.lookUpPackages()
        self._refresh()

    def _onPreview(self, preview: ResultNodes) -> None:
        self._preview = preview
        self._refresh()

    def _onState(self, state: State) -> None:
        self._isEndOld = False
        if state is State.RUNNING:
            self._timer.start()
        elif not state.isBusy:
            self._timer.stop()
            self._preview = None
        if state is State.IDLE:
            self._takeResult(self._detection.result)
        elif state is State.FAILED:
            self._run.log(self._detection.failureText)
        self._refresh()

    def _takeResult(self, result: ResultNodes) -> None:
        rememberCut(result.heatmapNode, self._settings)
        wanted = self._panelSettings()
        with slicer.util.NodeModify(self._parameters):
            self._setResult(result)
        setCut(self._parameters, wanted)  # changed while it was computed: what came with the result is cut anew
        self._inputs.collapse()

    # The scene's results

    def _result(self) -> ResultNodes | None:
        """The chosen result, as long as its nodes are there and its scan is the chosen one."""
        chosen = self._chosenResult()
        return chosen if chosen is not None and chosen.volumeNode is self._parameters.scan else None

    def _chosenResult(self) -> ResultNodes | None:
        return Results.resultOf(self._parameters.result) if self._parameters is not None else None

    def _setResult(self, result: ResultNodes) -> None:
        """Choose a result and its scan; what was chosen becomes the one to revert to."""
        parameters, chosen = self._parameters, self._chosenResult()
        self._isEndOld = True
        if chosen is not None and chosen.heatmapNode is result.heatmapNode:
            return
        if chosen is not None:
            parameters.previousResult = chosen.heatmapNode
        elif parameters.previousResult is result.heatmapNode:
            parameters.previousResult = None
        parameters.scan, parameters.result = result.volumeNode, result.heatmapNode
        if any(model.name == result.model for model in self._models):
            parameters.model = result.model
            parameters.windowMm = result.windowMm
        self._chooseKnown()  # the model may have lost the size, or the window may be that of another model

    def _showIfReady(self) -> bool:
        parameters = self._parameters
        ready = Results.findResult(parameters.scan, model=parameters.model, windowMm=parameters.windowMm)
        if ready is not None:
            self._setResult(ready)
        return ready is not None

    def _followScan(self) -> None:
        """Another scan was chosen: from now on its newest result or none, and no word of what was before."""
        parameters, chosen = self._parameters, self._chosenResult()
        if parameters is None:
            return
        scan = parameters.scan
        scanId = scan.GetID() if scan is not None else ""
        isOther, self._scanId = scanId != self._scanId, scanId
        if isOther:
            self._isEndOld = True
        if chosen is not None and chosen.volumeNode is scan:
            return
        if not isOther:
            if chosen is not None:
                parameters.scan = chosen.volumeNode  # a script has chosen a result without its scan
            return
        newest = _newestResult(scan)
        with slicer.util.NodeModify(parameters):
            if newest is not None:
                self._setResult(newest)
            elif chosen is not None:
                parameters.previousResult, parameters.result = chosen.heatmapNode, None

    def _sumUp(self) -> None:
        """The summary is that of the segments there are, also after the user has deleted some."""
        result = self._result()
        if keyOf(result) == self._summed:  # reading the table takes too long for every event of a slider
            return
        if result is not None and result.summary != Findings.summary(result.findings):
            Results.setFindings(result, Findings.readTable(result.tableNode))
        self._summed = keyOf(result)

    def _watch(self, result: ResultNodes | None) -> None:
        """Look again when others change the result that is shown; no result of another scan stays in the views."""
        before = self._watched
        if result == before:
            return
        self._unwatch()
        if before is not None and (result is None or result.volumeNode is not before.volumeNode):
            left = Results.resultOf(before.heatmapNode)
            if left is not None:
                Results.hide(left)
        if result is not None:
            self._watched = result
            for node, event in (
                (result.heatmapNode, vtk.vtkCommand.ModifiedEvent),
                (result.segmentationNode, slicer.vtkSegmentation.SegmentRemoved),
            ):
                self._watchTags.append((node, node.AddObserver(event, lambda *_: self.refreshLater())))

    def _unwatch(self) -> None:
        for node, tag in self._watchTags:
            node.RemoveObserver(tag)
        self._watched, self._watchTags = None, []

    def _readyMm(self, model: Model | None) -> tuple[int, ...]:
        """Windows with a result in the scene; looked up only when something that matters has changed."""
        parameters = self._parameters
        if parameters is None or parameters.scan is None or model is None:
            return ()
        scan = parameters.scan
        count = scan.GetScene().GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode")
        result = parameters.result
        resultId = result.GetID() if result is not None else ""  # no node: it would be held when the scene is closed
        key = (scan.GetID(), scan.GetMTime(), model.name, resultId, self._detection.state, count)
        if key != self._ready[0]:
            sizes = (size for size in model.windowsMm if Results.findResult(scan, model=model.name, windowMm=size))
            self._ready = (key, tuple(sizes))
        return self._ready[1]

    # Models and settings

    def _loadModels(self) -> None:
        self._models = self._logic.models()
        self._inputs.setModels(self._models)
        if self._parameters is not None:
            self._chooseKnown()

    def _model(self) -> Model | None:
        name = self._parameters.model if self._parameters is not None else ""
        return next((model for model in self._models if model.name == name), None)

    def _chooseKnown(self) -> None:
        """A model that is there and a window it has, when the parameter node names none or another."""
        model = self._model() or next(iter(self._models), None)
        if model is None:
            return
        if self._parameters.model != model.name:
            self._parameters.model = model.name
        size = self._parameters.windowMm
        if size not in model.windowsMm:
            self._parameters.windowMm = model.nearestMm(size)

    def _panelSettings(self) -> Settings:
        return settingsFrom(self._parameters)

    # Showing

    def _isShown(self, parameters: Parameters) -> bool:
        return self._parameters is not None and self._parameters.parameterNode is parameters.parameterNode

    def _refresh(self, _caller: object = None, _event: object = None) -> None:
        """Show how things stand. Showing may change a parameter, which comes back here: then once more."""
        self._isStale = True
        if self._isShowing or slicer.mrmlScene.IsImporting() or slicer.mrmlScene.IsRestoring():
            return  # half a scene would be taken for deleted nodes; its end is told to `refreshLater`
        self._isShowing = True
        try:
            for _round in range(_MOST_ROUNDS):
                if not self._isStale:
                    break
                self._isStale = False
                self._followScan()
                self._sumUp()
                situation = self._situation()
                self._watch(situation.result)
                for section in self._sections:
                    section.show(situation)
        finally:
            self._isShowing = False

    def _situation(self) -> Situation:
        parameters, model = self._parameters, self._model()
        before = parameters.previousResult if parameters is not None else None
        result = self._result()
        isPreviewShown = self._preview is not None and parameters is not None and self._preview.volumeNode is parameters.scan
        return Situation(
            state=self._detection.state,
            parameters=parameters,
            model=model,
            result=self._preview if isPreviewShown else result,
            readyMm=self._readyMm(model),
            hasPrevious=Results.resultOf(before) is not None,
            failureText=self._detection.failureText,
            isEndOld=self._isEndOld,
            cutRefusal=self._cut.refusal(result, self._panelSettings()) if result is not None else "",
        )


def _newestResult(scan) -> ResultNodes | None:
    """The newest exact result of these voxels, whatever its model and window."""
    exact = [result for result in Results.resultsOf(scan) if not result.isPreview]
    found = (Results.findResult(scan, model=result.model, windowMm=result.windowMm) for result in reversed(exact))
    return next(filter(None, found), None)
