"""Volumes out of a real MRML scene and results back in, judged by SimpleITK and by world coordinates."""

import numpy as np
import pytest
import SimpleITK as sitk

OBLIQUE = np.array(  # as in conftest: 0.9 × 1.1 × 5 mm, rotated
    [[-0.859803, 0.325072, 0, 7], [-0.265968, -1.05087, 0, -11.5], [0, 0, 5, 3.25], [0, 0, 0, 1.0]]
)
SAGITTAL = np.array([[0, 0, 1.2, -80], [-1, 0, 0, 90], [0, -1, 0, 70], [0, 0, 0, 1.0]])
LEFT_HANDED = np.array([[1, 0, 0, 5], [0, 2, 0, 6], [0, 0, -3, 7], [0, 0, 0, 1.0]])
RAS_TO_LPS = np.diag([-1, -1, 1, 1.0])
FLOAT32_MM = 1e-4  # a NIfTI header keeps float32; at 100 mm that is 1e-5 mm, with room for the rotation


def matrix_of(node):
    import slicer
    import vtk

    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    return slicer.util.arrayFromVTKMatrix(matrix)


def ras_matrix_of(image):
    """Voxel → RAS in mm, from a SimpleITK image."""
    lps = np.eye(4)
    lps[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
    lps[:3, 3] = image.GetOrigin()
    return RAS_TO_LPS @ lps


def put_under(node, *matrices):
    """Nests `node` under linear transforms, innermost first."""
    import slicer

    for matrix in matrices:
        transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
        transform.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(matrix))
        node.SetAndObserveTransformNodeID(transform.GetID())
        node = transform


def import_result(mrml_lib, folder, scan):
    return mrml_lib("ResultImport").importResult(folder, scan, settings=mrml_lib("Settings").Settings())


QUARTER_TURN = np.array([[0, -1, 0, 50], [1, 0, 0, -20], [0, 0, 1, 8], [0, 0, 0, 1.0]])
TILT = np.array([[1, 0, 0, 1], [0, 0.8, -0.6, 2], [0, 0.6, 0.8, 3], [0, 0, 0, 1.0]])


@pytest.mark.parametrize("matrix", [OBLIQUE, SAGITTAL, LEFT_HANDED], ids=["oblique", "sagittal", "left-handed"])
@pytest.mark.parametrize("name", ["scan.nrrd", "Ünser Scan.nii.gz"])
def test_simpleitk_reads_the_same_voxels_at_the_same_place(mrml_lib, add_volume, tmp_path, matrix, name):
    voxels = np.random.default_rng(1).random((4, 5, 6), np.float32)
    mrml_lib("Scene").writeVolume(add_volume(voxels, matrix), tmp_path / name)
    image = sitk.ReadImage(str(tmp_path / name))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image), voxels)
    np.testing.assert_allclose(ras_matrix_of(image), matrix, atol=FLOAT32_MM)


def test_a_scan_under_nested_transforms_is_written_where_it_lies_in_the_world(mrml_lib, a_scan, tmp_path):
    put_under(a_scan, QUARTER_TURN, TILT)
    mrml_lib("Scene").writeVolume(a_scan, tmp_path / "scan.nrrd")
    found = ras_matrix_of(sitk.ReadImage(str(tmp_path / "scan.nrrd")))
    np.testing.assert_allclose(found, TILT @ QUARTER_TURN @ OBLIQUE, atol=FLOAT32_MM)


def test_writing_leaves_the_node_and_the_scene_as_they_were(mrml_lib, a_scan, node_ids, tmp_path):
    put_under(a_scan, QUARTER_TURN)
    before, time = node_ids(), a_scan.GetMTime()
    mrml_lib("Scene").writeVolume(a_scan, tmp_path / "scan.nrrd")
    assert (node_ids(), a_scan.GetMTime(), a_scan.GetStorageNode()) == (before, time, None)


@pytest.mark.parametrize("transforms", [(), (QUARTER_TURN,), (QUARTER_TURN, TILT)], ids=["none", "one", "nested"])
def test_a_result_lies_voxel_on_voxel_on_its_scan(mrml_lib, a_scan, some_anomalies, write_result, tmp_path, transforms):
    import slicer

    put_under(a_scan, *transforms)
    write_result(tmp_path, some_anomalies, like=a_scan)
    result = import_result(mrml_lib, tmp_path, a_scan)
    np.testing.assert_array_equal(matrix_of(result.heatmapNode), matrix_of(a_scan))
    assert result.heatmapNode.GetTransformNodeID() == a_scan.GetTransformNodeID()
    heat = slicer.util.arrayFromVolume(result.heatmapNode)
    np.testing.assert_array_equal(heat, some_anomalies * np.float32(0.4))


@pytest.mark.parametrize("transforms", [(), (QUARTER_TURN, TILT)], ids=["none", "nested"])
def test_segments_cover_the_anomalies_in_world_coordinates(
    mrml_lib, a_scan, some_anomalies, write_result, tmp_path, transforms
):
    put_under(a_scan, *transforms)
    write_result(tmp_path, some_anomalies, like=a_scan)
    node = import_result(mrml_lib, tmp_path, a_scan).segmentationNode
    world = mrml_lib("Scene").worldMatrix(a_scan)
    for label, identifier in enumerate(node.GetSegmentation().GetSegmentIDs(), 1):
        centre = np.argwhere(some_anomalies == label).mean(axis=0)[::-1]
        found = node.GetSegmentCenterRAS(identifier)
        a_slice_mm = 5.0  # Slicer gives the centre of one voxel of the segment, not the mean of all
        np.testing.assert_allclose(found, (world @ [*centre, 1])[:3], atol=a_slice_mm)


def test_a_result_of_nothing_is_an_empty_segmentation(mrml_lib, a_scan, some_anomalies, write_result, tmp_path):
    write_result(tmp_path, some_anomalies * 0, like=a_scan)
    result = import_result(mrml_lib, tmp_path, a_scan)
    assert result.segmentationNode.GetSegmentation().GetNumberOfSegments() == 0
    assert (list(result.findings), result.summary) == ([], "Nothing found")


def test_a_second_result_leaves_the_first_one_alone(mrml_lib, a_scan, some_anomalies, write_result, node_ids, tmp_path):
    import slicer

    write_result(tmp_path, some_anomalies, like=a_scan)
    first = import_result(mrml_lib, tmp_path, a_scan)
    before = node_ids()
    write_result(tmp_path, (some_anomalies > 0).astype(np.int16), like=a_scan)
    second = import_result(mrml_lib, tmp_path, a_scan)
    assert before < node_ids()
    assert first.segmentationNode.GetSegmentation().GetNumberOfSegments() == 2
    np.testing.assert_array_equal(slicer.util.arrayFromVolume(first.heatmapNode), some_anomalies * np.float32(0.4))
    assert {first.heatmapNode.GetName(), first.segmentationNode.GetName()}.isdisjoint(
        {second.heatmapNode.GetName(), second.segmentationNode.GetName()}
    )


def spoil_anomalies(folder):
    (folder / "anomalies.nii.gz").write_bytes(b"not an image")


def spoil_findings(folder):
    (folder / "findings.csv").write_text("label\n1\n", encoding="utf-8")


def forget_heatmap(folder):
    (folder / "heatmap.nii.gz").unlink()


@pytest.mark.parametrize("spoil", [spoil_anomalies, spoil_findings, forget_heatmap])
def test_a_damaged_result_changes_nothing(mrml_lib, a_scan, some_anomalies, write_result, node_ids, tmp_path, spoil, capfd):
    write_result(tmp_path, some_anomalies, like=a_scan)
    spoil(tmp_path)
    before = node_ids()
    with pytest.raises(ValueError, match="run the detection again"):
        import_result(mrml_lib, tmp_path, a_scan)
    assert node_ids() == before


def test_a_failure_half_way_takes_back_what_was_added(
    mrml_lib, a_scan, some_anomalies, write_result, node_ids, tmp_path, monkeypatch
):
    write_result(tmp_path, some_anomalies, like=a_scan)
    before = node_ids()

    def fail(*_):
        raise RuntimeError("no table today")

    monkeypatch.setattr(mrml_lib("Findings"), "fillTable", fail)
    with pytest.raises(RuntimeError, match="no table today"):
        import_result(mrml_lib, tmp_path, a_scan)
    assert node_ids() == before


def test_a_result_of_another_scan_is_refused(mrml_lib, a_scan, add_volume, some_anomalies, write_result, tmp_path):
    moved = OBLIQUE.copy()
    moved[0, 3] += 0.5  # half a millimetre off
    write_result(tmp_path, some_anomalies, like=add_volume(some_anomalies, moved))
    with pytest.raises(mrml_lib("Scene").SceneError, match="does not lie on the grid of 'a scan'"):
        import_result(mrml_lib, tmp_path, a_scan)


def test_a_scan_under_a_bending_transform_is_refused_with_the_remedy(mrml_lib, a_scan, a_scene):
    bend = a_scene.AddNewNodeByClass("vtkMRMLBSplineTransformNode")
    put_under(a_scan, QUARTER_TURN)
    a_scan.GetParentTransformNode().SetAndObserveTransformNodeID(bend.GetID())  # also when it is further up
    with pytest.raises(mrml_lib("Scene").SceneError, match="non-linear transform; harden it"):
        mrml_lib("Scene").checkScan(a_scan)


def test_a_sheared_scan_is_refused_with_the_remedy(mrml_lib, a_scan):
    shear = np.eye(4)
    shear[0, 1] = 0.1
    put_under(a_scan, shear)
    with pytest.raises(mrml_lib("Scene").SceneError, match="right angles; resample"):
        mrml_lib("Scene").checkScan(a_scan)


def test_what_is_no_scan_is_refused(mrml_lib, add_volume, a_scene, some_anomalies):
    scene = mrml_lib("Scene")
    labelmap = add_volume(some_anomalies, OBLIQUE, "labels", "vtkMRMLLabelMapVolumeNode")
    colour = add_volume(np.zeros((4, 5, 6, 3), np.uint8), OBLIQUE, "a photo", "vtkMRMLVectorVolumeNode")
    flat = add_volume(np.zeros((1, 5, 6), np.uint8), OBLIQUE, "one slice")
    empty = a_scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "empty")
    for node, reason in (
        (None, "Choose a volume"),
        (labelmap, "is a labelmap"),
        (colour, "several values per voxel"),
        (flat, "no 3-D image"),
        (empty, "no 3-D image"),
    ):
        with pytest.raises(scene.SceneError, match=reason):
            scene.checkScan(node)
