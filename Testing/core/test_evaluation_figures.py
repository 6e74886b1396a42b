"""Metrics, intervals, segment controls, thresholds: against brute force, hand-made cases, or what must always hold."""

import itertools
import math

import numpy as np
import pytest

from brain_inpaint_ad.evaluation.controls import CONTROLS, control_picks, hottest_pick, overlaps
from brain_inpaint_ad.evaluation.healthy import HealthyHeats, plain_name, voxel_heats
from brain_inpaint_ad.evaluation.intervals import summarise
from brain_inpaint_ad.evaluation.metrics import CURVE, compare_marks, dice, lesion_covers, rank
from brain_inpaint_ad.evaluation.page import best_median_worst
from brain_inpaint_ad.evaluation.scoring import PUBLISHED_STEPS
from brain_inpaint_ad.evaluation.tables import Table, residual_table, rules_table, scan_table
from brain_inpaint_ad.evaluation.thresholds import RegionHeats, threshold_for
from brain_inpaint_ad.segmentation.select import Regions

STEPS = list(PUBLISHED_STEPS)


@pytest.mark.parametrize("missed", [0, 7])
def test_the_ceiling_is_the_best_dice_of_all_thresholds(missed):
    rng = np.random.default_rng(0)
    abnormal = rng.random(300) < 0.2
    heat = np.round(rng.random(300) + 0.4 * abnormal, 2)  # with ties
    outside = np.ones(missed, dtype=bool)
    truth = np.append(abnormal, outside)
    best = max(dice(np.append(heat >= threshold, ~outside), truth) for threshold in np.unique(heat))
    assert rank(heat, abnormal, missed=missed).dice_ceiling == pytest.approx(best)


def test_a_heatmap_that_is_the_truth_ranks_perfectly_and_its_mirror_image_worst():
    abnormal = np.arange(100) < 10
    right, wrong = rank(abnormal.astype(float), abnormal), rank(-abnormal.astype(float), abnormal)
    assert (right.auroc, right.auprc, right.dice_ceiling) == (1, 1, 1)
    assert wrong.auroc == 0
    assert wrong.auprc == pytest.approx(wrong.prevalence)
    assert right.true_rate[-1] == wrong.true_rate[-1] == 1
    assert right.true_rate.shape == CURVE.shape
    assert (np.diff(wrong.true_rate) >= 0).all()


def test_a_lesion_is_found_when_a_tenth_of_it_is_marked_and_specks_do_not_count():
    truth = np.zeros((10, 20, 20), dtype=bool)
    truth[2:4, 2:7, 2:12] = True  # 100 voxels
    truth[6:8, 2:7, 2:12] = True
    truth[9, 19, 19] = True  # one voxel, a speck
    marked = np.zeros_like(truth)
    marked[2, 2, 2:12] = True  # 10 of the first
    marked[6, 2, 2:11] = True  # 9 of the second
    marked[0, 0, :5] = True  # 5 of nothing
    assert lesion_covers(marked, truth, voxel_mm3=8.0).tolist() == [0.1, 0.09]
    found = compare_marks(marked, truth, voxel_mm3=8.0)
    assert (found.lesions_found, found.found_ml, found.false_ml) == (1, 0.19, 0.04)
    healthy = compare_marks(marked, None, voxel_mm3=8.0)
    assert (healthy.dice, healthy.lesions_found, healthy.false_ml) == (None, None, healthy.found_ml)


def test_the_only_lesion_counts_even_if_it_is_small():
    truth = np.zeros((3, 3, 3), dtype=bool)
    truth[1, 1, 1] = True
    assert lesion_covers(truth, truth, voxel_mm3=1.0).tolist() == [1.0]
    assert lesion_covers(truth, np.zeros_like(truth), voxel_mm3=1.0).tolist() == []


def test_the_interval_is_that_of_all_possible_resamples():
    values = [0.1, 0.5, 0.6]
    means = sorted(np.mean(draw) for draw in itertools.product(values, repeat=3))  # 27, equally likely
    summary = summarise(values, ["a", "b", "c"])
    assert summary.mean == pytest.approx(np.mean(values))
    assert summary.low == pytest.approx(means[0])  # 1 of 27 is more than 2.5 %
    assert summary.high == pytest.approx(means[-1])


def test_scans_of_one_subject_count_once():
    once = summarise([0.2, 0.4, 0.9], ["a", "b", "c"])
    twice = summarise([0.1, 0.3, 0.4, 0.9], ["a", "a", "b", "c"])
    assert (twice.subjects, twice.mean, twice.low) == (3, pytest.approx(once.mean), pytest.approx(once.low))


def test_too_few_subjects_have_no_interval():
    assert math.isnan(summarise([0.1, 0.2], ["a", "b"]).low)
    assert summarise([0.1, 0.3], ["a", "b"]).text(2) == "0.20 ± 0.10"
    assert summarise([], []).text() == "–"


@pytest.fixture
def a_cut():
    """Two slices of 20 × 20 mm in quarters, one of the first slice being the tumour."""
    labels = np.zeros((2, 20, 20), dtype=np.int32)
    for number, (index, rows, columns) in enumerate(itertools.product(range(2), (0, 10), (0, 10)), start=1):
        labels[index, rows : rows + 10, columns : columns + 10] = number
    heat = np.array([0, 0.1, 0.4, 0.2, 0.3, 0.9, 0.1, 0.1, 0.1])
    return Regions(labels, heat, np.array([0, 0, 0, 0, 0, 1, 1, 1, 1]))


def test_the_oracle_takes_the_tumour_and_nothing_where_there_is_none(a_cut):
    truth = a_cut.labels == 3
    brightness = a_cut.labels / 10
    picks = control_picks(a_cut, brightness, truth, pixel_mm2=1.0)
    assert tuple(picks) == CONTROLS
    assert (picks["oracle segment"].slice_dice, picks["oracle segment"].volume_dice) == (1, 1)
    assert picks["darkest segment"].slice_dice == picks["brightest segment"].slice_dice == 0
    assert picks["random segment"].slice_dice == pytest.approx(1 / 4, abs=0.15)
    assert {pick.slices for pick in picks.values()} == {1}


def test_the_hottest_segment_is_picked_in_every_slice(a_cut):
    pick = hottest_pick(a_cut, a_cut.labels == 2, pixel_mm2=1.0)
    assert (pick.slice_dice, pick.slices) == (1, 1)
    assert pick.volume_dice == pytest.approx(2 * 100 / (200 + 100))  # the second slice has no tumour


def test_no_segment_beats_the_oracle():
    rng = np.random.default_rng(1)
    labels = rng.integers(1, 7, (1, 24, 24)).astype(np.int32)
    regions = Regions(labels, np.append(0, rng.random(6)), np.zeros(7, dtype=int))
    truth = rng.random((1, 24, 24)) < 0.3
    picks = control_picks(regions, rng.random((1, 24, 24)), truth, pixel_mm2=4.0)
    by_hand = max(dice(labels == label, truth) for label in range(1, 7))
    assert picks["oracle segment"].slice_dice == pytest.approx(by_hand)
    assert overlaps(regions, truth).dice.max() == pytest.approx(by_hand)
    assert max(pick.slice_dice for pick in picks.values()) == picks["oracle segment"].slice_dice


@pytest.mark.parametrize("share", [0.01, 0.05])
def test_the_threshold_on_voxels_is_that_of_all_of_them(share):
    heat = np.random.default_rng(0).random(5_000)
    exact = threshold_for(RegionHeats(heat, np.ones(len(heat), dtype=int)), share)
    assert threshold_for(voxel_heats(heat), share) == pytest.approx(exact, rel=1e-6)


def test_no_scan_sets_the_threshold_it_is_judged_by():
    low, high = voxel_heats(np.linspace(0, 1, 1000)), voxel_heats(np.linspace(0, 9, 1000))
    heats = HealthyHeats({"low": {"voxels": low}, "high": {"voxels": high}})
    one_percent = plain_name("healthy_voxels_1_percent")
    assert heats.thresholds(without="high")[one_percent] == pytest.approx(0.99, abs=0.01)
    assert heats.thresholds(without="low")[one_percent] == pytest.approx(8.9, abs=0.1)
    assert 0.99 < heats.thresholds()[one_percent] < 8.9


def test_best_median_and_worst_are_by_dice_and_in_healthy_scans_by_volume():
    def row(case, dice, found_ml=0.0):
        return {"case": case, "scores": {"dice": dice, "auprc": 0.5, "found_ml": found_ml}}

    ill = best_median_worst([row("a", 0.3), row("b", 0.9), row("c", 0.1)])
    assert {word: chosen["case"] for word, chosen in ill.items()} == {"best": "b", "median": "a", "worst": "c"}
    healthy = best_median_worst([row("a", None, 5.0), row("b", None, 1.0)])
    assert {word: chosen["case"] for word, chosen in healthy.items()} == {"best": "b", "worst": "a"}


def test_the_published_residual_segmentation_has_a_column_for_each_step_left_out_and_its_seconds():
    def row(case, detector, dice):
        rules = {name: {"dice": dice + step, "false_ml": 2.0} for step, name in enumerate(("regions 1 %", *STEPS))}
        chosen = rules if "residual" in detector else {"regions 1 %": rules["regions 1 %"]}
        place = {"dataset": "brats", "split": "test", "case": case, "detector": detector, "seconds": 3.0 * dice}
        return {**place, "scores": {"anomalies": 1, "rules": chosen}}

    rows = [row(case, detector, dice) for case, dice in (("a", 0.2), ("b", 0.4)) for detector in ("m", "m, residual")]
    made = residual_table(rows)
    assert made.header[2:] == [*(f"Dice, {name}" for name in STEPS), "false ml, published", "seconds"]
    assert len(made.lines) == 1
    assert made.lines[0][:2] == ["brats (test, 2)", "m, residual"]
    assert [cell.partition(" ")[0] for cell in made.lines[0][2:]] == ["1.300", "2.300", "3.300", "4.300", "2.0", "0.90"]
    assert not any("published" in name for name in rules_table(rows).header)


def test_names_cannot_break_the_page():
    assert "<b>" not in Table("<b>", "<b>", ["<b>"], [["<b>"]]).html()


def test_ill_scans_are_held_against_healthy_ones_of_the_same_split_and_detector():
    def row(dataset, split, case, detector, tail, healthy):
        place = {"dataset": dataset, "split": split, "case": case, "detector": detector, "healthy": healthy}
        return {**place, "scores": {"anomalies": 0, "tail": tail}}

    rows = [
        row("brats", "test", "a", "m", 3.0, False),
        row("brats", "test", "b", "m", 1.0, False),
        row("brats", "test", "a", "m, volume", 3.0, False),
        row("ixi", "test", "c", "m", 1.0, True),
        row("ixi", "test", "d", "m", 0.5, True),
        row("ixi", "validation", "e", "m", 9.0, True),
        row("ixi", "test", "c", "other", 9.0, True),
    ]
    assert scan_table(rows).lines == [["brats (test, 2)", "ixi (2)", "m", "0.875"]]  # one of four pairs is a tie
    assert scan_table(rows[:3]).lines == []
