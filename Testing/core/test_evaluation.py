"""Thresholds, metrics and the table."""

import csv
import json
import os
from pathlib import Path

import numpy as np
import pytest

from brain_inpaint_ad.errors import InputError
from brain_inpaint_ad.evaluation import datasets
from brain_inpaint_ad.evaluation.controls import CONTROLS
from brain_inpaint_ad.evaluation.metrics import dice
from brain_inpaint_ad.evaluation.report import table
from brain_inpaint_ad.evaluation.thresholds import RegionHeats, pooled, threshold_for
from brain_inpaint_ad.io import write_volume
from brain_inpaint_ad.phantom import Lesion, PhantomSettings, make_phantom


@pytest.mark.parametrize("share", [0.01, 0.05, 0.3])
def test_regions_above_the_threshold_hold_at_most_the_share_of_healthy_brain(share):
    rng = np.random.default_rng(0)
    healthy = RegionHeats(rng.random(500), rng.integers(20, 400, 500))
    threshold = threshold_for(healthy, share)
    above = healthy.voxels[healthy.heat > threshold].sum() / healthy.voxels.sum()
    assert above <= share
    next_hottest = healthy.heat[healthy.heat <= threshold].max()  # taking one region more would be too much
    assert healthy.voxels[healthy.heat >= next_hottest].sum() / healthy.voxels.sum() > share


def test_pooling_scans_counts_every_region_once():
    parts = [RegionHeats(np.array([0.1, 0.2]), np.array([3, 4])), RegionHeats(np.array([0.3]), np.array([5]))]
    both = pooled(parts)
    assert both.heat.tolist() == [0.1, 0.2, 0.3]
    assert both.voxels.tolist() == [3, 4, 5]


def test_dice_of_known_masks():
    a, b = np.zeros(10, bool), np.zeros(10, bool)
    assert dice(a, b) == 1.0
    a[:4], b[2:6] = True, True
    assert dice(a, b) == pytest.approx(2 * 2 / 8)
    assert dice(a, ~a) == 0.0


def test_the_table_has_one_line_per_detector_and_leaves_out_what_healthy_scans_cannot_have():
    def row(case, detector, found_ml, **figures):
        scores = {"auroc": None, "auprc": None, "prevalence": 0.0, "dice": None, "found_ml": found_ml}
        place = {"dataset": "ixi", "split": "test", "case": case, "detector": detector}
        return {**place, "scores": {**scores, "anomalies": int(found_ml > 0), **figures}}

    text = table([row("1", "m", 0.0), row("2", "m", 3.0), row("1", "b", 1.0, auroc=0.75, dice=0.5)])
    lines = text.splitlines()
    assert lines[2] == "| ixi (test, 2) | m | – | – | 0.000 | – | – | – | 1.5 ± 1.5 | 1 of 2 |"
    assert lines[3] == "| ixi (test, 1) | b | 0.750 ± 0.000 | – | 0.000 | 0.500 ± 0.000 | – | – | 1.0 ± 0.0 | 0 of 1 |"
    assert len(lines) == 4


def test_data_sets_give_the_cases_of_one_split(tmp_path):
    (tmp_path / "subjects.csv").write_text("case,split\nA,test\nB,validation\n")
    for name in "AB":
        (tmp_path / name).mkdir()
        for kind in ("t1", "seg"):
            (tmp_path / name / f"{name}_{kind}.nii.gz").touch()
    assert [case.name for case in datasets.brats(tmp_path, "test")] == ["A"]
    (tmp_path / "A" / "A_seg.nii.gz").unlink()
    with pytest.raises(InputError, match=r"A_seg\.nii\.gz is missing"):
        datasets.brats(tmp_path, "test")
    with pytest.raises(InputError, match="lists no scan of the split 'train'"):
        datasets.brats(tmp_path, "train")


def test_shipped_weights_and_thresholds_come_from_no_test_subject():
    from brain_inpaint_ad.weights.store import shipped_cards

    table = Path(os.environ.get("BRAIN_INPAINT_AD_DATA", "../shared/data")) / "ixi_2mm" / "subjects.csv"
    cards = shipped_cards()
    assert cards
    for card in cards:
        subjects = card.training["subjects"]
        assert set(card.healthy_validation["scans"]) <= set(subjects["validation"])
        assert not set(subjects["train"]) & set(subjects["validation"])
        assert card.training["iterations"] >= 1_000
        assert {"healthy_voxels_1_percent", "volume_healthy_voxels_1_percent"} <= card.thresholds.keys()
    if not table.is_file():
        pytest.skip(f"the splits cannot be compared: {table} is not there")
    test = {row["scan"] for row in csv.DictReader(table.read_text().splitlines()) if row["split"] == "test"}
    assert len(test) == 20
    for card in cards:
        assert not test & {name for names in card.training["subjects"].values() for name in names}


def a_small_set(folder, *, lesion: bool):
    """Two BraTS-like cases in one folder, or two healthy scans to calibrate on."""
    folder.mkdir()
    rows = ["case,split" if lesion else "scan,split"]
    for seed, name in enumerate(("A", "B")):
        lesions = (Lesion(centre_mm=(30.0, 10.0, 20.0), radius_mm=18.0),) if lesion else ()
        phantom = make_phantom(PhantomSettings(spacing_mm=4.0, seed=seed, lesions=lesions))
        (folder / name).mkdir()
        write_volume(phantom.scan, folder / name / f"{name}_t1.nii.gz")
        if lesion:
            write_volume(phantom.truth, folder / name / f"{name}_seg.nii.gz")
        rows.append(f"{name},validation")
    (folder / "subjects.csv").write_text("\n".join(rows) + "\n")
    return folder


def test_calibrate_then_evaluate_scores_every_case_once_and_resumes(a_tiny_model, tmp_path, run_cli):
    healthy, ill = a_small_set(tmp_path / "healthy", lesion=False), a_small_set(tmp_path / "ill", lesion=True)
    model = tmp_path / "mine.safetensors"
    model.write_bytes(a_tiny_model.read_bytes())
    model.with_suffix(".json").write_bytes(a_tiny_model.with_suffix(".json").read_bytes())
    asked = ("evaluate", "--dataset", "brats", "--data", ill, "--models", model, "--out", tmp_path / "report")
    assert "not calibrated" in run_cli(*asked).err  # the baseline has no threshold yet
    assert run_cli("calibrate", model, "--data", healthy, "--skip", "B").code == 0
    card = json.loads(model.with_suffix(".json").read_text())
    assert card["healthy_validation"]["scans"] == ["A"]
    assert card["thresholds"]["healthy_voxels_1_percent"] > card["thresholds"]["healthy_voxels_5_percent"] > 0

    assert run_cli(*asked).code == 0
    rows = json.loads((tmp_path / "report" / "rows.json").read_text())["rows"]
    heatmaps = [row for row in rows if "auroc" in row["scores"]]
    assert [row["detector"] for row in rows if row not in heatmaps and row["case"] == "A"] == sorted(CONTROLS)
    assert [(row["case"], row["detector"]) for row in heatmaps] == [
        ("A", "intensity only"),
        ("B", "intensity only"),
        ("A", "intensity only, residual"),
        ("B", "intensity only, residual"),
        ("A", "intensity only, scales"),
        ("B", "intensity only, scales"),
        ("A", "intensity only, volume"),
        ("B", "intensity only, volume"),
        ("A", "tiny"),
        ("B", "tiny"),
        ("A", "tiny, residual"),
        ("B", "tiny, residual"),
        ("A", "tiny, scales"),
        ("B", "tiny, scales"),
        ("A", "tiny, volume"),
        ("B", "tiny, volume"),
    ]
    of_a = {row["detector"]: row["scores"] for row in heatmaps if row["case"] == "A"}
    assert (
        len({of_a[f"tiny{cut}"]["auroc"] for cut in ("", ", volume", ", scales", ", residual")}) == 1
    )  # one heatmap, cut in four ways
    assert all(0 <= row["scores"]["auroc"] <= 1 and 0 < row["scores"]["prevalence"] < 0.1 for row in heatmaps)
    before = (tmp_path / "report" / "rows.json").stat().st_mtime_ns
    assert run_cli(*asked).code == 0
    assert json.loads((tmp_path / "report" / "rows.json").read_text())["rows"] == rows
    assert before == (tmp_path / "report" / "rows.json").stat().st_mtime_ns  # nothing was computed again


def test_two_models_of_one_name_are_refused_before_any_work(a_tiny_model, tmp_path, run_cli):
    ill = a_small_set(tmp_path / "ill", lesion=True)
    models = ("--models", f"{a_tiny_model},{a_tiny_model}", "--out", tmp_path / "report")
    answer = run_cli("evaluate", "--dataset", "brats", "--data", ill, *models)
    assert answer.code == 1
    assert "two models are called tiny" in answer.err


def test_a_scan_that_was_trained_on_does_not_calibrate(a_tiny_model, tmp_path, run_cli):
    healthy = a_small_set(tmp_path / "healthy", lesion=False)
    model = tmp_path / "mine.safetensors"
    model.write_bytes(a_tiny_model.read_bytes())
    card = json.loads(a_tiny_model.with_suffix(".json").read_text())
    card["training"] = {"subjects": {"train": ["B"], "validation": []}}
    model.with_suffix(".json").write_text(json.dumps(card))
    answer = run_cli("calibrate", model, "--data", healthy)
    assert answer.code == 1
    assert "B was trained on" in answer.err
