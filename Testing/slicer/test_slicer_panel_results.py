"""What the panel lets the user do with a result: keep, look at, export; and the packages behind it all."""

import types

import numpy as np
import pytest


def cells(table, column):
    return [table.item(row, column).text() for row in range(table.rowCount)]


@pytest.fixture
def save_as(a_result):
    """What the user answers to file dialogues: paths, one after the other."""
    import qt

    return qt.QFileDialog.answers


def test_one_row_per_finding_with_name_volume_and_heat(ui, a_result):
    table = ui.findingsTable
    assert cells(table, 1) == ["Anomaly 1", "Anomaly 2"]
    assert cells(table, 2) == ["0.1", "0.2"]
    assert cells(table, 4) == ["0.100", "0.200"]
    assert cells(table, 5) == ["0.300", "0.300"]
    assert "R 31 A -12 S 44" in table.item(0, 1).toolTip()


def test_side_and_darkness_are_shown_and_stay_when_a_finding_is_discarded(ui, a_scan, run, an_answer):
    import qt

    def told_by_todays_core(folder):
        an_answer(folder)
        rows = "1,0.1,0.96,0.124\n2,0.2,0.38,1.0\n"
        (folder / "findings.csv").write_text("label,volume_ml,right_share,dark_share\n" + rows, encoding="utf-8")

    table = ui.findingsTable
    ui.scanSelector.setCurrentNode(a_scan)
    run()(answer=told_by_todays_core)
    assert [table.horizontalHeaderItem(column).text() for column in (3, 6)] == ["Side", "Dark\n(%)"]
    assert (cells(table, 3), cells(table, 6)) == (["right", "both"], ["12", "100"])
    assert table.item(1, 3).toolTip() == "38 % of it lies right of the brain's middle, 62 % left; sides are the patient's."
    assert table.item(0, 6).toolTip().startswith("12 % of it is as dark as fluid, as ventricles")
    table.item(0, 0).setCheckState(qt.Qt.Unchecked)
    assert (cells(table, 3), cells(table, 6)) == (["right", "both"], ["12", "100"])


def test_a_result_that_does_not_tell_side_and_darkness_leaves_them_empty(ui, a_result):
    table = ui.findingsTable
    assert cells(table, 3) == cells(table, 6) == ["", ""]
    assert {table.item(row, column).toolTip() for row in (0, 1) for column in (3, 6)} == {
        "This result does not tell; run the detection again to know."
    }


def test_selecting_a_row_moves_the_slice_views_there(a_scene, ui, a_result):
    view = a_scene.AddNewNodeByClass("vtkMRMLSliceNode")
    ui.findingsTable.selectRow(1)
    assert round(view.GetSliceToRAS().GetElement(2, 3)) == 44
    view.JumpSlice(0, 0, 0)
    ui.findingsTable.cellClicked.emit(1, 2)  # the row that is selected already, again
    assert round(view.GetSliceToRAS().GetElement(2, 3)) == 44


def test_a_discarded_finding_leaves_summary_and_export_and_can_come_back(ui, a_result, some_anomalies, a_module):
    import qt
    import slicer

    ui.findingsTable.item(0, 0).setCheckState(qt.Qt.Unchecked)
    assert ui.statusLabel.text.startswith("1 anomaly, 0.2 ml")
    exported = a_module.logic.exportLabelmap(a_result)
    np.testing.assert_array_equal(slicer.util.arrayFromVolume(exported), np.where(some_anomalies == 2, 2, 0))
    ui.findingsTable.item(0, 0).setCheckState(qt.Qt.Checked)
    assert ui.statusLabel.text.startswith("2 anomalies")


def test_the_table_keeps_its_place_while_findings_are_ticked(ui, a_result):
    import qt

    ui.findingsTable.selectRow(1)
    ui.findingsTable.item(1, 0).setCheckState(qt.Qt.Unchecked)
    assert ui.findingsTable.currentRow() == 1


def test_segments_table_and_3d_button_get_the_segmentation(ui, a_result):
    assert ui.segmentsTable.segmentationNode() is a_result.segmentationNode
    assert ui.show3DButton.segmentationNode() is a_result.segmentationNode
    assert ui.show3DButton.enabled


def test_a_result_without_reconstruction_says_so(ui, a_result):
    assert not ui.reconstructionCheckBox.enabled
    assert "rebuilds nothing" in ui.reconstructionCheckBox.toolTip


def test_the_reconstruction_comes_in_place_of_the_scan_and_goes(
    a_scene, a_scan, ui, run, write_result, some_anomalies, add_volume, mrml_lib
):
    view = a_scene.AddNewNodeByClass("vtkMRMLSliceCompositeNode")

    def answer(folder):
        write_result(folder, some_anomalies, like=a_scan)
        expected = add_volume(some_anomalies * np.float32(100), mrml_lib("Scene").worldMatrix(a_scan), "expected")
        mrml_lib("Scene").writeVolume(expected, folder / "reconstruction.nii.gz")

    ui.scanSelector.setCurrentNode(a_scan)
    run()(answer=answer)
    assert view.GetBackgroundVolumeID() == a_scan.GetID()
    ui.reconstructionCheckBox.checked = True
    assert "reconstruction" in a_scene.GetNodeByID(view.GetBackgroundVolumeID()).GetName()
    ui.reconstructionCheckBox.checked = False
    assert view.GetBackgroundVolumeID() == a_scan.GetID()


def test_nothing_can_be_exported_before_there_is_a_result(ui):
    for name in ("Node", "Labelmap", "Segmentation", "Dicom", "Table"):
        button = getattr(ui, f"export{name}Button")
        assert not button.enabled
        assert "no result yet" in button.toolTip


def test_export_uses_the_scan_of_the_result_and_waits_while_another_is_chosen(
    a_scene, a_scan, ui, a_result, add_volume, some_anomalies
):
    import slicer

    ui.scanSelector.setCurrentNode(add_volume(np.ones((3, 4, 5), np.float32), name="another"))
    assert not ui.exportNodeButton.enabled
    ui.scanSelector.setCurrentNode(a_scan)
    ui.exportNodeButton.click()
    exported = a_scene.GetFirstNodeByClass("vtkMRMLLabelMapVolumeNode")
    np.testing.assert_array_equal(slicer.util.arrayFromVolume(exported), some_anomalies)
    assert exported.GetName() in ui.statusLabel.text


@pytest.mark.parametrize(
    ("button", "name", "added"),
    [
        ("exportLabelmapButton", "labels.nrrd", ""),
        ("exportLabelmapButton", "labels é", ".nii.gz"),
        ("exportSegmentationButton", "segments", ".seg.nrrd"),
        ("exportTableButton", "findings", ".csv"),
    ],
)
def test_files_are_written_where_the_user_says(ui, save_as, tmp_path, button, name, added):
    save_as.append(tmp_path / name)
    getattr(ui, button).click()
    assert (tmp_path / (name + added)).stat().st_size > 0
    assert name in ui.statusLabel.text


def test_a_file_that_the_dialogue_could_not_ask_about_is_asked_about(ui, save_as, tmp_path):
    import slicer

    there = tmp_path / "findings.csv"
    there.write_text("mine", encoding="utf-8")
    slicer.app.answers += [False, True]
    save_as += [tmp_path / "findings", tmp_path / "findings"]
    ui.exportTableButton.click()
    assert there.read_text(encoding="utf-8") == "mine"
    ui.exportTableButton.click()
    assert there.read_text(encoding="utf-8").startswith("label")
    assert slicer.app.questions == ["'findings.csv' is there already. Replace it?"] * 2


def test_a_cancelled_dialogue_writes_nothing(ui, a_result):
    before = ui.statusLabel.text
    ui.exportTableButton.click()
    assert ui.statusLabel.text == before


def test_a_file_that_cannot_be_written_is_told(a_module, ui, save_as, tmp_path):
    import slicer

    save_as.append(tmp_path / "missing" / "findings.csv")
    with pytest.raises(RuntimeError):
        a_module.panel._export._exportTable()
    assert len(slicer.app.errors) == 1


def test_dicom_says_why_it_cannot(ui, a_result):
    assert not ui.exportDicomButton.enabled
    assert "not loaded from DICOM" in ui.exportDicomButton.toolTip


@pytest.fixture
def opened(ui):
    """The section of installation, opened."""
    ui.installSection.collapsed = False
    return ui


def test_what_is_missing_is_looked_up_when_somebody_looks(ui, an_installer):
    an_installer.plan_ = types.SimpleNamespace(isEmpty=False, text="numba, 40 MB, into /here")
    assert ui.installLabel.text == ""
    ui.installSection.collapsed = False
    assert ui.installLabel.text == "numba, 40 MB, into /here"
    assert ui.installButton.enabled


def test_when_all_is_there_nothing_can_be_installed_or_removed(opened):
    assert "Everything" in opened.installLabel.text
    assert not opened.installButton.enabled
    assert not opened.removeButton.enabled
    assert opened.removeButton.toolTip == "This module has installed nothing."


def test_packages_come_from_the_network_or_a_folder_and_go_after_a_question(opened, an_installer, tmp_path):
    import qt
    import slicer

    an_installer.plan_ = types.SimpleNamespace(isEmpty=False, text="numba")
    an_installer.ours = ["numba"]
    opened.installSection.collapsed = True
    opened.installSection.collapsed = False
    opened.installButton.click()
    qt.QFileDialog.answers.append(tmp_path)
    opened.installFolderButton.click()
    slicer.app.answers += [False, True]
    opened.removeButton.click()
    opened.removeButton.click()
    assert an_installer.calls == [("ensure", {"interactive": True, "everything": True}), ("folder", tmp_path), "remove"]
    assert slicer.app.said == ["2 packages were installed.", "2 packages were removed."]
    assert "numba" in slicer.app.questions[0]


def test_a_failed_installation_is_told(a_module, opened, an_installer):
    import slicer

    an_installer.refusal = RuntimeError("no network; use a folder")
    with pytest.raises(RuntimeError, match="no network"):
        a_module.panel._install._onInstall()
    assert "use a folder" in slicer.app.errors[0]


def test_nothing_is_installed_or_removed_while_a_detection_runs(a_scan, opened, an_installer, run):
    an_installer.ours = ["numba"]
    opened.scanSelector.setCurrentNode(a_scan)
    run()
    for button in (opened.installButton, opened.installFolderButton, opened.removeButton):
        assert not button.enabled
    assert "Wait" in opened.removeButton.toolTip


def test_models_that_were_added_can_be_chosen_at_once(a_module, opened, some_models, an_installer, tmp_path):
    import qt

    removed = some_models.pop()
    a_module.panel._onPackages()
    assert opened.modelComboBox.count == 1
    some_models.append(removed)
    qt.QFileDialog.answers.append(tmp_path)
    opened.installFolderButton.click()
    assert opened.modelComboBox.count == 2
