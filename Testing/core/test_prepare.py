"""From a scan to the model grid and back: geometry, brain, intensity."""

import json
from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st

import brain_inpaint_ad as ad
from brain_inpaint_ad.errors import SettingsError
from brain_inpaint_ad.io import from_image, to_image
from brain_inpaint_ad.phantom import PhantomSettings, make_phantom
from brain_inpaint_ad.prepare import GridSettings, prepare
from brain_inpaint_ad.prepare.bias import MOST_VOXELS, shrink_factors, zero_of
from brain_inpaint_ad.prepare.intensity import (
    DECILES,
    PERCENTILES,
    TARGETS,
    THREE,
    Standard,
    landmarks,
    learn_standard,
    normalise,
    scaled,
    unscaled,
)
from brain_inpaint_ad.prepare.modality import check_t1
from brain_inpaint_ad.recut_file import RecutFile, read_recut, write_recut
from brain_inpaint_ad.result import labels_to_scan
from brain_inpaint_ad.segmentation.select import SegmentSettings

COARSE = GridSettings(spacing_mm=4.0, rows=64, columns=48)


@given(
    st.lists(st.floats(0.2, 6.0), min_size=3, max_size=3),
    st.lists(st.integers(1, 700), min_size=3, max_size=3),
)
def test_n4_never_works_on_more_voxels_than_its_bound(spacing, size):
    factors = shrink_factors(spacing, size)
    left = [voxels // factor for voxels, factor in zip(size, factors, strict=True)]
    assert np.prod(left) <= MOST_VOXELS
    assert all(n >= min(4, voxels) for n, voxels in zip(left, size, strict=True))
    assert factors == shrink_factors(spacing, size)


def test_a_brain_of_usual_size_is_shrunk_to_four_millimetres():
    for spacing, expected in ((1.0, 4), (2.0, 2), (0.5, 8), (4.0, 1)):
        size = [round(mm / spacing) for mm in (160, 200, 160)]
        assert shrink_factors([spacing] * 3, size) == [expected] * 3


@st.composite
def grids(draw):
    """Oblique, anisotropic, left- or right-handed."""
    angles = [draw(st.floats(-1, 1)) for _ in range(3)]
    rotation = np.array(sitk.Euler3DTransform((0, 0, 0), *angles).GetMatrix()).reshape(3, 3)
    rotation[:, 0] *= draw(st.sampled_from([-1, 1]))
    size = tuple(draw(st.integers(2, 9)) for _ in range(3))
    spacing = tuple(draw(st.floats(0.3, 6)) for _ in range(3))
    origin = tuple(draw(st.floats(-200, 200)) for _ in range(3))
    return ad.Grid(size, spacing, origin, tuple(rotation.ravel().tolist()))


@given(grids())
@settings(max_examples=60, deadline=None)
def test_world_places_are_those_of_simpleitk(grid):
    image = sitk.Image(grid.size, sitk.sitkUInt8)
    image.SetSpacing(grid.spacing)
    image.SetOrigin(grid.origin)
    image.SetDirection(grid.direction)
    indices = np.array([[0, 0, 0], [grid.shape[0] - 1, grid.shape[1] - 1, grid.shape[2] - 1], [1, 0, 1]])
    expected = [image.TransformIndexToPhysicalPoint([int(i) for i in index[::-1]]) for index in indices]
    np.testing.assert_allclose(grid.to_world(indices), expected, atol=1e-9)


@given(grids())
@settings(max_examples=30, deadline=None)
def test_a_volume_keeps_its_geometry_through_simpleitk_bit_for_bit(grid):
    array = np.arange(np.prod(grid.size), dtype=np.float32).reshape(grid.shape)
    back = from_image(to_image(ad.Volume(array, grid)))
    assert back.grid == grid
    np.testing.assert_array_equal(back.array, array)


@pytest.fixture(scope="module")
def an_oblique_head():
    return make_phantom(PhantomSettings(spacing_mm=(2.5, 3.0, 3.5), rotation_degrees=(12.0, -9.0, 20.0)))


def test_a_prepared_scan_is_brain_in_zero_to_one_on_axial_world_slices(an_oblique_head):
    prepared = prepare(an_oblique_head.scan, settings=COARSE)
    assert prepared.brain_source == "brain-only scan"
    assert prepared.image.grid.direction == (1, 0, 0, 0, 1, 0, 0, 0, 1)
    assert prepared.image.array.shape[1:] == (64, 48)
    assert prepared.image.array.min() >= 0
    assert prepared.image.array.max() <= 1
    assert not prepared.image.array[~prepared.brain].any()
    volume_ml = prepared.brain.sum() * prepared.image.grid.voxel_mm3 / 1000
    truth_ml = (an_oblique_head.brain.array > 0).sum() * an_oblique_head.brain.grid.voxel_mm3 / 1000
    assert volume_ml == pytest.approx(truth_ml, rel=0.03)  # 4 mm voxels at the rim


def test_a_map_comes_back_to_the_place_it_was_drawn_at(an_oblique_head):
    """A bump drawn in world coordinates on the model grid has its top at the same world place on the scan."""
    prepared = prepare(an_oblique_head.scan, settings=COARSE)
    everywhere = np.argwhere(np.ones(prepared.brain.shape, bool))
    inside = np.argwhere(prepared.brain)
    target = prepared.image.grid.to_world(inside).mean(axis=0) + np.array([15.0, -20.0, 10.0])
    distance = np.linalg.norm(prepared.image.grid.to_world(everywhere) - target, axis=1)
    bump = np.exp(-((distance / 12.0) ** 2)).reshape(prepared.brain.shape)
    heatmap = prepared.to_scan(bump)
    assert heatmap.grid == an_oblique_head.scan.grid
    weights = heatmap.array[heatmap.array > 0.3]
    centre = np.average(heatmap.grid.to_world(np.argwhere(heatmap.array > 0.3)), axis=0, weights=weights)
    np.testing.assert_allclose(centre, target, atol=1.0)  # mm; a quarter of a model voxel


def test_labels_come_back_without_gaps_and_inside_the_brain(an_oblique_head):
    prepared = prepare(an_oblique_head.scan, settings=COARSE)
    labels = np.zeros(prepared.brain.shape, np.int32)
    middle = len(labels) // 2
    labels[middle - 3 : middle, 20:40, 15:30] = 1
    labels[middle + 2 : middle + 5, 20:40, 15:30] = 5  # 2 to 4 do not exist
    back = labels_to_scan(prepared, labels * prepared.brain)
    assert sorted(np.unique(back.array)) == [0, 1, 2]
    assert not back.array[~prepared.scan_brain].any()
    for old, new in ((1, 1), (5, 2)):
        volume = ((labels == old) & prepared.brain).sum() * prepared.image.grid.voxel_mm3
        assert (back.array == new).sum() * back.grid.voxel_mm3 == pytest.approx(volume, rel=0.1)


def test_a_given_mask_is_used_as_it_is(an_oblique_head):
    smaller = an_oblique_head.brain.array.copy()
    smaller[: len(smaller) // 3] = 0
    prepared = prepare(an_oblique_head.scan, mask=an_oblique_head.brain.with_array(smaller), settings=COARSE)
    assert prepared.brain_source == "given"
    np.testing.assert_array_equal(prepared.scan_brain, smaller > 0)


def test_a_brain_larger_than_the_field_is_refused(an_oblique_head):
    grid = an_oblique_head.scan.grid
    huge = ad.Grid(grid.size, tuple(1.12 * s for s in grid.spacing), grid.origin, grid.direction)
    scan = ad.Volume(an_oblique_head.scan.array, huge, "huge.nii")
    with pytest.raises(ad.InputError, match=r"huge\.nii: the brain measures .* check the voxel spacing"):
        prepare(scan, settings=GridSettings(spacing_mm=2.0, rows=64, columns=48))


@given(st.floats(0.01, 1e4), st.floats(-500, 500))
@settings(max_examples=30, deadline=None)
def test_gain_and_offset_of_the_scanner_do_not_matter(gain, offset):
    rng = np.random.default_rng(0)
    image, brain = rng.gamma(3, 1, (6, 20, 20)), np.ones((6, 20, 20), bool)
    brain[:, :3] = False
    np.testing.assert_allclose(normalise(gain * image + offset, brain), normalise(image, brain), atol=1e-4)


def test_the_landmarks_go_where_the_settings_say():
    rng = np.random.default_rng(1)
    image, brain = rng.gamma(3, 1, (10, 30, 30)), np.ones((10, 30, 30), bool)
    found = np.percentile(normalise(image, brain), PERCENTILES)
    np.testing.assert_allclose(found, TARGETS, atol=1e-3)


def test_a_brain_without_contrast_is_refused():
    with pytest.raises(ad.InputError, match="hardly any contrast"):
        normalise(np.ones((4, 4, 4)), np.ones((4, 4, 4), bool), name="flat.nii")


def test_a_scan_whose_white_matter_is_darker_than_its_cortex_is_not_taken_for_t1():
    head = make_phantom(PhantomSettings(spacing_mm=3.0))
    brain = head.brain.array > 0
    inverted = np.where(brain, head.scan.array[brain].max() + 1 - head.scan.array, 0).astype(np.float32)
    for array, is_t1 in ((head.scan.array, True), (inverted, False)):
        prepared = prepare(head.scan.with_array(array, "head.nii"), settings=COARSE)
        if is_t1:
            check_t1(prepared.image.array, prepared.brain, spacing_mm=4.0, name="head.nii")
        else:
            with pytest.raises(ad.InputError, match=r"head\.nii does not look like a T1-weighted scan"):
                check_t1(prepared.image.array, prepared.brain, spacing_mm=4.0, name="head.nii")


def scanners(count=4, seed=0):
    """One brain as several scanners would show it: other gain, offset and contrast; images and mask."""
    rng = np.random.default_rng(seed)
    tissue = np.concatenate([rng.normal(mean, 0.04, 9000) for mean in (0.2, 0.55, 0.8)]).reshape(30, 30, 30)
    brain = np.ones(tissue.shape, bool)
    bends = np.linspace(0.6, 1.8, count)
    return [((np.clip(tissue, 0.01, 1) ** bend * rng.uniform(50, 4000) + rng.uniform(0, 300)), brain) for bend in bends]


def test_learned_landmarks_bring_each_decile_of_every_scanner_to_the_same_place():
    brains = scanners()
    standard = learn_standard(brains)
    assert (standard.percentiles, standard.targets[0], standard.targets[-1]) == (DECILES, TARGETS[0], TARGETS[-1])
    for image, brain in brains:
        found = np.percentile(normalise(image, brain, standard=standard), DECILES)
        np.testing.assert_allclose(found, standard.targets, atol=2e-3)


def test_landmarks_of_one_scan_are_a_straight_line_between_the_ends():
    """Nyúl 2000, eq. of the mapping: learned from one scan, the mapping is its own stretch to the ends."""
    image, brain = scanners(1)[0]
    standard = learn_standard([(image, brain)])
    low, high = np.percentile(image, (1, 99))
    expected = np.clip(TARGETS[0] + (TARGETS[-1] - TARGETS[0]) * (image - low) / (high - low), 0, 1)
    np.testing.assert_allclose(normalise(image, brain, standard=standard), expected, atol=2e-3)


def test_standardised_intensities_keep_their_order_and_find_the_way_back():
    image, brain = scanners(3)[2]
    standard = learn_standard(scanners())
    marks = landmarks(image, brain, standard=standard)
    values = scaled(image, brain, marks, standard.places)
    order = np.argsort(image, axis=None)
    assert (np.diff(values.ravel()[order]) >= 0).all()
    inside = (values > 0) & (values < 1)
    np.testing.assert_allclose(unscaled(values, marks, standard.places)[inside], image[inside], rtol=1e-3)


def test_a_scan_of_few_grey_levels_has_landmarks_all_the_same():
    image, brain = scanners()[0]
    coarse = np.round(image / image.max() * 6)
    marks = landmarks(coarse, brain, standard=learn_standard(scanners()))
    assert (np.diff(marks) > 0).all()


@pytest.mark.parametrize(
    "odd",
    [
        {"percentiles": (1.0, 50.0), "targets": (0.1, 0.5, 0.9)},
        {"percentiles": (50.0, 1.0, 99.0)},
        {"targets": (0.0, 0.5, 0.9)},
        {"targets": (0.1, 0.5, float("nan"))},
        {"percentiles": (1.0, 50.0, 101.0)},
        {"percentiles": (50.0,), "targets": (0.5,)},
    ],
)
def test_landmarks_that_are_none_are_refused(odd):
    with pytest.raises(SettingsError, match="ascending"):
        Standard(**odd)


def test_the_usual_standard_leaves_what_prepared_scans_are_kept_under_as_it_was():
    assert GridSettings().identity() == {"spacing_mm": 2.0, "rows": 128, "columns": 96}
    learned = GridSettings(standard=learn_standard(scanners())).identity()
    assert learned != GridSettings().identity()
    assert json.loads(json.dumps(learned)) == learned  # or nothing that is kept would be found again


@pytest.fixture(scope="module")
def a_brain_only_scan():
    """Scan, brain, and the scan prepared."""
    made = make_phantom(PhantomSettings(spacing_mm=4.0, noise=0.01))
    brain = made.brain.array > 0
    scan = made.scan.with_array(np.where(brain, made.scan.array, 0).astype(np.float32))
    return scan, brain, prepare(scan, settings=COARSE)


@pytest.mark.parametrize("shift", [-1000.0, "z-score", "z-score of the brain alone"])
def test_intensities_shifted_below_zero_are_prepared_as_those_that_were_not(shift, a_brain_only_scan):
    """N4 divides: it must know where zero is."""
    scan, brain, usual = a_brain_only_scan
    mean, spread = scan.array[brain].mean(), scan.array[brain].std()
    if isinstance(shift, float):
        moved = scan.array + np.float32(shift)
    else:
        moved = (scan.array - mean) / spread
        moved = np.where(brain, moved, 0) if "alone" in shift else moved
    other = prepare(scan.with_array(moved.astype(np.float32)), settings=COARSE)
    assert zero_of(scan, brain) == 0
    same = usual.brain & other.brain
    assert same.sum() > 0.99 * usual.brain.sum()
    exact = shift != "z-score of the brain alone"  # then zero is guessed
    assert np.abs(usual.image.array - other.image.array)[same].mean() < (1e-4 if exact else 0.02)
    back = other.in_scan_units(other.image.array)
    assert abs(np.median(back[same]) - np.median(moved[brain])) < 0.1 * moved[brain].std()


@pytest.mark.parametrize("fill", [-1000.0, -32768.0])
def test_a_fill_value_around_the_brain_is_no_intensity(fill, a_brain_only_scan):
    scan, brain, usual = a_brain_only_scan
    filled = scan.with_array(np.where(brain, scan.array, np.float32(fill)))
    assert zero_of(filled, brain) == 0
    other = prepare(filled, settings=COARSE, mask=scan.with_array(brain.astype(np.uint8)))
    same = usual.brain & other.brain
    assert np.abs(usual.image.array - other.image.array)[same].mean() < 0.01


def test_a_card_with_learned_landmarks_prepares_by_them_and_its_results_are_read_again(tmp_path):
    made = make_phantom(PhantomSettings(spacing_mm=4.0, noise=0.01))
    standard = learn_standard(scanners())
    prepared = prepare(made.scan, mask=made.brain, settings=replace(COARSE, standard=standard))
    found = np.percentile(prepared.image.array[prepared.brain], DECILES)
    np.testing.assert_allclose(found, standard.targets, atol=5e-3)
    heat = prepared.image.array
    write_recut(RecutFile(prepared, heat, SegmentSettings(), {}, {}), tmp_path / "recut.npz")
    again = read_recut(tmp_path / "recut.npz").prepared
    assert (again.landmarks, again.places) == (prepared.landmarks, standard.places)
    assert THREE.places != again.places
