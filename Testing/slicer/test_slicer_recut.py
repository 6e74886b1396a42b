"""The cut follows the sliders: the slice that is seen, then the volume, judged by the core's own answers."""

import sys
import time
from threading import Event

import numpy as np
import pytest
from known_result import (
    AXIAL,
    OBLIQUE,
    QUARTER_TURN,
    SAGITTAL,
    TILT,
    add_result,
    make_result,
    paint,
    put_under,
    save,
)

pytestmark = pytest.mark.usefixtures("slicers_modules")


@pytest.fixture
def settings(mrml_lib):
    return lambda **changes: mrml_lib("Settings").Settings(model="t1-inpaint", **({"minVolumeMl": 1.0} | changes))


@pytest.fixture
def a_pair(add_volume, mrml_lib, tmp_path):
    """(nodes, the core's Result) of an oblique scan."""
    return add_result(add_volume, mrml_lib, tmp_path)


@pytest.fixture
def a_result(a_pair):
    return a_pair[0]


@pytest.fixture
def a_recut(mrml_lib, a_result):
    recut = mrml_lib("Recut").Recut(a_result)
    yield recut
    recut.close()


@pytest.fixture
def a_pair_that_suits(add_volume, mrml_lib, tmp_path, settings):
    """Makes (nodes, the core's Result, what cuts it) of a model whose card names a segmentation."""
    made = []

    def make(kind):
        truth = make_result(OBLIQUE, suits=kind)
        save(truth, tmp_path)
        scan = add_volume(truth.prepared.scan.array, OBLIQUE, "t1")
        result = mrml_lib("ResultImport").importResult(tmp_path, scan, settings=settings())
        made.append(mrml_lib("Recut").Recut(result))
        return result, truth, made[-1]

    yield make
    for recut in made:
        recut.close()


def preview_in(scene):
    count = scene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode")
    nodes = [scene.GetNthNodeByClass(number, "vtkMRMLSegmentationNode") for number in range(count)]
    return next((node for node in nodes if "live cut" in node.GetName()), None)


def places_of(node):
    """World RAS of the voxels of a segmentation's labelmap that are not 0, (n, 3), sorted."""
    import slicer
    import vtk
    from vtk.util.numpy_support import vtk_to_numpy

    segment = node.GetSegmentation().GetNthSegment(0)
    if segment is None:
        return np.zeros((0, 3))
    image = segment.GetRepresentation("Binary labelmap")
    first = np.array(image.GetExtent()[::2])
    values = vtk_to_numpy(image.GetPointData().GetScalars()).reshape(image.GetDimensions()[::-1])
    matrix = vtk.vtkMatrix4x4()
    image.GetImageToWorldMatrix(matrix)
    indices = np.argwhere(values > 0)[:, ::-1] + first
    local = indices @ slicer.util.arrayFromVTKMatrix(matrix)[:3, :3].T + slicer.util.arrayFromVTKMatrix(matrix)[:3, 3]
    world = np.zeros_like(local)
    for number, point in enumerate(local):
        found = [0.0, 0.0, 0.0]
        node.TransformPointToWorld(list(point), found)
        world[number] = found
    return in_order(world)


def in_order(places):
    rounded = places.round(3)
    return rounded[np.lexsort(rounded.T)]


def expected_places(truth, index, **changes):
    """World RAS at the detection of the hot voxels of one model slice."""
    rows, columns = np.nonzero(truth.cut_slice(index, **changes))
    voxels = np.stack([np.full(len(rows), index), rows, columns], axis=1)
    return truth.model_grid.to_world(voxels) * [-1, -1, 1]


def centre_of(truth, index):
    _slices, rows, columns = truth.model_grid.shape
    return tuple(truth.model_grid.to_world(np.array([[index, rows / 2, columns / 2]]))[0] * [-1, -1, 1])


@pytest.mark.parametrize("matrix", [OBLIQUE, SAGITTAL, AXIAL], ids=["oblique", "sagittal", "axial"])
@pytest.mark.parametrize("transforms", [(), (QUARTER_TURN, TILT)], ids=["none", "nested"])
def test_the_live_slice_lies_where_the_core_cuts_it(add_volume, mrml_lib, a_scene, tmp_path, settings, matrix, transforms):
    result, truth = add_result(add_volume, mrml_lib, tmp_path, matrix=matrix, transforms=transforms)
    recut = mrml_lib("Recut").Recut(result)
    tried = 0
    for index in range(2, truth.model_grid.shape[0], 5):
        count = recut.showSlice(settings(scale=40.0), centre_of(truth, index))
        expected = expected_places(truth, index, scale=40.0)
        assert count == truth.cut_slice(index, scale=40.0).max()
        np.testing.assert_allclose(places_of(preview_in(a_scene)), in_order(expected), atol=2e-3)
        tried += len(expected) > 0
    assert tried > 1


def test_the_live_slice_follows_a_scan_that_was_moved_after_the_detection(mrml_lib, a_scene, a_pair, a_recut, settings):
    result, truth = a_pair
    for node in (result.volumeNode, result.heatmapNode, result.segmentationNode):
        put_under(node, QUARTER_TURN, TILT)
    index = truth.model_grid.shape[0] // 2
    moved = TILT @ QUARTER_TURN
    a_recut.showSlice(settings(), tuple((moved @ [*centre_of(truth, index), 1])[:3]))
    expected = expected_places(truth, index)
    assert len(expected)
    np.testing.assert_allclose(places_of(preview_in(a_scene)), in_order(expected @ moved[:3, :3].T + moved[:3, 3]), atol=2e-3)


def test_without_a_point_the_axial_view_tells_the_slice(mrml_lib, a_scene, a_pair, a_recut, settings):
    import slicer

    slicer.vtkMRMLSliceNode.AddDefaultSliceOrientationPresets(a_scene)
    view = a_scene.AddNewNodeByClass("vtkMRMLSliceNode")
    view.SetLayoutName("Red")
    view.SetOrientation("Axial")
    index = a_pair[1].model_grid.shape[0] // 3
    view.JumpSliceByCentering(*centre_of(a_pair[1], index))
    a_recut.showSlice(settings())
    np.testing.assert_allclose(places_of(preview_in(a_scene)), in_order(expected_places(a_pair[1], index)), atol=2e-3)


def test_beyond_the_brain_the_live_slice_is_empty(a_scene, a_pair, a_recut, settings):
    assert a_recut.showSlice(settings(), (0.0, 0.0, 5000.0)) == -1
    assert len(places_of(preview_in(a_scene))) == 0
    assert a_recut.showSlice(settings(), centre_of(a_pair[1], a_pair[1].model_grid.shape[0] // 2)) > 0


def test_while_the_preview_is_there_the_segments_are_hidden_and_come_back(a_scene, a_pair, a_recut, settings, node_ids):
    result, truth = a_pair
    result.segmentationNode.SetDisplayVisibility(True)
    before = node_ids()
    point = centre_of(truth, truth.model_grid.shape[0] // 2)
    for scale in (20.0, 75.0, 200.0):
        a_recut.showSlice(settings(scale=scale), point)
    preview = preview_in(a_scene)
    assert not result.segmentationNode.GetDisplayVisibility()
    assert (preview.GetSaveWithScene(), bool(preview.GetHideFromEditors())) == (0, True)
    a_recut.endPreview()
    assert result.segmentationNode.GetDisplayVisibility()
    assert node_ids() - before == set()
    a_recut.endPreview()


def test_a_segmentation_the_user_hid_stays_hidden(a_pair, a_recut, settings):
    result, truth = a_pair
    result.segmentationNode.SetDisplayVisibility(False)
    a_recut.showSlice(settings(), centre_of(truth, truth.model_grid.shape[0] // 2))
    a_recut.apply(settings())
    assert not result.segmentationNode.GetDisplayVisibility()


@pytest.mark.parametrize(
    "changes",
    [{"scale": 20.0}, {"scale": 300.0}, {"rule": "paper"}, {"minVolumeMl": 0.0, "sigma": 0.0, "minSize": 1}],
    ids=["fine", "coarse", "paper", "everything"],
)
def test_the_whole_volume_is_what_the_core_cuts(mrml_lib, a_pair, a_recut, settings, changes):
    import slicer

    result, truth = a_pair
    a_recut.apply(settings(**changes))
    names = {"minVolumeMl": "min_volume_ml", "minSize": "min_size"}
    expected = truth.resegment(**({"min_volume_ml": 1.0} | {names.get(key, key): value for key, value in changes.items()}))
    exported = mrml_lib("Export").exportLabelmap(result)
    np.testing.assert_array_equal(slicer.util.arrayFromVolume(exported), expected.labelmap.array)
    assert result.segmentationNode.GetSegmentation().GetNumberOfLayers() == (1 if expected.findings else 0)
    assert [(row.label, row.volumeMl, row.rightShare, row.darkShare) for row in result.findings] == [
        (row.label, row.volume_ml, row.right_share, row.dark_share) for row in expected.findings
    ]
    assert result.summary.startswith(f"{len(expected.findings)} anomal")


def test_cutting_back_and_forth_ends_where_it_began(mrml_lib, a_pair, a_recut, settings, node_ids):
    result, _ = a_pair
    before, findings, summary = node_ids(), result.findings, result.summary
    for scale in (20.0, 400.0, 75.0):
        a_recut.showSlice(settings(scale=scale))
        a_recut.apply(settings(scale=scale))
    assert (node_ids(), result.findings, result.summary) == (before, findings, summary)


def test_most_of_a_discarded_finding_stays_discarded(mrml_lib, a_pair, a_recut, settings):
    result, _ = a_pair
    mrml_lib("Results").setKept(result, 1, False)
    a_recut.apply(settings(scale=60.0))
    discarded = [finding for finding in result.findings if not finding.keep]
    assert len(discarded) == 1
    assert discarded[0].centreRasMm == pytest.approx(_ras(a_pair[1].findings[0]), abs=6)
    display = result.segmentationNode.GetDisplayNode()
    identifier = mrml_lib("Segments").segmentIds(result.segmentationNode)[discarded[0].label]
    assert not display.GetSegmentVisibility(identifier)


def _ras(row):
    return row.r_mm, row.a_mm, row.s_mm


def test_segments_the_user_added_stay_as_they_are(mrml_lib, a_pair, a_recut, settings):
    import slicer

    result, _ = a_pair
    segmentation = result.segmentationNode.GetSegmentation()
    own = segmentation.AddEmptySegment("mine", "mine")  # joins the layer of ours, as in the Segment Editor
    mask = np.zeros(slicer.util.arrayFromVolume(result.volumeNode).shape, np.uint8)
    mask[20:22, 30:35, 3:9] = 1
    paint(result.segmentationNode, own, mask, result.volumeNode)
    result.segmentationNode.GetDisplayNode().SetSegmentVisibility(own, False)
    for scale in (20.0, 300.0):
        a_recut.apply(settings(scale=scale))
        value = mrml_lib("SegmentExport").labelValues(result.segmentationNode)[own]
        exported = slicer.util.arrayFromVolume(mrml_lib("Export").exportLabelmap(result))
        np.testing.assert_array_equal(exported == value, mask)
        assert not result.segmentationNode.GetDisplayNode().GetSegmentVisibility(own)
        assert segmentation.GetSegment(own).GetName() == "mine"


def test_a_segmentation_that_was_hardened_alone_is_cut_at_its_place(mrml_lib, add_volume, tmp_path, settings):
    import slicer

    result, truth = add_result(add_volume, mrml_lib, tmp_path, transforms=(QUARTER_TURN,))
    result.segmentationNode.HardenTransform()
    mrml_lib("Recut").Recut(result).apply(settings(scale=40.0))
    exported = slicer.util.arrayFromVolume(mrml_lib("Export").exportLabelmap(result))
    np.testing.assert_array_equal(exported, truth.resegment(scale=40.0).labelmap.array)


def test_a_bending_transform_that_came_after_the_detection_does_not_hinder(a_scene, a_pair, a_recut, settings):
    result, truth = a_pair
    bend = a_scene.AddNewNodeByClass("vtkMRMLBSplineTransformNode")
    for node in (result.volumeNode, result.heatmapNode, result.segmentationNode):
        node.SetAndObserveTransformNodeID(bend.GetID())
    assert a_recut.showSlice(settings(), centre_of(truth, truth.model_grid.shape[0] // 2)) >= 0
    a_recut.apply(settings(scale=60.0))
    assert len(result.findings) == len(truth.resegment(scale=60.0).findings)


def test_a_cut_that_finds_nothing_leaves_an_empty_segmentation_and_comes_back(a_pair, a_recut, settings):
    result, _ = a_pair
    a_recut.apply(settings(minVolumeMl=100.0))
    assert (result.summary, list(result.findings)) == ("Nothing found", [])
    assert result.segmentationNode.GetSegmentation().GetNumberOfSegments() == 0
    a_recut.apply(settings())
    assert result.summary.startswith("2 anomalies")


def test_surfaces_that_were_shown_are_shown_again(mrml_lib, a_scene, a_result, a_recut, settings):
    views = mrml_lib("Views")
    views.show3D(a_result.segmentationNode, True)
    a_recut.apply(settings(scale=60.0))
    assert views.is3DShown(a_result.segmentationNode)
    a_recut.apply(settings(scale=75.0), withSurfaces=False)
    assert not views.is3DShown(a_result.segmentationNode)


def test_a_result_without_recut_data_says_what_to_do(mrml_lib, add_volume, tmp_path, settings):
    result, _ = add_result(add_volume, mrml_lib, tmp_path, save_options={"recut": False})
    recut = mrml_lib("Recut").Recut(result)
    recut.warm()
    for act in (recut.showSlice, recut.apply):
        with pytest.raises(mrml_lib("Recut").RecutError, match="run the detection again"):
            act(settings())


@pytest.mark.parametrize("text", ["not base64!", "bm8gcmVjdXQgZGF0YQ=="])
def test_damaged_recut_data_is_told_and_changes_nothing(mrml_lib, a_result, settings, text):
    a_result.recutNode.SetText(text)
    before = a_result.segmentationNode.GetSegmentation().GetMTime()
    with pytest.raises(mrml_lib("Recut").RecutError):
        mrml_lib("Recut").Recut(a_result).apply(settings())
    assert a_result.segmentationNode.GetSegmentation().GetMTime() == before


def test_what_is_missing_is_looked_for_again_once_it_may_have_been_installed(mrml_lib, a_recut, settings, monkeypatch):
    core, told = mrml_lib("Core"), mrml_lib("Recut").RecutError

    def refuse():
        raise core.CoreMissingError("scikit-image is missing")

    with monkeypatch.context() as patched:
        patched.setattr(core, "importCore", refuse)
        a_recut.warm()
        with pytest.raises(told, match="scikit-image is missing"):
            a_recut.apply(settings())
    a_recut.apply(settings())


def test_a_load_ahead_that_failed_unheard_is_done_again(mrml_lib, a_recut, settings, monkeypatch):
    core = mrml_lib("Core")
    with monkeypatch.context() as patched:
        patched.setattr(core, "importCore", lambda: 1 / 0)
        a_recut.warm()
        wait_while_loading(a_recut)
    assert a_recut.apply(settings()).findings


def test_it_tells_whether_it_is_still_loading(mrml_lib, a_recut, monkeypatch):
    may_go_on = Event()
    core = mrml_lib("Core")
    import_core = core.importCore
    monkeypatch.setattr(core, "importCore", lambda: may_go_on.wait(10) and import_core())
    assert not a_recut.isLoading
    a_recut.warm()
    assert a_recut.isLoading
    may_go_on.set()
    wait_while_loading(a_recut)
    a_recut.close()
    assert not a_recut.isLoading


def wait_while_loading(recut):
    end = time.monotonic() + 20
    while recut.isLoading and time.monotonic() < end:
        time.sleep(0.005)
    assert not recut.isLoading


def test_a_cut_that_the_model_is_not_calibrated_for_is_told(mrml_lib, add_volume, tmp_path, settings):
    from dataclasses import replace

    truth = make_result(OBLIQUE)
    truth = replace(truth, thresholds={"healthy_voxels_1_percent": 0.4})
    save(truth, tmp_path)
    scan = add_volume(truth.prepared.scan.array, OBLIQUE, "t1")
    result = mrml_lib("ResultImport").importResult(tmp_path, scan, settings=settings())
    recut = mrml_lib("Recut").Recut(result)
    with pytest.raises(mrml_lib("Recut").RecutError, match="not calibrated"):
        recut.apply(settings(segmentation="volume"))
    with pytest.raises(mrml_lib("Recut").RecutError, match="not calibrated"):
        recut.showSlice(settings(segmentation="volume"), centre_of(truth, 20))


@pytest.mark.parametrize("kind", ["slices", "volume", "scales"])
@pytest.mark.parametrize("rule", ["calibrated", "paper"])
def test_what_suits_the_model_is_cut_for_the_slice_and_for_the_volume(
    mrml_lib, a_pair_that_suits, a_scene, settings, kind, rule
):
    import slicer

    result, truth, recut = a_pair_that_suits(kind)
    taken = kind if rule == "calibrated" else "slices"
    wanted, changes = settings(scale=150.0, rule=rule), {"scale": 150.0, "rule": rule, "segmentation": taken}
    expected = truth.resegment(**changes)
    index = int(expected.model_labelmap.any(axis=(1, 2)).nonzero()[0].mean())
    assert recut.showSlice(wanted, centre_of(truth, index)) > 0
    shown = places_of(preview_in(a_scene))
    np.testing.assert_allclose(shown, in_order(expected_places(truth, index, **changes)), atol=2e-3)
    recut.apply(wanted)
    exported = slicer.util.arrayFromVolume(mrml_lib("Export").exportLabelmap(result))
    np.testing.assert_array_equal(exported, expected.labelmap.array)


def test_without_numba_what_suits_the_model_is_cut_in_slices(a_pair_that_suits, mrml_lib, settings, monkeypatch):
    result, truth, recut = a_pair_that_suits("scales")
    monkeypatch.setattr(mrml_lib("Recut"), "hasNumba", lambda: False)
    recut.apply(settings(scale=40.0))
    expected = truth.resegment(scale=40.0, segmentation="slices")
    assert [row.volumeMl for row in result.findings] == pytest.approx([row.volume_ml for row in expected.findings])


def test_recut_data_that_do_not_tell_what_suits_are_cut_as_at_the_detection(add_volume, mrml_lib, tmp_path, settings):
    from dataclasses import replace

    truth = replace(make_result(OBLIQUE).resegment(segmentation="volume"), report={})  # as version 0.1 wrote it
    save(truth, tmp_path)
    scan = add_volume(truth.prepared.scan.array, OBLIQUE, "t1")
    result = mrml_lib("ResultImport").importResult(tmp_path, scan, settings=settings())
    mrml_lib("Recut").Recut(result).apply(settings(scale=40.0))
    expected = truth.resegment(scale=40.0)
    assert [row.volumeMl for row in result.findings] == pytest.approx([row.volume_ml for row in expected.findings])


def test_a_scene_that_is_closed_during_the_preview_does_no_harm(a_scene, a_pair, a_recut, settings):
    a_recut.showSlice(settings(), centre_of(a_pair[1], 20))
    a_scene.Clear(0)
    a_recut.close()
    assert a_scene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == 0


def test_torch_is_not_imported_for_a_cut(a_pair, a_recut, settings):
    import subprocess

    code = "import sys; from brain_inpaint_ad import load_recut; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
