"""Sliders of the panel: which size, which regions, which heat, and how little work a storm of events makes."""

import importlib.util
import time

import pytest
import qt_layer


@pytest.fixture
def recut(a_module, a_result, let_qt_work):
    """The fake that cuts the panel's result; nothing is waiting any more."""
    let_qt_work()
    return a_module.recuts[-1]


def scales(settings):
    return [each.scale for each in settings]


def test_the_window_slider_has_one_stop_per_size_of_the_model(ui, parameters):
    assert (ui.windowSlider.minimum, ui.windowSlider.maximum) == (0, 2)
    assert ui.windowLabel.text == "32 mm"
    parameters.windowMm = 64
    assert (ui.windowSlider.value, ui.windowLabel.text) == (2, "64 mm")
    ui.modelComboBox.currentIndex = 1
    assert (ui.windowSlider.maximum, ui.windowSlider.enabled, parameters.windowMm) == (0, False, 32)


def test_a_size_is_told_while_dragging_and_taken_when_let_go(ui, parameters, let_qt_work):
    told = []
    qt_layer.drag(ui.windowSlider, [2, 1, 0], between=lambda: told.append((ui.windowLabel.text, parameters.windowMm)))
    assert told == [("64 mm", 32), ("32 mm", 32), ("16 mm", 32)]
    let_qt_work(400)
    assert parameters.windowMm == 16


def test_before_the_first_result_a_size_is_only_chosen(a_scan, ui, parameters, a_worker, let_qt_work):
    ui.scanSelector.setCurrentNode(a_scan)
    ui.windowSlider.value = 2
    let_qt_work(400)
    assert parameters.windowMm == 64
    assert a_worker.request is None
    assert ui.readyLabel.text == "16 · 32 · 64 mm; none is ready"


def test_with_a_result_another_size_is_computed(ui, a_result, a_worker, wait_until):
    assert ui.readyLabel.text == "16 · 32 · 64 mm; ready: 32 mm"
    a_worker.isFinished = False
    ui.windowSlider.value = 0
    wait_until(lambda: ui.detectButton.text == "&Cancel")
    assert a_worker.request["settings"].windowMm == 16


def test_passing_over_sizes_computes_only_the_last(ui, a_result, a_worker, wait_until, let_qt_work):
    a_worker.isFinished, made = False, []
    a_worker.start = lambda: made.append(a_worker.request["settings"].windowMm)
    for index in (0, 1, 2):
        ui.windowSlider.value = index
    wait_until(lambda: made)
    let_qt_work(400)
    assert made == [64]


def test_a_size_that_is_ready_is_shown_at_once_without_computing(
    a_scan, ui, a_result, parameters, run, write_result, some_anomalies, a_worker
):
    parameters.windowMm = 64
    run()(answer=lambda folder: write_result(folder, some_anomalies // 2, like=a_scan))
    assert ui.readyLabel.text == "16 · 32 · 64 mm; ready: 32, 64 mm"
    assert ui.statusLabel.text.startswith("1 anomaly")
    a_worker.request = None
    ui.windowSlider.value = 1
    assert ui.statusLabel.text.startswith("2 anomalies")
    assert parameters.result is a_result.heatmapNode
    assert a_worker.request is None


def test_after_a_cancel_the_status_line_follows_the_result_that_is_shown(
    a_scan, ui, a_result, parameters, run, write_result, some_anomalies
):
    parameters.windowMm = 64
    run()(answer=lambda folder: write_result(folder, some_anomalies * 0, like=a_scan))
    run()
    ui.detectButton.click()
    assert ui.statusLabel.text.startswith("Cancelled")
    ui.windowSlider.value = 1
    assert ui.statusLabel.text.startswith("2 anomalies")


def test_another_model_shows_its_own_result_when_there_is_one(
    ui, a_result, parameters, run, write_result, a_scan, some_anomalies
):
    ui.modelComboBox.currentIndex = 1
    run()(answer=lambda folder: write_result(folder, some_anomalies * 0, like=a_scan))
    assert ui.statusLabel.text == "Nothing found"
    ui.modelComboBox.currentIndex = 0
    assert ui.statusLabel.text.startswith("2 anomalies")


def test_a_hundred_moves_cut_one_slice_and_letting_go_cuts_one_volume(ui, recut, parameters, let_qt_work):
    qt_layer.drag(ui.scaleSlider, range(80, 180))
    let_qt_work()
    assert len(recut.slices) <= 1  # none: the volume's cut made it needless
    assert scales(recut.volumes) == [179.0]
    assert parameters.scale == 179.0


def test_while_the_slider_moves_the_last_value_is_cut_and_the_parameter_rests(ui, recut, parameters, let_qt_work):
    seen = []

    def look():
        let_qt_work()
        seen.append((recut.slices[-1].scale, len(recut.slices), parameters.scale))

    def storm():
        for start in (100, 200, 300):
            yield from range(start, start + 33)
            pauses.append(start)
        yield 399

    pauses = []
    moves = iter(storm())
    qt_layer.drag(ui.scaleSlider, moves, between=lambda: look() if len(pauses) > len(seen) else None)
    assert seen == [(200.0, 1, 75.0), (300.0, 2, 75.0), (399.0, 3, 75.0)]
    let_qt_work()
    assert scales(recut.volumes) == [399.0]


def test_a_slider_dragged_back_to_where_it_was_ends_the_preview(ui, recut, let_qt_work):
    qt_layer.drag(ui.scaleSlider, [90, 75], between=let_qt_work)
    let_qt_work()
    assert (scales(recut.slices), recut.ended, recut.volumes) == ([90.0], 1, [])


@pytest.mark.parametrize(
    ("parameter", "value"),
    [("scale", 100.0), ("sigma", 1.5), ("minSize", 5), ("minVolumeMl", 0.0), ("rule", "paper"), ("segmentation", "volume")],
)
def test_every_setting_of_the_cut_cuts_the_volume_anew(recut, parameters, let_qt_work, parameter, value):
    setattr(parameters, parameter, value)
    let_qt_work()
    assert [getattr(settings, parameter) for settings in recut.volumes] == [value]
    let_qt_work()
    assert len(recut.volumes) == 1


@pytest.mark.parametrize(("parameter", "value"), [("heatmapOpacity", 0.1), ("showColourBar", True), ("colourMap", "Hot")])
def test_what_only_changes_the_view_cuts_nothing(recut, parameters, let_qt_work, parameter, value):
    setattr(parameters, parameter, value)
    let_qt_work()
    assert recut.volumes == []


def test_reset_brings_the_published_values_in_one_cut(ui, recut, parameters, let_qt_work, lib):
    parameters.scale, parameters.sigma, parameters.minSize = 300.0, 2.5, 99
    let_qt_work()
    ui.resetButton.click()
    let_qt_work()
    assert len(recut.volumes) == 2
    for name, value in lib("Settings").PUBLISHED.items():
        assert getattr(parameters, name) == value


def test_a_cut_that_is_refused_is_logged_once_and_not_tried_again(ui, recut, parameters, let_qt_work, lib):
    recut.refusal = lib("Recut").RecutError("scikit-image is missing; press Install.")
    parameters.scale = 100.0
    let_qt_work()
    parameters.heatmapOpacity = 0.1
    let_qt_work()
    assert ui.logText.plainText.count("scikit-image is missing") == 1


def test_a_cut_that_is_refused_is_said_in_the_status_line_until_the_settings_fit_again(ui, recut, parameters, let_qt_work, lib):
    recut.refusal = lib("Recut").RecutError("scikit-image is missing; press Install.")
    parameters.scale = 100.0
    let_qt_work()
    assert ui.statusLabel.text == "scikit-image is missing; press Install."
    parameters.heatmapOpacity = 0.1
    assert ui.statusLabel.text == "scikit-image is missing; press Install."
    parameters.scale = 75.0
    assert ui.statusLabel.text.startswith("2 anomalies")


@pytest.mark.parametrize(
    ("module", "name"), [("Scene", "SceneError"), ("Segments", "SegmentsError"), ("Findings", "FindingsError")]
)
def test_whatever_refuses_a_cut_is_told_once_and_ends_the_preview(ui, recut, parameters, let_qt_work, lib, module, name):
    recut.refusal = getattr(lib(module), name)("Harden the transform first.")
    parameters.scale = 100.0
    let_qt_work()
    ui.opacitySlider.value = 0.1
    let_qt_work()
    assert ui.logText.plainText.count("Harden the transform first.") == 1
    assert recut.ended == 1
    assert ui.statusLabel.text == "Harden the transform first."


def test_a_slice_that_cannot_be_cut_is_told_once_while_the_slider_moves(ui, recut, let_qt_work, lib):
    tried = []

    def refuse(settings):
        tried.append(settings)
        raise lib("Scene").SceneError("Harden the transform first.")

    recut.showSlice = refuse
    qt_layer.drag(ui.scaleSlider, [90, 100, 110], between=let_qt_work)
    assert len(tried) == 1
    assert ui.logText.plainText.count("Harden the transform first.") == 1
    let_qt_work()
    assert scales(recut.volumes) == [110.0]
    assert ui.statusLabel.text.startswith("2 anomalies")


def test_a_cut_that_a_script_makes_reaches_the_sliders_and_is_not_undone(
    ui, recut, a_module, a_result, parameters, let_qt_work
):
    a_module.logic.recut(a_result, scale=150.0)
    let_qt_work()
    assert (parameters.scale, ui.scaleSlider.value) == (150.0, 150.0)
    ui.opacitySlider.value = 0.7
    let_qt_work()
    assert recut.volumes == []


def test_a_size_that_is_ready_comes_with_its_own_cut_and_is_not_cut_again(
    a_scan, a_module, ui, a_result, parameters, run, write_result, some_anomalies, let_qt_work
):
    parameters.windowMm = 64
    parameters.scale = 120.0
    let_qt_work()
    parameters.scale = 75.0
    let_qt_work()
    run()(answer=lambda folder: write_result(folder, some_anomalies, like=a_scan))
    parameters.scale = 200.0
    let_qt_work()
    ui.windowSlider.value = 1
    let_qt_work()
    assert (parameters.scale, parameters.windowMm) == (75.0, 32)
    assert a_module.recuts[-1].volumes == []
    ui.windowSlider.value = 2
    let_qt_work()
    assert parameters.scale == 200.0
    assert a_module.recuts[-1].volumes == []


def test_a_result_without_recut_data_says_that_settings_hold_for_the_next_detection(ui, recut, parameters, let_qt_work):
    recut.canRecut = False
    parameters.scale = 100.0
    let_qt_work()
    assert "next detection" in ui.logText.plainText
    assert recut.volumes == []


def test_settings_changed_while_running_are_cut_when_the_result_is_there(
    a_scan, a_module, ui, run, an_answer, parameters, let_qt_work
):
    ui.scanSelector.setCurrentNode(a_scan)
    finish = run()
    assert not ui.scaleSlider.enabled
    parameters.scale = 222.0  # a script may
    finish(answer=an_answer)
    let_qt_work()
    assert scales(a_module.recuts[-1].volumes) == [222.0]


def test_the_result_is_made_ready_for_the_slider_before_it_is_touched(recut, let_qt_work):
    let_qt_work(400)
    assert recut.warmed == 1


def test_the_opacity_slider_changes_the_slice_views(a_scene, a_scan, ui, run, an_answer):
    view = a_scene.AddNewNodeByClass("vtkMRMLSliceCompositeNode")
    ui.scanSelector.setCurrentNode(a_scan)
    run()(answer=an_answer)
    ui.opacitySlider.value = 0.15
    assert view.GetForegroundOpacity() == 0.15


def test_the_threshold_slider_spans_the_heat_there_is_and_hides_what_is_below(ui, a_result, parameters, lib):
    heatmap = lib("Heatmap")
    low, high = heatmap.thresholdRange(a_result.heatmapNode)
    assert (ui.thresholdSlider.minimum, ui.thresholdSlider.maximum) == pytest.approx((low, high), abs=1e-3)
    assert ui.thresholdSlider.value == pytest.approx(heatmap.threshold(a_result.heatmapNode))
    ui.thresholdSlider.value = 0.6
    assert heatmap.threshold(a_result.heatmapNode) == pytest.approx(0.6)
    assert parameters.heatmapThreshold == pytest.approx(0.6)
    parameters.heatmapThreshold = 0.3
    assert ui.thresholdSlider.value == pytest.approx(0.3)
    assert heatmap.threshold(a_result.heatmapNode) == pytest.approx(0.3)


def test_colours_are_those_of_the_box(ui, a_result, lib):
    for name in lib("Heatmap").COLOUR_MAPS:
        ui.colourComboBox.currentText = name
        assert lib("Heatmap").colourMap(a_result.heatmapNode) == name


def test_a_storm_on_the_opacity_slider_shows_the_result_no_more_often(ui, a_result, monkeypatch, lib):
    shown = []
    monkeypatch.setattr(lib("Results"), "show", lambda *_, **__: shown.append(1))
    qt_layer.drag(ui.opacitySlider, [step / 100 for step in range(100)])
    assert shown == []


@pytest.fixture
def a_real_panel(a_scene, a_panel_of, add_volume, mrml_lib, tmp_path):
    """(panel, recut calls): a result of the core with all it needs to be cut anew, and an axial view in its middle."""
    if importlib.util.find_spec("skimage") is None:
        pytest.skip("the core's segmentation needs scikit-image")
    import known_result
    import slicer

    slicer.vtkMRMLSliceNode.AddDefaultSliceOrientationPresets(a_scene)
    view = a_scene.AddNewNodeByClass("vtkMRMLSliceNode")
    view.SetLayoutName("Red")
    view.SetOrientation("Axial")
    result, truth = known_result.add_result(add_volume, mrml_lib, tmp_path)
    view.JumpSlice(*result.findings[0].centreRasMm)
    panel = a_panel_of(recut=None)
    recut = mrml_lib("Recut").Recut
    calls = {"showSlice": 0, "apply": 0}

    def counting(name, original):
        def count(self, *arguments, **options):
            calls[name] += 1
            return original(self, *arguments, **options)

        return count

    for name in calls:
        setattr(recut, name, counting(name, getattr(recut, name)))
    parameters = panel.logic.parameters()
    parameters.minVolumeMl = 1.0
    parameters.scan, parameters.result = result.volumeNode, result.heatmapNode
    return panel, calls, result, truth


def test_surfaces_that_were_shown_come_back_after_a_cut(a_real_panel, mrml_lib, wait_until):
    panel, calls, result, _truth = a_real_panel
    views = mrml_lib("Views")
    views.show3D(result.segmentationNode, True)
    panel.logic.parameters().scale = 150.0
    wait_until(lambda: calls["apply"] == 1)
    wait_until(lambda: views.is3DShown(result.segmentationNode))
    assert calls["apply"] == 1


def test_from_the_slider_to_the_segments_and_how_long_it_takes(
    a_real_panel, a_scene, let_qt_work, wait_until, record_property, capsys
):
    """The whole way with the real cut. Times are recorded and printed; only the number of cuts is asserted."""
    panel, calls, result, truth = a_real_panel
    slider, spent = panel.ui.scaleSlider, []
    let_qt_work(1500)  # loaded in the background

    def until_cut():
        began = time.perf_counter()
        done = calls["showSlice"] + 1
        wait_until(lambda: calls["showSlice"] >= done)
        spent.append(1000 * (time.perf_counter() - began))

    qt_layer.drag(slider, [60.0, 90.0, 120.0, 150.0, 180.0], between=until_cut)
    assert calls == {"showSlice": 5, "apply": 0}
    began = time.perf_counter()
    wait_until(lambda: calls["apply"])
    whole = 1000 * (time.perf_counter() - began)
    assert calls == {"showSlice": 5, "apply": 1}
    expected = truth.resegment(scale=180.0)
    assert panel.ui.findingsTable.rowCount == len(expected.findings)
    assert panel.ui.statusLabel.text == result.summary
    record_property("slice_ms", [round(each, 1) for each in spent])
    record_property("volume_ms", round(whole, 1))
    with capsys.disabled():
        print(f"\nslider to slice {spent[0]:.0f} ms, then at most {max(spent[1:]):.0f} ms; to volume {whole:.0f} ms")  # noqa: T201


def test_a_storm_on_a_real_result_cuts_a_few_times_only(a_real_panel, let_qt_work, wait_until):
    panel, calls, _result, _truth = a_real_panel
    moves = iter(range(100))
    qt_layer.drag(panel.ui.scaleSlider, range(80, 180), between=lambda: let_qt_work(1) if next(moves) % 25 == 24 else None)
    wait_until(lambda: calls["apply"])
    let_qt_work()
    assert calls["showSlice"] <= 5
    assert calls["apply"] == 1
    assert panel.logic.parameters().scale == 179.0
