"""Which superpixels are chosen."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

import brain_inpaint_ad as ad
from brain_inpaint_ad.segmentation.recut import cut_regions
from brain_inpaint_ad.segmentation.select import Regions, SegmentSettings, select_anomalies


def an_image(seed: int = 0, shape: tuple[int, int] = (40, 32)) -> np.ndarray:
    smooth = gaussian_filter(np.random.default_rng(seed).random(shape), 2)
    return (smooth - smooth.min()) / np.ptp(smooth)


def test_regions_lie_in_the_brain_and_their_heat_is_the_mean_over_them():
    image = np.stack([an_image(1), an_image(2)])
    brain = np.zeros(image.shape, bool)
    brain[:, 5:35, 5:28] = True
    heatmap = np.random.default_rng(0).random(image.shape) * brain
    regions = cut_regions(image, brain, heatmap, SegmentSettings())
    np.testing.assert_array_equal(regions.labels > 0, brain)
    for label in range(1, len(regions.heat)):
        inside = regions.labels == label
        assert set(np.flatnonzero(inside.any(axis=(1, 2)))) == {regions.slices[label]}
        assert regions.heat[label] == pytest.approx(heatmap[inside].mean())


def some_regions() -> Regions:
    """Three slices of 10 × 10 pixels, left half and right half a region each; heats rise with the label."""
    labels = np.zeros((3, 10, 10), np.int32)
    for index in range(3):
        labels[index, :, :5] = 2 * index + 1
        labels[index, :, 5:] = 2 * index + 2
    return Regions(labels, np.array([0, 0.5, 0.1, 0.2, 0.6, 0.1, 0.1]), np.array([0, 0, 0, 1, 1, 2, 2]))


def test_the_papers_rule_takes_the_hottest_region_of_every_slice():
    found = select_anomalies(some_regions(), SegmentSettings(rule="paper"), threshold=9, voxel_mm3=1)
    chosen = {label: bool((found[some_regions().labels == label] > 0).all()) for label in range(1, 7)}
    assert chosen == {1: True, 2: False, 3: False, 4: True, 5: True, 6: False}


def test_the_papers_rule_takes_the_hottest_region_of_a_volume():
    volume = replace(some_regions(), slices=np.zeros(7, int))
    found = select_anomalies(volume, SegmentSettings(rule="paper", segmentation="volume"), threshold=9, voxel_mm3=1)
    np.testing.assert_array_equal(found > 0, volume.labels == 4)


def test_the_calibrated_rule_takes_what_is_hotter_than_the_threshold():
    found = select_anomalies(some_regions(), SegmentSettings(min_volume_ml=0), threshold=0.15, voxel_mm3=1)
    chosen = {label for label in range(1, 7) if (found[some_regions().labels == label] > 0).any()}
    assert chosen == {1, 3, 4}
    assert found.max() == 1  # they touch


def test_the_calibrated_rule_may_find_nothing():
    assert not select_anomalies(some_regions(), SegmentSettings(), threshold=0.7, voxel_mm3=1000).any()


@pytest.mark.parametrize(("least_ml", "count"), [(0.04, 1), (0.06, 0)])
def test_the_calibrated_rule_drops_specks_by_their_volume(least_ml, count):
    settings_ = SegmentSettings(min_volume_ml=least_ml)  # one region: 50 voxels of 1 mm³ are 0.05 ml
    assert select_anomalies(some_regions(), settings_, threshold=0.55, voxel_mm3=1).max() == count


def test_the_largest_anomaly_is_number_one():
    labels = np.zeros((1, 10, 12), np.int32)
    labels[0, :2, :2], labels[0, 5:, 5:] = 1, 2
    found = select_anomalies(
        Regions(labels, np.array([0, 1.0, 1.0]), np.zeros(3, int)),
        SegmentSettings(min_volume_ml=0),
        threshold=0.5,
        voxel_mm3=1,
    )
    assert found[0, 9, 9] == 1
    assert found[0, 0, 0] == 2


@pytest.mark.parametrize(
    "bad",
    [
        {"rule": "hot"},
        {"segmentation": "cubes"},
        *({"scale": value} for value in (0, 1e-31, float("nan"), float("inf"))),
        *({"sigma": value} for value in (-1, 101, float("nan"), float("inf"))),
    ],
)
def test_impossible_settings_are_refused(bad):
    with pytest.raises(ad.SettingsError, match="must be"):
        SegmentSettings(**bad)
