"""R and R′: the published network, what they see, how they are trained, and detect with them."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

import brain_inpaint_ad as ad
from brain_inpaint_ad.heatmap.predicted import paint, predict_loss_map, predict_losses, predict_losses_direct, read_losses
from brain_inpaint_ad.heatmap.windows import WindowSettings, window_corners
from brain_inpaint_ad.nets.predictor import LossPredictor
from brain_inpaint_ad.nets.unet import UNet, UNetSettings
from brain_inpaint_ad.training.anomalies import add_anomalies
from brain_inpaint_ad.training.erase import middle_corners
from brain_inpaint_ad.training.loop import rate_at
from brain_inpaint_ad.training.loss_predictor import LossPredictorSettings, grid_corners, train
from brain_inpaint_ad.weights.card import read_card
from brain_inpaint_ad.weights.store import load_model

# Mavropoulos 2021, figure 5: layer, output shape, parameters
FIGURE_5 = [
    ("Conv2d", (64, 128, 128), 640),
    ("LeakyReLU", (64, 128, 128), 0),
    ("Conv2d", (128, 64, 64), 73_856),
    ("MaxPool2d", (128, 32, 32), 0),
    ("LeakyReLU", (128, 32, 32), 0),
    ("BatchNorm2d", (128, 32, 32), 256),
    ("Conv2d", (256, 16, 16), 295_168),
    ("MaxPool2d", (256, 8, 8), 0),
    ("LeakyReLU", (256, 8, 8), 0),
    ("Conv2d", (512, 4, 4), 1_180_160),
    ("MaxPool2d", (512, 2, 2), 0),
    ("LeakyReLU", (512, 2, 2), 0),
    ("Conv2d", (1, 1, 1), 8_193),
    ("Sigmoid", (1, 1, 1), 0),
]


def numbers(seed):
    return torch.Generator().manual_seed(seed)


def test_the_published_predictor_is_that_of_figure_5_layer_by_layer():
    found, x = [], torch.zeros(1, 1, 256, 256)
    for layer in LossPredictor().eval().layers:
        x = layer(x)
        found.append((type(layer).__name__, tuple(x.shape[1:]), sum(p.numel() for p in layer.parameters())))
    assert found == FIGURE_5


def test_the_published_predictor_has_1558273_parameters():
    assert sum(p.numel() for p in LossPredictor().parameters()) == 1_558_273


def test_r_sees_the_slice_enlarged_with_its_window_white_and_nothing_beside_it():
    image = 0.5 * torch.rand(2, 64, 48, generator=numbers(0))
    painted = paint(image, torch.tensor([[1, 10, 20]]), size=8)
    assert painted.shape == (1, 1, 256, 256)
    small = painted[0, 0, ::4, ::4]  # pixels of 4 mm on a field of 256 mm
    expected = image[1].clone()
    expected[10:18, 20:28] = 1
    torch.testing.assert_close(small[:64, :48], expected)
    assert (painted[..., 192:] == 0).all()


def a_predictor(seed=0):
    """R with random weights and BatchNorm statistics, louder than freshly made: its answers differ by more than rounding."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        predictor = LossPredictor()
        for module in predictor.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.running_mean.normal_()
                module.running_var.uniform_(0.5, 2)
    for parameter in predictor.parameters():
        parameter.data *= 1.6
    return predictor.eval()


@pytest.mark.parametrize(
    ("shape", "size", "stride"), [((2, 128, 96), 16, 9), ((1, 128, 96), 7, 13), ((2, 64, 48), 5, 5), ((1, 100, 128), 33, 8)]
)
def test_r_with_its_maps_kept_answers_as_r_run_on_every_painted_slice(shape, size, stride):
    predictor = a_predictor()
    image = torch.rand(shape, generator=numbers(0))
    corners = torch.from_numpy(window_corners(np.ones(shape, bool), WindowSettings(size=size, stride=min(stride, size))))[::9]
    slow = predict_losses_direct(predictor, image, corners, size=size, batch=5)
    assert slow.std() > 1e-4
    torch.testing.assert_close(predict_losses(predictor, image, corners, size=size), slow, rtol=0, atol=1e-5)


def test_the_dense_map_holds_a_windows_loss_at_the_windows_middle():
    loss_map = torch.arange(2 * 6 * 5.0).reshape(2, 6, 5)
    corners = torch.tensor([[0, 0, 0], [1, 2, 1]])
    assert read_losses(loss_map, corners, size=4).tolist() == [loss_map[0, 2, 2], loss_map[1, 4, 3]]


def test_the_dense_map_does_not_depend_on_how_slices_are_batched():
    predictor = UNet(UNetSettings(width=2, depth=2)).eval()
    image, brain = torch.rand(5, 30, 22, generator=numbers(0)), torch.ones(5, 30, 22, dtype=torch.bool)
    whole, single = predict_loss_map(predictor, image, brain), predict_loss_map(predictor, image, brain, batch=1)
    torch.testing.assert_close(whole, single, rtol=0, atol=2e-3)
    assert whole.shape == image.shape


def test_published_masks_lie_in_the_middle_third():
    corners = middle_corners(torch.ones(200, 128, 96, dtype=torch.bool), 16, numbers(0))
    assert corners[:, 0].tolist() == list(range(200))
    assert corners[:, 1].min() == 42
    assert corners[:, 1].max() == 42 + 26
    assert corners[:, 2].min() == 32
    assert corners[:, 2].max() == 32 + 16


@pytest.mark.parametrize("seed", range(5))
def test_training_windows_of_the_dense_predictor_lie_side_by_side_where_brain_is(seed):
    brain = torch.zeros(2, 40, 37, dtype=torch.bool)
    brain[0, 8:30, 9:33] = True
    corners = grid_corners(brain, 8, numbers(seed))
    assert set(corners[:, 0].tolist()) == {0}  # slice 1 shows none
    covered = torch.zeros(40, 37)
    for _, row, column in corners.tolist():
        assert brain[0, row : row + 8, column : column + 8].any()
        covered[row : row + 8, column : column + 8] += 1
        assert row + 8 <= 40
        assert column + 8 <= 37
    assert covered.max() == 1
    assert covered[brain[0]].mean() > 0.7  # the border may cut off up to a window minus one pixel at each end


def a_brain():
    image = 0.3 + 0.4 * torch.rand(12, 1, 64, 48, generator=numbers(1))
    brain = torch.zeros(12, 64, 48, dtype=torch.bool)
    brain[:, 10:50, 8:40] = True
    return image * brain[:, None], brain


def test_made_up_anomalies_strike_the_share_asked_for_and_stay_in_the_brain():
    image, brain = a_brain()
    assert torch.equal(add_anomalies(image, brain, numbers(0), share=0.0), image)
    struck = add_anomalies(image, brain, numbers(0), share=1.0)
    assert (struck != image).flatten(1).any(dim=1).all()
    assert (struck[~brain[:, None]] == 0).all()
    assert struck.min() >= 0
    assert struck.max() <= 1


def test_equal_seeds_give_equal_anomalies_and_others_give_others():
    image, brain = a_brain()
    first, again, other = (add_anomalies(image, brain, numbers(seed)) for seed in (3, 3, 4))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.fixture(scope="module")
def trained(a_healthy_folder, a_tiny_model, tmp_path_factory):
    """Both kinds after a few iterations by command, calibrated: {dense: weights}."""
    weights = {}
    for dense in (False, True):
        run = tmp_path_factory.mktemp("predictor") / "run"
        settings = LossPredictorSettings(dense=dense, width=2, depth=2, batch=2)
        train(a_healthy_folder, run, generator=str(a_tiny_model), settings=settings, iterations=3, device="cpu")
        weights[dense] = run / "predictor.safetensors"
    return weights


@pytest.mark.parametrize("dense", [False, True])
def test_a_trained_predictor_says_whose_loss_it_learned(trained, dense, a_tiny_model):
    network, card = load_model(str(trained[dense]))
    teacher = read_card(a_tiny_model.with_suffix(".json"))
    assert card.training["generator"] == {"name": "tiny", "sha256": teacher.sha256}
    assert (card.window_mm, card.grid, card.minmax) == (teacher.window_mm, teacher.grid, teacher.minmax)
    assert isinstance(network, UNet if dense else LossPredictor)
    assert {"healthy_mean_difference", "healthy_rank_correlation"} <= card.healthy_validation.keys()


@pytest.mark.parametrize("dense", [False, True])
def test_a_predictor_detects_like_any_model(trained, dense, a_phantom_scan, tmp_path, run_cli):
    words = ("detect", a_phantom_scan, "--out", tmp_path / "out", "--model", trained[dense], "--stride-mm", 16)
    assert "not calibrated" in run_cli(*words).err
    answer = run_cli(*words, "--rule", "paper")
    assert answer.code == 0, answer.err
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["model"]["name"] == "run"
    heat, brain = ad.read_scan(tmp_path / "out" / "heatmap.nii.gz"), ad.read_labels(a_phantom_scan.parent / "brain_mask.nii.gz")
    assert 0 < heat.array[brain.array > 0].mean() < 1
    assert (heat.array[brain.array == 0] == 0).all()


def test_calibration_finds_thresholds_for_every_segmentation(trained, a_healthy_folder, tmp_path, run_cli):
    model = Path(shutil.copy(trained[True], tmp_path / "model.safetensors"))
    shutil.copy(trained[True].with_suffix(".json"), model.with_suffix(".json"))
    answer = run_cli("calibrate", model, "--data", a_healthy_folder)
    assert answer.code == 0, answer.err
    thresholds = read_card(model.with_suffix(".json")).thresholds
    kinds = ("", "volume_", "scales_", "residual_")
    assert set(thresholds) == {f"{kind}healthy_voxels_{percent}_percent" for kind in kinds for percent in (1, 5)}
    assert all(thresholds[f"{kind}healthy_voxels_1_percent"] >= thresholds[f"{kind}healthy_voxels_5_percent"] for kind in kinds)
    assert "volume_healthy_voxels_1_percent" in answer.out


@pytest.mark.parametrize("dense", [False, True])
def test_a_resumed_predictor_is_the_one_that_was_never_cut(trained, dense, a_healthy_folder, a_tiny_model, tmp_path):
    settings = LossPredictorSettings(dense=dense, width=2, depth=2, batch=2)
    run = tmp_path / "run"
    shutil.copytree(trained[dense].parent / "prepared", run / "prepared")

    def cut_after_one(fraction, stage):
        if stage == "iteration 1 of 3":
            raise ad.Cancelled("cancelled")

    same = {"generator": str(a_tiny_model), "settings": settings, "iterations": 3, "device": "cpu"}
    with pytest.raises(ad.Cancelled):
        train(a_healthy_folder, run, progress=cut_after_one, **same)
    train(a_healthy_folder, run, resume=True, **same)
    whole, cut = load_model(str(trained[dense]))[0].state_dict(), load_model(str(run / "predictor.safetensors"))[0].state_dict()
    assert all(torch.equal(whole[key], cut[key]) for key in whole)


def test_the_rate_of_learning_ends_at_nothing():
    rates = [rate_at(i, 2.0, 30) for i in range(31)]
    assert rates[:21] == [2.0] * 21
    assert rates[25] == pytest.approx(1.0)
    assert rates[30] == 0


def test_a_predictor_learns_the_loss_of_its_generator(a_tiny_model, a_healthy_folder, trained, tmp_path):
    """On one slice, over and over, the difference falls: the step goes downhill."""
    from brain_inpaint_ad.heatmap.incremental import Incremental
    from brain_inpaint_ad.training.loss_predictor import Teacher, build, training_step
    from brain_inpaint_ad.weights.store import load_generator

    generator, card = load_generator(str(a_tiny_model))
    teacher = Teacher(Incremental(generator), card, 8)
    settings = LossPredictorSettings(dense=True, width=4, depth=2)
    predictor = build(settings, torch.device("cpu"))
    optimiser = torch.optim.Adam(predictor.parameters(), 1e-2)
    image, brain = a_brain()
    batch = (image[:2, 0], brain[:2], grid_corners(brain[:2], 8, numbers(0)))
    differences = [training_step(predictor, optimiser, teacher, batch)["difference"].item() for _ in range(40)]
    assert differences[-1] < 0.3 * differences[0]


def test_a_predictor_cannot_stand_in_for_a_generator(trained, a_healthy_folder, a_phantom_scan, tmp_path, run_cli):
    data = ("--data", a_healthy_folder, "--out", tmp_path / "out")
    answer = run_cli("train", "loss-predictor", *data, "--model", trained[True])
    assert answer.code == 1
    assert "is no generator" in answer.err
    answer = run_cli("detect", a_phantom_scan, "--out", tmp_path / "out", "--model", trained[True], "--engine", "direct")
    assert answer.code == 1
    assert "leave --engine away" in answer.err
    assert not (tmp_path / "out").exists()


def test_train_loss_predictor_by_command(a_healthy_folder, a_tiny_model, trained, tmp_path, run_cli):
    run = tmp_path / "run"
    shutil.copytree(trained[False].parent / "prepared", run / "prepared")
    words = ["train", "loss-predictor", "--data", a_healthy_folder, "--out", run, "--model", a_tiny_model]
    first = run_cli(*words, "--masks", "brain", "--iterations", 1, "--name", "mine")
    assert first.code == 0, first.err
    assert read_card(run / "predictor.json").training["settings"]["masks"] == "brain"
    assert (run / "true_and_predicted.png").stat().st_size > 0
    refused = run_cli(*words, "--masks", "middle", "--iterations", 2, "--resume")
    assert refused.code == 1
    assert "masks: brain there, middle asked" in refused.err


@pytest.fixture(scope="module")
def a_brats_folder(a_phantom, tmp_path_factory):
    """One case in the layout of BraTS."""
    folder = tmp_path_factory.mktemp("brats")
    (folder / "case").mkdir()
    ad.write_volume(a_phantom.scan, folder / "case" / "case_t1.nii.gz")
    ad.write_volume(a_phantom.truth, folder / "case" / "case_seg.nii.gz")
    (folder / "subjects.csv").write_text("case,split\ncase,validation\n")
    return folder


def test_compare_holds_a_predictor_against_its_generator(trained, a_tiny_model, a_brats_folder, tmp_path, run_cli):
    answer = run_cli(
        *("compare", "--dataset", "brats", "--data", a_brats_folder, "--out", tmp_path / "out", "--every", 2),
        *("--models", trained[True], "--generator", a_tiny_model),
    )
    assert answer.code == 0, answer.err
    assert "generator itself" in answer.out
    content = json.loads((tmp_path / "out" / "comparison.json").read_text())
    (row,) = content["rows"]
    assert row["parameters"] == sum(p.numel() for p in UNet(UNetSettings(width=2, depth=2)).parameters())
    assert row["mean_difference"] > 0
    assert -1 <= row["heat_correlation"] <= 1
    assert row["auroc"] is not None
    assert row["auroc_generator"] is not None


def test_compared_with_itself_a_generator_agrees_in_everything(a_tiny_model, a_brats_folder, tmp_path, run_cli):
    where = ("--dataset", "brats", "--data", a_brats_folder, "--out", tmp_path / "out")
    assert run_cli("compare", *where, "--models", a_tiny_model, "--generator", a_tiny_model).code == 0
    (row,) = json.loads((tmp_path / "out" / "comparison.json").read_text())["rows"]
    assert (row["mean_difference"], row["window_correlation"], row["heat_correlation"], row["same_hottest"]) == (0, 1, 1, 1)
    assert row["auroc"] == row["auroc_generator"]


def test_what_cannot_be_compared_is_refused_before_any_work(trained, a_tiny_model, a_brats_folder, tmp_path, run_cli):
    where = ("compare", "--dataset", "brats", "--data", a_brats_folder, "--out", tmp_path / "out")
    assert "is no generator" in run_cli(*where, "--models", a_tiny_model, "--generator", trained[True]).err
    assert "two models are called" in run_cli(*where, "--models", f"{trained[0]},{trained[1]}", "--generator", a_tiny_model).err
    assert "every must be 1 or more" in run_cli(*where, "--models", trained[1], "--generator", a_tiny_model, "--every", 0).err
    other = Path(shutil.copy(trained[True], tmp_path / "other.safetensors"))
    card = json.loads(trained[True].with_suffix(".json").read_text())
    other.with_suffix(".json").write_text(json.dumps({**card, "window_mm": 16.0}))
    answer = run_cli(*where, "--models", other, "--generator", a_tiny_model)
    assert answer.code == 1
    assert "they cannot be compared" in answer.err
    assert not (tmp_path / "out").exists()
