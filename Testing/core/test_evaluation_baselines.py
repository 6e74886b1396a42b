"""Baselines that compare with registered healthy brains: registration, the group, what its detectors show."""

from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk
from sklearn.metrics import roc_auc_score

from brain_inpaint_ad.detectors.baselines import WITH_GROUP, departure
from brain_inpaint_ad.detectors.features import features, features_of, local_mean
from brain_inpaint_ad.detectors.healthy import HealthyGroup, centred_grid
from brain_inpaint_ad.detectors.make_group import build_group
from brain_inpaint_ad.detectors.register import carry, is_plausible, register
from brain_inpaint_ad.errors import InputError, SettingsError
from brain_inpaint_ad.io import resample
from brain_inpaint_ad.phantom import Lesion, PhantomSettings, make_phantom
from brain_inpaint_ad.prepare import GridSettings, Prepared, prepare
from brain_inpaint_ad.volume import Grid, Volume

COARSE = GridSettings(spacing_mm=4.0, rows=64, columns=48)


def prepared_phantom(seed, lesions=()):
    phantom = make_phantom(PhantomSettings(spacing_mm=4.0, seed=seed, lesions=lesions))
    return prepare(phantom.scan, settings=COARSE), phantom


@pytest.fixture(scope="module")
def healthy_brains():
    """Five, as a group is built from them."""
    made = [(f"brain {seed}", prepared_phantom(seed)[0]) for seed in range(5)]
    return [(name, prepared.image.array, prepared.brain) for name, prepared in made]


@pytest.fixture(scope="module")
def a_group(healthy_brains):
    return build_group(healthy_brains, spacing_mm=4.0)


@pytest.fixture(scope="module")
def an_ill_brain():
    """Prepared, and where its lesion is on the model grid."""
    lesion = Lesion(centre_mm=(30.0, 10.0, 20.0), radius_mm=18.0)
    prepared, phantom = prepared_phantom(9, (lesion,))
    share = resample(phantom.truth.with_array((phantom.truth.array > 0).astype(np.float32)), prepared.image.grid)
    return prepared, share > 0.5


@pytest.mark.parametrize(
    ("metric", "other_contrast"), [("correlation", False), *[("mutual information", on) for on in (False, True)]]
)
def test_a_moved_brain_is_brought_back(metric, other_contrast, healthy_brains):
    name, image, _ = healthy_brains[0]
    fixed = Volume(image, centred_grid(image.shape, 4.0), name)
    moved_by = sitk.AffineTransform(3)
    moved_by.Rotate(0, 1, 0.1)
    moved_by.Scale((1.05, 0.95, 1.0))
    moved_by.SetTranslation((6.0, -8.0, 3.0))
    moving = fixed.with_array(carry(fixed, fixed.grid, moved_by))
    if other_contrast:
        moving = moving.with_array(np.where(moving.array > 0.02, 1.05 - moving.array, 0).astype(np.float32))
    found = register(fixed, moving, metric=metric)
    assert is_plausible(found)
    inside = np.argwhere(image > 0)[::50]
    for point in fixed.grid.to_world(inside).tolist():
        # `moving` at p shows `fixed` at moved_by(p), so the way from fixed to moving undoes it
        assert np.linalg.norm(np.subtract(moved_by.TransformPoint(found.TransformPoint(point)), point)) < 4.0  # one voxel


def moved_and_turned(image, shift_mm, degrees):
    """The image in a wider field, and the way from its new points to the old ones."""
    margin = 12
    x, y, z = (start - margin * mm for start, mm in zip(image.grid.origin, image.grid.spacing, strict=True))
    wider = Grid(tuple(size + 2 * margin for size in image.grid.size), image.grid.spacing, (x, y, z), image.grid.direction)
    way = sitk.Euler3DTransform((0.0, 0.0, 0.0), *np.radians(degrees).tolist(), shift_mm)
    return Volume(carry(image, wider, way), wider, image.name), way


def mean_miss_mm(fixed, found, way):
    """Over the brain; `moving` at p shows `fixed` at way(p)."""
    points = fixed.grid.to_world(np.argwhere(fixed.array > 0.3)[::20])
    back = [way.TransformPoint(found.TransformPoint(point)) for point in points.tolist()]
    return np.linalg.norm(np.subtract(back, points), axis=1).mean()


@pytest.mark.parametrize(
    ("shift_mm", "degrees"),
    [
        ((0.0, 0.0, 0.0), (15.0, 0.0, 0.0)),
        ((0.0, 0.0, 0.0), (-30.0, 0.0, 0.0)),
        ((0.0, 0.0, 0.0), (45.0, 0.0, 0.0)),
        ((10.0, 0.0, 0.0), (0.0, 0.0, 15.0)),
        ((0.0, 0.0, 0.0), (0.0, 0.0, -45.0)),
        ((20.0, 0.0, 22.0), (0.0, 30.0, 0.0)),
        ((0.0, 10.0, 10.0), (-12.0, 14.0, 10.0)),
    ],
)
def test_a_turned_brain_is_turned_back(shift_mm, degrees, healthy_brains):
    name, image, _ = healthy_brains[0]
    fixed = Volume(image, centred_grid(image.shape, 4.0), name)
    moving, way = moved_and_turned(fixed, shift_mm, degrees)
    found = register(fixed, moving)
    assert is_plausible(found)
    assert mean_miss_mm(fixed, found, way) < 2.0  # half a voxel


@pytest.mark.parametrize("degrees", [0.0, 5.0])
def test_a_brain_that_lies_straight_keeps_its_first_registration(degrees, healthy_brains, monkeypatch):
    """Thresholds and models were made with it."""
    (name, image, _), (_, other, _) = healthy_brains[:2]
    fixed = Volume(image, centred_grid(image.shape, 4.0), name)
    moving, _ = moved_and_turned(Volume(other, centred_grid(other.shape, 4.0), "other"), (0.0, 5.0, 0.0), (degrees, 0.0, 0.0))
    found = register(fixed, moving)
    monkeypatch.setattr("brain_inpaint_ad.detectors.register.MOST_TURNED_ON", 180.0)
    monkeypatch.setattr("brain_inpaint_ad.detectors.register.MOST_TURNED", 180.0)
    first = register(fixed, moving)
    points = fixed.grid.to_world(np.argwhere(fixed.array > 0.3)[::200]).tolist()
    assert [found.TransformPoint(point) for point in points] == [first.TransformPoint(point) for point in points]


def test_a_brain_that_healthy_ones_fit_badly_is_warned_of(a_group, caplog):
    prepared = prepared_phantom(7)[0]
    a_group.align(prepared)
    assert caplog.messages == []
    upside_down = replace(
        prepared, image=prepared.image.with_array(prepared.image.array[::-1].copy()), brain=prepared.brain[::-1].copy()
    )
    a_group.align(upside_down)
    (message,) = caplog.messages
    assert "healthy brains fit" in message
    assert "look at brain_mask.nii.gz" in message


def test_a_metric_that_is_none_is_refused(healthy_brains):
    name, image, _ = healthy_brains[0]
    fixed = Volume(image, centred_grid(image.shape, 4.0), name)
    with pytest.raises(SettingsError, match="mutual information"):
        register(fixed, fixed, metric="mi")


@pytest.mark.parametrize(
    ("scale", "degrees", "is_head"),
    [
        ((1.0, 1.0, 1.0), 0, True),
        ((0.7, 1.2, 0.9), 40, True),
        ((-1.0, 1.0, 1.0), 0, False),
        ((0.3, 1.0, 1.0), 0, False),
        ((1.0, 2.0, 1.0), 10, False),
        ((1.0, 1.0, 1.0), 90, False),
    ],
)
def test_a_registration_that_stretches_mirrors_or_turns_a_head_too_far_is_not_believed(scale, degrees, is_head):
    transform = sitk.AffineTransform(3)
    transform.Scale(scale)
    transform.Rotate(0, 1, np.radians(degrees))
    transform.SetTranslation((30.0, -200.0, 5.0))
    assert is_plausible(transform) == is_head


def test_the_group_is_symmetric_and_its_components_are_orthonormal(a_group):
    template = a_group.template.array
    np.testing.assert_allclose(template, template[:, :, ::-1], atol=1e-3)
    np.testing.assert_allclose(a_group.components @ a_group.components.T, np.eye(len(a_group.components)), atol=0.01)
    assert (a_group.spread[:, a_group.known] >= 0).all()


def test_a_group_is_the_same_after_it_was_kept(a_group):
    again = HealthyGroup.from_arrays(a_group.to_arrays())
    assert again.sha256 == a_group.sha256
    np.testing.assert_array_equal(again.mean, a_group.mean)
    np.testing.assert_array_equal(again.components, a_group.components)
    assert again.scans == a_group.scans


def test_one_brain_is_no_group(healthy_brains):
    with pytest.raises(InputError, match="a healthy group needs two scans or more, got 1"):
        build_group(healthy_brains[:1], spacing_mm=4.0)


def test_local_means_know_nothing_outside_the_brain():
    rng = np.random.default_rng(0)
    brain = rng.random((8, 9, 10)) < 0.7
    constant = np.where(brain, 0.3, 99.0)
    np.testing.assert_allclose(local_mean(constant, brain, 1.5)[brain], 0.3, rtol=1e-5)
    assert not local_mean(constant, brain, 1.5)[~brain].any()


def test_texture_grows_with_the_logarithm_of_the_contrast():
    image = 0.5 + 0.1 * np.random.default_rng(0).standard_normal((12, 12, 12))
    brain = np.ones(image.shape, dtype=bool)
    weak, strong = (features(0.5 + scale * (image - 0.5), brain, spacing_mm=2.0)[1] for scale in (1, 2))
    np.testing.assert_allclose(strong - weak, np.log(2), rtol=1e-4)


@pytest.mark.parametrize("name", WITH_GROUP)
def test_a_lesion_is_hotter_than_the_rest_and_nothing_is_hot_outside_the_brain(name, a_group, an_ill_brain):
    prepared, truth = an_ill_brain
    heat = WITH_GROUP[name](a_group).heatmap(prepared)
    assert heat.shape == prepared.brain.shape
    assert heat.dtype == np.float32
    assert not heat[~prepared.brain].any()
    assert (heat >= 0).all()
    assert roc_auc_score(truth[prepared.brain], heat[prepared.brain]) > 0.6


def test_no_departure_remains_of_what_all_of_a_brain_has_in_common(a_group, an_ill_brain):
    """A scanner that makes all of it smoother, or doubles every difference, changes nothing."""
    prepared, _ = an_ill_brain
    scores = a_group.align(prepared).z_scores(features_of(prepared), prepared.brain)
    once = departure(scores, prepared)
    np.testing.assert_allclose(departure(2 * scores - 1.5 * prepared.brain, prepared), once, atol=1e-4)


def test_the_last_scan_is_registered_once(a_group, an_ill_brain):
    prepared: Prepared = an_ill_brain[0]
    assert a_group.align(prepared) is a_group.align(prepared)
    assert a_group.align(replace(prepared)) is not a_group.align(prepared)
