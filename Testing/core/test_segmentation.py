"""Which superpixels are chosen."""

from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from scipy.ndimage import gaussian_filter

import brain_inpaint_ad as ad
from brain_inpaint_ad.io import resample
from brain_inpaint_ad.prepare.labels import resample_labels
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


# From the model grid to the scan's, against SimpleITK's resampling of every voxel for every label.


def some_parts(shape: tuple[int, int, int], seed: int, share: float) -> np.ndarray:
    """Parts that do not touch, as `select_anomalies` numbers them; some reach the border."""
    values = gaussian_filter(np.random.default_rng(seed).random(shape), 1.2, mode="wrap")
    labels, _ = ndimage.label(values > np.quantile(values, 1 - share), structure=np.ones((3, 3, 3)))
    return labels.astype(np.int32)


def resampled_in_full(labels: np.ndarray, grid: ad.Grid, target: ad.Grid, within: np.ndarray) -> np.ndarray:
    volume = ad.Volume(labels.astype(np.uint16), grid)
    found = np.where(within, resample(volume, target, interpolator=sitk.sitkLabelLinear), 0)
    present = np.bincount(found.ravel()) > 0
    present[0] = False
    return np.cumsum(present)[found]


def turned(degrees: tuple[float, float, float], order: tuple[int, int, int], signs: tuple[int, int, int]) -> np.ndarray:
    """Axes: those of the world in another order, some reversed, then turned."""
    transform = sitk.Euler3DTransform((0.0, 0.0, 0.0), *np.radians(degrees).tolist())
    return np.reshape(transform.GetMatrix(), (3, 3)) @ (np.eye(3)[:, list(order)] * signs)


@st.composite
def targets(draw):
    """Scans: axial, sagittal or coronal, flipped, oblique, of thin or thick slices, around a model grid of 2 mm."""
    order = tuple(draw(st.permutations([0, 1, 2])))
    signs = tuple(draw(st.sampled_from([-1, 1])) for _ in range(3))
    degrees = tuple(draw(st.sampled_from([0.0, draw(st.integers(-30, 30)) + 0.3])) for _ in range(3))
    spacing = tuple(draw(st.sampled_from([1.0, 0.7071, 1.3713, 2.0, 5.0])) for _ in range(3))
    field = draw(st.sampled_from([20.0, 32.0, 40.0]))  # mm; the model grid has 32 × 28 × 20
    size = tuple(max(2, round(field / each)) for each in spacing)
    axes = turned(degrees, order, signs)
    # Away from exact halves: there SimpleITK answers as rounding has it.
    middle = np.array([16.0, 14.0, 10.0]) + [0.0123 + 0.00217 * draw(st.integers(0, 100)) for _ in range(3)]
    origin = middle - axes @ ((np.array(size) - 1) / 2 * spacing)
    return ad.Grid(size, spacing, tuple(origin.tolist()), tuple(axes.ravel().tolist()))


@given(targets(), st.integers(0, 10**6), st.sampled_from([0.02, 0.1, 0.3]))
@settings(max_examples=80, deadline=None)
def test_labels_come_to_any_grid_as_resampling_all_of_it_brings_them(target, seed, share):
    grid = ad.Grid((16, 14, 10), (2.0, 2.0, 2.0), (1.0, 1.0, 1.0), tuple(np.eye(3).ravel().tolist()))
    labels = some_parts(grid.shape, seed, share)
    # The scan's brain ends where the model's grid does: see prepare.grid.model_grid.
    indices = np.argwhere(np.ones(target.shape, bool))
    inside = (np.abs(target.to_world(indices) - [16.0, 14.0, 10.0]) < [16.0, 14.0, 10.0]).all(axis=1)
    within = inside.reshape(target.shape) & (np.random.default_rng(seed).random(target.shape) > 0.1)
    found = resample_labels(labels, grid, target, within=within)
    assert found.dtype == np.int16
    np.testing.assert_array_equal(found, resampled_in_full(labels, grid, target, within))


@pytest.mark.parametrize("spacing", [0.5, 1.0, 2.0, 4.0])
def test_where_half_a_voxel_has_a_label_it_is_none(spacing):
    """Grids of half and double the spacing meet at exact halves, and there SimpleITK says background, too."""
    grid = ad.Grid((16, 14, 10), (2.0, 2.0, 2.0), (0.0, 0.0, 0.0), tuple(np.eye(3).ravel().tolist()))
    size = tuple(int(n * 2 / spacing) for n in grid.size)
    target = ad.Grid(size, (spacing,) * 3, (0.0, 0.0, 0.0), grid.direction)
    labels = np.zeros(grid.shape, np.int32)
    labels[3:7, 4:8, 5:9], labels[9:, 10:, 12:] = 1, 2
    within = (np.argwhere(np.ones(target.shape)) * spacing < [19, 27, 31]).all(axis=1).reshape(target.shape)
    found = resample_labels(labels, grid, target, within=within)
    np.testing.assert_array_equal(found, resampled_in_full(labels, grid, target, within))


def test_a_label_that_vanishes_between_thick_slices_leaves_no_gap():
    grid = ad.Grid((8, 8, 12), (2.0, 2.0, 2.0), (0.0, 0.0, 0.0), tuple(np.eye(3).ravel().tolist()))
    labels = np.zeros(grid.shape, np.int32)
    labels[2, 2:6, 2:6], labels[4:11, 2:6, 2:6] = 1, 2
    thick = ad.Grid((8, 8, 3), (2.0, 2.0, 12.0), (0.0, 0.0, 0.0), grid.direction)  # at 0, 12 and 24 mm
    found = resample_labels(labels, grid, thick, within=np.ones(thick.shape, bool))
    assert sorted(np.unique(found)) == [0, 1]
    assert found[1, 3, 3] == 1
