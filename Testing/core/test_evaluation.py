"""Thresholds, metrics and the table."""

import json

import numpy as np
import pytest

from brain_inpaint_ad.errors import InputError
from brain_inpaint_ad.evaluation import datasets
from brain_inpaint_ad.evaluation.metrics import dice
from brain_inpaint_ad.evaluation.report import table
from brain_inpaint_ad.evaluation.thresholds import RegionHeats, pooled, threshold_for


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
    def row(detector, found_ml, **figures):
        scores = {
            "auroc": None,
            "auprc": None,
            "prevalence": 0.0,
            "dice": None,
            "found_ml": found_ml,
            "anomalies": int(found_ml > 0),
        }
        return {"dataset": "ixi", "split": "test", "detector": detector, "scores": {**scores, **figures}}

    text = table([row("m", 0.0), row("m", 3.0), row("b", 1.0, auroc=0.75, dice=0.5)])
    lines = text.splitlines()
    assert lines[2] == "| ixi (test, 2) | m | – | – | 0.000 | – | 1.5 ± 1.5 | 1 of 2 |"
    assert lines[3] == "| ixi (test, 1) | b | 0.750 ± 0.000 | – | 0.000 | 0.500 ± 0.000 | 1.0 ± 0.0 | 0 of 1 |"
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


def test_cards_of_shipped_models_name_no_test_subject():
    """Weights and thresholds come from train and validation subjects only."""
    from brain_inpaint_ad.weights.store import shipped_cards

    cards = shipped_cards()
    assert cards
    for card in cards:
        subjects = card.training["subjects"]
        assert not set(subjects["train"]) & set(subjects["validation"])
        assert set(card.healthy_validation["scans"]) <= set(subjects["validation"])
        assert card.training["iterations"] >= 10_000
        json.loads(card.to_json())
