"""Files and nodes that leave the module, read back with SimpleITK, csv and Slicer's own readers."""

import csv
import types

import numpy as np
import pytest
import SimpleITK as sitk
from known_result import OBLIQUE, QUARTER_TURN, SAGITTAL, TILT, add_result, paint

pytestmark = pytest.mark.usefixtures("slicers_modules")


@pytest.fixture
def export(mrml_lib):
    return mrml_lib("Export")


@pytest.fixture
def a_pair(add_volume, mrml_lib, tmp_path):
    return add_result(add_volume, mrml_lib, tmp_path / "result")


@pytest.fixture
def a_result(a_pair):
    return a_pair[0]


@pytest.fixture
def writers(export):
    """Every way to a file, by the file's ending."""
    return {
        ".nii.gz": export.writeLabelmap,
        ".nrrd": export.writeLabelmap,
        ".seg.nrrd": export.writeSegmentation,
        ".csv": export.writeFindings,
    }


def rows_of(path):
    return list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))


ENDINGS = (".nii.gz", ".nrrd", ".seg.nrrd", ".csv")


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd"])
@pytest.mark.parametrize("matrix", [OBLIQUE, SAGITTAL], ids=["oblique", "sagittal"])
@pytest.mark.parametrize("transforms", [(), (QUARTER_TURN, TILT)], ids=["none", "nested"])
def test_a_labelmap_file_has_the_values_on_the_grid_of_the_scans_file(
    export, add_volume, mrml_lib, tmp_path, suffix, matrix, transforms
):
    import slicer

    result, truth = add_result(add_volume, mrml_lib, tmp_path / "result", matrix=matrix, transforms=transforms)
    path = export.writeLabelmap(result, tmp_path / f"Ünser Kopf{suffix}")
    image = sitk.ReadImage(str(path))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image), truth.labelmap.array)
    storage = slicer.vtkMRMLVolumeArchetypeStorageNode()
    storage.SetFileName(str(tmp_path / f"scan{suffix}"))
    assert storage.WriteData(result.volumeNode)
    scan = sitk.ReadImage(str(tmp_path / f"scan{suffix}"))
    for aspect in ("GetSize", "GetSpacing", "GetOrigin", "GetDirection"):
        assert getattr(image, aspect)() == pytest.approx(getattr(scan, aspect)()), aspect


def test_discarded_findings_leave_every_export(export, mrml_lib, a_pair, tmp_path):
    import slicer

    result, truth = a_pair
    mrml_lib("Results").setKept(result, 1, False)
    expected = np.where(truth.labelmap.array == 2, 2, 0)
    np.testing.assert_array_equal(slicer.util.arrayFromVolume(export.exportLabelmap(result)), expected)
    for suffix, write in ((".nrrd", export.writeLabelmap), (".seg.nrrd", export.writeSegmentation)):
        image = sitk.ReadImage(str(write(result, tmp_path / f"out{suffix}")))
        np.testing.assert_array_equal(sitk.GetArrayFromImage(image), expected)
    rows = rows_of(export.writeFindings(result, tmp_path / "out.csv"))
    assert [row["label"] for row in rows] == ["2"]


def test_a_segmentation_file_is_read_again_with_names_colours_and_grid(export, a_scene, a_pair, tmp_path):
    import slicer

    result, truth = a_pair
    segmentation = result.segmentationNode.GetSegmentation()
    segmentation.GetNthSegment(1).SetName("cyst")
    path = export.writeSegmentation(result, tmp_path / "out.seg.nrrd")
    np.testing.assert_array_equal(sitk.GetArrayFromImage(sitk.ReadImage(str(path))), truth.labelmap.array)
    found = a_scene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    storage = slicer.vtkMRMLSegmentationStorageNode()
    storage.SetFileName(str(path))
    assert storage.ReadData(found)
    read = [found.GetSegmentation().GetNthSegment(number) for number in range(2)]
    assert [segment.GetName() for segment in read] == ["Anomaly 1", "cyst"]
    for segment, original in zip(read, (segmentation.GetNthSegment(0), segmentation.GetNthSegment(1)), strict=True):
        assert segment.GetColor() == pytest.approx(original.GetColor(), abs=1e-4)


def test_the_users_own_segments_are_exported_too(export, mrml_lib, a_pair, tmp_path):
    result, truth = a_pair
    own = result.segmentationNode.GetSegmentation().AddEmptySegment("", "mine")
    mask = np.zeros(truth.labelmap.array.shape, bool)
    mask[20:22, 30:35, 3:9] = True
    paint(result.segmentationNode, own, mask, result.volumeNode)
    image = sitk.ReadImage(str(export.writeLabelmap(result, tmp_path / "out.nrrd")))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image), np.where(mask, 3, truth.labelmap.array))


def test_the_csv_equals_the_table(export, a_result, tmp_path):
    rows = rows_of(export.writeFindings(a_result, tmp_path / "out.csv"))
    table = a_result.tableNode.GetTable()
    assert len(rows) == table.GetNumberOfRows() == 2
    for number, row in enumerate(rows):
        cells = {name: table.GetColumnByName(name).GetVariantValue(number) for name in row}
        assert row.pop("name") == cells.pop("name").ToString()
        assert {name: float(text) for name, text in row.items()} == {name: cell.ToDouble() for name, cell in cells.items()}


def test_nothing_found_is_exported_as_zeros_and_an_empty_table(export, mrml_lib, a_result, tmp_path):
    for label in (1, 2):
        mrml_lib("Results").setKept(a_result, label, False)
    image = sitk.ReadImage(str(export.writeLabelmap(a_result, tmp_path / "out.nii.gz")))
    assert not sitk.GetArrayFromImage(image).any()
    assert len(export.writeFindings(a_result, tmp_path / "out.csv").read_text(encoding="utf-8").splitlines()) == 1


@pytest.mark.parametrize("suffix", ENDINGS)
def test_a_file_is_replaced_only_when_that_is_allowed(export, writers, a_result, tmp_path, suffix):
    path = tmp_path / f"out{suffix}"
    path.write_text("the user's own", encoding="utf-8")
    with pytest.raises(export.ExportError, match="exists already"):
        writers[suffix](a_result, path)
    assert path.read_text(encoding="utf-8") == "the user's own"
    writers[suffix](a_result, path, overwrite=True)
    assert b"the user's own" not in path.read_bytes()


@pytest.mark.parametrize("suffix", ENDINGS)
def test_writing_leaves_scene_and_folder_as_they_were(writers, a_result, node_ids, tmp_path, suffix):
    (tmp_path / "out").mkdir()
    before = node_ids()
    writers[suffix](a_result, tmp_path / "out" / f"found{suffix}")
    assert node_ids() == before
    assert [path.name for path in (tmp_path / "out").iterdir()] == [f"found{suffix}"]


@pytest.mark.parametrize("suffix", ENDINGS)
def test_a_folder_that_is_not_there_or_a_wrong_ending_is_told(export, writers, a_result, node_ids, tmp_path, suffix):
    before = node_ids()
    with pytest.raises(export.ExportError, match="choose another folder"):
        writers[suffix](a_result, tmp_path / "nowhere" / f"found{suffix}")
    with pytest.raises(export.ExportError, match="must end in"):
        writers[suffix](a_result, tmp_path / "found.txt")
    assert node_ids() == before


def test_an_exported_node_lies_with_the_scan_and_is_a_new_one_each_time(export, add_volume, mrml_lib, tmp_path):
    result, _ = add_result(add_volume, mrml_lib, tmp_path, transforms=(QUARTER_TURN,))
    nodes = [export.exportLabelmap(result) for _ in range(2)]
    assert nodes[0].GetName() != nodes[1].GetName()
    assert {node.GetTransformNodeID() for node in nodes} == {result.volumeNode.GetTransformNodeID()}


def test_a_proposed_name_can_be_a_file_name(export, a_result):
    a_result.segmentationNode.SetName('T1: "post/op" ')
    assert export.fileName(a_result, ".nii.gz") == "T1_ _post_op_.nii.gz"
    a_result.segmentationNode.SetName("..")
    assert export.fileName(a_result, ".csv") == "anomalies.csv"


class FakePlugin:
    """Plays QuantitativeReporting's exporter: writes one file per exportable, or refuses."""

    problem = ""
    seen = None

    def examineForExport(self, item):
        import slicer

        tree = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
        FakePlugin.seen = list(tree.GetItemDataNode(item).GetSegmentation().GetSegmentIDs())
        return [types.SimpleNamespace(directory="")]

    def export(self, exportables):
        from pathlib import Path

        if not self.problem:
            for exportable in exportables:
                (Path(exportable.directory) / "subject_hierarchy_export.SEG.dcm").write_bytes(b"DICM")
        return self.problem


@pytest.fixture
def dicom(a_scene, a_result, monkeypatch):
    """The scan came from DICOM, and the exporter is installed."""
    import slicer

    tree = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(a_scene)
    tree.CreateItem(tree.CreateStudyItem(tree.GetSceneItemID(), "a study"), a_result.volumeNode)
    a_result.volumeNode.SetAttribute("DICOM.instanceUIDs", "1.2.3 1.2.4")
    modules = types.SimpleNamespace(dicomPlugins={"DICOMSegmentationPlugin": FakePlugin})
    monkeypatch.setattr(slicer, "modules", modules, raising=False)
    return modules


def test_dicom_is_refused_with_the_remedy(export, dicom, a_result, tmp_path):
    dicom.dicomPlugins = {}
    assert "QuantitativeReporting" in export.whyNoDicom(a_result)
    a_result.volumeNode.RemoveAttribute("DICOM.instanceUIDs")
    assert "not loaded from DICOM" in export.whyNoDicom(a_result)
    with pytest.raises(export.ExportError, match="not loaded from DICOM"):
        export.writeDicom(a_result, tmp_path)


def test_dicom_segmentations_hold_what_is_kept_and_never_replace_a_file(export, mrml_lib, dicom, a_result, node_ids, tmp_path):
    mrml_lib("Results").setKept(a_result, 1, False)
    assert export.whyNoDicom(a_result) == ""
    (tmp_path / "out").mkdir()
    before = node_ids()
    files = [export.writeDicom(a_result, tmp_path / "out") for _ in range(2)]
    assert node_ids() == before
    assert FakePlugin.seen == ["Anomaly_2"]
    assert len({*files[0], *files[1]}) == len(list((tmp_path / "out").iterdir())) == 2


def test_what_the_dicom_exporter_says_reaches_the_user(export, dicom, a_result, node_ids, tmp_path, monkeypatch):
    monkeypatch.setattr(FakePlugin, "problem", "no database")
    before = node_ids()
    with pytest.raises(export.ExportError, match=r"no database.*seg\.nrrd"):
        export.writeDicom(a_result, tmp_path)
    assert node_ids() == before
