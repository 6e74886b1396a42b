"""BrainInpaintAD: marks in a brain MRI what a model of healthy brains cannot explain. For research only."""

import tempfile
from pathlib import Path

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
            "Unsupervised anomaly detection in T1-weighted brain MRI: a network that has seen only healthy brains "
            "fills in erased squares, and where the scan differs from what it expects, the heatmap is hot.<br>"
            "<b>For research only. Not a medical device; never base a diagnosis on it.</b><br>"
            '<a href="https://github.com/BrainInpaintAD/BrainInpaintAD">Documentation</a>'
        )
        parent.acknowledgementText = _(
            "After Nguyen et al. 2020, 'Unsupervised brain anomaly detection using inpainting', and Felzenszwalb and "
            "Huttenlocher 2004, 'Efficient graph-based image segmentation'."
        )


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
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.StartCloseEvent, self.onSceneStartClose)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndCloseEvent, self.onSceneEndClose)
        self.enter()

    def cleanup(self):
        self.removeObservers()
        self.panel.close()

    def enter(self):
        self.panel.setParameters(self.logic.parameters())

    def exit(self):
        """Nothing to do: a detection goes on while the user looks at another module."""

    def onSceneStartClose(self, _caller=None, _event=None):
        self.panel.close()

    def onSceneEndClose(self, _caller=None, _event=None):
        if self.parent.isEntered:
            self.enter()


class BrainInpaintADLogic(ScriptedLoadableModuleLogic):
    """Detection for panels and scripts. `detect` opens no windows and returns the nodes."""

    def parameters(self):
        """The scene's parameter node, typed."""
        from BrainInpaintADLib.Parameters import Parameters

        return Parameters(self.getParameterNode())

    def newDetection(self, **listeners):
        """A detection that has not started; see BrainInpaintADLib.Detection for what it tells its listeners."""
        from BrainInpaintADLib.Detection import Detection

        return Detection(**listeners)

    def install(self, *, interactive=True):
        """Install what the core needs; asks first when `interactive`."""
        from BrainInpaintADLib.Install import Installer

        Installer().ensure(interactive=interactive)

    def detect(self, volumeNode, maskNode=None, *, rule="calibrated", scale=75.0, device="auto"):
        """Look for anomalies in a T1 volume and wait for the result: heatmapNode, segmentationNode and findings.

        maskNode: labelmap volume of the brain on the same grid; None lets the core find the brain.
        scale: Felzenszwalb scale, 10 to 500. Raises an error with the reason when there is no result.
        """
        from BrainInpaintADLib.Install import Installer
        from BrainInpaintADLib.Settings import Settings

        detection = self.newDetection()
        settings = Settings(rule=rule, scale=scale, device=device)
        detection.start(volumeNode, maskNode, settings=settings, install=Installer().check)
        return detection.wait()

    def exportLabelmap(self, segmentationNode, volumeNode):
        """A new labelmap volume on the grid of `volumeNode`, one value per anomaly."""
        from BrainInpaintADLib.Segments import exportLabelmap

        return exportLabelmap(segmentationNode, volumeNode)


class BrainInpaintADTest(ScriptedLoadableModuleTest):
    """The story of a detection inside the real application; the network is replaced by a known answer."""

    def setUp(self):
        slicer.mrmlScene.Clear()

    def runTest(self):
        for story in (self.test_a_result_becomes_a_heatmap_and_segments, self.test_an_export_keeps_grid_and_values):
            self.setUp()
            story()

    def test_a_result_becomes_a_heatmap_and_segments(self):
        scan, anomalies, result = self._importedResult()
        assert result.segmentationNode.GetSegmentation().GetNumberOfSegments() == int(anomalies.max())
        assert result.heatmapNode.GetImageData().GetDimensions() == scan.GetImageData().GetDimensions()
        assert [finding.label for finding in result.findings] == [1, 2]

    def test_an_export_keeps_grid_and_values(self):
        scan, anomalies, result = self._importedResult()
        exported = BrainInpaintADLogic().exportLabelmap(result.segmentationNode, scan)
        np.testing.assert_array_equal(slicer.util.arrayFromVolume(exported), anomalies)
        np.testing.assert_allclose(_ijkToRas(exported), _ijkToRas(scan), atol=1e-6)

    def _importedResult(self):
        """A made-up oblique scan and what the core could have written about it, brought into the scene."""
        from BrainInpaintADLib import Scene

        rng = np.random.default_rng(0)
        anomalies = np.zeros((12, 20, 16), np.int16)  # slices, rows, columns
        anomalies[2:4, 3:6, 5:8], anomalies[7:9, 10:15, 5:8] = 1, 2
        matrix = np.array([[-0.9, 0.3, 0, 7], [-0.3, -0.9, 0, -11], [0, 0, 5, 3], [0, 0, 0, 1.0]])
        scan = slicer.util.addVolumeFromArray(rng.random(anomalies.shape, np.float32), matrix, "a scan")
        with tempfile.TemporaryDirectory() as name:
            for array, file in ((anomalies, "anomalies.nii.gz"), (anomalies * np.float32(0.4), "heatmap.nii.gz")):
                node = slicer.util.addVolumeFromArray(array, matrix, file)
                Scene.writeVolume(node, Path(name) / file)
                slicer.mrmlScene.RemoveNode(node)
            (Path(name) / "findings.csv").write_text("label,volume_ml\n1,0.1\n2,0.2\n", encoding="utf-8")
            return scan, anomalies, Scene.importResult(Path(name), scan)


def _ijkToRas(node):
    import vtk

    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    return slicer.util.arrayFromVTKMatrix(matrix)
