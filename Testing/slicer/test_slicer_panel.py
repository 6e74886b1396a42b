"""The real `.ui` file and the real panel, off-screen: from the inputs to a result, and what happens on the way."""

import importlib
import types

import pytest
import vtk


@pytest.fixture
def a_preview(a_scan, some_anomalies, write_result, a_worker, mrml_lib):
    """Lets the worker say that a preview of one anomaly is ready."""

    def give():
        core = mrml_lib("Core")
        write_result(core.previewFolder(a_worker.request["out"]), some_anomalies // 2, like=a_scan)
        a_worker.said = [mrml_lib("Worker").Progress(core.PREVIEW_READY, 0.1, 60.0)]

    return give


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
        ("sigmaSpinBox", "value", "sigma", (1.5, 0.0)),
        ("minSizeSpinBox", "value", "minSize", (50, 5)),
        ("minVolumeSpinBox", "value", "minVolumeMl", (0.5, 12.0)),
        ("colourComboBox", "currentText", "colourMap", ("Viridis", "Hot")),
        ("colourBarCheckBox", "checked", "showColourBar", (True, False)),
        ("reconstructionCheckBox", "checked", "showReconstruction", (True, False)),
    ],
)
def test_controls_and_parameters_follow_each_other(ui, parameters, widget, property_name, parameter, values):
    setattr(getattr(ui, widget), property_name, values[0])
    assert getattr(parameters, parameter) == values[0]
    setattr(parameters, parameter, values[1])
    assert getattr(getattr(ui, widget), property_name) == values[1]


@pytest.mark.parametrize(
    ("widget", "parameter", "keys"),
    [
        ("ruleComboBox", "rule", ("calibrated", "paper")),
        ("segmentationComboBox", "segmentation", ("suited", "slices", "volume", "scales")),
        ("modelComboBox", "model", ("t1-inpaint", "t1-loss")),
    ],
)
def test_boxes_show_words_and_keep_keys(ui, parameters, widget, parameter, keys):
    box = getattr(ui, widget)
    for index in reversed(range(len(keys))):
        box.currentIndex = index
        assert getattr(parameters, parameter) == keys[index]
    setattr(parameters, parameter, keys[1])
    assert box.currentIndex == 1
    assert box.currentText not in ("calibrated", "paper", "suited", "slices", "volume", "scales")


def test_volume_and_mask_selectors_and_parameters_follow_each_other(a_scan, add_volume, some_anomalies, ui, parameters):
    mask = add_volume(some_anomalies, name="brain", kind="vtkMRMLLabelMapVolumeNode")
    ui.scanSelector.setCurrentNode(a_scan)
    ui.maskSelector.setCurrentNode(mask)
    assert (parameters.scan, parameters.brainMask) == (a_scan, mask)
    parameters.brainMask = None
    assert ui.maskSelector.currentNode() is None


def test_all_node_widgets_get_the_scene_by_the_wires_of_the_ui_file(a_scene, ui):
    for widget in (ui.scanSelector, ui.maskSelector, ui.segmentsTable):
        assert widget.mrmlScene() is a_scene


def test_the_models_card_is_told(ui):
    assert ui.modelComboBox.currentText == "t1-inpaint"
    assert ui.modelTextLabel.text == "Knows healthy brains. For T1 scans; windows of 16, 32, 64 mm."


def test_a_model_that_is_no_longer_there_gives_way_to_the_first(a_panel_of, a_scene):
    node = importlib.import_module("slicer").vtkMRMLScriptedModuleNode()
    node.SetSingletonTag("BrainInpaintAD")
    node.SetParameter("model", "gone")
    node.SetParameter("windowMm", "48")
    a_scene.AddNode(node)
    parameters = a_panel_of().logic.parameters()
    assert (parameters.model, parameters.windowMm) == ("t1-inpaint", 32)


def test_without_any_model_the_button_says_what_to_do(a_panel_of, a_scan, some_models):
    some_models.clear()
    ui = a_panel_of().ui
    ui.scanSelector.setCurrentNode(a_scan)
    assert not ui.detectButton.enabled
    assert "install the extension again" in ui.detectButton.toolTip
    assert "install the extension again" in ui.modelTextLabel.text


def test_a_volume_that_does_not_fit_is_told_in_one_line(a_scan, add_volume, some_anomalies, ui):
    import numpy as np

    assert ui.fitLabel.isHidden()
    ui.scanSelector.setCurrentNode(a_scan)
    assert "mm in one direction" in ui.fitLabel.text
    assert not ui.fitLabel.isHidden()
    brain = np.random.default_rng(0).random((60, 50, 50), np.float32)
    ui.scanSelector.setCurrentNode(add_volume(brain, np.diag([4.0, 4, 4, 1]), "head FLAIR"))
    assert "FLAIR" in ui.fitLabel.text
    ui.scanSelector.setCurrentNode(add_volume(brain, np.diag([4.0, 4, 4, 1]), "head"))
    assert ui.fitLabel.isHidden()


def test_the_sample_is_one_click_away_and_its_caution_is_told(a_scan, ui, parameters, lib, monkeypatch):
    monkeypatch.setattr(lib("Samples"), "load", lambda: a_scan)
    ui.sampleButton.click()
    assert parameters.scan is a_scan
    assert "contrast agent" in ui.logText.plainText


def test_a_sample_that_cannot_be_loaded_is_told(a_module, ui, lib, monkeypatch):
    import slicer

    def fail():
        raise lib("Samples").SamplesError("no network")

    monkeypatch.setattr(lib("Samples"), "load", fail)
    with pytest.raises(RuntimeError, match="no network"):
        a_module.panel._onSample()
    assert "no network" in slicer.app.errors[0]


def test_the_settings_of_the_panel_reach_the_worker(a_scan, ui, parameters, run, a_worker):
    ui.scanSelector.setCurrentNode(a_scan)
    ui.scaleSlider.value = 150
    ui.ruleComboBox.currentIndex = 1
    ui.sigmaSpinBox.value = 1.2
    parameters.windowMm = 64
    run()
    settings = a_worker.request["settings"]
    assert (settings.scale, settings.rule, settings.sigma) == (150.0, "paper", 1.2)
    assert (settings.model, settings.windowMm) == ("t1-inpaint", 64)


def test_the_button_turns_into_cancel_and_back(a_scan, ui, run, an_answer):
    ui.scanSelector.setCurrentNode(a_scan)
    finish = run()
    assert (ui.detectButton.text, ui.scanSelector.enabled) == ("&Cancel", False)
    assert not ui.progressBar.isHidden()
    finish(answer=an_answer)
    assert (ui.detectButton.text, ui.scanSelector.enabled) == ("&Detect anomalies", True)
    assert ui.progressBar.isHidden()


def test_progress_shows_stage_and_time_left(lib, wait_until, a_scan, ui, run, a_worker):
    ui.scanSelector.setCurrentNode(a_scan)
    run()
    a_worker.said = [lib("Worker").Progress("inpainting", 0.42, 80.0), "a line for the log"]
    wait_until(lambda: ui.progressBar.value > 0)
    assert ui.progressBar.value == 420
    assert ui.stageLabel.text == "inpainting, 1 min 20 s left"
    assert "a line for the log" in ui.logText.plainText


def test_a_result_is_said_shown_and_kept_in_the_parameter_node(a_scan, ui, a_result, parameters):
    assert ui.statusLabel.text == "2 anomalies, 0.3 ml; hottest at R 31 A -12 S 44"
    assert a_result.volumeNode is a_scan
    assert parameters.result.GetName() == "a scan heatmap 32 mm"


def test_inputs_collapse_and_findings_open_once_there_is_a_result(a_scan, ui, run, an_answer):
    ui.findingsSection.collapsed = True
    ui.scanSelector.setCurrentNode(a_scan)
    run()(answer=an_answer)
    assert ui.inputsSection.collapsed
    assert not ui.findingsSection.collapsed


def test_nothing_found_is_said_clearly(a_scan, some_anomalies, write_result, ui, run):
    ui.scanSelector.setCurrentNode(a_scan)
    run()(answer=lambda folder: write_result(folder, some_anomalies * 0, like=a_scan))
    assert ui.statusLabel.text == "Nothing found"
    assert "Nothing was found" in ui.show3DButton.toolTip


def test_cancel_stops_the_worker_and_says_so(a_scan, ui, run, a_worker, node_ids):
    ui.scanSelector.setCurrentNode(a_scan)
    before = node_ids()
    run()
    ui.detectButton.click()
    assert a_worker.isCancelled
    assert ui.statusLabel.text == "Cancelled; the scene is as it was."
    assert ui.detectButton.text == "&Detect anomalies"
    assert node_ids() == before


def test_escape_cancels_and_does_nothing_else(a_scan, a_module, ui, run, a_worker):
    ui.scanSelector.setCurrentNode(a_scan)
    a_module.panel._run._escape.activated.emit()
    assert ui.detectButton.text == "&Detect anomalies"
    run()
    a_module.panel._run._escape.activated.emit()
    assert a_worker.isCancelled


def test_a_preview_is_shown_and_the_exact_result_replaces_it(wait_until, a_scan, ui, run, a_preview, an_answer, parameters):
    ui.scanSelector.setCurrentNode(a_scan)
    finish = run()
    a_preview()
    wait_until(lambda: "Preview" in ui.statusLabel.text)
    assert ui.findingsTable.rowCount == 1
    assert not ui.exportNodeButton.enabled
    assert parameters.result is None
    finish(answer=an_answer)
    assert ui.statusLabel.text.startswith("2 anomalies")
    assert ui.findingsTable.rowCount == 2


def test_a_cancel_after_the_preview_brings_the_result_before_it_back(
    wait_until, a_scene, a_scan, ui, a_result, run, a_preview, node_ids, parameters
):
    view = a_scene.AddNewNodeByClass("vtkMRMLSliceCompositeNode")
    before = node_ids()
    run()
    a_preview()
    wait_until(lambda: "Preview" in ui.statusLabel.text)
    assert view.GetForegroundVolumeID() != a_result.heatmapNode.GetID()
    ui.detectButton.click()
    assert node_ids() == before
    assert parameters.result is a_result.heatmapNode
    assert view.GetForegroundVolumeID() == a_result.heatmapNode.GetID()
    assert ui.findingsTable.rowCount == 2


def test_a_failure_is_said_logged_and_can_be_tried_again(a_scan, ui, run, an_answer):
    ui.scanSelector.setCurrentNode(a_scan)
    run()(failure="scan.nrrd holds no brain.")
    assert ui.statusLabel.text == "'a scan' holds no brain."
    assert "holds no brain." in ui.logText.plainText
    run()(answer=an_answer)
    assert ui.statusLabel.text.startswith("2 anomalies")


def test_a_refused_start_is_shown_in_a_dialogue(a_scan, a_module, ui):
    import numpy as np
    import slicer

    shear = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    shear.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(np.eye(4) + 0.2 * np.eye(4, k=1)))
    a_scan.SetAndObserveTransformNodeID(shear.GetID())
    ui.scanSelector.setCurrentNode(a_scan)
    assert "right angles" in ui.fitLabel.text
    with pytest.raises(ValueError, match="right angles"):
        a_module.panel.detect()
    assert "right angles" in slicer.app.errors[0]
    assert "right angles" in ui.statusLabel.text


def test_what_is_missing_is_installed_before_the_first_detection(a_scan, ui, run, an_installer):
    ui.scanSelector.setCurrentNode(a_scan)
    run()
    assert an_installer.calls == [("ensure", {"interactive": True})]


def test_revert_shows_the_result_before_with_its_settings_and_comes_back(
    a_scan, ui, a_result, run, write_result, some_anomalies, parameters, let_qt_work
):
    assert not ui.revertButton.enabled
    let_qt_work()
    parameters.scale = 200.0
    let_qt_work()  # the cut of the first result follows
    parameters.windowMm = 64
    run()(answer=lambda folder: write_result(folder, some_anomalies * 0, like=a_scan))
    parameters.scale = 90.0
    let_qt_work()
    assert ui.statusLabel.text == "Nothing found"
    ui.revertButton.click()
    assert (parameters.scale, parameters.windowMm) == (200.0, 32)
    assert ui.statusLabel.text.startswith("2 anomalies")
    assert parameters.result is a_result.heatmapNode
    ui.revertButton.click()
    assert (parameters.scale, parameters.windowMm) == (90.0, 64)
    assert ui.statusLabel.text == "Nothing found"


def test_a_result_whose_nodes_the_user_deletes_is_no_longer_offered(a_scene, ui, a_result, let_qt_work):
    a_scene.RemoveNode(a_result.segmentationNode)
    let_qt_work()
    assert ui.findingsTable.rowCount == 0
    assert not ui.exportNodeButton.enabled
    assert ui.statusLabel.text == ""


def test_closing_the_scene_while_running_stops_the_worker_and_the_panel_lives_on(a_scene, a_scan, ui, run, a_worker):
    ui.scanSelector.setCurrentNode(a_scan)
    run()
    a_scene.Clear(0)
    assert a_worker.isCancelled
    assert ui.detectButton.text == "&Detect anomalies"
    ui.scaleSlider.value = 33  # connected to the new scene's parameter node
    assert importlib.import_module("BrainInpaintAD").BrainInpaintADLogic().parameters().scale == 33


def test_closing_the_scene_with_a_result_empties_the_panel(a_scene, a_module, ui, a_result, let_qt_work):
    ui.scaleSlider.value = 120  # a cut is waiting
    a_scene.Clear(0)
    let_qt_work()
    assert ui.findingsTable.rowCount == 0
    assert ui.segmentsTable.segmentationNode() is None
    assert a_module.recuts[-1].volumes == []


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


def test_settings_and_results_come_back_with_a_saved_scene(a_scene, ui, a_result, parameters, lib):
    import slicer

    parameters.scale = 120.0
    a_scene.SetSaveToXMLString(1)
    a_scene.Commit()
    saved = a_scene.GetSceneXMLString()
    again = slicer.vtkMRMLScene()
    again.SetLoadFromXMLString(1)
    again.SetSceneXMLString(saved)
    again.Import()
    node = again.GetFirstNodeByClass("vtkMRMLScriptedModuleNode")
    kept = lib("Parameters").Parameters(node)
    assert (kept.scale, kept.model, kept.windowMm) == (120.0, "t1-inpaint", 32)
    assert kept.result.GetName() == "a scan heatmap 32 mm"
    assert kept.result.GetAttribute("BrainInpaintAD.summary") == ui.statusLabel.text
    known = lib("Parameters").settingsFrom(kept)
    assert lib("Parameters").cutOf(kept.result, known).scale == 75.0


def test_the_log_is_bounded(a_module, ui):
    for number in range(2000):
        ui.logText.appendPlainText(str(number))
    assert ui.logText.plainText.count("\n") < 500


def test_the_scripted_detection_returns_nodes_and_opens_nothing(
    application, a_scan, a_panel_of, a_worker, an_answer, an_installer
):
    import slicer

    logic = a_panel_of().logic
    a_worker.start = lambda: a_worker.finish(answer=an_answer)
    result = logic.detect(a_scan, rule="paper", scale=50, windowMm=32)
    assert result.segmentationNode.GetSegmentation().GetNumberOfSegments() == 2
    settings = a_worker.request["settings"]
    assert (settings.rule, settings.model, settings.windowMm) == ("paper", "t1-inpaint", 32)
    assert (slicer.app.errors, slicer.app.questions, slicer.app.said) == ([], [], [])
    assert an_installer.calls == ["check"]


def test_a_scripted_recut_starts_from_the_settings_of_the_result(a_module, a_result):
    a_module.logic.recut(a_result, sigma=2.0)
    a_module.logic.recut(a_result, scale=150)
    [settings] = a_module.recuts[-1].volumes
    assert (settings.scale, settings.sigma, settings.windowMm) == (150, 2.0, 32)
    assert a_module.recuts[-1].closed == 1


def test_the_test_that_runs_inside_slicer_passes_here_as_well(application, monkeypatch):
    kind = importlib.import_module("BrainInpaintAD").BrainInpaintADTest
    stories, told = [name for name in vars(kind) if name.startswith("test_")], []
    for name in stories:
        story = getattr(kind, name)
        monkeypatch.setattr(kind, name, lambda self, name=name, story=story: (story(self), told.append(name)))
    kind().runTest()
    assert told == stories  # none was left out, and each came to its end
    assert len(stories) == 4


def test_the_module_presents_itself_and_offers_its_sample_after_start_up(application, monkeypatch, lib):
    import slicer

    parent = types.SimpleNamespace()
    importlib.import_module("BrainInpaintAD").BrainInpaintAD(parent)
    assert parent.categories == ["Neuroimaging"]
    assert "research only" in parent.helpText
    registered = []
    monkeypatch.setattr(lib("Samples"), "register", lambda: registered.append("sample"))
    holder = vtk.vtkCollection()  # as the application's C++ side holds it; Python itself keeps no reference
    holder.AddItem(slicer.vtkSlicerScriptedLoadableModuleLogic())
    module = types.SimpleNamespace(logic=lambda: holder.GetItemAsObject(0))
    monkeypatch.setattr(slicer, "modules", types.SimpleNamespace(braininpaintad=module), raising=False)
    for signal, receiver in slicer.app.receivers:
        assert signal == "startupCompleted"
        receiver()
    assert registered == ["sample"]
    offered = slicer.modules.braininpaintad.logic()  # as the documentation has it
    assert offered.models()[0].name == "t1-evidence"
    assert all(callable(getattr(offered, name)) for name in ("install", "detect", "recut", "exportLabelmap"))


@pytest.mark.parametrize(
    "misuse",
    [
        lambda ui: ui.scaleSlider.setRange(0, 1),
        lambda ui: ui.scanSelector.setNodeTypes(["vtkMRMLNode"]),
        lambda ui: setattr(ui.scaleSlider, "step", 3),
        lambda ui: ui.scanSelector.nodeChanged,
        lambda ui: ui.segmentsTable.setSegmentation(None),
        lambda ui: setattr(ui.show3DButton, "segmentation", None),
    ],
)
def test_the_stand_ins_refuse_what_slicer_does_not_have(ui, misuse):
    with pytest.raises(AttributeError):
        misuse(ui)
