"""Models whose names differ in the size of the window only are one model with several sizes."""

import json
import shutil
from pathlib import Path

import pytest

import brain_inpaint_ad as ad
from brain_inpaint_ad.pipeline import load_detector
from brain_inpaint_ad.weights import store
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
    monkeypatch.setattr(store, "SHIPPED", a_family)
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
