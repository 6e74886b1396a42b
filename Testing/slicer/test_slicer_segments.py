"""Segments: one per anomaly, tied to the scan, and back to the same labelmap."""

import numpy as np
import pytest
import SimpleITK as sitk


@pytest.fixture
def a_segmentation(mrml_lib, a_scan, some_anomalies, write_result, tmp_path):
    """Of two anomalies."""
    write_result(tmp_path / "result", some_anomalies, like=a_scan)
    return mrml_lib("Scene").importResult(tmp_path / "result", a_scan).segmentationNode


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
    node = mrml_lib("Scene").importResult(tmp_path, a_scan).segmentationNode
    assert tree.GetItemParent(tree.GetItemByDataNode(node)) == study


def test_an_export_gives_the_labelmap_back(mrml_lib, a_segmentation, a_scan, some_anomalies):
    exported = mrml_lib("Segments").exportLabelmap(a_segmentation, a_scan)
    np.testing.assert_array_equal(voxels_of(exported), some_anomalies)


def test_simpleitk_sees_the_export_on_the_grid_of_the_scan(mrml_lib, a_segmentation, a_scan, tmp_path):
    exported = mrml_lib("Segments").exportLabelmap(a_segmentation, a_scan)
    images = []
    for node, name in ((exported, "labels.nii.gz"), (a_scan, "scan.nii.gz")):
        mrml_lib("Scene").writeVolume(node, tmp_path / name)
        images.append(sitk.ReadImage(str(tmp_path / name)))
    for aspect in ("GetSize", "GetSpacing", "GetOrigin", "GetDirection"):
        assert getattr(images[0], aspect)() == getattr(images[1], aspect)(), aspect


def test_values_survive_the_removal_of_a_segment(mrml_lib, a_segmentation, a_scan, some_anomalies):
    a_segmentation.GetSegmentation().RemoveSegment(a_segmentation.GetSegmentation().GetNthSegmentID(0))
    exported = mrml_lib("Segments").exportLabelmap(a_segmentation, a_scan)
    np.testing.assert_array_equal(voxels_of(exported), np.where(some_anomalies == 2, 2, 0))


def test_values_survive_a_new_name(mrml_lib, a_segmentation, a_scan, some_anomalies):
    a_segmentation.GetSegmentation().GetNthSegment(1).SetName("resection cavity")
    exported = mrml_lib("Segments").exportLabelmap(a_segmentation, a_scan)
    np.testing.assert_array_equal(voxels_of(exported), some_anomalies)
    assert exported.GetDisplayNode().GetColorNode().GetColorName(2) == "resection cavity"


def test_a_segment_of_the_users_own_gets_a_free_value(mrml_lib, a_segmentation):
    own = a_segmentation.GetSegmentation().AddEmptySegment("", "mine")
    assert mrml_lib("Segments").labelValues(a_segmentation)[own] == 3


def test_a_copied_segment_does_not_share_its_value(mrml_lib, a_segmentation):
    segmentation = a_segmentation.GetSegmentation()
    copy = segmentation.GetSegment(segmentation.AddEmptySegment("", "a copy"))
    copy.SetTag(mrml_lib("Segments").LABEL_TAG, "1")  # tags are copied along
    assert list(mrml_lib("Segments").labelValues(a_segmentation).values()) == [1, 2, 3]


def test_two_segments_of_one_name_are_refused_by_that_name(mrml_lib, a_segmentation, a_scan, node_ids):
    a_segmentation.GetSegmentation().GetNthSegment(1).SetName("Anomaly 1")
    before = node_ids()
    with pytest.raises(mrml_lib("Segments").SegmentsError, match="'Anomaly 1'"):
        mrml_lib("Segments").exportLabelmap(a_segmentation, a_scan)
    assert node_ids() == before


def test_nothing_found_exports_as_zeros_on_the_grid_of_the_scan(mrml_lib, a_scan, some_anomalies, write_result, tmp_path):
    write_result(tmp_path, some_anomalies * 0, like=a_scan)
    node = mrml_lib("Scene").importResult(tmp_path, a_scan).segmentationNode
    exported = mrml_lib("Segments").exportLabelmap(node, a_scan)
    assert voxels_of(exported).shape == some_anomalies.shape
    assert not voxels_of(exported).any()
    assert exported.GetSpacing() == a_scan.GetSpacing()


def test_segments_of_the_user_stay_as_they_are(mrml_lib, a_scene, a_scan, some_anomalies, write_result, tmp_path):
    own = a_scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "mine")
    own.GetSegmentation().AddEmptySegment("", "cyst")
    time = own.GetSegmentation().GetMTime()
    write_result(tmp_path, some_anomalies, like=a_scan)
    mrml_lib("Scene").importResult(tmp_path, a_scan)
    assert own.GetSegmentation().GetMTime() == time
