"""Runs of many scans, and memory that is full in the middle of one: what can go on goes on, and says so."""

import json
import os
import signal
import sys
import time
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from brain_inpaint_ad.detectors import retreat
from brain_inpaint_ad.detectors.inpainting import InpaintingDetector
from brain_inpaint_ad.detectors.load import load_detector
from brain_inpaint_ad.errors import FitError
from brain_inpaint_ad.evaluation import calibration, scoring
from brain_inpaint_ad.heatmap.incremental import Incremental
from brain_inpaint_ad.io import write_volume
from brain_inpaint_ad.phantom import Lesion, PhantomSettings, make_phantom
from brain_inpaint_ad.prepare import GridSettings, prepare
from brain_inpaint_ad.progress import silent

FULL = {
    "CUDA": torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    "CPU": RuntimeError(
        "[enforce fail at alloc_cpu.cpp:116] DefaultCPUAllocator: can't allocate memory: you tried to allocate"
    ),
}


@pytest.mark.parametrize("kind", FULL)
def test_a_full_memory_means_smaller_batches_and_the_same_heat(kind, a_coarse_scan, a_tiny_model, monkeypatch, caplog):
    """The error comes where batches are made, from any with more than five slices."""
    prepared = prepare(read(a_coarse_scan), settings=GridSettings.at(4.0))
    loaded = load_detector(str(a_tiny_model), device="cpu")
    detector = InpaintingDetector(loaded.network, loaded.card, loaded.device, stride_mm=16.0)
    usual = detector.heatmap(prepared)
    whole_slices = Incremental._whole_slices

    def narrow(self, image):
        if len(image) > 5:
            raise FULL[kind]
        return whole_slices(self, image)

    monkeypatch.setattr(Incremental, "_whole_slices", narrow)
    monkeypatch.setattr(retreat, "LEAST_MB", 1e-3)
    heat = retreat.heat_within_memory(detector, prepared, progress=silent)
    np.testing.assert_allclose(heat, usual, atol=2e-3)  # bfloat16 rounds otherwise in other batches
    told = [record.getMessage() for record in caplog.records]
    assert told
    assert all("Memory was full; trying again with smaller batches" in line for line in told)


def read(path):
    from brain_inpaint_ad.io import read_scan

    return read_scan(path)


@dataclass(frozen=True)
class OnlyTheCpuHasRoom:
    """A detector whose GPU is too small for a single slice."""

    device: torch.device
    memory_mb: float = 40.0
    needs_cpu: bool = True

    def heatmap(self, prepared, *, progress):
        if self.device.type != "cpu" or not self.needs_cpu:
            raise FULL["CUDA"]
        return self.memory_mb


def test_a_gpu_that_is_too_small_gives_way_to_the_cpu_with_a_warning(caplog):
    cuda = OnlyTheCpuHasRoom(torch.device("cuda"))
    _, used = retreat.within_memory(cuda, lambda detector: detector.heatmap(None, progress=silent))
    assert (used.device.type, used.memory_mb) == ("cpu", 40.0)
    told = [record.getMessage() for record in caplog.records]
    assert told[0] == "Memory was full; trying again with smaller batches (maps of 10 MB)."
    assert told[-1] == "Memory was full; trying again on the CPU, which is slower."


def test_when_nothing_fits_it_is_a_full_memory():
    with pytest.raises(MemoryError):
        retreat.heat_within_memory(OnlyTheCpuHasRoom(torch.device("cuda"), needs_cpu=False), None, progress=silent)


def test_other_errors_are_not_taken_for_a_full_memory():
    def fail(detector):
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        retreat.within_memory(OnlyTheCpuHasRoom(torch.device("cuda")), fail)


def an_ill_set(folder, names):
    """BraTS-like cases of 5 mm."""
    folder.mkdir()
    for seed, name in enumerate(names):
        lesion = Lesion(centre_mm=(30.0, 10.0, 20.0), radius_mm=18.0)
        phantom = make_phantom(PhantomSettings(spacing_mm=5.0, seed=seed, lesions=(lesion,)))
        (folder / name).mkdir()
        write_volume(phantom.scan, folder / name / f"{name}_t1.nii.gz")
        write_volume(phantom.truth, folder / name / f"{name}_seg.nii.gz")
    (folder / "subjects.csv").write_text("case,split\n" + "".join(f"{name},validation\n" for name in names))
    return folder


def evaluation_of(data, model):
    """The words of a small one; --out is still to come."""
    words = ("--dataset", "brats", "--data", data, "--models", model, "--baselines", "none", "--stride-mm", "16")
    return ("evaluate", *words, "--device", "cpu", "--progress", "none", "--out")


def rows_in(out):
    content = json.loads((out / "rows.json").read_text())
    return [{key: value for key, value in row.items() if key != "seconds"} for row in content["rows"]]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_an_evaluation_killed_again_and_again_ends_as_one_that_was_not(a_tiny_model, tmp_path, run_cli):
    """Kill −9 right before the first file is moved into place, then, going on, before the second, and so on until one ends."""
    words = evaluation_of(an_ill_set(tmp_path / "ill", "A"), a_tiny_model)
    assert run_cli(*words, tmp_path / "whole").code == 0
    out = tmp_path / "cut"
    for after in range(12):
        child = os.fork()
        if child == 0:
            os._exit(_evaluate_and_die([*map(str, words), str(out)], after=after))
        _, status = os.waitpid(child, 0)
        if not os.WIFSIGNALED(status):
            break
        assert os.WTERMSIG(status) == signal.SIGKILL
        if (out / "rows.json").exists():
            rows_in(out)  # whole, whenever it is there
    assert os.waitstatus_to_exitcode(status) == 0
    assert after >= 3
    assert rows_in(out) == rows_in(tmp_path / "whole")
    assert (out / "table.md").read_text() == (tmp_path / "whole" / "table.md").read_text()
    assert not list(out.rglob(".writing-*"))


def _evaluate_and_die(words, *, after):
    """In a child: dies by signal 9 when one more file than `after` is about to be moved into place; 0 when it ended."""
    from brain_inpaint_ad.cli.app import app

    moved = 0

    def die(event, details):
        nonlocal moved
        if event == "os.rename":
            if moved == after:
                os.kill(os.getpid(), signal.SIGKILL)
            moved += 1

    sys.addaudithook(die)
    try:
        app(words, standalone_mode=False)
    except SystemExit as end:
        return int(end.code or 0)
    except BaseException:
        return 70
    return 0


def test_a_scan_that_does_not_fit_is_left_out_of_an_evaluation_and_named(a_tiny_model, tmp_path, run_cli, monkeypatch, caplog):
    words = evaluation_of(an_ill_set(tmp_path / "ill", "AB"), a_tiny_model)

    def heat(detector, prepared, *, progress):
        if "B" in prepared.scan.name:
            raise FitError("B_t1.nii.gz does not look like the healthy brains.")
        return detector.heatmap(prepared, progress=progress)

    monkeypatch.setattr(scoring, "heat_within_memory", heat)
    assert run_cli(*words, tmp_path / "out").code == 0
    content = json.loads((tmp_path / "out" / "rows.json").read_text())
    assert {row["case"] for row in content["rows"] if row["detector"] == "tiny"} == {"A"}
    assert content["left_out"] == {"brats/validation/B/tiny": "B_t1.nii.gz does not look like the healthy brains."}
    assert "Left out: brats/validation/B/tiny" in (tmp_path / "out" / "table.md").read_text()
    assert any("B was left out" in record.getMessage() for record in caplog.records)
    monkeypatch.undo()
    assert run_cli(*words, tmp_path / "out").code == 0  # what fits now is no longer left out
    content = json.loads((tmp_path / "out" / "rows.json").read_text())
    assert "left_out" not in content
    assert {row["case"] for row in content["rows"] if row["detector"] == "tiny"} == {"A", "B"}


def test_a_scan_that_does_not_fit_is_left_out_of_a_calibration_and_named(a_tiny_model, tmp_path, run_cli, monkeypatch):
    folder = tmp_path / "healthy"
    folder.mkdir()
    for seed, name in enumerate("AB"):
        write_volume(make_phantom(PhantomSettings(spacing_mm=5.0, seed=seed)).scan, folder / f"{name}.nii.gz")
    (folder / "subjects.csv").write_text("scan,split\nA,validation\nB,validation\n")
    model = tmp_path / "mine.safetensors"
    model.write_bytes(a_tiny_model.read_bytes())
    model.with_suffix(".json").write_bytes(a_tiny_model.with_suffix(".json").read_bytes())
    unfit = {"B"}

    def heat(detector, prepared, *, progress):
        if prepared.scan.name[0] in unfit:
            raise FitError(f"{prepared.scan.name} does not look like the healthy brains.")
        return detector.heatmap(prepared, progress=progress)

    monkeypatch.setattr(calibration, "heat_within_memory", heat)
    words = ("calibrate", model, "--data", folder, "--stride-mm", "16", "--device", "cpu")
    assert run_cli(*words).code == 0
    told = json.loads(model.with_suffix(".json").read_text())["healthy_validation"]
    assert told["scans"] == ["A"]
    assert told["left_out"] == {"B": "B.nii.gz does not look like the healthy brains."}
    unfit.add("A")
    answer = run_cli(*words)
    assert answer.code == 1
    assert "no scan is left to calibrate on" in answer.err


def test_a_stride_or_a_window_beside_a_named_model_without_windows_is_refused(a_coarse_scan, tmp_path, run_cli):
    for option, says in (
        ("--stride-mm", "looks at no windows; leave --stride-mm away"),
        ("--window-mm", "leave the window away"),
    ):
        answer = run_cli("detect", a_coarse_scan, "--out", tmp_path / "out", "--model", "t1-evidence", option, "16")
        assert answer.code == 1
        assert says in answer.err
        assert answer.err.count("\n") == 1


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no signals to send")
def test_a_training_that_still_prepares_its_scans_is_cancelled_within_a_second(a_healthy_folder, tmp_path, start_cli):
    pytest.importorskip("tensorboard")
    words = ("train", "inpainting", "--data", a_healthy_folder, "--out", tmp_path / "run", "--progress", "jsonl")
    with start_cli(*words) as process:
        assert any(json.loads(line)["stage"].startswith("preparing") for line in process.stdout)
        sent = time.monotonic()
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
        took = time.monotonic() - sent
    assert (process.returncode, err) == (130, "Cancelled. Prepared scans are kept; the same command starts again.\n")
    assert took < 1.0
    assert not list((tmp_path / "run").rglob(".writing-*"))
