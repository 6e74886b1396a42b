"""The detectors that weigh evidence and that are surprised: what they learn from, how they are trained, detect with them."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

import brain_inpaint_ad as ad
from brain_inpaint_ad.detectors.baselines import departure
from brain_inpaint_ad.detectors.evidence import MAPS, EvidenceDetector, weigh_up
from brain_inpaint_ad.detectors.features import features_of
from brain_inpaint_ad.detectors.healthy import HealthyGroup, align
from brain_inpaint_ad.detectors.load import load_detector
from brain_inpaint_ad.detectors.make_group import build_group
from brain_inpaint_ad.detectors.surprise import as_targets, expectation
from brain_inpaint_ad.errors import FitError, SettingsError, TrainingError
from brain_inpaint_ad.nets.evidence import EXPONENTS, EvidenceNet, EvidenceSettings
from brain_inpaint_ad.nets.unet3d import UNet3d, UNet3dSettings
from brain_inpaint_ad.phantom import Lesion, PhantomSettings, make_phantom
from brain_inpaint_ad.prepare import GridSettings, prepare
from brain_inpaint_ad.training import evidence, surprise
from brain_inpaint_ad.training.implants import LEAST_CHANGE, implant
from brain_inpaint_ad.training.scanners import other_scanner
from brain_inpaint_ad.weights.store import load_model

COARSE = GridSettings(spacing_mm=4.0, rows=64, columns=48)
TINY = evidence.EvidenceTraining(spacing_mm=4.0, channels=(2, 4), patch=16)
TINY_SURPRISE = surprise.SurpriseTraining(spacing_mm=4.0, width=2, depth=2, batch=2)


def a_prepared_phantom(seed, lesions=()):
    return prepare(make_phantom(PhantomSettings(spacing_mm=4.0, seed=seed, lesions=lesions)).scan, settings=COARSE)


@pytest.fixture(scope="module")
def a_brain():
    return a_prepared_phantom(3)


@pytest.fixture(scope="module")
def a_group():
    brains = [a_prepared_phantom(seed) for seed in range(2)]
    return build_group([(str(n), brain.image.array, brain.brain) for n, brain in enumerate(brains)], spacing_mm=4.0)


@pytest.fixture(scope="module")
def an_evidence_run(a_healthy_folder, tmp_path_factory):
    """A folder with a trained model, if four iterations may be called that."""
    out = tmp_path_factory.mktemp("runs") / "evidence"
    evidence.train(a_healthy_folder, out, settings=TINY, iterations=4, data_note="phantoms")
    return out


@pytest.fixture(scope="module")
def a_surprise_run(a_healthy_folder, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "surprise"
    surprise.train(a_healthy_folder, out, settings=TINY_SURPRISE, iterations=4)
    return out


@pytest.mark.parametrize("seed", range(8))
def test_an_implant_changes_what_it_marks_and_little_else(a_brain, seed):
    image, brain = a_brain.image.array, a_brain.brain
    changed, where = implant(image, brain, image[::-1], np.random.default_rng(seed), spacing_mm=4.0)
    difference = np.abs(changed - image)
    assert changed.shape == image.shape
    assert changed.min() >= 0
    assert changed.max() <= 1
    assert not where[~brain].any()
    assert (changed[~brain] == 0).all()
    if where.sum() >= 10:
        assert difference[where].mean() > 0.5 * LEAST_CHANGE
        assert difference[where].mean() > 3 * difference[brain & ~where].mean()
    elif not where.any():
        np.testing.assert_array_equal(changed, image)


def test_an_implant_of_a_given_size_has_about_that_size(a_brain):
    volumes = []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        _, where = implant(a_brain.image.array, a_brain.brain, a_brain.image.array, rng, spacing_mm=4.0, diameter_mm=28.0)
        volumes.append(where.sum() * 0.064)
    ball = 4 / 3 * np.pi * 1.4**3
    assert 0.3 * ball < np.median([volume for volume in volumes if volume]) < 2 * ball


def test_equal_seeds_give_equal_implants_and_scanners(a_brain):
    def make():
        rng = np.random.default_rng(4)
        changed, _ = implant(a_brain.image.array, a_brain.brain, a_brain.image.array, rng, spacing_mm=4.0)
        return other_scanner(changed, a_brain.brain, rng)

    np.testing.assert_array_equal(make(), make())


def test_another_scanner_leaves_the_outside_dark_and_keeps_the_order_of_tissues(a_brain):
    for seed in range(6):
        seen = other_scanner(a_brain.image.array, a_brain.brain, np.random.default_rng(seed))
        assert (seen[~a_brain.brain] == 0).all()
        assert (seen >= 0).all()
        assert np.corrcoef(seen[a_brain.brain], a_brain.image.array[a_brain.brain])[0, 1] > 0.7


def test_a_3d_unet_answers_on_the_grid_it_is_given():
    net = UNet3d(UNet3dSettings(inputs=6, channels=(2, 4, 6))).eval()
    assert net(torch.zeros(1, 6, 9, 10, 7)).shape == (1, 1, 9, 10, 7)
    with pytest.raises(SettingsError, match="two levels or more"):
        UNet3dSettings(inputs=6, channels=(2,))


def test_the_network_sees_six_maps_without_anything_outside_the_brain(a_group, a_brain):
    maps = weigh_up(align(a_group, a_brain.image), a_brain.image.array, a_brain.brain)
    assert maps.shape == (len(MAPS), *a_brain.brain.shape)
    assert np.isfinite(maps).all()
    assert np.abs(maps).max() <= 3
    assert (maps[:, ~a_brain.brain] == 0).all()
    np.testing.assert_array_equal(maps[-1], a_brain.brain)


def an_evidence_net(group):
    settings = EvidenceSettings(
        channels=(2, 4), group_shape=group.template.grid.shape, known=int(group.known.sum()), spacing_mm=4.0
    )
    net = EvidenceNet(settings).eval()
    net.keep_group(group.to_arrays())
    return net


def test_the_network_gives_back_the_group_it_keeps(a_group):
    again = HealthyGroup.from_arrays(an_evidence_net(a_group).group_arrays())
    np.testing.assert_array_equal(again.template.array, a_group.template.array)
    np.testing.assert_array_equal(again.mean, a_group.mean)
    np.testing.assert_array_equal(again.spread, a_group.spread)
    assert again.template.grid == a_group.template.grid


def test_the_heat_says_how_rare_an_answer_is_in_health(a_group):
    net = an_evidence_net(a_group)
    healthy = np.random.default_rng(0).normal(size=200_000)
    net.keep_healthy(healthy)
    for share in (0.5, 0.1, 0.01, 0.001):
        heat = float(net.rarity(np.quantile(healthy, 1 - share)))
        assert heat == pytest.approx(-np.log10(share), abs=0.1)
    rising = net.rarity(np.linspace(-5, 20, 200))
    assert (np.diff(rising) >= 0).all()
    assert rising[-1] > EXPONENTS[-1]  # goes on beyond what was seen
    assert float(net.rarity(np.asarray(-9.0))) == 0


def test_a_trained_evidence_model_detects_and_tells_how_it_was_made(an_evidence_run, a_phantom_scan):
    result = ad.detect(a_phantom_scan, model=str(an_evidence_run / "model.safetensors"), rule="paper", reconstruct=True)
    heat = result.heatmap.array
    assert np.isfinite(heat).all()
    assert heat.max() > 0
    assert (heat >= 0).all()
    assert (heat[~result.prepared.scan_brain] == 0).all()
    assert result.reconstruction is not None
    assert result.reconstruction.array.max() > 0
    card = json.loads((an_evidence_run / "model.json").read_text())
    assert card["method"] == "evidence"
    assert card["window_mm"] == 0
    assert card["training"]["data"] == "phantoms"
    assert card["training"]["subjects"]["train"] == ["a1", "b2"]
    assert "no lesion" in card["training"]["seen"]


def test_the_same_scan_gives_the_same_heat_twice(an_evidence_run, a_brain):
    detector = load_detector(str(an_evidence_run / "model.safetensors"))
    assert isinstance(detector, EvidenceDetector)
    np.testing.assert_array_equal(detector.heatmap(a_brain), detector.heatmap(a_brain))


@pytest.mark.parametrize(("kind", "settings"), [(evidence, TINY), (surprise, TINY_SURPRISE)])
def test_a_run_that_was_cut_goes_on_to_the_same_weights(a_healthy_folder, request, tmp_path, kind, settings):
    whole = request.getfixturevalue("an_evidence_run" if kind is evidence else "a_surprise_run")
    with pytest.raises(TrainingError, match="no checkpoint to resume"):
        kind.train(a_healthy_folder, tmp_path / "cut", settings=settings, iterations=2, resume=True)
    kind.train(a_healthy_folder, tmp_path / "cut", settings=settings, iterations=2)
    kind.train(a_healthy_folder, tmp_path / "cut", settings=settings, iterations=4, resume=True)
    first, second = (load_model(str(folder / "model.safetensors"))[0].state_dict() for folder in (whole, tmp_path / "cut"))
    for name, value in first.items():
        torch.testing.assert_close(second[name], value, rtol=0, atol=0)


def test_windows_and_engines_are_refused_by_a_model_without_windows(an_evidence_run):
    model = str(an_evidence_run / "model.safetensors")
    with pytest.raises(SettingsError, match="leave --engine away"):
        load_detector(model, engine="direct")
    with pytest.raises(SettingsError, match="leave the window away"):
        load_detector(model, window_mm=32.0)


def test_a_trained_surprise_model_detects_through_the_exact_engine(a_surprise_run, a_phantom_scan):
    result = ad.detect(a_phantom_scan, model=str(a_surprise_run / "model.safetensors"), rule="paper", reconstruct=True)
    assert np.isfinite(result.heatmap.array).all()
    assert result.heatmap.array.max() > 0
    assert result.report["heatmap"]["engine"] == "incremental"
    assert result.report["heatmap"]["window_mm"] == 32
    assert result.reconstruction is not None


def test_surprise_is_least_where_the_expectation_is_true():
    answer = torch.full((1, 4, 4, 4), 0.5)
    right, wrong = torch.full((1, 2, 4, 4), 0.5), torch.full((1, 2, 4, 4), 0.9)
    everywhere = torch.ones(1, 1, 4, 4)
    assert surprise.surprise_loss(answer, right, everywhere) < surprise.surprise_loss(answer, wrong, everywhere)
    mean, spread = expectation(answer)
    assert (mean == 0.5).all()
    assert (spread > 0).all()


def test_targets_lie_where_the_network_can_answer(a_brain):
    targets = as_targets(features_of(a_brain), a_brain.brain)
    assert (targets >= 0).all()
    assert (targets <= 1).all()


def test_a_lesion_is_hotter_than_the_rest_of_the_brain_for_a_group_that_knows_health(a_group):
    lesion = Lesion(centre_mm=(30.0, 10.0, 20.0), radius_mm=18.0)
    ill = a_prepared_phantom(9, (lesion,))
    maps = weigh_up(align(a_group, ill.image), ill.image.array, ill.brain)
    heat = departure(maps[:2], ill)
    healthy = a_prepared_phantom(9)
    marked = np.abs(ill.image.array - healthy.image.array) > 0.1
    assert heat[marked & ill.brain].mean() > 1.5 * heat[ill.brain].mean()


def turned_over(prepared):
    """The same brain with its base above."""
    image = prepared.image.with_array(np.ascontiguousarray(prepared.image.array[::-1]))
    return replace(prepared, image=image, brain=np.ascontiguousarray(prepared.brain[::-1]))


def test_a_brain_upside_down_is_refused_with_what_to_do(an_evidence_run, a_brain):
    detector = load_detector(str(an_evidence_run / "model.safetensors"))
    with pytest.raises(FitError, match=r"does not look like the healthy brains .* check orientation and brain mask"):
        detector.heatmap(turned_over(a_brain))


def test_the_published_model_stands_in_for_the_default_where_healthy_brains_do_not_fit(
    monkeypatch, caplog, an_evidence_run, a_tiny_model, a_phantom
):
    from brain_inpaint_ad import pipeline

    default = str(an_evidence_run / "model.safetensors")
    monkeypatch.setattr(pipeline, "DEFAULT_MODEL", default)
    monkeypatch.setattr(pipeline, "WINDOW_MODEL", str(a_tiny_model))
    monkeypatch.setattr("brain_inpaint_ad.detectors.evidence.LEAST_AGREEMENT", 2.0)
    card = an_evidence_run / "model.json"
    told = card.read_text()
    card.write_text(json.dumps({**json.loads(told), "thresholds": {"healthy_voxels_1_percent": 1.0}}))
    try:
        result = ad.detect(a_phantom.scan, model=default)
    finally:
        card.write_text(told)
    assert result.report["model"]["name"] == "tiny"
    assert result.report["model"]["instead_of"]["name"] == default
    assert "was used instead" in caplog.text


def test_beyond_the_grid_of_the_healthy_group_no_place_is_unusual(a_group, a_brain):
    aligned = align(a_group, a_brain.image)
    nowhere = replace(aligned, known=np.zeros_like(aligned.known))
    maps = weigh_up(nowhere, a_brain.image.array, a_brain.brain)
    assert (maps[:4] == 0).all()
    assert aligned.known[a_brain.brain].mean() > 0.95


def test_a_run_begun_anew_in_its_folder_takes_nothing_from_other_scans(a_healthy_folder, tmp_path):
    out = tmp_path / "run"
    evidence.train(a_healthy_folder, out, settings=TINY, iterations=1)
    first = {path.name for path in out.glob("group-*.npz")} | {path.name for path in out.glob("samples-*")}
    (out / "checkpoint.pt").unlink()
    evidence.train(a_healthy_folder, out, settings=replace(TINY, seed=5), iterations=1)
    second = {path.name for path in out.glob("group-*.npz")} | {path.name for path in out.glob("samples-*")}
    assert len(first) == 2
    assert len(second) == 3  # the same group, other samples


@pytest.mark.parametrize("kind", [evidence.EvidenceTraining, surprise.SurpriseTraining])
def test_a_seed_below_zero_is_refused(kind):
    with pytest.raises(SettingsError, match="the seed must be 0 or more"):
        kind(seed=-1)
