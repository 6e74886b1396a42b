"""The panel: brings sections, detection and parameter node together. It holds no setting: those are in the parameter node.

Whatever changes (a parameter, the state, a node) ends in `_refresh`: one snapshot is taken and every section shows it.
"""

from __future__ import annotations

import qt
import slicer
import vtk
from slicer.i18n import tr as _

from . import Results
from .CutSection import CutSection
from .DisplaySection import DisplaySection
from .ExportSection import ExportSection
from .FindingsSection import FindingsSection
from .InputsSection import InputsSection
from .InstallSection import InstallSection
from .Models import Model
from .Parameters import CUT_FIELDS, Parameters, cutOf, rememberCut, settingsFrom
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
        self._run = RunSection(ui, onDetect=self.detect, onCancel=self._cancel, onRevert=self.revert)
        self._inputs = InputsSection(ui, (), onModel=self._onModel, onSample=self._onSample)
        self._cut = CutSection(ui, onWindow=self._onWindow, onCut=self._onCut, onLog=self._run.log, makeRecut=logic.newRecut)
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
        self._parameters = None
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

    def onNodeRemoved(self) -> None:
        """A node has gone, perhaps one of ours: look again once all that goes with it has gone, too."""
        if self._parameters is not None:
            self._later.start()

    def close(self) -> None:
        """Stop everything: the scene or the application goes away."""
        self._detection.cancel()
        self._timer.stop()
        self._later.stop()
        self._preview = None
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
        """The result before this one, with the settings it has."""
        before = Results.resultOf(self._parameters.previousResult)
        if before is None:
            return
        settings = cutOf(before.heatmapNode, self._panelSettings())
        with slicer.util.NodeModify(self._parameters):
            self._setResult(before)
            for name in CUT_FIELDS:
                setattr(self._parameters, name, getattr(settings, name))

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
        if not isReady and shown is not None and shown.volumeNode is self._parameters.scan:
            self.detect()

    def _onSample(self) -> None:
        with slicer.util.tryWithErrorDisplay(_("The sample scan could not be loaded."), waitCursor=True):
            self._parameters.scan = self._logic.loadSample()
            self._run.log(self._logic.sampleCaution())

    def _onCut(self, _result: ResultNodes) -> None:
        self._isEndOld = True
        self._refresh()

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
        with slicer.util.NodeModify(self._parameters):
            self._setResult(result)
        self._inputs.collapse()

    # The scene's results

    def _result(self) -> ResultNodes | None:
        """The chosen result, as long as its nodes are there."""
        return Results.resultOf(self._parameters.result) if self._parameters is not None else None

    def _setResult(self, result: ResultNodes) -> None:
        """Choose a result; what was chosen becomes the one to revert to."""
        parameters, shown = self._parameters, self._result()
        self._isEndOld = True
        if shown is not None and shown.heatmapNode is result.heatmapNode:
            return
        parameters.previousResult = shown.heatmapNode if shown is not None else None
        parameters.result = result.heatmapNode
        if any(model.name == result.model for model in self._models):
            parameters.model = result.model
        parameters.windowMm = result.windowMm or parameters.windowMm

    def _showIfReady(self) -> bool:
        parameters = self._parameters
        ready = Results.findResult(parameters.scan, model=parameters.model, windowMm=parameters.windowMm)
        if ready is not None:
            self._setResult(ready)
        return ready is not None

    def _readyMm(self, model: Model | None) -> tuple[int, ...]:
        """Windows with a result in the scene; looked up only when something that matters has changed."""
        parameters = self._parameters
        if parameters is None or parameters.scan is None or model is None:
            return ()
        scan = parameters.scan
        count = scan.GetScene().GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode")
        key = (scan.GetID(), scan.GetMTime(), model.name, parameters.result, self._detection.state, count)
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
            self._parameters.windowMm = min(model.windowsMm, key=lambda known: abs(known - size))

    def _panelSettings(self) -> Settings:
        return settingsFrom(self._parameters)

    # Showing

    def _isShown(self, parameters: Parameters) -> bool:
        return self._parameters is not None and self._parameters.parameterNode is parameters.parameterNode

    def _refresh(self, _caller: object = None, _event: object = None) -> None:
        """Show how things stand. Showing may change a parameter, which comes back here: then once more."""
        self._isStale = True
        if self._isShowing:
            return
        self._isShowing = True
        try:
            for _round in range(_MOST_ROUNDS):
                if not self._isStale:
                    break
                self._isStale = False
                situation = self._situation()
                for section in self._sections:
                    section.show(situation)
        finally:
            self._isShowing = False

    def _situation(self) -> Situation:
        parameters, model = self._parameters, self._model()
        before = parameters.previousResult if parameters is not None else None
        return Situation(
            state=self._detection.state,
            parameters=parameters,
            model=model,
            result=self._preview or self._result(),
            readyMm=self._readyMm(model),
            hasPrevious=Results.resultOf(before) is not None,
            failureText=self._detection.failureText,
            isEndOld=self._isEndOld,
        )
