"""The dense predictor's result comes first, in a folder of its own; then the exact one."""

import errno
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import brain_inpaint_ad as ad
from brain_inpaint_ad import result as result_module
from brain_inpaint_ad.detectors.predicted import PredictedDetector
from brain_inpaint_ad.nets.unet import UNet, UNetSettings
from brain_inpaint_ad.pipeline import load_detector
from brain_inpaint_ad.result_files import FILES
from brain_inpaint_ad.weights.card import read_card
from brain_inpaint_ad.weights.store import save_model


@pytest.fixture(scope="module")
def a_model_with_a_predictor(a_tiny_model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("pair")
    shutil.copy(a_tiny_model.with_suffix(".json"), folder)
    card = read_card(a_tiny_model.with_suffix(".json"))
    with torch.random.fork_rng():
        torch.manual_seed(1)
        predictor = UNet(UNetSettings(width=2, depth=2))
    save_model(
        predictor,
        folder / "dense.safetensors",
        lambda digest: replace(card, name="dense", method="dense-loss-prediction", sha256=digest),
    )
    return Path(shutil.copy(a_tiny_model, folder))


@pytest.fixture
def find(a_coarse_scan, tmp_path, run_cli):
    def run(model, *options):
        words = ("--model", model, "--stride-mm", 16, "--rule", "paper", "--progress", "jsonl")
        answer = run_cli("detect", a_coarse_scan, "--out", tmp_path / "out", *words, "--preview", tmp_path / "first", *options)
        return answer, [json.loads(line)["stage"] for line in answer.out.splitlines()]

    return run


def test_the_preview_is_written_and_said_before_the_exact_heatmap_is_begun(find, a_model_with_a_predictor, tmp_path):
    answer, stages = find(a_model_with_a_predictor)
    assert (answer.code, answer.err) == (0, "")
    assert stages.count("preview ready") == 1
    assert stages.index("predicting the loss") < stages.index("preview ready") < stages.index("erasing and rebuilding")
    for folder, name in (("first", "dense"), ("out", "tiny")):
        assert sorted(path.name for path in (tmp_path / folder).iterdir()) == sorted(FILES)
        report = json.loads((tmp_path / folder / "report.json").read_text())
        assert report["model"]["name"] == name
        assert set(report["seconds"]) == {"load", "prepare", "heatmap", "segment"}
    assert report["heatmap"]["engine"] == "incremental"


def test_both_can_be_cut_anew(find, a_model_with_a_predictor, tmp_path):
    assert find(a_model_with_a_predictor, "--recut")[0].code == 0
    first, exact = (ad.load_recut(tmp_path / folder / "recut.npz") for folder in ("first", "out"))
    assert first.model_grid == exact.model_grid
    assert (first.model_heatmap != exact.model_heatmap).any()


def test_the_preview_is_what_the_predictor_alone_gives_and_changes_nothing_of_the_result(
    a_coarse_scan, a_model_with_a_predictor
):
    dense = str(a_model_with_a_predictor.with_name("dense.safetensors"))
    options = {"rule": "paper", "stride_mm": 8, "scale": 50}
    previews = []
    exact = ad.detect(a_coarse_scan, model=str(a_model_with_a_predictor), on_preview=previews.append, **options)
    (preview,) = previews
    alone = ad.detect(a_coarse_scan, model=dense, **options)
    assert preview.findings == alone.findings
    assert (preview.heatmap.array == alone.heatmap.array).all()
    assert preview.settings == exact.settings
    heat = load_detector(str(a_model_with_a_predictor), stride_mm=8).heatmap(exact.prepared)
    assert (exact.model_heatmap == heat).all()


def test_progress_never_goes_back_with_a_preview(a_coarse_scan, a_model_with_a_predictor):
    seen = []
    ad.detect(
        a_coarse_scan,
        model=str(a_model_with_a_predictor),
        rule="paper",
        stride_mm=16,
        on_preview=lambda _: None,
        progress=lambda fraction, _: seen.append(fraction),
    )
    assert seen == sorted(seen)
    assert seen[-1] <= 1


def test_no_predictor_no_preview_no_error(find, a_tiny_model, tmp_path):
    answer, stages = find(a_tiny_model)
    assert (answer.code, answer.err) == (0, "")
    assert "preview ready" not in stages
    assert not (tmp_path / "first").exists()


def test_a_predictor_is_no_preview_of_itself(find, a_model_with_a_predictor, tmp_path):
    answer, stages = find(a_model_with_a_predictor.with_name("dense.safetensors"))
    assert answer.code == 0
    assert "preview ready" not in stages


def test_a_predictor_that_is_not_calibrated_for_the_rule_gives_no_preview(find, a_model_with_a_predictor, tmp_path):
    folder = Path(shutil.copytree(a_model_with_a_predictor.parent, tmp_path / "models"))
    card = json.loads((folder / "dense.json").read_text())
    (folder / "dense.json").write_text(json.dumps({**card, "thresholds": {}}))
    answer, stages = find(folder / "tiny.safetensors", "--rule", "calibrated")
    assert (answer.code, answer.err) == (0, "")
    assert "preview ready" not in stages


def names_in(folder):
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def check_left_out(answer, stages, tmp_path, warnings):
    """The exact result is whole, there is nothing of a preview, and one line says why."""
    assert answer.code == 0
    assert "preview ready" not in stages
    assert (names_in(tmp_path / "first"), names_in(tmp_path / "out")) == ([], sorted(FILES))
    told = [record.getMessage() for record in warnings if record.name.startswith("brain_inpaint_ad")]
    (warning,) = [line for line in told if not line.startswith("Memory was full")]  # it was tried again in smaller batches
    assert warning.startswith("There is no preview: ")
    assert "\n" not in warning
    return warning


def test_a_damaged_predictor_gives_no_preview_and_the_detection_goes_on(find, a_model_with_a_predictor, tmp_path, caplog):
    folder = Path(shutil.copytree(a_model_with_a_predictor.parent, tmp_path / "models"))
    (folder / "dense.safetensors").write_bytes(b"damaged")
    answer, stages = find(folder / "tiny.safetensors")
    assert "install the model again" in check_left_out(answer, stages, tmp_path, caplog.records)


@pytest.mark.parametrize("error", [RuntimeError("CUDA out of memory.\nTried 2 GiB."), MemoryError()], ids=["gpu", "memory"])
def test_a_predictor_that_fails_gives_no_preview_and_the_detection_goes_on(
    find, a_model_with_a_predictor, tmp_path, caplog, monkeypatch, error
):
    def fail(*_arguments, **_options):
        raise error

    monkeypatch.setattr(PredictedDetector, "heatmap", fail)
    warning = check_left_out(*find(a_model_with_a_predictor), tmp_path, caplog.records)
    assert warning.removeprefix("There is no preview: ") in ("CUDA out of memory. Tried 2 GiB.", "MemoryError")


def test_a_preview_for_which_the_disk_is_full_is_left_out_and_leaves_nothing(
    find, a_model_with_a_predictor, tmp_path, caplog, monkeypatch
):
    write, written = result_module.write_volume, []

    def write_until_full(volume, path):
        written.append(path)
        if len(written) == 2:  # the labelmap of the preview
            raise OSError(errno.ENOSPC, "No space left on device")
        write(volume, path)

    monkeypatch.setattr(result_module, "write_volume", write_until_full)
    assert "is the disk full?" in check_left_out(*find(a_model_with_a_predictor), tmp_path, caplog.records)
    assert names_in(tmp_path) == ["out"]


def test_the_line_about_a_preview_left_out_is_read_on_standard_error(
    a_coarse_scan, a_model_with_a_predictor, tmp_path, run_cli_in_a_process
):
    folder = Path(shutil.copytree(a_model_with_a_predictor.parent, tmp_path / "models"))
    (folder / "dense.safetensors").write_bytes(b"damaged")
    words = ("--model", folder / "tiny.safetensors", "--stride-mm", 16, "--rule", "paper", "--progress", "none")
    answer = run_cli_in_a_process("detect", a_coarse_scan, "--out", tmp_path / "out", *words, "--preview", tmp_path / "first")
    assert answer.code == 0
    (line,) = answer.err.splitlines()
    assert line.startswith("There is no preview: ")


@pytest.mark.parametrize("fraction", [0.12, 0.15], ids=["while predicting", "when it is ready"])
def test_a_cancel_during_the_preview_ends_the_detection(a_coarse_scan, a_model_with_a_predictor, fraction):
    seen = []

    def cancel(done, _stage):
        seen.append(done)
        if done >= fraction:
            raise ad.Cancelled("cancelled")

    model = str(a_model_with_a_predictor)
    with pytest.raises(ad.Cancelled):
        ad.detect(a_coarse_scan, model=model, rule="paper", stride_mm=16, on_preview=lambda _: None, progress=cancel)
    assert seen[-1] <= 0.15


def test_a_predictor_rebuilds_nothing(find, a_model_with_a_predictor, tmp_path):
    answer, _ = find(a_model_with_a_predictor.with_name("dense.safetensors"), "--reconstruction")
    assert answer.code == 1
    assert answer.err == "Error: the model dense rebuilds nothing; drop --reconstruction.\n"
    assert not (tmp_path / "out").exists()
