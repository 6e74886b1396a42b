"""Several scales together, the automatic scale, and the study of figure 6."""

import json
from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import calinski_harabasz_score

import brain_inpaint_ad as ad
from brain_inpaint_ad.errors import SettingsError, WeightsError
from brain_inpaint_ad.evaluation.controls import overlaps
from brain_inpaint_ad.evaluation.metrics import dice
from brain_inpaint_ad.evaluation.pictures import draw_scales
from brain_inpaint_ad.evaluation.scales import STUDIED, scale_study
from brain_inpaint_ad.evaluation.tables import scales_table
from brain_inpaint_ad.prepare import Prepared
from brain_inpaint_ad.result import segment
from brain_inpaint_ad.segmentation.recut import Recutter
from brain_inpaint_ad.segmentation.regions import FINER
from brain_inpaint_ad.segmentation.scale import SCALES, choose_scale, separation
from brain_inpaint_ad.segmentation.select import Regions, SegmentSettings, select_anomalies
from brain_inpaint_ad.volume import Grid, Volume

SPACING = (3.0, 2.0, 2.0)
TOGETHER, VOLUME = SegmentSettings(segmentation="scales"), SegmentSettings(segmentation="volume")


@pytest.fixture(scope="module")
def a_recutter(a_hot_brain):
    return Recutter(*a_hot_brain, spacing=SPACING)


def test_a_voxel_is_as_hot_as_its_regions_are_on_average_over_the_scales(a_hot_brain, a_recutter):
    inside = a_hot_brain[1]
    found = a_recutter.regions(TOGETHER)
    cuts = [a_recutter.regions(replace(VOLUME, scale=75 * times)) for times in FINER]
    expected = np.mean([cut.heat[cut.labels[inside]] for cut in cuts], axis=0)
    np.testing.assert_allclose(found.heat[found.labels[inside]], expected, rtol=1e-9)
    together = np.unique(np.stack([cut.labels[inside] for cut in cuts]), axis=1).shape[1]
    assert sorted(np.unique(found.labels[inside])) == list(range(1, together + 1))
    assert len(found.heat) == together + 1
    assert found.heat[0] == 0
    assert not found.labels[~inside].any()


def test_of_several_scales_the_given_one_is_the_coarsest(a_hot_brain, a_recutter):
    whole = a_recutter.regions(TOGETHER).labels
    for part in range(1, whole.max() + 1):
        assert len(np.unique(a_recutter.regions(VOLUME).labels[whole == part])) == 1
    assert a_recutter.regions(replace(TOGETHER, scale=300)).labels.max() != whole.max()


def test_separation_is_the_index_of_calinski_and_harabasz(a_hot_brain, a_recutter):
    inside, heat = a_hot_brain[1], a_hot_brain[2]
    for settings in (VOLUME, SegmentSettings(scale=20)):
        regions = a_recutter.regions(settings)
        known = calinski_harabasz_score(heat[inside].astype(float)[:, None], regions.labels[inside])
        assert separation(regions, heat) == pytest.approx(known)


@pytest.mark.parametrize("labels", [[0, 0, 0, 0], [1, 1, 1, 1], [1, 2, 3, 4]])
def test_nothing_is_told_by_no_region_one_region_or_one_for_each_voxel(labels):
    heat = np.arange(4.0)
    count = max(labels)
    regions = Regions(np.array(labels), np.append(0, heat[:count]), np.zeros(count + 1, int))
    assert separation(regions, heat) == 0


@pytest.mark.parametrize("octave", [1, 3])
def test_the_automatic_scale_is_that_of_the_parts_that_differ_in_heat(a_hot_brain, a_recutter, octave):
    image, brain, _ = a_hot_brain
    parts = a_recutter.regions(replace(VOLUME, scale=SCALES[octave])).labels
    rng = np.random.default_rng(3)
    heat = np.where(brain, rng.permutation(parts.max() + 1)[parts] + 0.01 * rng.standard_normal(brain.shape), 0)
    chosen = choose_scale(Recutter(image, brain, heat, spacing=SPACING), heat, VOLUME)
    np.testing.assert_array_equal(a_recutter.regions(replace(VOLUME, scale=chosen)).labels, parts)


def test_several_scales_have_no_automatic_one():
    with pytest.raises(SettingsError, match="several scales by itself"):
        replace(TOGETHER, auto_scale=True)
    with pytest.raises(SettingsError, match="number or auto"):
        ad.detect("scan.nii", scale="large")


def test_detect_says_which_scale_the_heatmap_chose(a_phantom_scan, a_tiny_model, tmp_path, run_cli):
    options = ("--model", a_tiny_model, "--rule", "paper", "--stride-mm", 8)
    answer = run_cli("detect", a_phantom_scan, "--out", tmp_path / "out", *options, "--scale", "auto", "--recut")
    assert answer.code == 0, answer.err
    told = json.loads((tmp_path / "out" / "report.json").read_text())["segmentation"]
    assert told["auto_scale"] is True
    assert told["scale"] in SCALES
    loaded = ad.load_recut(tmp_path / "out" / "recut.npz")
    assert loaded.report["segmentation"] == told
    settings = replace(loaded.settings, auto_scale=False)
    assert told["scale"] == choose_scale(loaded.recutter, loaded.model_heatmap, settings)
    by_hand = loaded.resegment(scale=told["scale"])
    assert by_hand.report["segmentation"]["auto_scale"] is False
    np.testing.assert_array_equal(by_hand.model_labelmap, loaded.model_labelmap)
    assert loaded.resegment(min_volume_ml=1.0).settings.scale == told["scale"]
    together = by_hand.resegment(segmentation="scales")
    np.testing.assert_array_equal(together.cut_slice(12) > 0, together.model_labelmap[12] > 0)
    assert run_cli("detect", a_phantom_scan, "--out", tmp_path / "b", *options, "--scale", "large").code == 2


@pytest.mark.parametrize("segmentation", STUDIED)
def test_the_study_holds_the_threshold_and_changes_the_scale(a_hot_brain, a_recutter, segmentation):
    image, brain, heat = a_hot_brain
    settings = SegmentSettings(segmentation=segmentation)
    grid = Grid((26, 30, 9), (2.0, 2.0, 3.0), (0.0, 0.0, 0.0), (1.0, 0, 0, 0, 1, 0, 0, 0, 1))
    volume = Volume(image, grid, "scan")
    middle = a_recutter.regions(replace(settings, scale=SCALES[2]))
    largest = overlaps(middle, brain).voxels.argmax() + 1
    truth = middle.labels == largest
    threshold = float(np.quantile(heat[brain], 0.8))
    prepared = Prepared(volume, brain, volume, brain, "given", landmarks=(0.0, 0.1, 0.5, 0.9, 1.0))
    study = scale_study(prepared, truth, heat, a_recutter, segmentation, threshold)
    assert study["oracle"][2] == 1
    for scale, found in zip(SCALES, study["dice"], strict=True):
        regions = a_recutter.regions(replace(settings, scale=scale))
        marked = select_anomalies(regions, settings, threshold=threshold, voxel_mm3=12.0) > 0
        assert found == pytest.approx(dice(marked, truth), abs=1e-4)
    assert study["auto"] in study["scale"]
    row = {"dataset": "d", "split": "validation", "case": "a", "detector": "m"}
    line = scales_table([{**row, "scores": {"anomalies": 0, "scales": study}}]).lines[0]
    assert line[2] == f"{study['dice'][3]:.3f} ± 0.000"
    assert line[-1] == f"{study['auto']:.0f} ± 0"
    assert draw_scales({"m": {"a": study}}).startswith(b"\x89PNG")


def test_a_model_is_cut_as_suits_its_heat_unless_asked_otherwise(a_phantom_scan, a_tiny_model, tmp_path):
    weights = tmp_path / "own.safetensors"
    weights.write_bytes(a_tiny_model.read_bytes())
    card = json.loads(a_tiny_model.with_suffix(".json").read_text())
    card["thresholds"]["scales_healthy_voxels_1_percent"] = card["thresholds"]["healthy_voxels_1_percent"]
    weights.with_suffix(".json").write_text(json.dumps({**card, "segmentation": "scales"}))

    def cut(**asked):
        return ad.detect(a_phantom_scan, model=str(weights), stride_mm=16, **asked).report["segmentation"]["segmentation"]

    assert cut() == "scales"
    assert cut(segmentation="slices") == "slices"
    assert cut(rule="paper") == "slices"  # the hottest region of every slice
    weights.with_suffix(".json").write_text(json.dumps({**card, "segmentation": "cubes"}))
    with pytest.raises(WeightsError, match="update the program"):
        cut()


def test_a_slice_of_several_scales_is_that_of_the_whole_anomalies(a_hot_brain):
    image, brain, heat = a_hot_brain
    grid = Grid(brain.shape[::-1], SPACING[::-1], (0.0, 0.0, 0.0), tuple(np.eye(3).ravel().tolist()))
    volume = Volume(image, grid)
    prepared = Prepared(volume, brain, volume, brain, "given", (0.0, 1.0, 2.0, 3.0, 4.0))
    hot = np.where(brain, np.exp(30 * heat), 0).astype(np.float32)
    thresholds = {"scales_healthy_voxels_1_percent": float(np.quantile(hot[brain], 0.3))}
    settings = replace(TOGETHER, min_volume_ml=0.5, scale=1, min_size=2)
    result = segment(prepared, hot, settings=settings, thresholds=thresholds, report={})
    for index in range(len(brain)):
        np.testing.assert_array_equal(result.cut_slice(index) > 0, result.model_labelmap[index] > 0)
    untrimmed = result.recutter.regions(settings)
    assert (untrimmed.heat[untrimmed.labels] > result.threshold).sum() > (result.model_labelmap > 0).sum() > 0


def test_an_anomaly_ends_where_it_is_far_cooler_than_its_hottest_place():
    labels = np.ones((3, 12, 12), np.int32)
    labels[:, 2:10, 2:10] = 2  # warm, around
    labels[:, 4:7, 4:7] = 3  # the hot core
    labels[:, 0:2, :] = 4  # warm as well, and touching
    heat = np.array([0.0, 0.1, 1.5, 6.0, 3.0])
    regions = Regions(labels, heat, np.zeros(5, int))
    settings = replace(TOGETHER, min_volume_ml=0.0)
    found = select_anomalies(regions, settings, threshold=1.0, voxel_mm3=8.0)
    np.testing.assert_array_equal(found > 0, (labels == 3) | (labels == 4))
    assert found.max() == 2  # what lay between has gone
    whole = select_anomalies(regions, replace(settings, segmentation="volume"), threshold=1.0, voxel_mm3=8.0)
    np.testing.assert_array_equal(whole > 0, labels >= 2)
    calm = select_anomalies(replace(regions, heat=np.array([0, 0.1, 1.5, 2.0, 1.6])), settings, threshold=1.0, voxel_mm3=8.0)
    np.testing.assert_array_equal(calm > 0, labels >= 2)  # an even anomaly keeps its whole
