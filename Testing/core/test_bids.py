"""A BIDS dataset in, BIDS derivatives out."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
import SimpleITK as sitk

from brain_inpaint_ad.bids import find_scans
from brain_inpaint_ad.errors import InputError


@pytest.fixture(scope="module")
def a_dataset(tmp_path_factory, a_coarse_scan) -> Path:
    """One whole scan in a session, one that is cut, one with contrast agent, one of another sequence."""
    root = tmp_path_factory.mktemp("bids") / "raw"
    places = {
        "whole": root / "sub-01" / "ses-a" / "anat" / "sub-01_ses-a_run-1_T1w.nii.gz",
        "cut": root / "sub-02" / "anat" / "sub-02_T1w.nii.gz",
        "contrast": root / "sub-02" / "anat" / "sub-02_ce-gadolinium_T1w.nii.gz",
        "other": root / "sub-02" / "anat" / "sub-02_T2w.nii.gz",
        "odd": root / "sub-02" / "anat" / "copy of sub-02_T1w.nii.gz",
    }
    for path in places.values():
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(a_coarse_scan, path)
    content = places["cut"].read_bytes()
    places["cut"].write_bytes(content[: len(content) // 2])
    (root / "dataset_description.json").write_text(json.dumps({"Name": "Phantoms", "BIDSVersion": "1.9.0"}))
    return root


@pytest.fixture(scope="module")
def a_finished_dataset(a_dataset, a_tiny_model, tmp_path_factory, run_cli_in_a_process):
    out = tmp_path_factory.mktemp("derivatives") / "brain-inpaint-ad"
    return run_cli_in_a_process("bids", a_dataset, "--out", out, "--model", a_tiny_model, "--rule", "paper"), out


NAME = "sub-01_ses-a_run-1_desc-anomaly"


def test_every_usable_scan_has_derivatives_and_the_others_a_reason(a_finished_dataset):
    answer, out = a_finished_dataset
    assert answer.code == 1
    assert re.fullmatch(
        r"Error: 1 of 2 scans could not be used \(sub-02: .*sub-02_T1w.nii.gz is truncated.*\); the others are done.\n",
        answer.err,
    )
    files = {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()}
    folder = "sub-01/ses-a/anat/"
    names = ("heatmap.nii.gz", "dseg.nii.gz", "dseg.tsv", "findings.tsv", "overview.png", "report.json")
    assert files == {"dataset_description.json", ".bidsignore", *(f"{folder}{NAME}_{name}" for name in names)}


def test_derivatives_say_what_they_are_and_lie_on_the_scans_grid(a_finished_dataset, a_coarse_scan):
    _, out = a_finished_dataset
    told = json.loads((out / "dataset_description.json").read_text())
    assert (told["DatasetType"], told["GeneratedBy"][0]["Name"]) == ("derivative", "brain-inpaint-ad")
    assert told["SourceDatasets"] == [{"Name": "Phantoms"}]
    labels = sitk.ReadImage(str(out / "sub-01" / "ses-a" / "anat" / f"{NAME}_dseg.nii.gz"))
    scan = sitk.ReadImage(str(a_coarse_scan))
    assert (labels.GetSize(), labels.GetOrigin()) == (scan.GetSize(), scan.GetOrigin())
    count = int(sitk.GetArrayFromImage(labels).max())
    table = (out / "sub-01" / "ses-a" / "anat" / f"{NAME}_dseg.tsv").read_text().splitlines()
    assert table == ["index\tname", *(f"{n}\tanomaly {n}" for n in range(1, count + 1))]
    findings = (out / "sub-01" / "ses-a" / "anat" / f"{NAME}_findings.tsv").read_text().splitlines()
    assert [line.split("\t")[0] for line in findings] == ["label", *map(str, range(1, count + 1))]


def test_a_second_run_passes_over_what_is_done(a_finished_dataset, a_dataset, a_tiny_model, run_cli):
    _, out = a_finished_dataset
    before = {path: path.stat().st_mtime_ns for path in (out / "sub-01").rglob("*.*")}
    answer = run_cli("bids", a_dataset, "--out", out, "--model", a_tiny_model, "--participant", "01")
    assert (answer.code, answer.err) == (0, "")
    assert answer.out == f"sub-01_ses-a_run-1: done before\nDerivatives are in {out}.\n"
    assert {path: path.stat().st_mtime_ns for path in (out / "sub-01").rglob("*.*")} == before


def test_what_is_no_dataset_or_holds_no_scan_is_refused(a_dataset, tmp_path, run_cli):
    with pytest.raises(InputError, match="no BIDS dataset"):
        find_scans(a_dataset / "sub-01", tmp_path)
    with pytest.raises(InputError, match="has no sub-99"):
        find_scans(a_dataset, tmp_path, ["99"])
    (tmp_path / "dataset_description.json").write_text("{}")
    with pytest.raises(InputError, match="no T1-weighted scans"):
        find_scans(tmp_path, tmp_path)
    assert [scan.name for scan in find_scans(a_dataset, tmp_path, ["sub-02"])] == ["sub-02"]
    (tmp_path / "dataset_description.json").write_text(json.dumps({"Name": "somebody else's"}))
    answer = run_cli("bids", a_dataset, "--out", tmp_path)
    assert "did not make; choose another folder" in answer.err
