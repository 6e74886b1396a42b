"""3-D f-AnoGAN: its networks as published, its losses by hand, its training in three steps that can be cut and resumed."""

import json
import math
import shutil
import subprocess
import sys

import pytest
import torch
from torch import nn
from torch.nn import functional

import brain_inpaint_ad as ad
from brain_inpaint_ad.errors import SettingsError
from brain_inpaint_ad.nets.volume_gan import LIGHT, PUBLISHED, UpConv, VolumeGan, VolumeGanSettings, encoder_losses
from brain_inpaint_ad.training import loop
from brain_inpaint_ad.training.footprint import check_memory, needed_mb, peak_mb
from brain_inpaint_ad.training.volume_fanogan import train
from brain_inpaint_ad.training.volume_gan import (
    STEPS,
    VolumeGanTraining,
    build,
    critic_losses,
    encoder_step,
    gan_step,
    optimisers_of,
)

TINY = VolumeGanSettings(size=16, width=2, latent=3)
SMALL = VolumeGanTraining(network=TINY, spacing_mm=4.0, batch_gan=2, batch_encoder=2)
FEW = {"gan": 2, "encoder": 2, "refine": 2}


@pytest.fixture(scope="module")
def prepared_cubes(a_healthy_folder, tmp_path_factory):
    """What the first run leaves in its cache; registering is not what these tests are about."""
    run = tmp_path_factory.mktemp("first") / "run"
    train(a_healthy_folder, run, settings=SMALL, iterations={"gan": 1}, step="gan", device="cpu")
    return run / "prepared"


@pytest.fixture
def a_run_folder(prepared_cubes, tmp_path):
    shutil.copytree(prepared_cubes, tmp_path / "run" / "prepared")
    return tmp_path / "run"


def _weights(path):
    from safetensors.torch import load_file

    return load_file(path)


@pytest.mark.parametrize(("settings", "side"), [(PUBLISHED, 64), (VolumeGanSettings(size=96), 96), (LIGHT, 64)])
def test_the_networks_have_the_published_shapes_at_64_and_96_voxels(settings, side):
    with torch.device("meta"):
        gan = VolumeGan(settings)
        volume = torch.empty(2, 1, side, side, side)
        assert gan.generator(torch.empty(2, settings.latent)).shape == volume.shape
        assert gan(volume).shape == volume.shape
        assert gan.critic(volume).shape == (2, 1)
        assert gan.encoder(volume).shape == (2, settings.latent)
        assert gan.critic.features(volume).shape == (2, 8 * settings.width, *[side // 16] * 3)


def test_the_published_width_has_the_parameters_one_counts_by_hand():
    """Kwon 2019: 512, 256, 128, 64 channels, kernels of 4 downwards and 3 upwards; latent 2500; batch normalisation."""
    with torch.device("meta"):
        gan = VolumeGan(PUBLISHED)
    down = (64 + 64 * 64) + sum(a * b * 64 + b + 2 * b for a, b in ((64, 128), (128, 256), (256, 512)))
    up = sum(a * b * 27 + 2 * b for a, b in ((512, 256), (256, 128), (128, 64))) + 64 * 27
    counted = {
        "generator": 2500 * 512 * 64 + 2 * 512 + up,
        "critic": down + 512 * 64 + 1,
        "encoder": down + 512 * 64 * 2500 + 2500,
    }
    assert {name: sum(p.numel() for p in net.parameters()) for name, net in gan.named_children()} == counted


def test_memory_of_larger_cubes_grows_with_their_volume_in_the_maps_only():
    """At 96³ the convolutions keep their weights; what grows is the first kernel of G and the last of D and E, by 3.375."""
    counts = {}
    for side in (64, 96):
        with torch.device("meta"):
            gan = VolumeGan(VolumeGanSettings(size=side, width=16, latent=256))
        first = gan.generator.layers[1].weight.numel()
        heads = sum(reader.head[0].weight.numel() for reader in (gan.critic, gan.encoder[0]))
        counts[side] = first + heads, sum(p.numel() for p in gan.parameters()) - first - heads
    assert counts[96][0] == counts[64][0] * (96 / 64) ** 3
    assert counts[96][1] == counts[64][1]


MEASURE = """
import torch
from brain_inpaint_ad.errors import SettingsError
from brain_inpaint_ad.nets.volume_gan import VolumeGanSettings
from brain_inpaint_ad.training.volume_gan import VolumeGanTraining, build, encoder_step, optimisers_of
settings = VolumeGanTraining(network=VolumeGanSettings(size=96, width=16, latent=256), batch_gan=2, batch_encoder=2)
gan = build(settings, torch.device("cpu"))
volume, optimisers = torch.zeros(2, 1, 96, 96, 96), optimisers_of("refine", gan, settings)
for _ in range(2):
    losses = encoder_step(gan, optimisers, volume, refine=True)
status = dict(line.split(":", 1) for line in open("/proc/self/status"))  # ru_maxrss would hold the peak of pytest, too
print(all(bool(loss.isfinite()) for loss in losses.values()), int(status["VmHWM"].split()[0]) * 1024 / 1e6)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/proc is Linux's")
def test_at_96_voxels_the_light_width_trains_in_the_memory_that_is_foretold():
    """Two steps of the refinement, which takes most, in a process of their own: their peak lies not far below the estimate."""
    network = VolumeGanSettings(size=96, width=16, latent=256)
    foretold = needed_mb(VolumeGanTraining(network=network, batch_gan=2, batch_encoder=2), ("refine",), cubes=0)
    done = subprocess.run([sys.executable, "-c", MEASURE], capture_output=True, text=True, check=True)
    finite, took = done.stdout.split()
    assert finite == "True"
    assert 0.5 * foretold < float(took) < foretold < 1300  # seen: 935 and 1050 MB on two kinds of processor; foretold 1237


def test_on_a_gpu_cubes_that_wait_count_against_the_machines_own_memory(monkeypatch):
    needed = needed_mb(SMALL, STEPS, cubes=0)
    many = int(2 * needed / (16**3 * 2 / 1e6))  # they would never fit on the GPU
    waiting = needed_mb(SMALL, (), cubes=many)
    assert waiting > 2 * needed

    def check(there_mb, here_mb):
        monkeypatch.setattr("torch.cuda.mem_get_info", lambda device: (there_mb * 1e6, there_mb * 1e6))
        monkeypatch.setattr("brain_inpaint_ad.training.footprint.free_mb", lambda: here_mb)
        check_memory(SMALL, STEPS, many, torch.device("cuda"))

    check(needed + 1, waiting + 1)
    for there_mb, here_mb in ((needed - 1, waiting + 1), (needed + 1, waiting - 1)):
        with pytest.raises(SettingsError, match="are free"):
            check(there_mb, here_mb)


def test_what_is_held_at_once_counts_and_what_was_let_go_does_not():
    def step():
        kept = torch.empty(1000, device="meta")
        for _ in range(5):
            kept = kept + torch.empty(1000, device="meta")  # three at a time
        return kept.view(10, 100)

    assert peak_mb(step) == pytest.approx(3 * 4000 / 1e6)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--size", 60], "the cube's side must be a multiple of 16 voxels, got 60"),
        (["--size", 0], "the cube's side must be a multiple of 16 voxels, got 0"),
        (["--width", 0], "width and latent must be at least 1, got 0 and 256"),
        (["--size", 1024], "training with cubes of 1024³ voxels, width 16 and latent 256 would take about"),
        (["--width", 4096, "--latent", 2500], "choose a smaller --size, --width or --latent."),
    ],
)
def test_a_size_that_cannot_be_trained_is_refused_in_one_sentence_before_any_work(
    words, said, run_cli, a_healthy_folder, tmp_path
):
    answer = run_cli("train", "fanogan-3d", "--data", a_healthy_folder, "--out", tmp_path / "run", *words)
    assert answer.code == 1
    assert said in answer.err
    assert answer.err.startswith("Error: ")
    assert answer.err.count("\n") == 1
    assert not (tmp_path / "run" / "prepared").exists()


def test_the_way_up_is_repeating_voxels_and_then_convolving():
    up = UpConv(3, 2)
    maps = torch.randn(2, 3, 4, 5, 3, generator=torch.Generator().manual_seed(0))
    slow = functional.conv3d(functional.interpolate(maps, scale_factor=2, mode="nearest"), up.weight, padding=1)
    torch.testing.assert_close(up(maps), slow, rtol=1e-5, atol=1e-5)


def test_the_encoder_ends_in_a_tanh_and_the_generator_too():
    gan = VolumeGan(TINY).eval()
    volume = 50 * torch.randn(2, 1, 16, 16, 16, generator=torch.Generator().manual_seed(0))
    for answer in (gan.encoder(volume), gan.generator(50 * torch.randn(2, 3))):
        assert answer.abs().max() <= 1


def test_equation_2_of_a_critic_whose_gradient_is_known():
    """D(x) = a·x has the gradient a everywhere: the penalty is (‖a‖ − 1)²."""
    slope = torch.tensor([[3.0, 4.0]])
    critic = nn.Linear(2, 1, bias=False)
    critic.weight.data = slope
    real, fake = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])
    apart, penalty = critic_losses(critic, real, fake, torch.tensor([0.3]))
    assert apart.item() == pytest.approx(4 - 3)
    assert penalty.item() == pytest.approx((5 - 1) ** 2)
    penalty.backward()  # d/da (‖a‖ − 1)² = 2 (‖a‖ − 1) a / ‖a‖
    torch.testing.assert_close(critic.weight.grad, 2 * 4 * slope / 5)


def test_the_penalty_is_taken_between_the_two_scans():
    """D(x) = x²/2 has the gradient x: with a share of 0.25 of the real one, x̂ = 0.25·4 + 0.75·0 = 1, and nothing is to pay."""
    real, fake = torch.full((1, 1), 4.0), torch.zeros(1, 1)
    for share, excess in ((0.25, 0), (0.75, 2)):
        _, penalty = critic_losses(lambda x: x**2 / 2, real, fake, torch.tensor([share]))
        assert penalty.item() == pytest.approx(excess**2)


def test_the_score_is_nothing_for_a_perfect_reconstruction_and_the_mean_square_else():
    gan = VolumeGan(TINY).eval()
    volume = torch.zeros(2, 1, 16, 16, 16)
    rebuilt = volume.clone()
    rebuilt[1] += 0.5
    image, features = encoder_losses(gan, volume, rebuilt)
    torch.testing.assert_close(image, torch.tensor([0.0, 0.25]))
    assert features[0] == 0
    assert features[1] > 0


@pytest.mark.parametrize(
    ("step", "trained"),
    [("gan", {"generator", "critic"}), ("encoder", {"encoder"}), ("refine", {"encoder", "generator"})],
)
def test_each_step_trains_its_networks_and_leaves_the_others_as_they_are(step, trained):
    gan = build(SMALL, torch.device("cpu"))
    before = {name: {key: value.clone() for key, value in net.state_dict().items()} for name, net in gan.named_children()}
    volume = torch.rand(2, 1, 16, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
    optimisers = optimisers_of(step, gan, SMALL)
    if step == "gan":
        gan_step(gan, optimisers, volume, SMALL, torch.Generator().manual_seed(0))
    else:
        encoder_step(gan, optimisers, volume, refine=step == "refine")
    changed = {
        name
        for name, net in gan.named_children()
        if any(not torch.equal(value, before[name][key]) for key, value in net.state_dict().items())
    }
    assert changed == trained


def test_the_encoder_learns_to_rebuild_what_it_is_shown():
    gan = build(SMALL, torch.device("cpu"))
    bright = torch.full((1, 1, 16, 16, 16), -1.0)
    bright[..., 4:12, 4:12, 4:12] = 0.5
    volume = torch.cat([bright, torch.full_like(bright, -1.0)])
    optimisers = optimisers_of("refine", gan, SMALL)
    losses = [float(encoder_step(gan, optimisers, volume, refine=True)["image"]) for _ in range(60)]
    assert losses[-1] < 0.5 * losses[0]


def test_a_cut_and_resumed_training_gives_the_weights_of_one_that_was_not_cut(a_healthy_folder, a_run_folder, tmp_path):
    whole = a_run_folder
    train(a_healthy_folder, whole, settings=SMALL, iterations=FEW, device="cpu")
    cut = tmp_path / "cut"
    shutil.copytree(whole / "prepared", cut / "prepared")
    for step, iterations in (("gan", {"gan": 1}), ("gan", FEW), ("encoder", {"encoder": 1}), ("encoder", FEW), ("refine", FEW)):
        resume = (cut / step / loop.CHECKPOINT).exists()
        train(a_healthy_folder, cut, settings=SMALL, iterations=iterations, step=step, resume=resume, device="cpu")
    first, second = (_weights(folder / "fanogan.safetensors") for folder in (whole, cut))
    assert first.keys() == second.keys()
    for key, value in first.items():
        torch.testing.assert_close(value, second[key], rtol=0, atol=0)
    card = json.loads((whole / "fanogan.json").read_text())
    assert (card["method"], card["window_mm"], card["training"]["iterations_by_step"]) == ("fanogan-3d", 0.0, FEW)
    assert set(card["training"]["subjects"]["train"]) == {"a1", "b2"}
    assert math.isfinite(card["healthy_validation"]["image"])
    for step in FEW:
        assert (whole / step / "samples.png").stat().st_size > 0
        assert step == "gan" or (whole / step / "curves.png").stat().st_size > 0  # of the GAN nothing is logged so soon


def test_a_step_that_has_nothing_to_build_on_or_is_there_already_is_refused(a_healthy_folder, a_run_folder):
    with pytest.raises(ad.TrainingError, match="no trained step 'gan'"):
        train(a_healthy_folder, a_run_folder, settings=SMALL, iterations=FEW, step="encoder", device="cpu")
    train(a_healthy_folder, a_run_folder, settings=SMALL, iterations={"gan": 1}, step="gan", device="cpu")
    with pytest.raises(ad.TrainingError, match="--resume"):
        train(a_healthy_folder, a_run_folder, settings=SMALL, iterations=FEW, step="gan", device="cpu")
    other = VolumeGanTraining(network=TINY, spacing_mm=4.0, batch_gan=2, batch_encoder=2, seed=1)
    with pytest.raises(ad.TrainingError, match="other settings"):
        train(a_healthy_folder, a_run_folder, settings=other, iterations=FEW, resume=True, device="cpu")
