"""A BIDS dataset in, BIDS derivatives out."""

from __future__ import annotations

import json
import re
import shutil
import signal
import sys
from pathlib import Path

import pytest
import SimpleITK as sitk

from brain_inpaint_ad.bids import detect_in_dataset, find_scans
from brain_inpaint_ad.errors import InputError


@pytest.fixture(scope="module")
def a_dataset(tmp_path_factory, a_coarse_scan) -> Path:
    """One whole scan in a session, one that is cut, others of other kinds, names and places."""
    root = tmp_path_factory.mktemp("bids") / "raw"
    places = {
        "whole": root / "sub-01" / "ses-a" / "anat" / "sub-01_ses-a_run-1_T1w.nii.gz",
        "cut": root / "sub-02" / "anat" / "sub-02_T1w.nii.gz",
        "contrast": root / "sub-02" / "anat" / "sub-02_ce-gadolinium_T1w.nii.gz",
        "phase": root / "sub-02" / "anat" / "sub-02_part-phase_T1w.nii.gz",
        "stray": root / "sub-02" / "anat" / "sub-03_T1w.nii.gz",
        "hidden": root / "sub-02" / "anat" / "._sub-02_T1w.nii.gz",
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
    words = (
        "--model",
        a_tiny_model,
        "--rule",
        "paper",
        "--progress",
        "none",
    )  # on a busy machine lines of progress come between
    return run_cli_in_a_process("bids", a_dataset, "--out", out, *words), out


NAME = "sub-01_ses-a_run-1_desc-anomaly"


def test_every_usable_scan_has_derivatives_and_the_others_a_reason(a_finished_dataset):
    answer, out = a_finished_dataset
    assert answer.code == 1
    left_out = ("contrast agent", "no magnitude image", "folder of sub-02", "not that of a BIDS scan")
    names = ("sub-02_ce-gadolinium", "sub-02_part-phase", "sub-03", "copy of sub-02")
    *lines, failed = answer.err.splitlines()
    assert sorted(line.split("_T1w.nii.gz is left out: ")[0] for line in lines) == sorted(names)
    assert all(sum(reason in line for line in lines) == 1 for reason in left_out)
    assert re.fullmatch(r"sub-02 failed: .*sub-02_T1w.nii.gz is truncated.*\.", failed)
    assert re.fullmatch(
        rf"sub-01_ses-a_run-1: \d+ anomal.*\n1 done, 0 done before, 4 left out, 1 failed; derivatives are in {out}\.\n",
        answer.out,
    )
    files = {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()}
    folder = "sub-01/ses-a/anat/"
    names = ("heatmap.nii.gz", "dseg.nii.gz", "dseg.tsv", "findings.tsv", "overview.png", "report.json")
    mask = f"{folder}{NAME.removesuffix('anomaly')}brain_mask.nii.gz"
    assert files == {"dataset_description.json", ".bidsignore", mask, *(f"{folder}{NAME}_{name}" for name in names)}


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


def test_progress_says_which_scan_of_how_many_is_at_work(a_dataset, a_tiny_model, tmp_path, caplog):
    stages = []
    outcomes = detect_in_dataset(
        a_dataset, tmp_path, subjects=["02"], progress=lambda _, stage: stages.append(stage), model=str(a_tiny_model)
    )
    assert [outcome.kind for outcome in outcomes] == ["left out"] * 4 + ["failed"]
    assert stages[0] == "scan 1 of 1, sub-02: starting"
    assert "sub-02 failed" in caplog.text


def test_a_scan_that_takes_too_much_memory_is_one_that_failed(a_dataset, tmp_path, monkeypatch):
    def full(*_, **__):
        raise MemoryError

    monkeypatch.setattr("brain_inpaint_ad.bids.detect", full)
    outcomes = detect_in_dataset(a_dataset, tmp_path)
    assert [outcome.name for outcome in outcomes if outcome.kind == "failed"] == ["sub-01_ses-a_run-1", "sub-02"]


def test_a_second_run_passes_over_what_is_done(a_finished_dataset, a_dataset, a_tiny_model, run_cli):
    _, out = a_finished_dataset
    before = {path: path.stat().st_mtime_ns for path in (out / "sub-01").rglob("*.*")}
    answer = run_cli("bids", a_dataset, "--out", out, "--model", a_tiny_model, "--participant", "01")
    assert (answer.code, answer.err) == (0, "")
    counts = "0 done, 1 done before, 0 left out, 0 failed"
    assert answer.out == f"sub-01_ses-a_run-1: done before\n{counts}; derivatives are in {out}.\n"
    assert {path: path.stat().st_mtime_ns for path in (out / "sub-01").rglob("*.*")} == before


def test_what_is_no_dataset_or_holds_no_scan_is_refused(a_dataset, tmp_path, run_cli):
    with pytest.raises(InputError, match="no BIDS dataset"):
        find_scans(a_dataset / "sub-01", tmp_path)
    with pytest.raises(InputError, match="has no sub-99"):
        find_scans(a_dataset, tmp_path, ["99"])
    (tmp_path / "dataset_description.json").write_text("{}")
    with pytest.raises(InputError, match="no T1-weighted scans"):
        find_scans(tmp_path, tmp_path)
    assert [scan.name for scan in find_scans(a_dataset, tmp_path, ["sub-02"])[0]] == ["sub-02"]
    contrast = tmp_path / "sub-01" / "anat" / "sub-01_ce-gd_T1w.nii"
    contrast.parent.mkdir(parents=True)
    contrast.touch()
    with pytest.raises(InputError, match=r"no T1-weighted scans .*; 1 left out, such as sub-01_ce-gd_T1w.nii: taken with"):
        find_scans(tmp_path, tmp_path)
    (tmp_path / "dataset_description.json").write_text(json.dumps({"Name": "somebody else's"}))
    answer = run_cli("bids", a_dataset, "--out", tmp_path)
    assert "did not make; choose another folder" in answer.err


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no signals to send")
@pytest.mark.parametrize("overwrite", [False, True])
def test_whoever_cancels_reads_which_command_goes_on(overwrite, a_dataset, a_slow_model, tmp_path, start_cli):
    words = ["bids", a_dataset, "--out", tmp_path / "out", "--model", a_slow_model, "--progress", "jsonl"]
    with start_cli(*words, *["--overwrite"] * overwrite) as process:
        assert any("erasing and rebuilding" in line for line in process.stdout)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    command = f"The same command{' without --overwrite' * overwrite}"
    assert err.endswith(f"Cancelled. {command} goes on; scans that are done stay done.\n")
