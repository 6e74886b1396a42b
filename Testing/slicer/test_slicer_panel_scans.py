"""Which scan the panel speaks of: other scans, other scenes, nodes that others change, and nothing left of what is gone."""

import types

import numpy as np
import pytest
import vtk


@pytest.fixture
def another_scan(add_volume, some_anomalies):
    return add_volume(np.random.default_rng(1).random(some_anomalies.shape, np.float32), name="another")


@pytest.fixture
def one_anomaly(another_scan, some_anomalies, write_result):
    """What the core finds in `another`."""
    return lambda folder: write_result(folder, some_anomalies // 2, like=another_scan)


def test_another_scan_shows_nothing_of_the_result_of_the_one_before(a_scene, ui, run, a_scan, an_answer, another_scan):
    view = a_scene.AddNewNodeByClass("vtkMRMLSliceCompositeNode")
    ui.scanSelector.setCurrentNode(a_scan)
    run()(answer=an_answer)
    segments = a_scene.GetFirstNodeByClass("vtkMRMLSegmentationNode")
    assert view.GetForegroundVolumeID() is not None
    ui.scanSelector.setCurrentNode(another_scan)
    assert (ui.statusLabel.text, ui.findingsTable.rowCount) == ("", 0)
    assert not ui.exportTableButton.enabled
    assert ui.segmentsTable.segmentationNode() is None
    assert view.GetForegroundVolumeID() is None
    assert not segments.GetDisplayVisibility()
    ui.scanSelector.setCurrentNode(a_scan)
    assert ui.statusLabel.text.startswith("2 anomalies")
    assert view.GetForegroundVolumeID() is not None
    assert segments.GetDisplayVisibility()


def test_a_scan_that_is_chosen_again_comes_with_its_newest_result(
    ui, a_result, a_scan, another_scan, one_anomaly, run, parameters
):
    ui.scanSelector.setCurrentNode(another_scan)
    parameters.windowMm = 64
    run()(answer=one_anomaly)
    assert ui.statusLabel.text.startswith("1 anomaly")
    ui.scanSelector.setCurrentNode(a_scan)
    assert ui.statusLabel.text.startswith("2 anomalies")
    assert (parameters.result, parameters.windowMm) == (a_result.heatmapNode, 32)


def test_revert_brings_the_scan_of_its_result_along(ui, a_result, a_scan, another_scan, one_anomaly, run, parameters):
    ui.scanSelector.setCurrentNode(another_scan)
    run()(answer=one_anomaly)
    ui.revertButton.click()
    assert (parameters.scan, ui.scanSelector.currentNode()) == (a_scan, a_scan)
    assert ui.statusLabel.text.startswith("2 anomalies")
    ui.revertButton.click()
    assert parameters.scan is another_scan
    assert ui.statusLabel.text.startswith("1 anomaly")


def test_revert_comes_back_from_a_scan_without_a_result(ui, a_result, a_scan, another_scan, parameters):
    ui.scanSelector.setCurrentNode(another_scan)
    ui.revertButton.click()
    assert parameters.scan is a_scan
    assert ui.statusLabel.text.startswith("2 anomalies")
    assert not ui.revertButton.enabled


def test_a_result_that_a_script_chooses_brings_its_scan_along(ui, a_result, a_scan, another_scan, parameters):
    ui.scanSelector.setCurrentNode(another_scan)
    parameters.result = a_result.heatmapNode
    assert parameters.scan is a_scan
    assert ui.statusLabel.text.startswith("2 anomalies")


@pytest.mark.parametrize("end", ["failure", "cancel"])
def test_how_the_last_detection_ended_is_not_said_of_another_scan(ui, a_scan, another_scan, run, end):
    ui.scanSelector.setCurrentNode(a_scan)
    finish = run()
    if end == "failure":
        finish(failure="The disk is full")
    else:
        ui.detectButton.click()
    assert ui.statusLabel.text != ""
    ui.scanSelector.setCurrentNode(another_scan)
    assert ui.statusLabel.text == ""


@pytest.mark.parametrize("end", ["failure", "running"])
def test_nothing_is_said_of_a_scene_that_was_closed(a_scene, ui, a_scan, run, end):
    ui.scanSelector.setCurrentNode(a_scan)
    finish = run()
    ui.logText.appendPlainText("a line about a patient")
    if end == "failure":
        finish(failure="The disk is full")
    a_scene.Clear(0)
    assert (ui.statusLabel.text, ui.logText.plainText) == ("", "")


def test_a_closed_scene_is_not_held_in_memory(a_scene, a_module, ui, run, a_scan, an_answer, let_qt_work):
    gone = []
    ui.scanSelector.setCurrentNode(a_scan)
    run()(answer=an_answer)
    heatmap = a_module.panel._detection.result.heatmapNode
    heatmap.GetImageData().AddObserver(vtk.vtkCommand.DeleteEvent, lambda *_: gone.append(1))
    del heatmap
    a_module.recuts.clear()
    a_scene.Clear(0)
    let_qt_work()
    assert gone == [1]
    assert a_module.panel._chosen._ready == (None, ())


def test_a_scene_that_is_loaded_while_the_panel_is_open_shows_its_result(a_scene, ui, a_result, tmp_path, let_qt_work):
    import slicer

    application = slicer.vtkMRMLApplicationLogic()
    application.SetMRMLScene(a_scene)
    a_scene.SetURL(str(tmp_path / "scene.mrml"))
    assert application.SaveSceneToSlicerDataBundleDirectory(str(tmp_path), None)
    saved = next(tmp_path.rglob("*.mrml"))
    a_scene.Clear(0)
    let_qt_work()
    assert ui.findingsTable.rowCount == 0
    a_scene.SetURL(str(saved))
    a_scene.Connect()
    let_qt_work()
    assert ui.statusLabel.text == "2 anomalies, 0.3 ml; hottest at R 31 A -12 S 44"
    assert ui.findingsTable.rowCount == 2
    assert ui.exportTableButton.enabled


def test_a_segment_that_is_deleted_leaves_summary_and_status(ui, a_result, let_qt_work):
    segmentation = a_result.segmentationNode.GetSegmentation()
    segmentation.RemoveSegment(segmentation.GetNthSegmentID(1))
    let_qt_work()
    assert ui.findingsTable.rowCount == 1
    assert ui.statusLabel.text.startswith("1 anomaly, 0.1 ml")
    assert a_result.heatmapNode.GetAttribute("BrainInpaintAD.summary") == ui.statusLabel.text


def test_a_summary_that_was_saved_with_segments_that_are_gone_is_put_right(ui, a_result):
    a_result.heatmapNode.SetAttribute("BrainInpaintAD.summary", "7 anomalies")
    a_result.tableNode.Modified()
    ui.opacitySlider.value = 0.7
    assert ui.statusLabel.text.startswith("2 anomalies")


def test_the_panel_comes_to_rest(a_module, ui, a_result, let_qt_work, monkeypatch):
    let_qt_work(400)
    shown = []
    original = type(a_module.panel)._situation
    monkeypatch.setattr(type(a_module.panel), "_situation", lambda self: shown.append(1) or original(self))
    ui.opacitySlider.value = 0.3
    let_qt_work(200)
    assert 0 < len(shown) <= 3


@pytest.mark.parametrize("mark", ["key", "scan"])
def test_what_this_module_has_made_is_refused_as_a_scan(ui, another_scan, a_scan, mark):
    if mark == "key":
        another_scan.SetAttribute("BrainInpaintAD.key", "of its scan, which was deleted")
    else:
        another_scan.SetNodeReferenceID("BrainInpaintAD.scan", a_scan.GetID())
    ui.scanSelector.setCurrentNode(another_scan)
    assert ui.fitLabel.text == "'another' was made by this module; choose the scan itself."
    assert not ui.detectButton.enabled
    assert ui.detectButton.toolTip == ui.fitLabel.text


def test_a_reload_offers_the_logic_to_scripts_anew(a_panel_of, monkeypatch):
    import slicer

    offered = types.SimpleNamespace()
    module = types.SimpleNamespace(logic=lambda: offered)
    monkeypatch.setattr(slicer, "modules", types.SimpleNamespace(braininpaintad=module), raising=False)
    a_panel_of()
    assert callable(offered.detect)
