"""The findings: from the core's file through a table node to the sentence and back."""

import csv
import io
from dataclasses import replace

import pytest

from brain_inpaint_ad import findings as core


@pytest.fixture
def findings_lib(mrml_lib):
    return mrml_lib("Findings")


@pytest.fixture
def some_findings(findings_lib):
    make = findings_lib.Finding
    return [
        make(1, 12.345, 0.3, 0.5, (31.25, -12.0, 44.5), "Anomaly 1"),
        make(
            2,
            3.0,
            0.25,
            0.7,
            (-5.0, 7.5, -0.125),
            "cyst, left",
            keep=False,
            peakRasMm=(-6.0, 9.0, 1.25),
            rightShare=0.125,
            darkShare=0.5,
        ),
        make(3, 1.5, None, None, None, "Anomaly 3"),
    ]


@pytest.fixture
def a_table(a_scene, findings_lib, some_findings):
    node = a_scene.AddNewNodeByClass("vtkMRMLTableNode", "findings")
    findings_lib.fillTable(node, some_findings)
    return node


def test_a_table_node_gives_the_findings_back(findings_lib, a_table, some_findings):
    assert findings_lib.readTable(a_table) == some_findings
    names = [a_table.GetTable().GetColumn(number).GetName() for number in range(a_table.GetNumberOfColumns())]
    assert tuple(names) == findings_lib.COLUMNS


def test_filling_again_replaces_the_rows(findings_lib, a_table, some_findings):
    for findings in (some_findings[:1], [], some_findings):
        findings_lib.fillTable(a_table, findings)
        assert findings_lib.readTable(a_table) == findings


def test_a_table_that_went_through_a_file_reads_the_same(findings_lib, a_scene, a_table, some_findings, tmp_path):
    import slicer

    storage = slicer.vtkMRMLTableStorageNode()
    storage.SetFileName(str(tmp_path / "findings.tsv"))
    assert storage.WriteData(a_table)
    found = a_scene.AddNewNodeByClass("vtkMRMLTableNode", "read")
    reader = slicer.vtkMRMLTableStorageNode()
    reader.SetFileName(str(tmp_path / "findings.tsv"))
    assert reader.ReadData(found)
    assert findings_lib.readTable(found) == some_findings


def test_a_damaged_table_says_so(findings_lib, a_table):
    a_table.GetTable().RemoveColumnByName("volume_ml")
    with pytest.raises(findings_lib.FindingsError, match="run the detection again"):
        findings_lib.readTable(a_table)


def test_the_csv_holds_what_the_table_holds(findings_lib, some_findings):
    rows = list(csv.DictReader(io.StringIO(findings_lib.csvText(some_findings))))
    assert [row["name"] for row in rows] == ["Anomaly 1", "cyst, left", "Anomaly 3"]
    assert [float(rows[0][name]) for name in ("volume_ml", "peak_heat", "r_mm", "a_mm", "s_mm")] == [
        12.345,
        0.5,
        31.25,
        -12,
        44.5,
    ]
    assert (rows[2]["mean_heat"], rows[2]["r_mm"]) == ("", "")
    assert [(row["right_share"], row["dark_share"]) for row in rows] == [("", ""), ("0.125", "0.5"), ("", "")]
    assert findings_lib.csvText([]).count("\n") == 1


def test_what_the_core_wrote_is_read(findings_lib, tmp_path):
    path = tmp_path / "findings.csv"
    path.write_text("label,volume_ml,r_mm,a_mm,s_mm,mean_heat,peak_heat\n2,1.5,1,-2,3,0.1,0.2\n", encoding="utf-8")
    assert findings_lib.readFindings(path) == [findings_lib.Finding(2, 1.5, 0.1, 0.2, (1.0, -2.0, 3.0))]


@pytest.fixture
def cores_finding():
    """A finding of the core, with this share of it on the right."""

    def make(right_share):
        numbers = dict.fromkeys(core.Finding.__slots__, 1)
        return core.Finding(**numbers | {"right_share": right_share, "dark_share": 0.333})

    return make


def test_side_and_darkness_come_from_what_the_core_writes_today(findings_lib, cores_finding, tmp_path):
    path = tmp_path / "findings.csv"
    path.write_text(core.findings_csv([cores_finding(0.2)]), encoding="utf-8")
    [found] = findings_lib.readFindings(path)
    assert (found.rightShare, found.darkShare) == (0.2, 0.333)


@pytest.mark.parametrize("right_share", [0.0, 0.09, 0.1, 0.49, 0.5, 0.51, 0.9, 0.91, 1.0])
def test_the_side_is_the_one_that_the_core_names(findings_lib, cores_finding, right_share):
    named = core.finding_in_words(cores_finding(right_share)).split(", ")[1]
    assert findings_lib.sideText(right_share) == ("both" if named.startswith("left and right") else named)


def test_a_table_of_a_scene_of_before_reads_without_side_and_darkness(findings_lib, a_table, some_findings):
    for name in findings_lib.SHARES:
        a_table.GetTable().RemoveColumnByName(name)
    untold = [replace(finding, rightShare=None, darkShare=None) for finding in some_findings]
    assert findings_lib.readTable(a_table) == untold


def test_the_sentence_counts_what_is_kept(findings_lib, some_findings):
    summary = findings_lib.summary
    assert summary(some_findings) == "2 anomalies, 13.8 ml; hottest at R 31 A -12 S 44"
    assert summary([replace(finding, keep=True) for finding in some_findings]).endswith("hottest at R -6 A 9 S 1")
    assert summary(some_findings[2:]) == "1 anomaly, 1.5 ml"
    assert summary(some_findings[1:2]) == "All findings discarded"
    assert summary([]) == "Nothing found"
