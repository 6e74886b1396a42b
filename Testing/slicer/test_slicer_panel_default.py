"""The panel with the default model, which has no windows and whose heat is rarity, beside the published one, which has."""

import types

import numpy as np
import pytest

EVIDENCE, INPAINTING = 0, 1  # places in the box


@pytest.fixture
def some_cards(some_cards):
    """The default, then those of the other tests."""
    return [some_cards[0] | {"name": "t1-evidence", "method": "evidence", "window_mm": 0.0}, *some_cards]


@pytest.fixture
def rare(a_scan, some_anomalies, write_result):
    """An answer of the default model: heat 4 inside the anomalies."""
    return lambda folder: write_result(folder, some_anomalies, like=a_scan, heat=(some_anomalies > 0) * np.float32(4))


@pytest.fixture
def a_node(a_scene):
    """A parameter node as a saved scene brings it, before the panel is opened."""
    import slicer

    def add(**texts):
        node = slicer.vtkMRMLScriptedModuleNode()
        node.SetSingletonTag("BrainInpaintAD")
        for name, text in texts.items():
            node.SetParameter(name, text)
        a_scene.AddNode(node)

    return add


def told(ui):
    """What the panel says about windows."""
    return types.SimpleNamespace(
        isEnabled=ui.windowSlider.enabled, size=ui.windowLabel.text, ready=ui.readyLabel.text, why=ui.windowSlider.toolTip
    )


def test_the_default_has_no_windows_and_the_panel_says_which_model_has(ui, parameters):
    assert (ui.modelComboBox.currentText, parameters.model, parameters.windowMm) == ("t1-evidence", "t1-evidence", 0)
    window = told(ui)
    assert (window.isEnabled, window.size) == (False, "")
    assert "no windows" in window.ready
    assert not ui.readyLabel.isHidden()
    for text in (window.ready, window.why, ui.windowTitleLabel.toolTip, ui.windowLabel.toolTip):
        assert "published model 't1-inpaint'" in text
    assert ui.modelTextLabel.text == "Knows healthy brains. For T1 scans; no windows."


def test_the_published_model_brings_the_slider_at_32_mm_and_the_default_takes_it_away(ui, parameters):
    ui.modelComboBox.currentIndex = INPAINTING
    assert (parameters.model, parameters.windowMm) == ("t1-inpaint", 32)
    assert (told(ui).isEnabled, told(ui).size, ui.windowSlider.value, ui.windowSlider.maximum) == (True, "32 mm", 1, 2)
    assert told(ui).ready == "16 · 32 · 64 mm; none is ready"
    assert "stops at the sizes" in told(ui).why
    parameters.windowMm = 64
    ui.modelComboBox.currentIndex = EVIDENCE
    assert (parameters.windowMm, told(ui).isEnabled, ui.windowSlider.maximum) == (0, False, 0)
    ui.modelComboBox.currentIndex = INPAINTING
    assert (parameters.windowMm, told(ui).isEnabled, told(ui).size) == (32, True, "32 mm")


def test_the_worker_hears_of_a_window_only_where_there_is_one(a_scan, ui, run, rare, a_worker):
    ui.scanSelector.setCurrentNode(a_scan)
    asked = []
    for index in (EVIDENCE, INPAINTING):
        ui.modelComboBox.currentIndex = index
        run()(answer=rare)
        asked.append((a_worker.request["settings"].model, a_worker.request["settings"].windowMm))
    assert asked == [("t1-evidence", 0), ("t1-inpaint", 32)]


def test_a_script_gets_the_default_and_with_a_window_the_published_model(application, a_scan, a_panel_of, a_worker, rare):
    logic = a_panel_of().logic
    a_worker.start = lambda: a_worker.finish(answer=rare)
    found = [logic.detect(a_scan, **wishes) for wishes in ({}, {"windowMm": 16}, {"model": "t1-inpaint"})]
    assert [(result.model, result.windowMm) for result in found] == [
        ("t1-evidence", 0),
        ("t1-inpaint", 16),
        ("t1-inpaint", 32),
    ]
    assert [result.isRarity for result in found] == [True, False, False]


def test_going_back_and_forth_between_models_shows_each_ones_result(a_scan, ui, run, rare, an_answer, parameters):
    ui.scanSelector.setCurrentNode(a_scan)
    run()(answer=rare)
    first = parameters.result
    ui.modelComboBox.currentIndex = INPAINTING
    assert parameters.result is first  # until the other model has one
    run()(answer=an_answer)
    assert parameters.result is not first
    ui.modelComboBox.currentIndex = EVIDENCE
    assert parameters.result is first
    ui.revertButton.click()
    assert (parameters.model, parameters.windowMm, told(ui).isEnabled) == ("t1-inpaint", 32, True)
    ui.revertButton.click()
    assert (parameters.model, parameters.windowMm, told(ui).isEnabled) == ("t1-evidence", 0, False)
    assert (parameters.result, first.GetName()) == (first, "a scan heatmap")


def test_the_heat_of_each_model_is_explained_where_it_is_shown(a_scan, ui, run, rare, an_answer):
    assert ui.heatLabel.isHidden()
    ui.scanSelector.setCurrentNode(a_scan)
    run()(answer=rare)
    assert not ui.heatLabel.isHidden()
    assert "3 means: 1 in 1,000 healthy voxels" in ui.heatLabel.text
    assert (ui.thresholdSlider.minimum, ui.thresholdSlider.maximum) == (0.0, 6.0)
    assert (ui.thresholdSlider.value, ui.thresholdSlider.decimals) == (pytest.approx(2.0), 1)
    assert "at 2.0, 1 in 100 healthy voxels" in ui.thresholdSlider.toolTip
    ui.thresholdSlider.value = 3.0
    assert "at 3.0, 1 in 1,000 healthy voxels" in ui.thresholdSlider.toolTip
    row = [ui.findingsTable.item(1, column) for column in (4, 5)]
    assert [item.text() for item in row] == ["0.2", "0.3"]
    assert [item.toolTip() for item in row] == [
        "Largest heat inside: 1 in 1.6 healthy voxels",
        "Mean heat inside: 1 in 2 healthy voxels",
    ]
    ui.modelComboBox.currentIndex = INPAINTING
    run()(answer=an_answer)
    assert "no unit" in ui.heatLabel.text
    assert (ui.thresholdSlider.maximum, ui.thresholdSlider.decimals) == (pytest.approx(0.8, abs=2e-3), 3)
    assert "1 in" not in ui.thresholdSlider.toolTip
    assert ui.findingsTable.item(1, 4).toolTip() == "Largest heat inside: no unit"


@pytest.mark.parametrize(
    ("saved", "opened"),
    [
        ({"model": "", "windowMm": "32"}, ("t1-evidence", 0)),  # the old default, never chosen
        ({"model": "t1-inpaint", "windowMm": "64"}, ("t1-inpaint", 64)),
        ({"model": "t1-inpaint", "windowMm": "0"}, ("t1-inpaint", 32)),
        ({"model": "t1-evidence", "windowMm": "32"}, ("t1-evidence", 0)),
        ({}, ("t1-evidence", 0)),
    ],
)
def test_a_scene_saved_with_other_defaults_opens(a_node, a_panel_of, saved, opened):
    a_node(**saved)
    widget = a_panel_of()
    parameters = widget.logic.parameters()
    assert (parameters.model, parameters.windowMm) == opened
    assert widget.ui.windowSlider.enabled == (opened[1] > 0)


def test_a_result_saved_with_the_old_default_comes_back_with_its_model_window_and_heat(
    a_scan, ui, an_answer, parameters, mrml_lib, tmp_path
):
    """As version 0.1 wrote it: nothing on the node says what kind of heat it is."""
    an_answer(tmp_path / "old")
    chosen = mrml_lib("Settings").Settings(model="t1-inpaint", windowMm=32)
    old = mrml_lib("ResultImport").importResult(tmp_path / "old", a_scan, settings=chosen)
    assert old.heatmapNode.GetAttribute("BrainInpaintAD.heat") is None
    ui.scanSelector.setCurrentNode(a_scan)
    assert (parameters.result, parameters.model, parameters.windowMm) == (old.heatmapNode, "t1-inpaint", 32)
    assert told(ui).ready == "16 · 32 · 64 mm; ready: 32 mm"
    assert "no unit" in ui.heatLabel.text
    assert ui.findingsTable.rowCount == 2
