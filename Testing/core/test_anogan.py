"""AnoGAN: its players, its search in the latent space, and that it detects, calibrates and is scored like any model."""

import json
import shutil

import pytest
import torch

from brain_inpaint_ad.detectors.latent import SearchSettings, search_slices
from brain_inpaint_ad.errors import SettingsError
from brain_inpaint_ad.io import read_labels, read_scan
from brain_inpaint_ad.nets.gan import Gan, GanSettings
from brain_inpaint_ad.training import loop
from brain_inpaint_ad.training.anogan import AnoGanSettings, build, train, training_step
from brain_inpaint_ad.weights.store import load_model

SMALL = AnoGanSettings(spacing_mm=4.0, batch=2, width=2, latent=4, latent_steps=2)


@pytest.fixture(scope="module")
def trained(a_healthy_folder, tmp_path_factory):
    """A run of two iterations; what it prepared lies beside the weights."""
    run = tmp_path_factory.mktemp("anogan") / "tiny-gan"
    train(a_healthy_folder, run, settings=SMALL, iterations=2, device="cpu")
    return run


@pytest.fixture
def a_gan():
    """Its BatchNorms know what they see, so that other z give other slices."""
    gan, _ = build(AnoGanSettings(spacing_mm=4.0, width=4, latent=3), torch.device("cpu"))
    rng = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for _ in range(40):
            gan(torch.randn(16, 3, generator=rng))
    return gan.eval()


def made_by(gan, seed, count=3):
    latent = torch.randn(count, gan.settings.latent, generator=torch.Generator().manual_seed(seed))
    with torch.no_grad():
        return gan(latent)[:, 0]


def test_slices_from_noise_have_the_grids_size_and_lie_between_0_and_1():
    gan = Gan(GanSettings(rows=48, columns=32, width=2))
    image = gan(torch.randn(2, 64))
    assert image.shape == (2, 1, 48, 32)
    assert 0 < image.min() < image.max() < 1
    assert gan.critic(image).shape == (2, 1)


@pytest.mark.parametrize("wrong", [{"rows": 120}, {"columns": 0}, {"latent": 0}, {"width": 0}])
def test_networks_that_cannot_be_are_refused(wrong):
    with pytest.raises(SettingsError, match=str(next(iter(wrong.values())))):
        GanSettings(**wrong)


@pytest.mark.parametrize("wrong", [{"steps": 0}, {"feature_weight": 1.5}, {"rate": 0.0}])
def test_searches_that_cannot_be_are_refused(wrong):
    with pytest.raises(SettingsError, match=r"got .*" + f"{next(iter(wrong.values())):g}"):
        SearchSettings(**wrong)


def test_the_search_comes_nearer_the_longer_it_lasts(a_gan):
    image = made_by(a_gan, seed=1)
    distances = [
        (search_slices(a_gan, image, SearchSettings(steps=steps)) - image).abs().mean().item() for steps in (1, 20, 150)
    ]
    assert distances[0] > 2 * distances[1] > 4 * distances[2]


def test_slices_found_together_are_those_found_one_by_one(a_gan):
    image = made_by(a_gan, seed=2, count=5)
    together = search_slices(a_gan, image, SearchSettings(steps=10, batch=5))
    alone = search_slices(a_gan, image, SearchSettings(steps=10, batch=2))
    torch.testing.assert_close(together, alone, rtol=0, atol=2e-2)  # bfloat16 where the machine has it


def test_the_discrimination_loss_has_its_say(a_gan):
    image = torch.rand(2, 64, 48, generator=torch.Generator().manual_seed(0))
    by_pixels, by_features = (search_slices(a_gan, image, SearchSettings(steps=30, feature_weight=w)) for w in (0.0, 1.0))
    assert (by_pixels - image).abs().mean() < (by_features - image).abs().mean()


def test_a_search_leaves_the_network_as_it_was(a_gan):
    before = {key: value.clone() for key, value in a_gan.state_dict().items()}
    search_slices(a_gan, made_by(a_gan, seed=3), SearchSettings(steps=3))
    assert all(torch.equal(value, before[key]) for key, value in a_gan.state_dict().items())
    assert all(parameter.requires_grad for parameter in a_gan.parameters())
    assert all(parameter.grad is None for parameter in a_gan.parameters())


@pytest.mark.parametrize(("moving", "still"), [("generator", "critic"), ("critic", "generator")])
def test_each_player_learns_from_its_own_loss_alone(moving, still):
    """With the other's rate at 0, a step leaves the other's weights where they are."""
    gan, optimisers = build(AnoGanSettings(spacing_mm=4.0, width=2, **{f"rate_{still}": 0.0}), torch.device("cpu"))
    before = {name: [p.detach().clone() for p in getattr(gan, name).parameters()] for name in (moving, still)}
    image = torch.rand(2, 1, 64, 48, generator=torch.Generator().manual_seed(0))
    losses = training_step(gan, optimisers, image, torch.randn(2, 64, generator=torch.Generator().manual_seed(0)))
    moved = {
        name: any(not torch.equal(a, b) for a, b in zip(before[name], getattr(gan, name).parameters(), strict=True))
        for name in (moving, still)
    }
    assert moved == {moving: True, still: False}
    assert set(losses) == {"critic", "fool"}


def test_a_generator_learns_what_its_slices_should_look_like():
    """Bright left halves: after some steps its slices are brighter on the left."""
    quick = AnoGanSettings(spacing_mm=4.0, width=4, latent=2, rate_generator=5e-3, rate_critic=5e-3)
    gan, optimisers = build(quick, torch.device("cpu"))
    image = torch.zeros(8, 1, 64, 48)
    image[..., :24] = 0.9
    for i in range(40):
        training_step(gan, optimisers, image, torch.randn(8, 2, generator=loop.generator_of(0, i)))
    made = made_by(gan, seed=0, count=8)
    assert made[..., :24].mean() > made[..., 24:].mean() + 0.2


def test_a_resumed_run_gives_the_weights_of_one_that_was_never_cut(trained, a_healthy_folder, tmp_path):
    for name, stops in {"whole": [3], "cut": [1, 3]}.items():
        shutil.copytree(trained / "prepared", tmp_path / name / "prepared")
        for stop in stops:
            train(a_healthy_folder, tmp_path / name, settings=SMALL, iterations=stop, device="cpu", resume=stop != stops[0])
    whole, cut = (torch.load(tmp_path / name / loop.CHECKPOINT, weights_only=True)["nets"]["gan"] for name in ("whole", "cut"))
    assert all(torch.equal(value, cut[key]) for key, value in whole.items())


def test_a_trained_gan_says_what_it_is(trained):
    gan, card = load_model(str(trained / "model.safetensors"))
    assert (card.name, card.method, card.window_mm) == ("tiny-gan", "anogan", 0)
    assert card.network == {"rows": 64, "columns": 48, "latent": 4, "width": 2, "spectral": True}
    assert gan.settings.width == 2
    assert card.training["subjects"] == {"train": ["a1", "b2"], "validation": ["c3"]}
    assert card.healthy_validation["l1_of_nearest"] > 0
    assert (trained / "samples.png").stat().st_size > 1000


def test_a_gan_detects_like_any_model_and_shows_what_it_expected(trained, a_phantom_scan, tmp_path, run_cli):
    model = ("--model", trained / "model.safetensors", "--latent-steps", 2, "--device", "cpu")
    answer = run_cli("detect", a_phantom_scan, "--out", tmp_path / "out", *model, "--rule", "paper", "--reconstruction")
    assert answer.code == 0, answer.err
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["heatmap"]["engine"].startswith("latent search, 2 steps")
    heat, expected = (read_scan(tmp_path / "out" / f"{name}.nii.gz").array for name in ("heatmap", "reconstruction"))
    outside = read_labels(a_phantom_scan.parent / "brain_mask.nii.gz").array == 0
    assert heat.max() > 0
    assert heat[outside].max() == expected[outside].max() == 0


def test_what_a_gan_has_not_is_refused_before_any_work(trained, a_tiny_model, a_phantom_scan, tmp_path, run_cli):
    gan = trained / "model.safetensors"
    refusals = [
        (("--model", gan, "--window-mm", 32), "leave the window away"),
        (("--model", gan, "--engine", "direct"), "leave --engine away"),
        (("--model", a_tiny_model, "--latent-steps", 5), "leave --latent-steps away"),
        (("--model", gan), "not calibrated"),
    ]
    for options, sentence in refusals:
        answer = run_cli("detect", a_phantom_scan, "--out", tmp_path / "out", *options)
        assert (answer.code, sentence in answer.err) == (1, True), answer.err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("changes", [{"width": 3}, {"width": 0}, {"depth": 2}])
def test_a_card_that_describes_another_network_is_refused(trained, a_phantom_scan, tmp_path, run_cli, changes):
    for suffix in (".safetensors", ".json"):
        shutil.copy(trained / f"model{suffix}", tmp_path)
    card = json.loads((tmp_path / "model.json").read_text())
    card["network"] |= changes
    (tmp_path / "model.json").write_text(json.dumps(card))
    answer = run_cli("detect", a_phantom_scan, "--out", tmp_path / "out", "--model", tmp_path / "model.safetensors")
    assert answer.code == 1
    assert answer.err.startswith("Error: ")
    assert "card" in answer.err


def test_a_gan_is_calibrated_and_has_its_row(trained, a_healthy_folder, tmp_path, run_cli, monkeypatch):
    monkeypatch.setattr("brain_inpaint_ad.detectors.load.SearchSettings", lambda: SearchSettings(steps=2))
    for suffix in (".safetensors", ".json"):
        shutil.copy(trained / f"model{suffix}", tmp_path)
    model = tmp_path / "model.safetensors"
    answer = run_cli("calibrate", model, "--data", a_healthy_folder)
    assert answer.code == 0, answer.err
    data = tmp_path / "ixi"
    shutil.copytree(a_healthy_folder, data / "brain")
    shutil.copy(a_healthy_folder / "subjects.csv", data)
    options = ("--models", model, "--baselines", "none", "--out", tmp_path / "out")
    answer = run_cli("evaluate", "--dataset", "ixi", "--data", data, *options)
    assert answer.code == 0, answer.err
    rows = json.loads((tmp_path / "out" / "rows.json").read_text())["rows"]
    assert {row["case"] for row in rows} == {"c3"}
    assert rows[0]["detector"] == "tiny-gan"
    assert rows[0]["made_from"]["engine"].startswith("latent search, 2 steps")
    assert rows[0]["made_from"]["stride_mm"] == 0
