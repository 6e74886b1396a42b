"""The autoencoders of Baur 2018 and f-AnoGAN: their shapes against the paper's table, their losses, and that they detect."""

import json
import math
import shutil
from contextlib import nullcontext

import pytest
import torch

import brain_inpaint_ad as ad
from brain_inpaint_ad.errors import SettingsError
from brain_inpaint_ad.io import read_labels, read_scan
from brain_inpaint_ad.nets.autoencoder import KINDS, Autoencoder, AutoencoderSettings
from brain_inpaint_ad.training import fanogan, loop
from brain_inpaint_ad.training.anogan import AnoGanSettings
from brain_inpaint_ad.training.autoencoder import AutoencoderTraining, build, train, training_step
from brain_inpaint_ad.training.fanogan import FastGanSettings
from brain_inpaint_ad.training.losses import gradient_penalty, kl_to_normal
from brain_inpaint_ad.weights.store import load_model

TABLE_1 = {  # kind: z (channels, rows, columns), and whether it is variational and adversarial
    "dae": ((512,), False, False),
    "sae-8": ((64, 8, 8), False, False),
    "sae-16": ((64, 16, 16), False, False),
    "sae-gan": ((64, 16, 16), False, True),
    "dvae": ((512,), True, False),
    "svae": ((64, 16, 16), True, False),
    "anovaegan": ((64, 16, 16), True, True),
}
TINY = {"spacing_mm": 4.0, "batch": 2, "width": 2}


def parameters(module):
    return sum(parameter.numel() for parameter in module.parameters())


def test_there_is_a_kind_for_every_row_of_table_1():
    assert KINDS.keys() == TABLE_1.keys()


@pytest.mark.parametrize("kind", TABLE_1)
def test_z_of_a_published_slice_is_that_of_table_1(kind):
    shape, variational, adversarial = TABLE_1[kind]
    network = Autoencoder(AutoencoderSettings(kind=kind, rows=256, columns=256, width=2)).eval()
    with torch.no_grad():
        mean, log_variance = network.encode(torch.rand(1, 1, 256, 256))
        image = network.decode(mean)
    assert mean.shape == (1, *shape) == (1, *network.settings.latent_shape)
    assert (log_variance is not None, network.settings.parts.adversarial) == (variational, adversarial)
    assert log_variance is None or log_variance.shape == mean.shape
    assert image.shape == (1, 1, 256, 256)
    assert 0 < image.min() < image.max() < 1


def test_encoder_and_decoder_of_all_kinds_are_equally_complex():
    networks = [Autoencoder(AutoencoderSettings(kind=kind)) for kind in KINDS]
    assert {parameters(network.encoder) for network in networks} == {679_536}
    assert {parameters(network.decoder) for network in networks} == {685_457}
    by_hand = sum(25 * a * b + 2 * b for a, b in [(1, 16), (16, 32), (32, 64), (64, 128), (128, 128)])
    assert parameters(networks[0].encoder) == by_hand


@pytest.mark.parametrize("wrong", [{"kind": "vae"}, {"rows": 100}, {"kind": "sae-8", "columns": 48}, {"width": 0}])
def test_autoencoders_that_cannot_be_are_refused(wrong):
    with pytest.raises(SettingsError, match=str(list(wrong.values())[-1])):
        AutoencoderSettings(**wrong)


def test_the_prior_is_the_divergence_to_a_standard_normal():
    normal = torch.distributions.Normal
    mean, deviation = torch.tensor([[0.5, -1.0, 0.0]]), torch.tensor([[0.3, 2.0, 1.0]])
    expected = torch.distributions.kl_divergence(normal(mean, deviation), normal(0.0, 1.0)).sum(dim=1)
    torch.testing.assert_close(kl_to_normal(mean, 2 * deviation.log()), expected)
    assert kl_to_normal(torch.zeros(1, 64, 4, 3), torch.zeros(1, 64, 4, 3)).item() == 0


def test_the_penalty_measures_how_far_gradients_are_from_length_1():
    weights = torch.full((1, 1, 2, 2), 1.5)  # of length 3

    class Linear(torch.nn.Module):
        def forward(self, image):
            return (image * weights).sum(dim=(1, 2, 3))

    assert gradient_penalty(Linear(), torch.rand(5, 1, 2, 2)).item() == pytest.approx((3 - 1) ** 2)


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_has_the_losses_it_is_made_of(kind):
    settings = AutoencoderTraining(kind=kind, **TINY)
    if kind == "sae-8":
        settings = AutoencoderTraining(kind=kind, **TINY | {"spacing_mm": 2.0})
    nets = build(settings, torch.device("cpu"))
    image = torch.rand(2, 1, settings.grid.rows, settings.grid.columns)
    losses = training_step(nets, image, torch.randn(2, *settings.network.latent_shape), settings)
    parts = settings.network.parts
    expected = {"rebuild", *(["prior"] if parts.variational else []), *(["fool", "critic"] if parts.adversarial else [])}
    assert losses.keys() == expected
    assert all(math.isfinite(value) for value in losses.values())


def test_noise_reaches_only_variational_kinds():
    for kind, heard in {"sae-16": False, "svae": True}.items():
        settings = AutoencoderTraining(kind=kind, **TINY)
        image, shape = torch.rand(2, 1, 64, 48), settings.network.latent_shape
        losses = [
            training_step(build(settings, torch.device("cpu")), image, noise * torch.ones(2, *shape), settings)["rebuild"]
            for noise in (0.0, 3.0)
        ]
        assert (losses[0] != losses[1]).item() is heard


@pytest.mark.parametrize(("moving", "still"), [("autoencoder", "critic"), ("critic", "autoencoder")])
def test_autoencoder_and_critic_learn_in_turn_each_from_its_own_loss(moving, still):
    rates = {"autoencoder": "rate", "critic": "rate_critic"}
    settings = AutoencoderTraining(**TINY, **{rates[still]: 0.0})
    nets = build(settings, torch.device("cpu"))
    before = {name: [p.detach().clone() for p in getattr(nets, name).parameters()] for name in rates}
    training_step(nets, torch.rand(2, 1, 64, 48), torch.randn(2, *settings.network.latent_shape), settings)
    moved = {
        name: any(not torch.equal(a, b) for a, b in zip(before[name], getattr(nets, name).parameters(), strict=True))
        for name in rates
    }
    assert moved == {moving: True, still: False}


def test_an_autoencoder_learns_to_rebuild_its_slices():
    settings = AutoencoderTraining(kind="svae", spacing_mm=4.0, width=4)
    nets = build(settings, torch.device("cpu"))
    image = torch.linspace(0, 1, 64)[:, None].expand(4, 1, 64, 48).clone()
    noise = torch.zeros(4, *settings.network.latent_shape)
    losses = [training_step(nets, image, noise, settings)["rebuild"].item() for _ in range(30)]
    assert losses[-1] < 0.5 * losses[0]


def test_the_encoder_of_fanogan_learns_while_the_gan_stays_as_it_is():
    settings = FastGanSettings(**TINY, latent=4)
    network, optimisers = fanogan.build(settings, torch.device("cpu"))
    rng = torch.Generator().manual_seed(0)
    image = torch.rand(2, 1, 64, 48, generator=rng)
    for _ in range(settings.critic_steps):
        assert fanogan.gan_step(network.gan, optimisers, image, rng, settings).keys() == {"wasserstein", "penalty"}
    assert loop.steps_done(optimisers["critic"]) == settings.critic_steps
    assert loop.steps_done(optimisers["generator"]) == 1
    before = {key: value.clone() for key, value in network.state_dict().items()}
    assert fanogan.encoder_step(network, optimisers, image, settings).keys() == {"rebuild", "features"}
    changed = {key.partition(".")[0] for key, value in network.state_dict().items() if not torch.equal(value, before[key])}
    assert changed == {"encoder"}


@pytest.fixture(scope="module")
def trained(a_healthy_folder, tmp_path_factory):
    """Runs of a few iterations by name; what they prepared lies beside the weights."""
    folder = tmp_path_factory.mktemp("runs")
    train(a_healthy_folder, folder / "svae", settings=AutoencoderTraining(kind="svae", **TINY), iterations=2, device="cpu")
    shutil.copytree(folder / "svae" / "prepared", folder / "fanogan" / "prepared")
    settings = FastGanSettings(**TINY, latent=4, gan_iterations=2)
    fanogan.train(a_healthy_folder, folder / "fanogan", settings=settings, iterations=4, device="cpu")
    return {name: folder / name for name in ("svae", "fanogan")}


def test_a_trained_model_says_what_it_is_and_what_it_left_in_training_scans(trained):
    network, card = load_model(str(trained["svae"] / "model.safetensors"))
    assert (card.method, card.network["kind"], card.window_mm) == ("autoencoder", "svae", 0)
    assert network.settings.kind == "svae"
    assert 0 < card.thresholds["training_residuals_98_percent"] < 1
    assert card.healthy_validation["l1"] > 0
    assert (trained["svae"] / "samples.png").stat().st_size > 1000
    assert load_model(str(trained["fanogan"] / "model.safetensors"))[1].method == "fanogan"


def _until(stop):
    """Progress that cancels after so many of 5 iterations."""

    def progress(fraction, stage):
        if stage == f"iteration {stop} of 5" and stop < 5:
            raise ad.Cancelled("cancelled")

    return progress


@pytest.mark.parametrize("name", ["svae", "fanogan"])
def test_a_resumed_run_gives_the_weights_of_one_that_was_never_cut(trained, a_healthy_folder, tmp_path, name):
    """For f-AnoGAN the cut lies where the encoder's turn comes."""
    settings = {
        "svae": AutoencoderTraining(kind="svae", **TINY),
        "fanogan": FastGanSettings(**TINY, latent=4, gan_iterations=2),
    }
    work = {"svae": train, "fanogan": fanogan.train}[name]
    for run, stops in {"whole": [5], "cut": [3, 5]}.items():
        shutil.copytree(trained[name] / "prepared", tmp_path / run / "prepared")
        for stop in stops:
            options = {"settings": settings[name], "iterations": 5, "device": "cpu", "resume": stop != stops[0]}
            with pytest.raises(ad.Cancelled) if stop < 5 else nullcontext():
                work(a_healthy_folder, tmp_path / run, progress=_until(stop), **options)
    whole, cut = (torch.load(tmp_path / run / loop.CHECKPOINT, weights_only=True)["nets"] for run in ("whole", "cut"))
    for net in whole:
        assert all(torch.equal(value, cut[net][key]) for key, value in whole[net].items())


@pytest.mark.parametrize("name", ["svae", "fanogan"])
def test_a_model_without_windows_detects_in_one_pass_as_published(trained, a_phantom_scan, tmp_path, run_cli, name):
    model = ("--model", trained[name] / "model.safetensors", "--rule", "paper", "--segmentation", "residual")
    answer = run_cli("detect", a_phantom_scan, "--out", tmp_path / "out", *model, "--reconstruction", "--recut")
    assert answer.code == 0, answer.err
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["heatmap"]["engine"] == "one pass"
    assert report["segmentation"]["threshold"] > 0
    heat, expected = (read_scan(tmp_path / "out" / f"{part}.nii.gz").array for part in ("heatmap", "reconstruction"))
    outside = read_labels(a_phantom_scan.parent / "brain_mask.nii.gz").array == 0
    assert heat.max() > 0
    assert heat[outside].max() == expected[outside].max() == 0


def test_fanogan_needs_iterations_for_its_encoder(a_healthy_folder, tmp_path, run_cli):
    options = ("--data", a_healthy_folder, "--out", tmp_path / "run", "--iterations", 5, "--gan-iterations", 5)
    answer = run_cli("train", "fanogan", *options)
    assert (answer.code, "the encoder needs some" in answer.err) == (1, True)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("command", "method", "settings"),
    [
        (("autoencoder", "--kind", "sae-16"), "autoencoder", AutoencoderTraining(kind="sae-16", width=2, seed=5)),
        (("anogan", "--latent", 3), "anogan", AnoGanSettings(latent=3, width=2, seed=5)),
        (
            ("fanogan", "--latent", 3, "--gan-iterations", 7),
            "fanogan",
            FastGanSettings(latent=3, gan_iterations=7, width=2, seed=5),
        ),
    ],
)
def test_the_options_of_a_command_reach_the_training(tmp_path, run_cli, monkeypatch, command, method, settings):
    asked = {}

    def train(data, out, **options):
        asked.update(options)
        return 9

    monkeypatch.setattr(f"brain_inpaint_ad.training.{method}.train", train)
    options = ("--data", tmp_path, "--out", tmp_path / "run", "--width", 2, "--seed", 5, "--name", "mine", "--resume")
    answer = run_cli("train", *command, *options, "--iterations", 90, "--max-minutes", 2, "--device", "cpu")
    assert answer.code == 0, answer.err
    assert "9 of 90 iterations done" in answer.out
    assert "--resume goes on" in answer.out
    assert asked["settings"] == settings
    assert (asked["name"], asked["resume"], asked["max_minutes"], asked["device"]) == ("mine", True, 2, "cpu")
