"""A result as one thing in the scene: found again, shown, discarded in part, saved, taken out."""

import numpy as np
import pytest
from known_result import (
    OBLIQUE,
    QUARTER_TURN,
    SAGITTAL,
    TILT,
    add_result,
    make_result,
    put_under,
    reloaded,
    save,
    through_mrb,
)

pytestmark = pytest.mark.usefixtures("slicers_modules")


@pytest.fixture
def a_result(add_volume, mrml_lib, tmp_path):
    """Two anomalies in an oblique scan, with reconstruction and recut data."""
    return add_result(add_volume, mrml_lib, tmp_path / "result")[0]


@pytest.fixture
def another(a_result, mrml_lib, tmp_path):
    """Imports the same files again for the same scan, with other settings."""

    def make(*, isPreview=False, **settings):
        chosen = mrml_lib("Settings").Settings(**{"windowMm": 32} | settings)
        return mrml_lib("ResultImport").importResult(
            tmp_path / "result", a_result.volumeNode, settings=chosen, isPreview=isPreview
        )

    return make


def nodes_of(result):
    return [result.heatmapNode, result.segmentationNode, result.tableNode, result.reconstructionNode, result.recutNode]


def test_every_node_tells_scan_part_and_window_by_its_name(a_result):
    names = [node.GetName() for node in nodes_of(a_result)]
    assert names == [f"t1 {part} 32 mm" for part in ("heatmap", "anomalies", "findings", "reconstruction", "recut data")]


def test_the_heatmap_node_alone_leads_to_the_whole_result(mrml_lib, a_result):
    found = mrml_lib("Results").resultOf(a_result.heatmapNode)
    assert found == a_result
    assert (found.model, found.windowMm, found.isPreview) == ("t1-inpaint", 32, False)
    assert found.summary.startswith("2 anomalies, ")


def test_other_volumes_and_none_lead_to_no_result(mrml_lib, a_result):
    results = mrml_lib("Results")
    assert [results.resultOf(node) for node in (None, a_result.volumeNode, a_result.reconstructionNode)] == [None] * 3


@pytest.mark.parametrize("part", ["volumeNode", "segmentationNode", "tableNode"])
def test_a_result_without_a_vital_part_is_none(mrml_lib, a_scene, a_result, part):
    a_scene.RemoveNode(getattr(a_result, part))
    assert mrml_lib("Results").resultOf(a_result.heatmapNode) is None


def test_a_result_can_do_without_reconstruction_and_recut_data(mrml_lib, a_scene, a_result):
    for node in (a_result.reconstructionNode, a_result.recutNode):
        a_scene.RemoveNode(node)
    found = mrml_lib("Results").resultOf(a_result.heatmapNode)
    assert (found.reconstructionNode, found.recutNode) == (None, None)


def test_the_newest_exact_result_of_model_and_window_is_found(mrml_lib, a_result, another):
    newer = another(model="t1-inpaint")
    another(model="t1-inpaint", isPreview=True)
    wide = another(model="t1-inpaint", windowMm=64)
    find = mrml_lib("Results").findResult
    assert find(a_result.volumeNode, model="t1-inpaint", windowMm=32) == newer
    assert find(a_result.volumeNode, model="t1-inpaint", windowMm=64) == wide
    assert find(a_result.volumeNode, model="t1-loss", windowMm=32) is None
    assert find(a_result.reconstructionNode, model="t1-inpaint", windowMm=32) is None
    assert find(None, model="t1-inpaint", windowMm=32) is None


def test_a_result_of_voxels_that_were_changed_is_not_found(mrml_lib, a_result):
    import slicer

    slicer.util.arrayFromVolume(a_result.volumeNode)[:] += 1
    assert mrml_lib("Results").findResult(a_result.volumeNode, model="t1-inpaint", windowMm=32) is None


@pytest.mark.parametrize("matrix", [OBLIQUE, SAGITTAL], ids=["oblique", "sagittal"])
@pytest.mark.parametrize("transforms", [(), (QUARTER_TURN,), (QUARTER_TURN, TILT)], ids=["none", "one", "nested"])
def test_findings_lie_where_the_segments_are(add_volume, mrml_lib, tmp_path, matrix, transforms):
    result, truth = add_result(add_volume, mrml_lib, tmp_path, matrix=matrix, transforms=transforms)
    assert len(result.findings) == len(truth.findings) == 2
    for finding, identifier in zip(result.findings, result.segmentationNode.GetSegmentation().GetSegmentIDs(), strict=True):
        voxel_mm = 5  # Slicer gives the centre of one voxel of the segment
        assert result.segmentationNode.GetSegmentCenterRAS(identifier) == pytest.approx(finding.centreRasMm, abs=2 * voxel_mm)


def test_findings_follow_a_transform_that_comes_later(mrml_lib, a_result):
    before = [finding.centreRasMm for finding in a_result.findings]
    for node in (a_result.heatmapNode, a_result.segmentationNode):
        put_under(node, TILT)
    after = [finding.centreRasMm for finding in a_result.findings]
    expected = [(TILT @ [*place, 1])[:3] for place in before]
    np.testing.assert_allclose(after, expected, atol=1e-6)
    a_result.heatmapNode.HardenTransform()
    np.testing.assert_allclose([finding.centreRasMm for finding in a_result.findings], expected, atol=1e-6)


def test_a_discarded_finding_leaves_summary_and_view_but_not_the_table(mrml_lib, a_result):
    first, second = a_result.findings
    mrml_lib("Results").setKept(a_result, first.label, False)
    assert [finding.keep for finding in a_result.findings] == [False, True]
    assert a_result.summary.startswith(f"1 anomaly, {second.volumeMl:.1f} ml")
    display = a_result.segmentationNode.GetDisplayNode()
    identifiers = mrml_lib("Segments").segmentIds(a_result.segmentationNode)
    assert [display.GetSegmentVisibility(identifiers[label]) for label in (1, 2)] == [False, True]
    mrml_lib("Results").setKept(a_result, second.label, False)
    assert a_result.summary == "All findings discarded"
    for label in (1, 2):
        mrml_lib("Results").setKept(a_result, label, True)
    assert a_result.summary.startswith("2 anomalies")
    assert all(display.GetSegmentVisibility(identifier) for identifier in identifiers.values())


def test_a_finding_whose_segment_was_deleted_or_renamed_follows(mrml_lib, a_result):
    identifiers = mrml_lib("Segments").segmentIds(a_result.segmentationNode)
    segmentation = a_result.segmentationNode.GetSegmentation()
    segmentation.GetSegment(identifiers[2]).SetName("cyst")
    segmentation.RemoveSegment(identifiers[1])
    assert [(finding.label, finding.name) for finding in a_result.findings] == [(2, "cyst")]


def test_showing_one_result_hides_the_others_of_its_scan(mrml_lib, a_scene, a_result, another):
    results = mrml_lib("Results")
    view = a_scene.AddNewNodeByClass("vtkMRMLSliceCompositeNode")
    other = another(model="t1-inpaint", windowMm=16)
    results.show(other, opacity=0.5)
    results.show(a_result, opacity=0.4)
    assert (view.GetBackgroundVolumeID(), view.GetForegroundVolumeID()) == (
        a_result.volumeNode.GetID(),
        a_result.heatmapNode.GetID(),
    )
    assert view.GetForegroundOpacity() == pytest.approx(0.4)
    assert [bool(node.GetDisplayVisibility()) for node in (a_result.segmentationNode, other.segmentationNode)] == [True, False]


@pytest.fixture
def another_patients(add_volume, mrml_lib, a_result, tmp_path):
    """A result of the same size, of another scan."""
    import slicer

    scan = add_volume(slicer.util.arrayFromVolume(a_result.volumeNode), OBLIQUE, "another patient's t1")
    chosen = mrml_lib("Settings").Settings(model="t1-inpaint", windowMm=32)
    return mrml_lib("ResultImport").importResult(tmp_path / "result", scan, settings=chosen)


def test_an_imported_result_is_seen_only_once_it_is_shown(mrml_lib, a_result):
    assert not a_result.segmentationNode.GetDisplayVisibility()
    mrml_lib("Results").show(a_result, opacity=0.5)
    assert a_result.segmentationNode.GetDisplayVisibility()


def test_of_another_patient_nothing_stays_in_the_views(mrml_lib, a_scene, a_result, another_patients):
    results, heatmap = mrml_lib("Results"), mrml_lib("Heatmap")
    view = a_scene.AddNewNodeByClass("vtkMRMLSliceCompositeNode")
    results.show(a_result, opacity=0.5, showReconstruction=True)
    heatmap.setColourBar(a_result.heatmapNode, True)
    results.show(another_patients, opacity=0.5)
    assert not a_result.segmentationNode.GetDisplayVisibility()
    assert not heatmap.isColourBarShown(a_result.heatmapNode)
    assert (view.GetBackgroundVolumeID(), view.GetForegroundVolumeID()) == (
        another_patients.volumeNode.GetID(),
        another_patients.heatmapNode.GetID(),
    )
    assert another_patients.segmentationNode.GetDisplayVisibility()


@pytest.mark.parametrize("part", ["volumeNode", "tableNode", "segmentationNode"])
def test_a_result_the_user_deleted_a_part_of_is_hidden_too(mrml_lib, a_scene, a_result, another_patients, part):
    results, heatmap = mrml_lib("Results"), mrml_lib("Heatmap")
    a_scene.AddNewNodeByClass("vtkMRMLSliceCompositeNode")
    results.show(a_result, opacity=0.5, showReconstruction=True)
    heatmap.setColourBar(a_result.heatmapNode, True)
    a_scene.RemoveNode(getattr(a_result, part))
    results.show(another_patients, opacity=0.5)
    assert not heatmap.isColourBarShown(a_result.heatmapNode)
    assert part == "segmentationNode" or not a_result.segmentationNode.GetDisplayVisibility()


def test_the_reconstruction_is_shown_behind_and_the_scan_comes_back(mrml_lib, a_scene, a_result):
    results = mrml_lib("Results")
    view = a_scene.AddNewNodeByClass("vtkMRMLSliceCompositeNode")
    results.show(a_result, opacity=0.5, showReconstruction=True)
    assert view.GetBackgroundVolumeID() == a_result.reconstructionNode.GetID()
    results.show(a_result, opacity=0.5)
    assert view.GetBackgroundVolumeID() == a_result.volumeNode.GetID()
    results.show(a_result, opacity=0.5, showReconstruction=True)
    results.hide(a_result)
    assert (view.GetBackgroundVolumeID(), view.GetForegroundVolumeID()) == (a_result.volumeNode.GetID(), None)


def test_the_reconstruction_is_seen_as_the_scan_is(a_result):
    displays = [node.GetDisplayNode() for node in (a_result.reconstructionNode, a_result.volumeNode)]
    assert (displays[0].GetWindow(), displays[0].GetLevel()) == (displays[1].GetWindow(), displays[1].GetLevel())


def test_removing_a_result_leaves_the_scene_as_it_was_before(add_volume, mrml_lib, node_ids, tmp_path):
    save(make_result(OBLIQUE), tmp_path)
    scan = add_volume(make_result(OBLIQUE).prepared.scan.array, OBLIQUE, "t1")
    scan.CreateDefaultDisplayNodes()
    results, settings = mrml_lib("Results"), mrml_lib("Settings").Settings()
    add = mrml_lib("ResultImport").importResult
    results.remove(add(tmp_path, scan, settings=settings))  # leaves what all results share: colour table, tree
    before = node_ids()
    result = add(tmp_path, scan, settings=settings, isPreview=True)
    mrml_lib("Heatmap").setColourBar(result.heatmapNode, True)
    assert before < node_ids()
    results.remove(result)
    results.remove(result)  # a second time does nothing
    assert node_ids() == before


def test_removing_a_result_whose_heatmap_the_user_deleted_takes_the_rest_away(
    a_scene, add_volume, mrml_lib, node_ids, tmp_path
):
    result, _ = add_result(add_volume, mrml_lib, tmp_path)
    a_scene.RemoveNode(result.heatmapNode)
    mrml_lib("Results").remove(result)
    assert result.segmentationNode.GetScene() is result.tableNode.GetScene() is result.recutNode.GetScene() is None
    assert result.volumeNode.GetScene() is a_scene


def test_a_result_without_optional_files_comes_in(add_volume, mrml_lib, tmp_path):
    result, _ = add_result(add_volume, mrml_lib, tmp_path, save_options={"reconstruction": False, "recut": False})
    assert (result.reconstructionNode, result.recutNode) == (None, None)
    assert not mrml_lib("Recut").Recut(result).canRecut


@pytest.mark.parametrize("save_and_load", [reloaded, through_mrb], ids=["mrml", "mrb"])
@pytest.mark.parametrize("transforms", [(), (QUARTER_TURN, TILT)], ids=["none", "nested"])
def test_everything_survives_saving_and_loading_the_scene(add_volume, mrml_lib, a_scene, tmp_path, transforms, save_and_load):
    results, heatmap = mrml_lib("Results"), mrml_lib("Heatmap")
    result, _ = add_result(add_volume, mrml_lib, tmp_path / "result", transforms=transforms)
    results.setKept(result, 1, False)
    heatmap.setThreshold(result.heatmapNode, 0.25)
    heatmap.setColourMap(result.heatmapNode, "Hot")
    heatmap.setColourBar(result.heatmapNode, True)
    summary, findings = result.summary, result.findings
    scene = save_and_load(a_scene, tmp_path / "saved")
    scan = scene.GetFirstNodeByName("t1")
    found = results.findResult(scan, model="t1-inpaint", windowMm=32)
    assert found is not None
    assert found.recutNode.GetText() == result.recutNode.GetText()
    assert (found.summary, found.reconstructionNode.GetName()) == (summary, "t1 reconstruction 32 mm")
    for before, after in zip(findings, found.findings, strict=True):
        assert (after.label, after.name, after.keep) == (before.label, before.name, before.keep)
        assert after.centreRasMm == pytest.approx(before.centreRasMm, abs=1e-3)
        assert after.volumeMl == pytest.approx(before.volumeMl, rel=1e-5)
        assert (after.rightShare, after.darkShare) == pytest.approx((before.rightShare, before.darkShare))
    assert heatmap.threshold(found.heatmapNode) == pytest.approx(0.25)
    assert (heatmap.colourMap(found.heatmapNode), heatmap.isColourBarShown(found.heatmapNode)) == ("Hot", True)
    settings = mrml_lib("Settings").Settings(minVolumeMl=1.0, scale=75.0)
    recut = mrml_lib("Recut").Recut(found)
    kept = found.findings[1].centreRasMm
    assert recut.showSlice(settings, kept) > 0
    recut.apply(settings)
    assert [finding.keep for finding in found.findings] == [False, True]
    scene.Clear(1)


def test_a_result_follows_its_scan_under_another_transform_but_not_once_that_is_hardened(mrml_lib, a_result):
    results = mrml_lib("Results")
    before = a_result.findings[0].centreRasMm
    put_under(a_result.volumeNode, QUARTER_TURN)
    results.show(a_result, opacity=0.5)
    parts = (a_result.heatmapNode, a_result.segmentationNode, a_result.reconstructionNode)
    assert {node.GetTransformNodeID() for node in parts} == {a_result.volumeNode.GetTransformNodeID()}
    moved = (QUARTER_TURN @ [*before, 1])[:3]
    assert a_result.findings[0].centreRasMm == pytest.approx(moved)
    a_result.volumeNode.HardenTransform()
    results.show(a_result, opacity=0.5)
    assert a_result.findings[0].centreRasMm == pytest.approx(moved)
