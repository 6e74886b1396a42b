"""The residual segmentation of Baur 2018: its median against SciPy's, each of its steps, and its thresholds."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from brain_inpaint_ad.errors import SettingsError, WeightsError
from brain_inpaint_ad.segmentation.recut import Recutter, cut_regions
from brain_inpaint_ad.segmentation.residual import TRAINING_RESIDUALS, smoothed
from brain_inpaint_ad.segmentation.select import SegmentSettings, select_anomalies
from brain_inpaint_ad.segmentation.thresholds import check_threshold
from brain_inpaint_ad.weights.store import load_model, with_thresholds

PUBLISHED = SegmentSettings(segmentation="residual", rule="paper")
BARE = replace(PUBLISHED, median=1, erosion=0, min_voxels=0)


def a_brain(seed=0, shape=(20, 14, 12)):
    rng = np.random.default_rng(seed)
    brain = np.zeros(shape, bool)
    brain[2:-1, 2:-2, 1:-2] = True
    return brain, np.where(brain, rng.random(shape), 0).astype(np.float32)


def anomalies(heat, brain, settings, threshold=0.5):
    regions = cut_regions(np.clip(heat, 0, 1), brain, heat, settings)
    return select_anomalies(regions, settings, threshold=threshold, voxel_mm3=8.0)


@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 99),
    side=st.sampled_from([1, 3, 5]),
    shape=st.tuples(*[st.integers(8, 22)] * 3),
)
def test_the_median_is_scipys_over_the_whole_volume(seed, side, shape):
    brain, heat = a_brain(seed, shape)
    expected = ndimage.median_filter(heat, size=side, mode="nearest")[brain]
    np.testing.assert_array_equal(smoothed(heat, brain, median=side, erosion=0), expected)


@pytest.mark.parametrize("layers", [0, 1, 2])
def test_erosion_takes_layers_of_voxels_off_the_brain(layers):
    brain, heat = a_brain()
    left = np.zeros(brain.shape)
    left[brain] = smoothed(heat + 1, brain, median=1, erosion=layers)
    steps = ndimage.distance_transform_cdt(np.pad(brain, 1), metric="taxicab")[1:-1, 1:-1, 1:-1]
    np.testing.assert_array_equal(left > 0, steps > layers)


def test_without_its_steps_what_is_left_is_the_threshold():
    brain, heat = a_brain()
    np.testing.assert_array_equal(anomalies(heat, brain, BARE) > 0, heat > 0.5)


def test_every_step_takes_away_what_it_is_there_for():
    brain, _ = a_brain()
    heat = np.zeros(brain.shape, np.float32)
    heat[5:11, 5:10, 4:9] = 0.9  # a lesion
    heat[13, 6, 6] = heat[13, 6, 7] = 0.9  # a speck: the median's, or that of min_voxels
    heat[16:19, 2, 3:9] = 0.9  # at the rim: erosion's, or the median's
    lesion = np.zeros(brain.shape, bool)
    lesion[5:11, 5:10, 4:9] = True
    assert not (anomalies(heat, brain, PUBLISHED) > 0)[~lesion].any()
    assert (anomalies(heat, brain, PUBLISHED) > 0)[lesion].mean() > 0.25  # the median takes its corners
    found = {name: anomalies(heat, brain, replace(BARE, **step)) > 0 for name, step in STEPS.items()}
    assert {name: (mask[13, 6, 6], mask[17, 2, 5], mask[lesion].all()) for name, mask in found.items()} == {
        "none": (True, True, True),
        "median": (False, False, False),
        "erosion": (True, False, True),
        "min_voxels": (False, True, True),
    }


STEPS = {"none": {}, "median": {"median": 5}, "erosion": {"erosion": 1}, "min_voxels": {"min_voxels": 6}}


@pytest.mark.parametrize("wrong", [{"median": 4}, {"median": 0}, {"erosion": -1}, {"min_voxels": -2}])
def test_steps_that_cannot_be_are_refused(wrong):
    with pytest.raises(SettingsError, match=str(next(iter(wrong.values())))):
        SegmentSettings(segmentation="residual", **wrong)


def test_a_recutter_makes_the_median_anew_only_when_a_step_changes(monkeypatch):
    brain, heat = a_brain()
    made = []
    real = smoothed
    monkeypatch.setattr(
        "brain_inpaint_ad.segmentation.regions.smoothed",
        lambda *arrays, **options: made.append(options["median"]) or real(*arrays, **options),
    )
    recutter = Recutter(np.clip(heat, 0, 1), brain, heat)
    for median, scale in [(5, 75.0), (5, 150.0), (3, 75.0), (5, 75.0)]:
        recutter.regions(replace(PUBLISHED, median=median, scale=scale))
    assert made == [5, 3]


def test_one_slice_of_it_is_a_slice_of_the_whole():
    brain, heat = a_brain()
    recutter = Recutter(np.clip(heat, 0, 1), brain, heat)
    whole = recutter.regions(PUBLISHED)
    for index in (2, 9):
        part = recutter.slice_regions(index, PUBLISHED)
        np.testing.assert_array_equal(part.heat[part.labels[0]], whole.heat[whole.labels[index]])


@pytest.mark.parametrize(
    ("rule", "thresholds", "refusal"),
    [
        ("paper", {TRAINING_RESIDUALS: 0.1}, ""),
        ("paper", {"residual_healthy_voxels_1_percent": 0.1}, "no residuals of training scans"),
        ("calibrated", {"residual_healthy_voxels_1_percent": 0.1}, ""),
        ("calibrated", {"healthy_voxels_1_percent": 0.1}, "not calibrated for --segmentation residual"),
    ],
)
def test_each_rule_asks_for_its_own_threshold(rule, thresholds, refusal):
    chosen = SegmentSettings(segmentation="residual", rule=rule)
    if not refusal:
        check_threshold(thresholds, chosen)
        return
    with pytest.raises(WeightsError, match=refusal):
        check_threshold(thresholds, chosen)


def test_calibration_keeps_the_threshold_of_the_training_scans(a_tiny_model):
    card = replace(load_model(str(a_tiny_model))[1], thresholds={TRAINING_RESIDUALS: 0.1, "old": 0.2})
    assert with_thresholds(card, {"new": 0.3}, {}).thresholds == {"new": 0.3, TRAINING_RESIDUALS: 0.1}


def test_the_inpainting_heatmap_goes_with_the_residual_segmentation(a_tiny_model, a_healthy_folder, tmp_path, run_cli):
    """After calibration, as any model."""
    import shutil

    for suffix in (".safetensors", ".json"):
        shutil.copy(a_tiny_model.with_suffix(suffix), tmp_path)
    model = tmp_path / a_tiny_model.name
    answer = run_cli("calibrate", model, "--data", a_healthy_folder)
    assert answer.code == 0, answer.err
    assert "residual_healthy_voxels_1_percent" in answer.out
    scan = next(a_healthy_folder.glob("c3*"))
    answer = run_cli("detect", scan, "--out", tmp_path / "out", "--model", model, "--segmentation", "residual")
    assert answer.code == 0, answer.err
    marked = float(load_scan(tmp_path / "out" / "anomalies.nii.gz").mean())
    assert 0 < marked < 0.02  # 1 % of this scan's brain, less what was dropped or lies at the rim


def load_scan(path):
    from brain_inpaint_ad.io import read_labels

    return read_labels(path).array > 0
