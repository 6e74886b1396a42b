"""The panel: brings sections, detection and parameter node together. It holds no setting: those are in the parameter node.

Whatever changes (a parameter, the state, a node) ends in `_refresh`: one snapshot is taken and every section shows it.
"""

from __future__ import annotations

import qt
import slicer
import vtk
from slicer.i18n import tr as _

from . import Results, Samples
from .Chosen import Chosen
from .CutSection import CutSection
from .DisplaySection import DisplaySection
from .ExportSection import ExportSection
from .FindingsSection import FindingsSection
from .InputsSection import InputsSection
from .InstallSection import InstallSection
from .Parameters import Parameters, rememberCut, setCut, settingsFrom
from .Results import ResultNodes
from .ResultWatch import ResultWatch
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
        self._chosen = Chosen(onOther=self._forgetEnd)
        self._watch = ResultWatch(onChanged=self.refreshLater)
        self._guiTag = self._observerTag = None
        self._isShowing = self._isStale = False
        self._isEndOld = False
        self._preview: ResultNodes | None = None
        self._settings: Settings | None = None  # of the detection that runs
        self._run = RunSection(ui, onDetect=self.detect, onCancel=self._cancel, onRevert=self.revert)
        self._inputs = InputsSection(ui, (), onModel=self._onModel, onSample=self._onSample)
        self._cut = CutSection(
            ui, onWindow=self._onWindow, onCut=self._onChanged, onRefused=self._onRefused, makeRecut=logic.newRecut
        )
        self._findings = FindingsSection(ui, onKept=self._onChanged)
        self._display = DisplaySection(ui)
        self._export = ExportSection(ui, onDone=self._tell)
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
        shown = self._parameters
        if shown is not None and parameters is not None and shown.parameterNode is parameters.parameterNode:
            self._refresh()  # nodes may have gone while another module was open
            return  # connecting again would double the signals: Slicer's disconnectGui leaves some behind
        if shown is not None:
            shown.disconnectGui(self._guiTag)
            shown.RemoveObserver(self._observerTag)
        self._chosen.setParameters(None)
        if parameters is not None:
            widgets = [widget for widget in vars(self._ui).values() if widget.property("SlicerParameterName")]
            byName = {widget.property("SlicerParameterName"): widget for widget in widgets}
            # not connectGui: that keeps the tag to itself, and without it nothing can be disconnected
            self._guiTag = parameters.connectParametersToGui(byName)
            self._cut.nameChoices()
            self._chosen.setParameters(parameters)
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
        self._watch.end()
        self._later.stop()
        self._preview = self._detection.result = None  # what holds nodes would hold their voxels
        self._forgetEnd()
        self._run.clearLog()
        self.setParameters(None)
        self._cut.close()

    def detect(self) -> None:
        """Start a detection with the settings of the parameter node; a dialogue says why it cannot."""
        self._run.clearLog()
        self._settings = settingsFrom(self._parameters)
        with slicer.util.tryWithErrorDisplay(_("The detection could not be started.")):
            self._detection.start(
                self._parameters.scan, self._parameters.brainMask, settings=self._settings, install=self._logic.install
            )

    def revert(self) -> None:
        """The result before this one, with its scan and the settings it has."""
        before = Results.resultOf(self._parameters.previousResult)
        if before is not None:
            with slicer.util.NodeModify(self._parameters):
                self._chosen.setResult(before)

    @property
    def _parameters(self) -> Parameters | None:
        return self._chosen.parameters

    # What the user and the detection do

    def _cancel(self) -> None:
        self._detection.cancel()

    def _onModel(self, name: str) -> None:
        with slicer.util.NodeModify(self._parameters):
            self._parameters.model = name
            self._chosen.chooseKnown()
            self._chosen.takeReady()

    def _onWindow(self, sizeMm: int) -> None:
        """Another size: shown at once when it is ready, computed when the user is looking at this scan's result."""
        if sizeMm == self._parameters.windowMm:
            return
        shown = self._chosen.result()
        with slicer.util.NodeModify(self._parameters):
            self._parameters.windowMm = sizeMm
            isReady = self._chosen.takeReady()
        if not isReady and shown is not None:
            self.detect()

    def _onSample(self) -> None:
        with slicer.util.tryWithErrorDisplay(_("The sample scan could not be loaded."), waitCursor=True):
            self._parameters.scan = Samples.load()
            self._run.log(Samples.caution())

    def _onChanged(self, _result: ResultNodes | None = None) -> None:
        """The user has cut the result anew, or kept or discarded a finding."""
        self._forgetEnd()
        self._refresh()

    def _onRefused(self, text: str) -> None:
        self._onChanged()
        self._tell(text)

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
        wanted = settingsFrom(self._parameters)
        with slicer.util.NodeModify(self._parameters):
            self._chosen.setResult(result)
        setCut(self._parameters, wanted)  # changed while it was computed: what came with the result is cut anew
        self._inputs.collapse()

    def _loadModels(self) -> None:
        self._chosen.models = self._logic.models()
        self._inputs.setModels(self._chosen.models)
        self._chosen.chooseKnown()

    # Showing

    def _tell(self, text: str) -> None:
        self._run.log(text)
        self._run.showStatus(text)

    def _forgetEnd(self) -> None:
        self._isEndOld = True

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
                self._chosen.followScan()
                self._watch.sumUp(self._chosen.result())
                situation = self._situation()
                self._watch.follow(situation.result)
                for section in self._sections:
                    section.show(situation)
        finally:
            self._isShowing = False

    def _situation(self) -> Situation:
        parameters, model = self._parameters, self._chosen.model()
        before = parameters.previousResult if parameters is not None else None
        result = self._chosen.result()
        isPreviewShown = self._preview is not None and parameters is not None and self._preview.volumeNode is parameters.scan
        return Situation(
            state=self._detection.state,
            parameters=parameters,
            model=model,
            result=self._preview if isPreviewShown else result,
            readyMm=self._chosen.readyMm(self._detection.state),
            hasPrevious=Results.resultOf(before) is not None,
            failureText=self._detection.failureText,
            isEndOld=self._isEndOld,
            cutRefusal=self._cut.refusal(result, settingsFrom(parameters)) if result is not None else "",
        )
