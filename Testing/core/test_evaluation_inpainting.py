"""How well generators inpaint: figures checked on windows of known error, the command on phantoms."""

import json

import numpy as np
import pytest
import torch

from brain_inpaint_ad.evaluation.inpainted import Scene, draw_scene, interpolated, measure
from brain_inpaint_ad.evaluation.inpainting import WITHOUT_NETWORK
from brain_inpaint_ad.io import read_scan, write_volume
from brain_inpaint_ad.phantom import PhantomSettings, make_phantom
from brain_inpaint_ad.prepare import GridSettings, prepare
from brain_inpaint_ad.weights.card import read_card

GRID = GridSettings(spacing_mm=4.0, rows=64, columns=48)


@pytest.fixture
def a_scene():
    """Three slices with windows of 16 × 16 at different places, brain everywhere."""
    image = torch.rand(3, 1, 64, 48, generator=torch.Generator().manual_seed(0)) * 0.5 + 0.25
    window = torch.zeros_like(image)
    for number in range(3):
        window[number, :, 8 * number : 8 * number + 16, 16:32] = 1
    return Scene(image, torch.ones_like(image, dtype=torch.bool), window)


def test_a_known_error_in_the_window_gives_the_known_figures(a_scene):
    found = measure(a_scene, a_scene.image + 0.1 * a_scene.window)
    assert found.windows == 3
    assert found.l1_window == pytest.approx(0.1, abs=1e-5)
    assert found.psnr_window_db == pytest.approx(20, abs=1e-3)
    assert found.psnr_slice_db == pytest.approx(20 + 10 * np.log10(64 * 48 / 256), abs=1e-3)
    assert found.sharpness == pytest.approx(1, abs=1e-4)
    assert found.ssim_window < found.ssim_slice < 1


def test_a_blurred_window_is_less_sharp_and_less_alike_than_a_slightly_wrong_one(a_scene):
    blurred = torch.nn.functional.avg_pool2d(a_scene.image, 5, stride=1, padding=2, count_include_pad=False)
    smooth = measure(a_scene, torch.where(a_scene.window > 0, blurred, a_scene.image))
    noise = 0.02 * torch.randn(a_scene.image.shape, generator=torch.Generator().manual_seed(1))
    noisy = measure(a_scene, a_scene.image + noise * a_scene.window)
    assert smooth.sharpness < 0.3 < 0.9 < noisy.sharpness
    assert smooth.ssim_window < noisy.ssim_window


def test_interpolation_continues_a_slope_and_touches_nothing_else(a_scene):
    slope = torch.linspace(0.1, 0.9, 64)[:, None].expand(3, 1, 64, 48)
    scene = Scene(slope.clone(), a_scene.brain, a_scene.window)
    filled = interpolated(scene)
    torch.testing.assert_close(filled[1:], slope[1:], atol=0.02, rtol=0)  # the first window lies near the border
    assert torch.equal(filled[scene.window == 0], slope[scene.window == 0])


def test_windows_of_a_scan_are_drawn_by_its_name_with_one_centre_for_all_sizes(a_coarse_scan):
    prepared = prepare(read_scan(a_coarse_scan), settings=GRID)
    small, again, large = (draw_scene(name, prepared, pixels, 6) for name, pixels in (("a", 4), ("a", 4), ("a", 8)))
    assert torch.equal(small.window, again.window)
    assert torch.equal(small.image, large.image)
    assert ((small.window * large.window).sum(dim=(1, 2, 3)) == 16).all()
    assert not torch.equal(small.window, draw_scene("b", prepared, 4, 6).window)


@pytest.fixture(scope="module")
def a_healthy_set(tmp_path_factory):
    """Three made-up people in our IXI layout."""
    folder = tmp_path_factory.mktemp("ixi")
    (folder / "brain").mkdir()
    for seed, name in enumerate("ABC"):
        scan = make_phantom(PhantomSettings(spacing_mm=5.0, seed=seed)).scan
        write_volume(scan, folder / "brain" / f"{name}_brain.nii.gz")
    (folder / "subjects.csv").write_text("scan,split\nA,validation\nB,validation\nC,train\n")
    return folder


@pytest.fixture
def a_model_of_two_sizes(a_tiny_model, tmp_path):
    """One network for 32 and 16 mm, not calibrated; it says it was trained on C."""
    path = tmp_path / "several.safetensors"
    path.write_bytes(a_tiny_model.read_bytes())
    card = json.loads(a_tiny_model.with_suffix(".json").read_text())
    card |= {"name": "several", "thresholds": {}, "training": {"subjects": {"train": ["C"]}}}
    card["other_windows"] = {"16": {"thresholds": {}, "healthy_validation": {}}}
    path.with_suffix(".json").write_text(json.dumps(card))
    return path


def test_the_command_writes_table_rows_and_picture_for_every_model_and_size(
    a_healthy_set, a_tiny_model, a_model_of_two_sizes, tmp_path, run_cli
):
    words = ("evaluate-inpainting", "--data", a_healthy_set, "--out", tmp_path / "out", "--windows", 4)
    answer = run_cli(*words, "--models", f"{a_tiny_model},{a_model_of_two_sizes}")
    assert answer.code == 0, answer.err
    rows = json.loads((tmp_path / "out" / "rows.json").read_text())["rows"]
    lines = [(row["window_mm"], row["model"], row["case"]) for row in rows]
    ours = [(16, "several"), (32, "several"), (32, "tiny")]
    assert sorted(lines) == sorted(
        (*line, case) for line in [*ours, (16, WITHOUT_NETWORK), (32, WITHOUT_NETWORK)] for case in "AB"
    )
    assert {row["scores"]["windows"] for row in rows} == {4}
    assert len(answer.out.strip().splitlines()) == 2 + len(lines) / 2
    assert answer.out.strip() in (tmp_path / "out" / "table.md").read_text()
    assert (tmp_path / "out" / "ixi-validation.png").read_bytes().startswith(b"\x89PNG")

    before = (tmp_path / "out" / "rows.json").read_text()
    assert run_cli(*words, "--models", a_tiny_model).code == 0  # what other models gave stays, and the same again is the same
    again = json.loads((tmp_path / "out" / "rows.json").read_text())["rows"]
    assert again == json.loads(before)["rows"]


def test_scans_that_were_trained_on_and_models_that_rebuild_nothing_are_refused(
    a_healthy_set, a_model_of_two_sizes, a_tiny_model, tmp_path, run_cli
):
    words = ("evaluate-inpainting", "--data", a_healthy_set, "--out", tmp_path / "out", "--models")
    assert "several was trained on C" in run_cli(*words, a_model_of_two_sizes, "--split", "train").err
    assert "is no generator" in run_cli(*words, "t1-loss-32mm").err
    assert "two models are called tiny" in run_cli(*words, f"{a_tiny_model},{a_tiny_model}").err
    assert not (tmp_path / "out").exists()


def test_a_network_of_two_sizes_is_calibrated_for_both(a_healthy_set, a_model_of_two_sizes, run_cli):
    assert run_cli("calibrate", a_model_of_two_sizes, "--data", a_healthy_set, "--skip", "B", "--stride-mm", 8).code == 0
    card = read_card(a_model_of_two_sizes.with_suffix(".json"))
    assert card.sizes_mm == [32, 16]
    both = [card.at(size) for size in card.sizes_mm]
    assert [told.healthy_validation["scans"] for told in both] == [["A"], ["A"]]
    thresholds = [told.thresholds["healthy_voxels_1_percent"] for told in both]
    assert min(thresholds) > 0
    assert thresholds[0] != thresholds[1]
