"""Laws of the made-up scans. White matter is 900 in a scan; contrasts and noise are in units of white matter."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from brain_inpaint_ad.errors import OutputError, SettingsError
from brain_inpaint_ad.io import read_labels, read_scan, resample
from brain_inpaint_ad.phantom import Lesion, PhantomSettings, make_phantom, save_phantom
from brain_inpaint_ad.prepare.brain import find_brain
from brain_inpaint_ad.prepare.grid import to_model_grid

WHITE = 900.0
BALL = Lesion(centre_mm=(30.0, -20.0, 28.0), radius_mm=14.0)


def phantom_of(spacing_mm=3.0, **settings):
    return make_phantom(PhantomSettings(spacing_mm=spacing_mm, **settings))


def clean_phantom_of(spacing_mm=3.0, **settings):
    return phantom_of(spacing_mm, noise=0.0, bias=0.0, **settings)


def world_ras(volume):
    """mm to the right, anterior, superior of every voxel: (slices, rows, columns, 3)."""
    indices = np.stack(np.indices(volume.array.shape), axis=-1).reshape(-1, 3)
    return (volume.grid.to_world(indices) * [-1, -1, 1]).reshape(*volume.array.shape, 3)


def mm_from(volume, centre_mm):
    return np.linalg.norm(world_ras(volume) - np.asarray(centre_mm), axis=-1)


def dice(one, other):
    return 2 * (one & other).sum() / (one.sum() + other.sum())


def brain_on(grid, phantom):
    return resample(phantom.brain.with_array(phantom.brain.array.astype(np.float32)), grid) >= 0.5


@pytest.fixture(scope="module")
def a_phantom():
    return phantom_of(2.0, lesions=(BALL,))


@pytest.fixture(scope="module")
def a_clean_brain():
    return clean_phantom_of(2.0)


def test_the_same_seed_gives_the_same_voxels():
    one, other = phantom_of(seed=5), phantom_of(seed=5)
    np.testing.assert_array_equal(one.scan.array, other.scan.array)
    np.testing.assert_array_equal(one.brain.array, other.brain.array)


def test_another_seed_is_another_brain_not_only_other_noise():
    one, other = clean_phantom_of(seed=5), clean_phantom_of(seed=6)
    both = ndimage.binary_erosion(one.brain.array & other.brain.array, iterations=2)
    difference = np.abs(one.scan.array - other.scan.array)[both]
    assert np.mean(difference > 0.1 * WHITE) > 0.25  # folds differ nearly everywhere; the deep parts are alike


@pytest.mark.parametrize("seed", range(4))
def test_the_brain_has_a_human_size_and_is_one_piece(seed):
    brain = clean_phantom_of(seed=seed).brain
    places = world_ras(brain)[brain.array]
    width, length, height = np.ptp(places, axis=0)
    assert 1.2 <= brain.array.sum() * brain.grid.voxel_mm3 / 1e6 <= 1.6  # litres
    assert 125 <= width <= 150
    assert 155 <= length <= 185
    assert 120 <= height <= 145
    assert ndimage.label(brain.array)[1] == 1


def test_the_brain_does_not_touch_the_border_of_its_box():
    for seed in range(4):
        brain = clean_phantom_of(seed=seed).brain.array
        assert brain[1:-1, 1:-1, 1:-1].sum() == brain.sum()


def test_tissues_have_the_order_and_shares_of_t1(a_clean_brain):
    values = a_clean_brain.scan.array[a_clean_brain.brain.array] / 1000
    csf, grey, white = np.mean(values < 0.4), np.mean((values >= 0.4) & (values < 0.75)), np.mean(values >= 0.75)
    assert 0.05 < csf < 0.25  # as within brain masks of adults, partial volume included
    assert 0.25 < grey < 0.6
    assert 0.25 < white < 0.6


def test_the_cortex_is_folded(a_clean_brain):
    """On a shell 10 mm below the surface, tissue alternates between sulci, grey and white matter."""
    spacing_mm = a_clean_brain.scan.grid.spacing[0]
    depth_mm = ndimage.distance_transform_edt(a_clean_brain.brain.array) * spacing_mm
    superior = world_ras(a_clean_brain.scan)[..., 2]
    shell = a_clean_brain.scan.array[(depth_mm > 8) & (depth_mm < 12) & (superior > 0)] / 1000
    assert np.mean(shell < 0.5) > 0.05
    assert np.mean(shell > 0.8) > 0.2


def test_the_ventricles_are_dark_and_the_white_matter_beside_them_bright(a_clean_brain):
    values, places = a_clean_brain.scan.array / 1000, world_ras(a_clean_brain.scan)
    ventricles = np.linalg.norm((places - [10, 2, 18]) / [4, 8, 4], axis=-1) < 1
    beside = np.linalg.norm((places - [27, -10, 24]) / [4, 8, 4], axis=-1) < 1
    assert np.percentile(values[ventricles], 10) < 0.35
    assert values[beside].mean() > 0.75


def test_a_lesion_has_the_volume_of_its_ball(a_phantom):
    volume_mm3 = (a_phantom.truth.array == 1).sum() * a_phantom.truth.grid.voxel_mm3
    assert volume_mm3 == pytest.approx(4 / 3 * np.pi * BALL.radius_mm**3, rel=0.03)  # voxels of 2 mm on a ball of 28 mm


def test_a_lesion_at_the_surface_is_clipped_by_the_brain():
    lesion = Lesion(centre_mm=(50.0, -20.0, 28.0), radius_mm=15.0)
    phantom = clean_phantom_of(lesions=(lesion,))
    ball = mm_from(phantom.truth, lesion.centre_mm) <= lesion.radius_mm
    assert not (phantom.truth.array[~phantom.brain.array]).any()
    assert (ball & ~phantom.brain.array).any()
    assert (phantom.truth.array == 1).sum() == pytest.approx((ball & phantom.brain.array).sum(), rel=0.05)


def test_a_lesion_changes_the_scan_only_where_it_is():
    healthy, ill = phantom_of(), phantom_of(lesions=(BALL,))  # noise and bias are the same in both
    changed = healthy.scan.array != ill.scan.array
    voxel_mm = np.sqrt(3) * 3.0
    assert changed.any()
    assert mm_from(ill.scan, BALL.centre_mm)[changed].max() <= BALL.radius_mm + BALL.softness_mm + voxel_mm


@pytest.mark.parametrize("contrast", [0.2, -0.35])
def test_the_contrast_is_what_was_asked_for(contrast):
    lesion = Lesion(centre_mm=BALL.centre_mm, radius_mm=14.0, contrast=contrast)
    healthy, ill = clean_phantom_of(2.0), clean_phantom_of(2.0, lesions=(lesion,))
    core = mm_from(ill.scan, lesion.centre_mm) < lesion.radius_mm - lesion.softness_mm
    added = (ill.scan.array - healthy.scan.array)[core].mean() / WHITE
    assert added == pytest.approx(contrast, abs=0.04)  # the core's mean tissue is not quite the whole ball's


def test_evenness_removes_the_folds_inside_a_lesion():
    centre_mm = (40.0, -20.0, 35.0)
    spread = []
    for evenness in (0.0, 0.7, 1.0):
        lesion = Lesion(centre_mm=centre_mm, radius_mm=14.0, contrast=0.1, evenness=evenness)
        phantom = clean_phantom_of(2.0, lesions=(lesion,))
        spread.append(phantom.scan.array[mm_from(phantom.scan, centre_mm) < 11].std() / WHITE)
    assert spread[1] == pytest.approx(0.3 * spread[0], rel=0.01)  # what is left of the anatomy is 1 - evenness
    assert spread[2] < 1e-5


def test_a_softer_edge_is_wider():
    width_mm = []
    for softness_mm in (0.0, 10.0):
        lesion = Lesion(centre_mm=BALL.centre_mm, radius_mm=14.0, contrast=0.3, evenness=0.0, softness_mm=softness_mm)
        healthy, ill = clean_phantom_of(2.0), clean_phantom_of(2.0, lesions=(lesion,))
        share = (ill.scan.array - healthy.scan.array) / (0.3 * WHITE)
        edge = mm_from(ill.scan, lesion.centre_mm)[(share > 0.05) & (share < 0.95)]
        width_mm.append(np.ptp(edge))
    assert width_mm[0] < 4 < 8 < width_mm[1]


def test_lesions_are_numbered_as_listed():
    other = Lesion(centre_mm=(-30.0, 20.0, 25.0), radius_mm=8.0, contrast=0.2)
    truth = clean_phantom_of(lesions=(BALL, other)).truth
    assert set(np.unique(truth.array)) == {0, 1, 2}
    for label, lesion in enumerate((BALL, other), start=1):
        np.testing.assert_allclose(world_ras(truth)[truth.array == label].mean(axis=0), lesion.centre_mm, atol=1.0)


def test_a_lesion_outside_the_brain_is_refused():
    with pytest.raises(SettingsError, match="outside the brain"):
        clean_phantom_of(lesions=(Lesion(centre_mm=(80.0, 0.0, 0.0), radius_mm=5.0),))


def test_a_grid_turned_by_a_right_angle_shows_the_same_voxels():
    straight, turned = clean_phantom_of(lesions=(BALL,)), clean_phantom_of(lesions=(BALL,), rotation_degrees=(0, 0, 90))
    inverse = np.linalg.inv(straight.scan.grid.affine)
    places = np.argwhere(turned.brain.array)
    world = turned.scan.grid.to_world(places)
    columns_first = world @ inverse[:3, :3].T + inverse[:3, 3]
    there = np.round(columns_first).astype(int)[:, ::-1]
    np.testing.assert_allclose(columns_first[:, ::-1], there, atol=1e-6)  # voxel centres fall on voxel centres
    same = straight.scan.array[tuple(there.T)]
    # float32 positions, to 1e-5 mm, on ramps of about 1 per mm
    np.testing.assert_allclose(turned.scan.array[turned.brain.array], same, atol=0.1)
    np.testing.assert_array_equal(turned.truth.array[turned.brain.array], straight.truth.array[tuple(there.T)])


@pytest.mark.parametrize(
    ("spacing_mm", "rotation_degrees"),
    [((2.0, 2.0, 2.0), (15.0, -10.0, 20.0)), ((1.5, 2.0, 2.5), (0.0, 0.0, 0.0)), ((2.0, 2.0, 6.0), (5.0, 12.0, -8.0))],
)
def test_every_grid_shows_the_same_world(a_clean_brain, spacing_mm, rotation_degrees):
    other = clean_phantom_of(spacing_mm, rotation_degrees=rotation_degrees)
    expected = to_model_grid(a_clean_brain.scan, other.scan.grid)
    inside = ndimage.binary_erosion(other.brain.array)
    correlation = np.corrcoef(expected[inside], other.scan.array[inside])[0, 1]
    assert correlation > 0.95  # 0.97 to 0.99, the rest is interpolation; a slip by one voxel gives 0.9 at most
    assert dice(brain_on(other.scan.grid, a_clean_brain), other.brain.array) > 0.97


def test_the_default_grid_is_axial_in_lps(a_clean_brain):
    assert a_clean_brain.scan.grid.direction == (1, 0, 0, 0, 1, 0, 0, 0, 1)
    assert a_clean_brain.scan.grid.spacing == (2.0, 2.0, 2.0)


def test_bias_scales_the_tissue_smoothly_within_its_bounds():
    flat, biased = phantom_of(noise=0.0, bias=0.0), phantom_of(noise=0.0, bias=0.3)
    gain = biased.scan.array[flat.brain.array] / flat.scan.array[flat.brain.array]
    assert 0.7 <= gain.min() < 0.95 or 1.05 < gain.max() <= 1.3
    field = np.ones(flat.brain.array.shape)
    field[flat.brain.array] = gain
    inside = ndimage.binary_erosion(flat.brain.array)
    steps = [np.abs(field - np.roll(field, 1, axis))[inside].max() for axis in range(3)]
    assert max(steps) < 0.05  # per voxel of 3 mm; a coil's gain changes over centimetres


def test_noise_has_the_wanted_deviation():
    clean, noisy = phantom_of(noise=0.0), phantom_of(noise=0.05)
    bright = clean.scan.array > 0.6 * WHITE  # where Rician noise is nearly Gaussian
    assert (noisy.scan.array - clean.scan.array)[bright].std() == pytest.approx(0.05 * WHITE, rel=0.03)


def test_a_brain_alone_is_recognised_as_such(a_phantom):
    found, source = find_brain(a_phantom.scan)
    assert source == "brain-only scan"
    np.testing.assert_array_equal(found, a_phantom.brain.array)


def test_a_whole_head_shares_the_brain_and_has_tissue_and_noise_around():
    alone, head = phantom_of(), phantom_of(whole_head=True)
    assert dice(brain_on(head.scan.grid, alone), head.brain.array) > 0.97  # the grids are half a voxel apart
    outside = head.scan.array[~head.brain.array]
    assert outside.min() > 0
    assert (outside > 0.8 * WHITE).sum() * head.scan.grid.voxel_mm3 > 300e3  # scalp


@pytest.mark.filterwarnings("ignore:.*torch.jit.load.*:DeprecationWarning")  # how deepbet reads its weights
def test_brain_extraction_finds_the_brain_of_a_whole_head():
    pytest.importorskip("deepbet")
    head = phantom_of(2.5, whole_head=True)
    found, source = find_brain(head.scan)
    assert source == "deepbet"
    assert dice(found, head.brain.array) > 0.9  # 0.97 when this was written


def test_saved_files_come_back_with_the_same_values_and_geometry(tmp_path):
    phantom = phantom_of((3.0, 3.0, 4.0), lesions=(BALL,), rotation_degrees=(10.0, 5.0, -20.0))
    scan, brain, truth = save_phantom(phantom, tmp_path / "new")
    assert [path.name for path in (scan, brain, truth)] == ["t1.nii.gz", "brain_mask.nii.gz", "truth.nii.gz"]
    for loaded, made in (
        (read_scan(scan), phantom.scan),
        (read_labels(brain), phantom.brain),
        (read_labels(truth), phantom.truth),
    ):
        np.testing.assert_array_equal(loaded.array, made.array)
        assert loaded.grid.is_same_place(made.grid)


def test_existing_files_are_kept_unless_overwriting_is_asked_for(tmp_path):
    phantom = clean_phantom_of(5.0)
    kept = tmp_path / "truth.nii.gz"
    kept.write_text("mine")
    with pytest.raises(OutputError, match=r"truth\.nii\.gz"):
        save_phantom(phantom, tmp_path)
    assert kept.read_text() == "mine"
    assert list(tmp_path.iterdir()) == [kept]
    save_phantom(phantom, tmp_path, overwrite=True)
    np.testing.assert_array_equal(read_labels(kept).array, phantom.truth.array)


def test_a_folder_that_cannot_be_made_is_an_output_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="could not be made"):
        save_phantom(clean_phantom_of(5.0), tmp_path / "file" / "folder")


@pytest.mark.parametrize(
    "wrong",
    [
        {"spacing_mm": 0.0},
        {"spacing_mm": 20.0},
        {"spacing_mm": (1.0, 1.0)},
        {"spacing_mm": float("nan")},
        {"bias": -0.1},
        {"bias": 1.0},
        {"noise": -0.1},
        {"seed": -1},
        {"rotation_degrees": (1.0, 2.0)},
        {"rotation_degrees": (float("inf"), 0.0, 0.0)},
    ],
)
def test_impossible_phantoms_are_refused(wrong):
    with pytest.raises(SettingsError):
        PhantomSettings(**wrong)


@pytest.mark.parametrize(
    "wrong",
    [
        {"radius_mm": 0.0},
        {"centre_mm": (1.0, 2.0)},
        {"contrast": float("nan")},
        {"softness_mm": -1.0},
        {"softness_mm": 21.0},
        {"evenness": 1.5},
    ],
)
def test_impossible_lesions_are_refused(wrong):
    with pytest.raises(SettingsError):
        Lesion(**{"centre_mm": (0.0, 0.0, 0.0), "radius_mm": 10.0, **wrong})
