"""BrainInpaintAD: marks in a brain MRI what a model of healthy brains cannot explain. For research only."""

import numpy as np
import slicer
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)
from slicer.util import VTKObservationMixin


class BrainInpaintAD(ScriptedLoadableModule):
    """What Slicer's module list shows."""

    def __init__(self, parent):
        super().__init__(parent)
        parent.title = _("Brain Inpaint AD")
        parent.categories = [translate("qSlicerAbstractCoreModule", "Neuroimaging")]
        parent.dependencies = ["Segmentations"]
        parent.contributors = ["BrainInpaintAD contributors"]
        parent.helpText = _(
            "Unsupervised anomaly detection in T1-weighted brain MRI: models that know healthy brains only tell what is "
            "rare in health at its place, or fill in erased squares; where the scan differs, the heatmap is hot.<br>"
            "<b>For research only. Not a medical device; never base a diagnosis on it.</b><br>"
            '<a href="https://github.com/BrainInpaintAD/BrainInpaintAD">Documentation</a>'
        )
        parent.acknowledgementText = _(
            "After Nguyen et al. 2020, 'Unsupervised Region-Based Anomaly Detection in Brain MRI with "
            "Adversarial Image Inpainting', and Felzenszwalb and Huttenlocher 2004, 'Efficient graph-based image segmentation'."
        )
        slicer.app.connect("startupCompleted()", registerSampleData)
        slicer.app.connect("startupCompleted()", offerToScripts)


def registerSampleData():
    """Offer the sample scan in the Sample Data module; called once Slicer has started."""
    from BrainInpaintADLib import Samples

    Samples.register()


def offerToScripts():
    """Make `slicer.modules.braininpaintad.logic().detect(…)` work; called once Slicer has started, and by a reload.

    What Slicer calls the logic of a scripted module is an empty VTK object; VTK keeps attributes that are put on it.
    """
    module = getattr(getattr(slicer, "modules", None), "braininpaintad", None)
    if module is None:  # the panel is used without the application's list of modules
        return
    logic = BrainInpaintADLogic()
    for name in ("models", "install", "detect", "recut", "exportLabelmap"):
        setattr(module.logic(), name, getattr(logic, name))


class BrainInpaintADWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """Loads the panel and keeps it on the scene's parameter node."""

    def __init__(self, parent=None):
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.logic = None
        self.panel = None

    def setup(self):
        from BrainInpaintADLib.Widget import Panel

        super().setup()
        uiWidget = slicer.util.loadUI(self.resourcePath("UI/BrainInpaintAD.ui"))
        self.layout.addWidget(uiWidget)
        self.ui = slicer.util.childWidgetVariables(uiWidget)
        uiWidget.setMRMLScene(slicer.mrmlScene)
        self.logic = BrainInpaintADLogic()
        self.panel = Panel(self.ui, self.logic)
        offerToScripts()  # again: after a reload, scripts get what was reloaded
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.StartCloseEvent, self.onSceneStartClose)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndCloseEvent, self.onSceneEndClose)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndImportEvent, self.onSceneLoaded)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndRestoreEvent, self.onSceneLoaded)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.NodeRemovedEvent, self.onNodeRemoved)
        self.enter()

    def cleanup(self):
        self.removeObservers()
        if self.panel is not None:  # None when setup has failed
            self.panel.close()

    def enter(self):
        self.panel.setParameters(self.logic.parameters())

    def exit(self):
        """Nothing to do: a detection goes on while the user looks at another module."""

    def onSceneStartClose(self, _caller=None, _event=None):
        self.panel.close()

    def onNodeRemoved(self, _caller=None, _event=None):
        if not slicer.mrmlScene.IsClosing():
            self.panel.refreshLater()

    def onSceneLoaded(self, _caller=None, _event=None):
        self.panel.refreshLater()

    def onSceneEndClose(self, _caller=None, _event=None):
        if self.parent.isEntered:
            self.enter()


class BrainInpaintADLogic(ScriptedLoadableModuleLogic):
    """Detection for panels and scripts. What scripts call opens no windows and returns nodes.

    A batch, in Slicer's Python console or with `Slicer --no-splash --python-script batch.py`::

        logic = slicer.modules.braininpaintad.logic()
        for path in Path("scans").glob("*.nii.gz"):
            result = logic.detect(slicer.util.loadVolume(str(path)))
            print(path.name, result.summary)
            logic.exportLabelmap(result)
    """

    def parameters(self):
        """The scene's parameter node, typed."""
        from BrainInpaintADLib.Parameters import Parameters

        return Parameters(self.getParameterNode())

    def models(self):
        """The models there are, the default first: name, description, windowsMm (mm). Empty without the core."""
        from BrainInpaintADLib import Core, Models

        try:
            return Models.listModels()
        except Core.CoreMissingError:
            return []

    def newDetection(self, **listeners):
        """A detection that has not started; see BrainInpaintADLib.Detection for what it tells its listeners."""
        from BrainInpaintADLib.Detection import Detection

        return Detection(**listeners)

    def newRecut(self, result):
        """What cuts a result anew while a slider moves; see BrainInpaintADLib.Recut."""
        from BrainInpaintADLib.Recut import Recut

        return Recut(result)

    def newInstaller(self):
        """What installs, and removes again, the packages the core needs."""
        from BrainInpaintADLib.Install import Installer

        return Installer()

    def install(self, *, interactive=True):
        """Install what the core needs; asks first when `interactive`."""
        self.newInstaller().ensure(interactive=interactive)

    def detect(
        self,
        volumeNode,
        maskNode=None,
        *,
        model="",
        windowMm=None,
        rule="calibrated",
        scale=75.0,
        segmentation="suited",
        device="auto",
    ):
        """Look for anomalies in a T1 volume and wait for the result: heatmapNode, segmentationNode, tableNode, summary, …

        maskNode: labelmap volume of the brain on the same grid; None lets the core find the brain.
        model: a name of `models()`; "" is the default, or t1-inpaint where a window is given, for the default has none.
        windowMm: one of the model's windowsMm; None is 32 mm, or the nearest it has.
        scale: Felzenszwalb scale, 10 to 500; rule: "calibrated" or "paper". segmentation: "suited" is what suits the model,
        as `brain-inpaint-ad detect` takes it; or "slices", "volume", "scales", of which the last two need numba.
        Raises an error with the reason when there is no result.
        """
        from BrainInpaintADLib import Scripts

        wishes = {"rule": rule, "scale": scale, "segmentation": segmentation, "device": device}
        return Scripts.detect(self, volumeNode, maskNode, model=model, windowMm=windowMm, **wishes)

    def recut(self, result, **changes):
        """Cut a result anew without a network, such as `recut(result, scale=150)`; segments and findings are replaced.

        changes: scale, sigma (pixels), minSize (pixels), minVolumeMl, rule, segmentation.
        """
        from BrainInpaintADLib import Scripts

        return Scripts.recut(self, result, **changes)

    def exportLabelmap(self, result):
        """A new labelmap volume on the grid of the scan, one value per anomaly that is kept."""
        from BrainInpaintADLib import Export

        return Export.exportLabelmap(result)


class BrainInpaintADTest(ScriptedLoadableModuleTest):
    """The story of a detection inside the real application; the network is replaced by a known answer."""

    def setUp(self):
        slicer.mrmlScene.Clear()

    def runTest(self):
        for story in (
            self.test_a_result_becomes_a_heatmap_and_segments,
            self.test_an_export_keeps_grid_and_values,
            self.test_a_discarded_finding_is_not_exported,
            self.test_the_result_survives_in_the_parameter_node,
        ):
            self.setUp()
            story()

    def test_a_result_becomes_a_heatmap_and_segments(self):
        from BrainInpaintADLib import MadeUpResult

        scan, anomalies, result = MadeUpResult.importResult()
        assert result.segmentationNode.GetSegmentation().GetNumberOfSegments() == int(anomalies.max())
        assert result.heatmapNode.GetImageData().GetDimensions() == scan.GetImageData().GetDimensions()
        assert [finding.label for finding in result.findings] == [1, 2]

    def test_an_export_keeps_grid_and_values(self):
        from BrainInpaintADLib import MadeUpResult, Scene

        scan, anomalies, result = MadeUpResult.importResult()
        exported = BrainInpaintADLogic().exportLabelmap(result)
        np.testing.assert_array_equal(slicer.util.arrayFromVolume(exported), anomalies)
        np.testing.assert_allclose(Scene.localMatrix(exported), Scene.localMatrix(scan), atol=1e-6)

    def test_a_discarded_finding_is_not_exported(self):
        from BrainInpaintADLib import MadeUpResult, Results

        _scan, anomalies, result = MadeUpResult.importResult()
        Results.setKept(result, 1, False)
        exported = BrainInpaintADLogic().exportLabelmap(result)
        np.testing.assert_array_equal(slicer.util.arrayFromVolume(exported), np.where(anomalies == 2, 2, 0))

    def test_the_result_survives_in_the_parameter_node(self):
        from BrainInpaintADLib import MadeUpResult, Results

        _scan, _anomalies, result = MadeUpResult.importResult()
        BrainInpaintADLogic().parameters().result = result.heatmapNode
        found = Results.resultOf(BrainInpaintADLogic().parameters().result)
        assert (found.volumeNode, found.summary) == (result.volumeNode, result.summary)
