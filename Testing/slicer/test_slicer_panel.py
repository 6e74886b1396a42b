"""The real `.ui` file and the real panel, off-screen: what the user does and what it changes."""

import importlib
import types

import pytest


@pytest.fixture
def a_panel_of(application, a_scene, a_worker):
    """Opens the module; its detections use the fake worker and install nothing."""
    opened = []

    def open_module():
        import qt
        import slicer

        module = importlib.import_module("BrainInpaintAD")
        make_detection = importlib.import_module("BrainInpaintADLib.Detection").Detection
        module.BrainInpaintADLogic.install = lambda self, **_: None
        module.BrainInpaintADLogic.newDetection = lambda self, **listeners: make_detection(
            makeWorker=a_worker.make, **listeners
        )
        parent = slicer.qMRMLWidget()
        parent.setLayout(qt.QVBoxLayout())
        frame = types.SimpleNamespace(layout=parent.layout, isEntered=True, frame=parent)
        widget = module.BrainInpaintADWidget(frame)
        widget.setup()
        opened.append(widget)
        return widget

    yield open_module
    for widget in opened:
        widget.cleanup()


@pytest.fixture
def a_module(a_panel_of):
    return a_panel_of()


@pytest.fixture
def ui(a_module):
    return a_module.ui


@pytest.fixture
def parameters(a_module):
    return a_module.logic.parameters()


@pytest.fixture
def wait_until(application):
    """Lets Qt work until the condition holds."""
    from PySide6 import QtCore

    def wait(condition, *, tries=500):
        for _ in range(tries):
            if condition():
                return
            loop = QtCore.QEventLoop()  # not processEvents: PySide6 6.12 loses a reference to None at each call
            QtCore.QTimer.singleShot(10, loop.quit)
            loop.exec()
        raise AssertionError("waited too long")

    return wait


@pytest.fixture
def run(a_module, a_worker, wait_until):
    """Presses the button; `finish(...)` lets the worker end and the timer notice."""

    def finish(**end):
        a_worker.finish(**end)
        wait_until(lambda: a_module.ui.detectButton.text != "Cancel")

    def press():
        a_worker.isFinished = False
        a_module.ui.detectButton.click()
        return finish

    return press


@pytest.fixture
def an_answer(a_scan, some_anomalies, write_result):
    return lambda folder: write_result(folder, some_anomalies, like=a_scan)


def test_no_volume_is_chosen_by_itself_and_the_button_says_what_to_do(a_scan, ui):
    assert ui.scanSelector.currentNode() is None
    assert not ui.detectButton.enabled
    assert ui.detectButton.toolTip == "Choose a T1 volume first."


def test_choosing_a_volume_enables_the_button(a_scan, ui):
    ui.scanSelector.setCurrentNode(a_scan)
    assert ui.detectButton.enabled


@pytest.mark.parametrize(
    ("widget", "property_name", "parameter", "values"),
    [
        ("scaleSlider", "value", "scale", (150.0, 20.0)),
        ("opacitySlider", "value", "heatmapOpacity", (0.25, 0.75)),
        ("ruleComboBox", "currentText", "rule", ("paper", "calibrated")),
    ],
)
def test_controls_and_parameters_follow_each_other(ui, parameters, widget, property_name, parameter, values):
    setattr(getattr(ui, widget), property_name, values[0])
    assert getattr(parameters, parameter) == values[0]
    setattr(parameters, parameter, values[1])
    assert getattr(getattr(ui, widget), property_name) == values[1]


def test_volume_and_mask_selectors_and_parameters_follow_each_other(a_scan, add_volume, some_anomalies, ui, parameters):
    mask = add_volume(some_anomalies, name="brain", kind="vtkMRMLLabelMapVolumeNode")
    ui.scanSelector.setCurrentNode(a_scan)
    ui.maskSelector.setCurrentNode(mask)
    assert (parameters.scan, parameters.brainMask) == (a_scan, mask)
    parameters.brainMask = None
    assert ui.maskSelector.currentNode() is None


def test_both_selectors_get_the_scene_by_the_wires_of_the_ui_file(a_scene, ui):
    assert ui.scanSelector.mrmlScene() is a_scene
    assert ui.maskSelector.mrmlScene() is a_scene


def test_the_settings_of_the_panel_reach_the_worker(a_scan, ui, run, a_worker):
    ui.scanSelector.setCurrentNode(a_scan)
    ui.scaleSlider.value = 150
    ui.ruleComboBox.currentText = "paper"
    run()
    settings = a_worker.request["settings"]
    assert (settings.scale, settings.rule) == (150.0, "paper")


def test_the_button_turns_into_cancel_and_back(a_scan, ui, run, an_answer):
    ui.scanSelector.setCurrentNode(a_scan)
    finish = run()
    assert (ui.detectButton.text, ui.inputsButton.enabled) == ("Cancel", False)
    assert not ui.progressBar.isHidden()
    finish(answer=an_answer)
    assert (ui.detectButton.text, ui.inputsButton.enabled) == ("Detect anomalies", True)
    assert ui.progressBar.isHidden()


def test_progress_shows_stage_and_time_left(lib, wait_until, a_scan, ui, run, a_worker):
    ui.scanSelector.setCurrentNode(a_scan)
    run()
    a_worker.said = [lib("Worker").Progress("inpainting", 0.42, 80.0), "a line for the log"]
    wait_until(lambda: ui.progressBar.value > 0)
    assert ui.progressBar.value == 420
    assert ui.stageLabel.text == "inpainting, 1 min 20 s left"
    assert "a line for the log" in ui.logText.plainText


def test_a_result_is_said_shown_and_kept_in_the_parameter_node(a_scan, ui, run, an_answer, parameters):
    ui.scanSelector.setCurrentNode(a_scan)
    run()(answer=an_answer)
    assert ui.statusLabel.text == "2 anomalies, 0.3 ml; hottest at R 31 P 12 S 44"
    assert parameters.summary == ui.statusLabel.text
    assert parameters.resultScan is a_scan
    assert parameters.heatmap.GetName() == "a scan heatmap"


def test_nothing_found_is_said_clearly(a_scan, some_anomalies, write_result, ui, run):
    ui.scanSelector.setCurrentNode(a_scan)
    run()(answer=lambda folder: write_result(folder, some_anomalies * 0, like=a_scan))
    assert ui.statusLabel.text == "Nothing found"


def test_export_uses_the_scan_of_the_result_even_when_another_is_chosen(
    a_scene, a_scan, add_volume, some_anomalies, ui, run, an_answer
):
    import numpy as np
    import slicer

    assert not ui.exportButton.enabled
    ui.scanSelector.setCurrentNode(a_scan)
    run()(answer=an_answer)
    ui.scanSelector.setCurrentNode(add_volume(np.ones((3, 4, 5), np.float32), name="another"))
    ui.exportButton.click()
    exported = a_scene.GetFirstNodeByClass("vtkMRMLLabelMapVolumeNode")
    np.testing.assert_array_equal(slicer.util.arrayFromVolume(exported), some_anomalies)


def test_cancel_stops_the_worker_and_says_so(a_scan, ui, run, a_worker, node_ids):
    ui.scanSelector.setCurrentNode(a_scan)
    before = node_ids()
    run()
    ui.detectButton.click()
    assert a_worker.isCancelled
    assert ui.statusLabel.text == "Cancelled; the scene is as it was."
    assert ui.detectButton.text == "Detect anomalies"
    assert node_ids() == before


def test_a_failure_is_said_logged_and_can_be_tried_again(a_scan, ui, run, an_answer):
    ui.scanSelector.setCurrentNode(a_scan)
    run()(failure="scan.nrrd holds no brain.")
    assert ui.statusLabel.text == "scan.nrrd holds no brain."
    assert "scan.nrrd holds no brain." in ui.logText.plainText
    run()(answer=an_answer)
    assert ui.statusLabel.text.startswith("2 anomalies")


def test_a_refused_start_is_shown_in_a_dialogue(a_scan, a_module, ui):
    import numpy as np
    import slicer

    shear = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    shear.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(np.eye(4) + 0.2 * np.eye(4, k=1)))
    a_scan.SetAndObserveTransformNodeID(shear.GetID())
    ui.scanSelector.setCurrentNode(a_scan)
    with pytest.raises(ValueError, match="right angles"):
        a_module.panel._onDetectButton()
    assert "right angles" in slicer.app.errors[0]
    assert "right angles" in ui.statusLabel.text


def test_the_opacity_slider_changes_the_slice_views(a_scene, a_scan, ui, run, an_answer):
    a_scene.AddNewNodeByClass("vtkMRMLSliceCompositeNode")
    ui.scanSelector.setCurrentNode(a_scan)
    run()(answer=an_answer)
    ui.opacitySlider.value = 0.15
    assert a_scene.GetFirstNodeByClass("vtkMRMLSliceCompositeNode").GetForegroundOpacity() == 0.15


def test_closing_the_scene_while_running_stops_the_worker_and_the_panel_lives_on(a_scene, a_scan, ui, run, a_worker):
    ui.scanSelector.setCurrentNode(a_scan)
    run()
    a_scene.Clear(0)
    assert a_worker.isCancelled
    assert ui.detectButton.text == "Detect anomalies"
    ui.scaleSlider.value = 33  # connected to the new scene's parameter node
    assert importlib.import_module("BrainInpaintAD").BrainInpaintADLogic().parameters().scale == 33


def test_entering_again_connects_nothing_twice(a_module, ui):
    before = ui.scaleSlider.valueChanged.receiverCount
    for _ in range(3):
        a_module.exit()
        a_module.enter()
    assert ui.scaleSlider.valueChanged.receiverCount == before > 0


def test_a_detection_goes_on_while_the_user_is_elsewhere(a_scan, a_module, ui, run, an_answer):
    ui.scanSelector.setCurrentNode(a_scan)
    finish = run()
    a_module.exit()
    finish(answer=an_answer)
    assert ui.statusLabel.text.startswith("2 anomalies")


def test_settings_and_results_come_back_with_a_saved_scene(a_scene, a_scan, ui, run, an_answer, a_module):
    import slicer

    ui.scanSelector.setCurrentNode(a_scan)
    ui.scaleSlider.value = 120
    run()(answer=an_answer)
    a_scene.SetSaveToXMLString(1)
    a_scene.Commit()
    saved = a_scene.GetSceneXMLString()
    again = slicer.vtkMRMLScene()
    again.SetLoadFromXMLString(1)
    again.SetSceneXMLString(saved)
    again.Import()
    node = again.GetFirstNodeByClass("vtkMRMLScriptedModuleNode")
    kept = importlib.import_module("BrainInpaintADLib.Parameters").Parameters(node)
    assert (kept.scale, kept.summary) == (120.0, ui.statusLabel.text)
    assert kept.anomalies.GetName() == "a scan anomalies"


def test_the_log_is_bounded(a_module, ui):
    for number in range(2000):
        ui.logText.appendPlainText(str(number))
    assert ui.logText.plainText.count("\n") < 500


def test_every_input_has_a_tooltip_and_the_notice_is_visible(ui):
    for name in ("scanSelector", "maskSelector", "ruleComboBox", "scaleSlider", "opacitySlider", "exportButton"):
        assert len(getattr(ui, name).toolTip) > 20, name
    assert "research only" in ui.noticeLabel.text
    assert ui.windowLabel.text == "32 mm"
    assert ui.logButton.property("collapsed") is True


def test_the_scripted_detection_returns_nodes_and_opens_nothing(
    application, a_scan, a_panel_of, a_worker, an_answer, monkeypatch
):
    import slicer

    a_panel_of()
    install = importlib.import_module("BrainInpaintADLib.Install")
    monkeypatch.setattr(install.Installer, "__init__", lambda self: None)
    monkeypatch.setattr(install.Installer, "check", lambda self: None)
    a_worker.start = lambda: a_worker.finish(answer=an_answer)
    result = importlib.import_module("BrainInpaintAD").BrainInpaintADLogic().detect(a_scan, rule="paper", scale=50)
    assert result.segmentationNode.GetSegmentation().GetNumberOfSegments() == 2
    assert (a_worker.request["settings"].rule, slicer.app.errors) == ("paper", [])


def test_the_test_that_runs_inside_slicer_passes_here_as_well(application):
    importlib.import_module("BrainInpaintAD").BrainInpaintADTest().runTest()


def test_the_module_presents_itself(application):
    parent = types.SimpleNamespace()
    importlib.import_module("BrainInpaintAD").BrainInpaintAD(parent)
    assert parent.categories == ["Neuroimaging"]
    assert "research only" in parent.helpText


@pytest.mark.parametrize(
    "misuse",
    [
        lambda ui: ui.scaleSlider.setRange(0, 1),
        lambda ui: ui.scanSelector.setNodeTypes(["vtkMRMLNode"]),
        lambda ui: setattr(ui.scaleSlider, "step", 3),
        lambda ui: ui.scanSelector.nodeChanged,
    ],
)
def test_the_stand_ins_refuse_what_slicer_does_not_have(ui, misuse):
    with pytest.raises(AttributeError):
        misuse(ui)
