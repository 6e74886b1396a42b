"""Segments: one per anomaly, tied to the scan, and back to the same labelmap."""

import numpy as np
import pytest
import SimpleITK as sitk


def import_result(mrml_lib, folder, scan):
    return mrml_lib("ResultImport").importResult(folder, scan, settings=mrml_lib("Settings").Settings())


@pytest.fixture
def a_segmentation(mrml_lib, a_scan, some_anomalies, write_result, tmp_path):
    """Of two anomalies."""
    write_result(tmp_path / "result", some_anomalies, like=a_scan)
    return import_result(mrml_lib, tmp_path / "result", a_scan).segmentationNode


def voxels_of(node):
    import slicer

    return slicer.util.arrayFromVolume(node)


def test_every_anomaly_is_one_named_segment_in_one_layer(a_segmentation):
    segmentation = a_segmentation.GetSegmentation()
    names = [segmentation.GetSegment(identifier).GetName() for identifier in segmentation.GetSegmentIDs()]
    assert names == ["Anomaly 1", "Anomaly 2"]
    assert segmentation.GetNumberOfLayers() == 1


def test_the_segmentation_refers_to_its_scan(a_segmentation, a_scan):
    import slicer

    role = slicer.vtkMRMLSegmentationNode.GetReferenceImageGeometryReferenceRole()
    assert a_segmentation.GetNodeReference(role) is a_scan
    name = slicer.vtkSegmentationConverter.GetReferenceImageGeometryParameterName()
    assert a_segmentation.GetSegmentation().GetConversionParameter(name) != ""


def test_the_segmentation_joins_the_study_of_its_scan(mrml_lib, a_scene, a_scan, some_anomalies, write_result, tmp_path):
    import slicer

    tree = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(a_scene)
    study = tree.CreateStudyItem(tree.GetSceneItemID(), "a study")
    tree.CreateItem(study, a_scan)
    write_result(tmp_path, some_anomalies, like=a_scan)
    node = import_result(mrml_lib, tmp_path, a_scan).segmentationNode
    assert tree.GetItemParent(tree.GetItemByDataNode(node)) == study


def test_an_export_gives_the_labelmap_back(mrml_lib, a_segmentation, a_scan, some_anomalies):
    exported = mrml_lib("SegmentExport").exportLabelmap(a_segmentation, a_scan)
    np.testing.assert_array_equal(voxels_of(exported), some_anomalies)


def test_simpleitk_sees_the_export_on_the_grid_of_the_scan(mrml_lib, a_segmentation, a_scan, tmp_path):
    exported = mrml_lib("SegmentExport").exportLabelmap(a_segmentation, a_scan)
    images = []
    for node, name in ((exported, "labels.nii.gz"), (a_scan, "scan.nii.gz")):
        mrml_lib("Scene").writeVolume(node, tmp_path / name)
        images.append(sitk.ReadImage(str(tmp_path / name)))
    for aspect in ("GetSize", "GetSpacing", "GetOrigin", "GetDirection"):
        assert getattr(images[0], aspect)() == getattr(images[1], aspect)(), aspect


def test_values_survive_the_removal_of_a_segment(mrml_lib, a_segmentation, a_scan, some_anomalies):
    a_segmentation.GetSegmentation().RemoveSegment(a_segmentation.GetSegmentation().GetNthSegmentID(0))
    exported = mrml_lib("SegmentExport").exportLabelmap(a_segmentation, a_scan)
    np.testing.assert_array_equal(voxels_of(exported), np.where(some_anomalies == 2, 2, 0))


def test_values_survive_a_new_name(mrml_lib, a_segmentation, a_scan, some_anomalies):
    a_segmentation.GetSegmentation().GetNthSegment(1).SetName("resection cavity")
    exported = mrml_lib("SegmentExport").exportLabelmap(a_segmentation, a_scan)
    np.testing.assert_array_equal(voxels_of(exported), some_anomalies)
    assert exported.GetDisplayNode().GetColorNode().GetColorName(2) == "resection cavity"


def test_a_segment_of_the_users_own_gets_a_free_value(mrml_lib, a_segmentation):
    own = a_segmentation.GetSegmentation().AddEmptySegment("", "mine")
    assert mrml_lib("SegmentExport").labelValues(a_segmentation)[own] == 3


def test_a_copied_segment_does_not_share_its_value(mrml_lib, a_segmentation):
    segmentation = a_segmentation.GetSegmentation()
    copy = segmentation.GetSegment(segmentation.AddEmptySegment("", "a copy"))
    copy.SetTag(mrml_lib("Segments").LABEL_TAG, "1")  # tags are copied along
    assert list(mrml_lib("SegmentExport").labelValues(a_segmentation).values()) == [1, 2, 3]


def test_two_segments_of_one_name_are_refused_by_that_name(mrml_lib, a_segmentation, a_scan, node_ids):
    a_segmentation.GetSegmentation().GetNthSegment(1).SetName("Anomaly 1")
    before = node_ids()
    with pytest.raises(mrml_lib("Segments").SegmentsError, match="'Anomaly 1'"):
        mrml_lib("SegmentExport").exportLabelmap(a_segmentation, a_scan)
    assert node_ids() == before


def test_nothing_found_exports_as_zeros_on_the_grid_of_the_scan(mrml_lib, a_scan, some_anomalies, write_result, tmp_path):
    write_result(tmp_path, some_anomalies * 0, like=a_scan)
    node = import_result(mrml_lib, tmp_path, a_scan).segmentationNode
    exported = mrml_lib("SegmentExport").exportLabelmap(node, a_scan)
    assert voxels_of(exported).shape == some_anomalies.shape
    assert not voxels_of(exported).any()
    assert exported.GetSpacing() == a_scan.GetSpacing()


def test_segments_of_the_user_stay_as_they_are(mrml_lib, a_scene, a_scan, some_anomalies, write_result, tmp_path):
    own = a_scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "mine")
    own.GetSegmentation().AddEmptySegment("", "cyst")
    time = own.GetSegmentation().GetMTime()
    write_result(tmp_path, some_anomalies, like=a_scan)
    import_result(mrml_lib, tmp_path, a_scan)
    assert own.GetSegmentation().GetMTime() == time


def test_a_discarded_segment_is_hidden_and_left_out_of_the_export(mrml_lib, a_segmentation, a_scan, some_anomalies):
    segments = mrml_lib("Segments")
    segments.setDiscarded(a_segmentation, 1, True)
    identifier = segments.segmentIds(a_segmentation)[1]
    assert not a_segmentation.GetDisplayNode().GetSegmentVisibility(identifier)
    np.testing.assert_array_equal(
        voxels_of(mrml_lib("SegmentExport").exportLabelmap(a_segmentation, a_scan)), np.where(some_anomalies == 2, 2, 0)
    )
    segments.setDiscarded(a_segmentation, 1, False)
    assert a_segmentation.GetDisplayNode().GetSegmentVisibility(identifier)
    np.testing.assert_array_equal(voxels_of(mrml_lib("SegmentExport").exportLabelmap(a_segmentation, a_scan)), some_anomalies)


def test_the_value_of_a_discarded_segment_is_given_to_no_other(mrml_lib, a_segmentation):
    segments = mrml_lib("Segments")
    own = a_segmentation.GetSegmentation().AddEmptySegment("", "mine")
    segments.setDiscarded(a_segmentation, 2, True)
    assert mrml_lib("SegmentExport").labelValues(a_segmentation) == {segments.segmentIds(a_segmentation)[1]: 1, own: 3}


def test_discarding_what_is_not_there_does_nothing(mrml_lib, a_segmentation):
    time = a_segmentation.GetSegmentation().GetMTime()
    mrml_lib("Segments").setDiscarded(a_segmentation, 7, True)
    assert a_segmentation.GetSegmentation().GetMTime() == time


@pytest.mark.parametrize("count", [0, 1, 2, 5])
def test_new_labels_replace_the_segments_in_one_layer(mrml_lib, a_segmentation, a_scan, some_anomalies, count):
    segments = mrml_lib("Segments")
    labels = np.zeros_like(some_anomalies)
    for label in range(1, count + 1):
        labels[label : label + 2, 2 * label, 3:9] = label
    segments.setLabels(a_segmentation, labels, mrml_lib("Scene").gridIn(a_segmentation, a_scan))
    np.testing.assert_array_equal(voxels_of(mrml_lib("SegmentExport").exportLabelmap(a_segmentation, a_scan)), labels)
    assert list(segments.segmentIds(a_segmentation)) == list(range(1, count + 1))
    assert a_segmentation.GetSegmentation().GetNumberOfLayers() == min(count, 1)


def test_new_labels_take_away_names_and_marks_of_the_old(mrml_lib, a_segmentation, a_scan, some_anomalies):
    segments = mrml_lib("Segments")
    segments.setDiscarded(a_segmentation, 1, True)
    segment = a_segmentation.GetSegmentation().GetNthSegment(0)
    segment.SetName("cyst")
    segments.setLabels(a_segmentation, some_anomalies, mrml_lib("Scene").gridIn(a_segmentation, a_scan), {2})
    assert segment.GetName() == "Anomaly 1"
    found = [segments.isDiscarded(a_segmentation.GetSegmentation().GetNthSegment(number)) for number in range(2)]
    assert found == [False, True]


def test_a_label_is_discarded_when_most_of_it_was(mrml_lib, a_segmentation, a_scan, some_anomalies):
    segments = mrml_lib("Segments")
    matrix = mrml_lib("Scene").gridIn(a_segmentation, a_scan)
    assert segments.discardedIn(a_segmentation, some_anomalies, matrix) == set()
    segments.setDiscarded(a_segmentation, 2, True)  # rows 10 to 14 of slices 7 and 8
    labels = np.zeros_like(some_anomalies)
    labels[7:9, 8:13, 5:8] = 1  # three of its five rows
    labels[7:9, 13:18, 5:8] = 2  # two of its five
    labels[2:4, 3:6, 5:8] = 3
    assert segments.discardedIn(a_segmentation, labels, matrix) == {1}


def test_a_discarded_segment_that_was_edited_on_another_grid_still_counts(mrml_lib, a_segmentation, a_scan, some_anomalies):
    segments = mrml_lib("Segments")
    matrix = mrml_lib("Scene").gridIn(a_segmentation, a_scan)
    fine = matrix @ np.diag([0.5, 0.5, 0.5, 1])
    fine[:3, 3] -= 0.25 * matrix[:3, :3].sum(axis=1)
    doubled = some_anomalies.repeat(2, 0).repeat(2, 1).repeat(2, 2)
    segments.setLabels(a_segmentation, doubled, fine, {2})
    assert segments.discardedIn(a_segmentation, some_anomalies, matrix) == {2}
