"""Models whose names differ in the size of the window only are one model with several sizes."""

import json
import shutil
from pathlib import Path

import pytest

import brain_inpaint_ad as ad
from brain_inpaint_ad.pipeline import load_detector
from brain_inpaint_ad.weights import folders, store
from brain_inpaint_ad.weights.store import find_preview, load_model, windows_of, with_window


def a_copy(model: Path, folder: Path, name: str, **changes: object) -> Path:
    """The same weights under another name, with a card that says otherwise."""
    path = Path(shutil.copy(model, folder / f"{name}.safetensors"))
    card = json.loads(model.with_suffix(".json").read_text())
    path.with_suffix(".json").write_text(json.dumps({**card, "name": name, **changes}))
    return path


@pytest.fixture
def a_family(a_tiny_model, tmp_path):
    """Three sizes of one model, and what looks like more of it."""
    for size in (8, 16, 32):
        a_copy(a_tiny_model, tmp_path, f"t1-{size}mm-fast", window_mm=float(size))
    a_copy(a_tiny_model, tmp_path, "t1-64mm", window_mm=64.0)
    a_copy(a_tiny_model, tmp_path, "t2-48mm-fast", window_mm=48.0)
    a_copy(a_tiny_model, tmp_path, "t1-24mm-fast", window_mm=24.0).with_suffix(".json").write_text("half a ca")
    (tmp_path / "t1-40mm-fast.safetensors").write_text("no card")
    return tmp_path


def test_sizes_are_those_of_the_family_only_in_ascending_order(a_family):
    path = str(a_family / "t1-32mm-fast.safetensors")
    assert list(windows_of(path)) == [8.0, 16.0, 32.0]
    assert windows_of(path)[16.0] == str(a_family / "t1-16mm-fast.safetensors")
    assert list(windows_of(str(a_family / "t1-64mm.safetensors"))) == [64.0]


def test_a_size_picks_the_model_beside_it(a_family):
    path = str(a_family / "t1-32mm-fast.safetensors")
    for size in (8, 16, 32):
        assert load_detector(path, window_mm=size, stride_mm=4).card.name == f"t1-{size}mm-fast"
    assert load_detector(path).card.name == "t1-32mm-fast"
    assert with_window(path, None) == path


def test_a_size_that_is_not_there_is_refused_with_those_that_are(a_family):
    with pytest.raises(ad.SettingsError, match=r"t1-32mm-fast was trained for windows of 8, 16, 32 mm, not 64 mm\.$"):
        load_detector(str(a_family / "t1-32mm-fast.safetensors"), window_mm=64)


def test_shipped_models_are_called_by_name(a_family, monkeypatch):
    monkeypatch.setattr(folders, "SHIPPED", a_family)
    assert windows_of("t1-32mm-fast") == {8.0: "t1-8mm-fast", 16.0: "t1-16mm-fast", 32.0: "t1-32mm-fast"}
    assert load_model(with_window("t1-32mm-fast", 8))[1].window_mm == 8


def test_a_model_without_a_size_in_its_name_has_its_own(a_tiny_model):
    assert windows_of(str(a_tiny_model)) == {32.0: str(a_tiny_model)}


def test_the_command_line_takes_the_size(a_family, a_coarse_scan, run_cli):
    model = a_family / "t1-32mm-fast.safetensors"
    words = ("--model", model, "--window-mm", 16, "--stride-mm", 16, "--rule", "paper")
    assert run_cli("detect", a_coarse_scan, "--out", a_family / "out", *words).code == 0
    report = json.loads((a_family / "out" / "report.json").read_text())
    assert (report["model"]["name"], report["heatmap"]["window_mm"]) == ("t1-16mm-fast", 16)


OTHERS = {
    "8": {"thresholds": {}, "healthy_validation": {}},
    "16": {"thresholds": {"healthy_voxels_1_percent": 0.3}, "healthy_validation": {"psnr_inside_db": 20.0}},
}


@pytest.fixture
def a_model_of_several_sizes(a_tiny_model, tmp_path):
    """One network for 32 mm, its default, 8 and 16 mm."""
    return a_copy(a_tiny_model, tmp_path, "several", other_windows=OTHERS)


def test_one_network_may_have_several_sizes(a_model_of_several_sizes, a_tiny_model):
    path = str(a_model_of_several_sizes)
    assert windows_of(path) == {8.0: path, 16.0: path, 32.0: path}
    assert load_detector(path).card.window_mm == 32
    card = load_detector(path, window_mm=16).card
    assert (card.window_mm, card.windows(4).size) == (16, 4)
    assert (card.thresholds, card.healthy_validation) == (OTHERS["16"]["thresholds"], OTHERS["16"]["healthy_validation"])
    with pytest.raises(ad.SettingsError, match=r"windows of 8, 16, 32 mm, not 64 mm"):
        load_detector(path, window_mm=64)


@pytest.mark.parametrize("size", [8, 16, 32])
def test_a_card_at_another_size_and_back_is_the_card(a_model_of_several_sizes, size):
    card = load_model(str(a_model_of_several_sizes))[1]
    assert card.at(size).at(32) == card
    with pytest.raises(ad.SettingsError, match="not trained for windows of 24 mm"):
        card.at(24)


def test_a_size_of_one_network_is_taken_with_its_own_threshold(a_model_of_several_sizes, a_coarse_scan, tmp_path, run_cli):
    words = ("detect", a_coarse_scan, "--model", a_model_of_several_sizes, "--stride-mm", 8)
    assert run_cli(*words, "--window-mm", 16, "--out", tmp_path / "out").code == 0
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert (report["heatmap"]["window_mm"], report["segmentation"]["threshold"]) == (16, 0.3)
    answer = run_cli(*words, "--window-mm", 8, "--out", tmp_path / "other")
    assert answer.code == 1
    assert "not calibrated" in answer.err


@pytest.mark.parametrize("others", [[], {"8": {}}, {"x": OTHERS["8"]}, {"32": OTHERS["8"]}, {"8.0": OTHERS["8"]}, {"8": 1}])
def test_a_card_with_other_windows_that_make_no_sense_is_refused(a_tiny_model, tmp_path, others):
    with pytest.raises(ad.WeightsError, match="other windows"):
        load_model(str(a_copy(a_tiny_model, tmp_path, "odd", other_windows=others)))


@pytest.mark.parametrize(
    ("changes", "fits"),
    [
        ({}, True),
        ({"window_mm": 16.0}, False),
        ({"modality": "T2"}, False),
        ({"spacing_mm": 2.0}, False),
        ({"rows": 48}, False),
        ({"method": "loss-prediction"}, False),
        ({"method": "inpainting"}, False),
    ],
)
def test_a_preview_comes_from_a_dense_predictor_of_the_same_scans_grid_and_windows(a_tiny_model, tmp_path, changes, fits):
    model = a_copy(a_tiny_model, tmp_path, "model")
    dense = a_copy(a_tiny_model, tmp_path, "predictor", **{"method": "dense-loss-prediction", **changes})
    assert find_preview(str(model), load_model(str(model))[1]) == (str(dense) if fits else None)


def test_a_shipped_predictor_serves_a_model_elsewhere(a_tiny_model, tmp_path, monkeypatch):
    monkeypatch.setattr(store, "SHIPPED", tmp_path)
    dense = a_copy(a_tiny_model, tmp_path, "predictor", method="dense-loss-prediction")
    assert find_preview(str(a_tiny_model), load_model(str(a_tiny_model))[1]) == str(dense)
