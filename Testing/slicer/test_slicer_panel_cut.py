"""What regions are cut in: as suits the model unless the user says otherwise, and never a surprise."""

import pytest

EVIDENCE, INPAINTING = 0, 1  # places in the model's box
SUITED, SLICES, VOLUME, SCALES = range(4)  # places in the box of cuts


@pytest.fixture
def some_cards(some_cards):
    """The default, which is best cut at several scales, then models whose cards say nothing of it."""
    evidence = {"name": "t1-evidence", "method": "evidence", "window_mm": 0.0, "segmentation": "scales"}
    return [some_cards[0] | evidence, *some_cards]


@pytest.fixture
def numba(application, lib, monkeypatch):
    """Whether numba is there; it is, unless a test says otherwise."""
    found = {"isThere": True}
    monkeypatch.setattr(lib("CutSection"), "hasNumba", lambda: found["isThere"])
    return found


@pytest.fixture
def ui(numba, ui):
    return ui


@pytest.fixture
def recut(a_module, a_result, let_qt_work):
    """The fake that cuts the result of the default model."""
    let_qt_work()
    return a_module.recuts[-1]


def test_the_panel_begins_with_the_cut_that_suits_the_default_and_says_which(ui, parameters):
    assert parameters.segmentation == "suited"
    assert ui.segmentationComboBox.currentText == "As suits the model (several scales)"
    assert ui.segmentationComboBox.enabled
    assert ui.minSizeSpinBox.suffix == " voxels"


def test_the_core_is_left_to_take_what_suits_the_model(a_scan, ui, run, an_answer, a_worker):
    ui.scanSelector.setCurrentNode(a_scan)
    run()(answer=an_answer)
    assert "--segmentation" not in a_worker.request["settings"].arguments()
    ui.segmentationComboBox.currentIndex = SCALES
    run()(answer=an_answer)
    arguments = a_worker.request["settings"].arguments()
    assert arguments[arguments.index("--segmentation") + 1] == "scales"


def test_another_model_brings_its_own_cut_and_what_is_shown_is_not_cut_anew(ui, recut, parameters, let_qt_work):
    ui.modelComboBox.currentIndex = INPAINTING
    let_qt_work()
    assert ui.segmentationComboBox.currentText == "As suits the model (axial slices)"
    assert (parameters.segmentation, ui.minSizeSpinBox.suffix) == ("suited", " px")
    assert recut.volumes == []
    ui.modelComboBox.currentIndex = EVIDENCE
    assert ui.segmentationComboBox.currentText == "As suits the model (several scales)"


@pytest.mark.parametrize(("place", "key", "unit"), [(SLICES, "slices", " px"), (VOLUME, "volume", " voxels")])
def test_a_cut_that_the_user_chose_stays_with_another_model(ui, parameters, place, key, unit):
    ui.segmentationComboBox.currentIndex = place
    for model in (INPAINTING, EVIDENCE):
        ui.modelComboBox.currentIndex = model
        assert (parameters.segmentation, ui.segmentationComboBox.currentIndex) == (key, place)
        assert ui.minSizeSpinBox.suffix == unit
    assert ui.segmentationComboBox.itemText(SUITED) == "As suits the model (several scales)"


def test_results_come_back_with_the_cut_they_had(a_scan, ui, recut, run, an_answer, parameters, let_qt_work):
    ui.segmentationComboBox.currentIndex = VOLUME
    let_qt_work()
    ui.modelComboBox.currentIndex = INPAINTING
    ui.segmentationComboBox.currentIndex = SUITED
    let_qt_work()
    first = recut.volumes
    assert [settings.segmentation for settings in first] == ["volume", "suited"]  # of the default's, which was still shown
    run()(answer=an_answer)
    ui.segmentationComboBox.currentIndex = SLICES
    let_qt_work()
    ui.revertButton.click()
    assert (parameters.model, parameters.segmentation) == ("t1-evidence", "suited")
    ui.revertButton.click()
    assert (parameters.model, parameters.segmentation) == ("t1-inpaint", "slices")


def test_the_papers_rule_is_one_of_slices_as_in_the_core(ui, parameters):
    parameters.rule = "paper"
    assert ui.segmentationComboBox.currentText == "As suits the model (axial slices)"
    assert ui.minSizeSpinBox.suffix == " px"


def test_reset_takes_the_published_cut_and_one_choice_leads_back(ui, recut, parameters, let_qt_work):
    ui.resetButton.click()
    let_qt_work()
    assert (parameters.segmentation, parameters.rule) == ("slices", "paper")
    assert "axial slices" in ui.resetButton.toolTip
    ui.ruleComboBox.currentIndex = 0
    ui.segmentationComboBox.currentIndex = SUITED
    let_qt_work()
    assert (recut.volumes[-1].segmentation, recut.volumes[-1].rule) == ("suited", "calibrated")


def test_without_numba_slices_suit_every_model_and_the_tooltip_says_why(numba, ui, a_module, parameters):
    numba["isThere"] = False
    a_module.panel._onPackages()
    assert ui.segmentationComboBox.currentText == "As suits the model (axial slices)"
    assert ui.minSizeSpinBox.suffix == " px"
    assert not ui.segmentationComboBox.enabled
    assert "'numba'" in ui.segmentationComboBox.toolTip
    assert parameters.segmentation == "suited"
    numba["isThere"] = True  # it was installed
    a_module.panel._onPackages()
    assert ui.segmentationComboBox.enabled
    assert ui.segmentationComboBox.currentText == "As suits the model (several scales)"


def test_a_cut_that_numba_is_missing_for_can_be_left_again(numba, ui, a_module, parameters):
    numba["isThere"] = False
    a_module.panel._onPackages()
    parameters.segmentation = "scales"  # as a scene of another computer brings it
    assert ui.segmentationComboBox.enabled
    ui.segmentationComboBox.currentIndex = SUITED
    assert (parameters.segmentation, ui.segmentationComboBox.enabled) == ("suited", False)


@pytest.mark.parametrize(
    ("saved", "opened"), [("slices", "Axial slices"), ("volume", "The whole volume"), (None, "As suits the model (several")]
)
def test_a_scene_saved_before_models_had_a_cut_of_their_own_opens_as_it_was(numba, a_scene, a_panel_of, saved, opened):
    import slicer

    node = slicer.vtkMRMLScriptedModuleNode()
    node.SetSingletonTag("BrainInpaintAD")
    if saved is not None:
        node.SetParameter("segmentation", saved)
    a_scene.AddNode(node)
    widget = a_panel_of()
    assert widget.ui.segmentationComboBox.currentText.startswith(opened)
    assert widget.logic.parameters().segmentation == (saved or "suited")


def test_a_result_that_was_cut_in_slices_before_keeps_them(ui, recut, a_result, parameters, let_qt_work):
    a_result.heatmapNode.SetAttribute("BrainInpaintAD.cut", '{"scale": 75.0, "rule": "calibrated", "segmentation": "slices"}')
    let_qt_work()
    assert ui.segmentationComboBox.currentIndex == SLICES
    assert recut.volumes == []


def test_a_script_gets_what_suits_the_model_unless_it_says_otherwise(application, a_scan, a_panel_of, a_worker, an_answer):
    logic = a_panel_of().logic
    a_worker.start = lambda: a_worker.finish(answer=an_answer)
    asked = []
    for wishes in ({}, {"segmentation": "scales"}, {"model": "t1-inpaint"}):
        logic.detect(a_scan, **wishes)
        asked.append(a_worker.request["settings"].segmentation)
    assert asked == ["suited", "scales", "suited"]
    with pytest.raises(ValueError, match="suited, slices, volume, scales"):
        logic.detect(a_scan, segmentation="cubes")
