"""What finds the brain: programs and files the user brings, the mask that is kept and passed back, doubts about it."""

import json
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
import torch

import brain_inpaint_ad as ad
from brain_inpaint_ad.errors import Cancelled, NoBrainError
from brain_inpaint_ad.files import temporary_folder
from brain_inpaint_ad.io import to_image
from brain_inpaint_ad.nets.synthstrip import UNIT, SynthStrip
from brain_inpaint_ad.phantom import PhantomSettings, make_phantom
from brain_inpaint_ad.prepare import hd_bet, synthstrip
from brain_inpaint_ad.prepare.brain import find_brain
from brain_inpaint_ad.prepare.doubts import mask_doubts
from brain_inpaint_ad.progress import silent

# A stand-in for HD-BET 2 that takes its options, refuses others, and marks what is not dark.
HD_BET = """#!{python}
import argparse, sys, time
import SimpleITK as sitk
parser = argparse.ArgumentParser()
parser.add_argument("-i"); parser.add_argument("-o"); parser.add_argument("-device")
for option in ("--disable_tta", "--save_bet_mask", "--no_bet_image"):
    parser.add_argument(option, action="store_true")
words = parser.parse_args()
assert words.device == "cpu" and words.save_bet_mask and words.o.endswith(".nii.gz")
{does}
"""
MARKS = """
image = sitk.ReadImage(words.i)
mask = sitk.BinaryFillhole(sitk.Cast(image > 0, sitk.sitkUInt8))
sitk.WriteImage(mask, words.o[:-7] + "_bet.nii.gz")
"""


ON_THE_CPU = "The GPU's memory was full; the brain is extracted on the CPU, which is slower."


@pytest.fixture(scope="module")
def a_head():
    return make_phantom(PhantomSettings(spacing_mm=3.0, rotation_degrees=(10.0, 5.0, 0.0)))


def put_on_path(folder, monkeypatch, does):
    program = folder / "hd-bet"
    program.write_text(HD_BET.format(python=sys.executable, does=does))
    program.chmod(program.stat().st_mode | stat.S_IEXEC)
    monkeypatch.setenv("PATH", str(folder))


@pytest.mark.skipif(sys.platform == "win32", reason="the stand-in is a script")
def test_hd_bet_draws_the_mask_when_asked_to(a_coarse_scan, a_tiny_model, tmp_path, monkeypatch, run_cli):
    put_on_path(tmp_path, monkeypatch, MARKS)
    answer = run_cli("detect", a_coarse_scan, "--out", tmp_path / "out", "--model", a_tiny_model, "--brain", "hd-bet")
    assert (answer.code, answer.err) == (0, "")
    assert json.loads((tmp_path / "out" / "report.json").read_text())["brain"]["source"] == "hd-bet"
    scan = ad.read_scan(a_coarse_scan)
    kept = ad.read_labels(tmp_path / "out" / "brain_mask.nii.gz")
    assert kept.grid == scan.grid
    assert (kept.array[scan.array > 0] == 1).all()


# The last line of hd-bet 2.0.1 without weights and without a network.
NOT_FETCHED = (
    "requests.exceptions.ConnectionError: HTTPSConnectionPool(host='zenodo.org', port=443): Max retries exceeded with url: "
    "/records/14445620/files/release_v1.5.0.zip?download=1 (Caused by NameResolutionError(\"HTTPSConnection(host='zenodo.org', "
    "port=443): Failed to resolve 'zenodo.org' ([Errno -3] Temporary failure in name resolution)\"))"
)
WRONG_PROGRAMS = {
    "one without weights and without a network": (f"sys.exit({NOT_FETCHED!r})", "could not download them; run hd-bet once"),
    "another version that knows other options": ("sys.exit('unrecognized arguments: --save_bet_mask')", r"code 1 \(unrec"),
    "one that writes nothing": ("", r"code 0 \(it said nothing\)"),
    "one that writes rubbish": ("open(words.o[:-7] + '_bet.nii.gz', 'w').write('x')", "wrote no usable mask"),
    "one that writes another grid": (MARKS.replace("mask, ", "mask[2:, :, :], "), "does not lie on the grid"),
}


@pytest.mark.skipif(sys.platform == "win32", reason="the stand-in is a script")
@pytest.mark.parametrize("wrong", WRONG_PROGRAMS)
def test_an_hd_bet_that_fails_is_one_sentence(wrong, a_coarse_scan, tmp_path, monkeypatch):
    does, says = WRONG_PROGRAMS[wrong]
    put_on_path(tmp_path, monkeypatch, does)
    with pytest.raises(NoBrainError, match=says):
        hd_bet.extract(ad.read_scan(a_coarse_scan), use_gpu=False, progress=silent)


@pytest.mark.skipif(sys.platform == "win32", reason="the stand-in is a script")
def test_a_cancel_ends_hd_bet_within_a_second(a_coarse_scan, tmp_path, monkeypatch):
    put_on_path(tmp_path, monkeypatch, f"open({str(tmp_path / 'began')!r}, 'w'); time.sleep(600)")
    asked = threading.Event()

    def progress(fraction, stage):
        if (tmp_path / "began").exists():
            asked.set()
            progress.at = time.monotonic()
            raise Cancelled("cancelled")

    with pytest.raises(Cancelled):
        hd_bet.extract(ad.read_scan(a_coarse_scan), use_gpu=False, progress=progress)
    assert asked.is_set()
    assert time.monotonic() - progress.at < 1


SAYS_WHEN = """
import sys, time
from pathlib import Path
import brain_inpaint_ad as ad
from brain_inpaint_ad.cli.run import ProgressStyle, run
from brain_inpaint_ad.prepare import hd_bet

def stuck(function):
    def work(*words):
        answer = function(*words)
        print("there", flush=True)
        time.sleep(60)
        return answer
    return work

name = sys.argv[2]
if name != "hd-bet":
    setattr(hd_bet, name, stuck(getattr(hd_bet, name)))
scan = ad.read_scan(sys.argv[1])
run(lambda report: hd_bet.extract(scan, use_gpu=False, progress=report), ProgressStyle.none)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="the stand-in is a script")
@pytest.mark.parametrize(
    ("number", "moment"),
    [
        ("SIGINT", "write_volume"),  # the scan is copied
        ("SIGTERM", "read_labels"),  # the mask is read
        ("SIGHUP", "hd-bet"),  # the program works
        ("SIGKILL", "write_volume"),
    ],
)
def test_the_copy_of_the_scan_goes_whenever_the_process_ends(number, moment, a_coarse_scan, tmp_path, monkeypatch):
    put_on_path(tmp_path, monkeypatch, "time.sleep(60)" if moment == "hd-bet" else MARKS)
    place = tmp_path / "temporary"
    place.mkdir()
    monkeypatch.setenv("TMPDIR", str(place))
    command = [sys.executable, "-c", SAYS_WHEN, str(a_coarse_scan), moment]
    with subprocess.Popen(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        wait_until(lambda: any(place.rglob("said")) if moment == "hd-bet" else process.stdout.readline() == "there\n")
        assert list(place.rglob("scan.nii.gz"))
        process.send_signal(getattr(signal, number))
        process.communicate(timeout=30)
    if number == "SIGKILL":  # what nobody could tidy up goes with the next one
        monkeypatch.setattr(tempfile, "tempdir", str(place))
        with temporary_folder() as folder:
            assert [path.name for path in place.iterdir() if path.is_dir()] == [folder.name]
    else:
        assert process.returncode == 130
    assert not list(place.rglob("*.nii.gz"))


def wait_until(holds, seconds=30):
    ends = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < ends
        time.sleep(0.05)


def test_two_temporary_folders_leave_each_other_alone():
    with temporary_folder() as one, temporary_folder() as other:
        assert one != other
        assert one.is_dir()
        assert other.is_dir()
    assert not one.exists()
    assert not other.exists()


def test_what_is_not_there_is_refused_before_the_scan_is_read(a_tiny_model, tmp_path, monkeypatch, run_cli):
    monkeypatch.setenv("PATH", str(tmp_path))
    torch.save({"model_state_dict": {"encoder.0.0.conv.weight": torch.zeros(1)}}, tmp_path / "other.pt")
    (tmp_path / "code.pt").write_bytes(b"cposix\nsystem\n(S'touch " + str(tmp_path / "ran").encode() + b"'\ntR.")
    for choice, says in (
        ("hd-bet", "HD-BET is not installed"),
        ("bet", "--brain is auto, deepbet, hd-bet or a SynthStrip weights file"),
        (tmp_path / "none.pt", "cannot be read"),
        (tmp_path / "other.pt", "does not hold SynthStrip's weights"),
        (tmp_path / "code.pt", "does not hold SynthStrip's weights"),
    ):
        words = ("detect", tmp_path / "no scan.nii", "--out", tmp_path / "out", "--model", a_tiny_model, "--brain", choice)
        answer = run_cli(*words)
        assert answer.code == 1
        assert says in answer.err
    assert not (tmp_path / "ran").exists()


def a_threshold_network(threshold: float) -> SynthStrip:
    """Weights set by hand: the distance falls with the input and is 1 mm where it is `threshold`."""
    network = SynthStrip()
    for parameter in network.parameters():
        torch.nn.init.zeros_(parameter)
    first, last = network.encoder[0], network.remaining
    beside = last[0].conv.in_channels - 16  # where the first level's maps stand
    for convolution, channel in ((first[0], 0), (first[1], 0), (last[0], beside), (last[1], 0)):
        convolution.conv.weight.data[0, channel, 1, 1, 1] = 1
    last[2].conv.weight.data[0, 0, 1, 1, 1] = -10
    last[2].conv.bias.data[:] = 1 + 10 * threshold
    return network


# Channels after and before each convolution, in order, as the network of nipreps-synthstrip 0.0.1 (FreeSurfer's) lists them.
PUBLISHED = {
    "encoder": ((16, 1), (16, 16), (32, 16), (32, 32), (64, 32), *((64, 64),) * 7),
    "decoder": ((64, 64), (64, 64), *((64, 128), (64, 64)) * 4, (32, 96), (32, 32)),
}
PUBLISHED_LAST = ((16, 48), (16, 16), (1, 16))


def test_the_network_has_the_published_layers_and_keeps_shapes():
    """Names, order and shapes of the published program's parameters: its file fits."""
    layers = [(f"{part}.{n // 2}.{n % 2}", *both) for part, channels in PUBLISHED.items() for n, both in enumerate(channels)]
    layers += [(f"remaining.{n}", *both) for n, both in enumerate(PUBLISHED_LAST)]
    expected = []
    for name, after, before in layers:
        expected += [(f"{name}.conv.weight", (after, before, 3, 3, 3)), (f"{name}.conv.bias", (after,))]
    network = SynthStrip()
    assert [(name, tuple(values.shape)) for name, values in network.state_dict().items()] == expected
    with torch.inference_mode():
        assert network(torch.rand(1, 1, UNIT, UNIT, 2 * UNIT)).shape == (1, 1, UNIT, UNIT, 2 * UNIT)


def test_the_field_of_synthstrip_keeps_the_scans_axes_ordered_to_left_inferior_and_anterior():
    """As mri_synthstrip lays it: 1 mm, the nearest voxel, the box around what is not dark in sides of 192 mm and more."""
    turned = np.array(
        [[0, 0, 1], [0.8, 0.6, 0], [-0.6, 0.8, 0]]
    )  # columns: posterior and inferior, posterior and superior, left
    grid = ad.Grid((100, 200, 130), (2.0, 1.0, 1.5), (-30.0, 20.0, 5.0), tuple(turned.ravel().tolist()))
    values = np.random.default_rng(8).uniform(10, 90, grid.shape).astype(np.float32)
    values[:10] = 0  # dark, 15 mm on the right
    head, field = synthstrip.conformed(ad.Volume(values, grid))
    assert head.shape == field.size == (192, 256, 256)  # left 180 mm, inferior 200, anterior 200
    axes = np.reshape(field.direction, (3, 3)).T
    np.testing.assert_allclose(axes, [turned[:, 2], -turned[:, 1], -turned[:, 0]], atol=1e-12)
    seen = np.argwhere(head > 0)[::997]
    places = field.to_world(seen[:, ::-1])
    nearest = (places - grid.to_world(np.zeros((1, 3)))) @ turned / grid.spacing
    low, high = np.floor(nearest).astype(int), np.ceil(nearest).astype(int)
    choices = [values[tuple(np.clip(c, 0, np.array(grid.size) - 1)[:, ::-1].T)] for c in _between(low, high)]
    assert (np.stack(choices) == head[tuple(seen.T)]).any(axis=0).all()


def _between(low, high):
    """All corners of the boxes from low to high."""
    return [np.where(np.array([i, j, k], bool), high, low) for i in (0, 1) for j in (0, 1) for k in (0, 1)]


def test_synthstrip_weights_draw_the_mask_from_the_signed_distance(a_head, tmp_path, monkeypatch):
    """Coarser than published, so that it takes a second."""
    monkeypatch.setattr(synthstrip, "SPACING_MM", 3.0)
    monkeypatch.setattr(synthstrip, "SIDES", (UNIT, UNIT))
    torch.save({"model_state_dict": a_threshold_network(0.15).state_dict()}, tmp_path / "synthstrip.pt")
    mask, source = find_brain(a_head.scan, extraction=str(tmp_path / "synthstrip.pt"))
    truth = a_head.brain.array > 0
    assert source == "synthstrip"
    assert 2 * (mask & truth).sum() / (mask.sum() + truth.sum()) > 0.95


FULL = {
    "torch": torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    "cuDNN": RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
    "cuBLAS": RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
}


@pytest.mark.parametrize("error", FULL.values(), ids=FULL)
def test_deepbet_goes_on_on_the_cpu_when_the_gpu_has_no_memory_left(error, a_head, monkeypatch, caplog):
    asked = []

    class FullGpu:
        def __init__(self, *, no_gpu):
            self.no_gpu = no_gpu

        def run(self, image):
            asked.append("cpu" if self.no_gpu else "gpu")
            if not self.no_gpu:
                raise error
            brain = (a_head.brain.array > 0).transpose(2, 1, 0)
            return image, nibabel.Nifti1Image(brain.astype(np.uint8), image.affine), None

    monkeypatch.setattr("deepbet.BrainExtraction", FullGpu)
    mask, source = find_brain(a_head.scan, extraction="deepbet", use_gpu=True)
    assert (asked, source) == (["gpu", "cpu"], "deepbet")
    np.testing.assert_array_equal(mask, a_head.brain.array > 0)
    assert [record.getMessage() for record in caplog.records] == [ON_THE_CPU]


@pytest.mark.parametrize("where", ["to", "forward"])
def test_synthstrip_goes_on_on_the_cpu_when_the_gpu_has_no_memory_left(where, a_head, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(synthstrip, "SPACING_MM", 3.0)
    monkeypatch.setattr(synthstrip, "SIDES", (UNIT, UNIT))
    torch.save({"model_state_dict": a_threshold_network(0.15).state_dict()}, tmp_path / "synthstrip.pt")
    asked = []
    computes, moves, moves_tensor = SynthStrip.forward, SynthStrip.to, torch.Tensor.to

    def to(network, device):
        asked.append(device.type)
        if where == "to" and device.type == "cuda":
            raise FULL["torch"]
        return moves(network, "cpu")

    def forward(network, head):
        if asked[-1] == "cuda":
            raise FULL["torch"]
        return computes(network, head)

    monkeypatch.setattr(SynthStrip, "to", to)
    monkeypatch.setattr(SynthStrip, "forward", forward)
    monkeypatch.setattr(torch.Tensor, "to", lambda tensor, *words, **others: moves_tensor(tensor, "cpu"))
    mask, source = find_brain(a_head.scan, extraction=str(tmp_path / "synthstrip.pt"), use_gpu=True)
    assert (asked, source) == (["cuda", "cpu"], "synthstrip")
    assert mask.any()
    assert [record.getMessage() for record in caplog.records] == [ON_THE_CPU]


def test_memory_that_is_full_on_the_cpu_as_well_is_told_and_is_no_missing_brain(a_head, monkeypatch):
    def run(self, image):
        raise FULL["torch"]

    monkeypatch.setattr("deepbet.BrainExtraction.run", run)
    with pytest.raises(MemoryError):
        find_brain(a_head.scan, extraction="deepbet", use_gpu=True)


def test_the_mask_that_is_kept_gives_the_same_result_when_it_is_passed_back(a_finished_run, a_tiny_model, tmp_path, run_cli):
    _, out = a_finished_run
    scan = next(out.parents[1].glob("*.nii.gz"))
    mask = out / "brain_mask.nii.gz"
    assert run_cli("detect", scan, "--out", tmp_path / "again", "--model", a_tiny_model, "--mask", mask).code == 0
    assert (tmp_path / "again" / "heatmap.nii.gz").read_bytes() == (out / "heatmap.nii.gz").read_bytes()
    assert json.loads((tmp_path / "again" / "report.json").read_text())["brain"]["source"] == "given"


def _without_a_side(brain, grid):
    places = grid.to_world(np.argwhere(brain))
    brain[tuple(np.argwhere(brain)[places[:, 0] > np.percentile(places[:, 0], 85)].T)] = False


def _with_a_hole(brain, grid):
    middle = [int(m) for m in np.argwhere(brain).mean(axis=0)]
    brain[tuple(slice(m - 2, m + 3) for m in middle)] = False


def _with_a_speck(brain, grid):
    brain[:3, :5, :5] = True


def _cut_by_the_edge(brain, grid):
    brain[0] = brain[len(brain) // 3]
    brain[: len(brain) // 3] |= brain[0]


def _without_the_lower_front(brain, grid):
    """As the skull's base, where it is thin, can make of a CT."""
    slices, rows, _ = (int(m) for m in np.argwhere(brain).mean(axis=0))
    brain[:slices, : rows + 12] = False


DOUBTS = {
    "of the shape around it": _without_the_lower_front,
    "has no counterpart on the other side": _without_a_side,
    "it has holes of": _with_a_hole,
    "it has 2 parts": _with_a_speck,
    "edge cuts it over": _cut_by_the_edge,
}


@pytest.mark.parametrize("doubt", DOUBTS)
def test_a_mask_that_looks_wrong_is_doubted_for_what_is_wrong_with_it(doubt):
    head = make_phantom(PhantomSettings(spacing_mm=3.0, rotation_degrees=(0.0, 8.0, -8.0)))
    brain = np.pad(head.brain.array > 0, ((4, 4), (0, 0), (0, 0)))
    grid = ad.Grid(tuple(brain.shape[::-1]), head.brain.grid.spacing, (0.0, 0.0, 0.0), head.brain.grid.direction)
    assert mask_doubts(brain, grid) == []
    DOUBTS[doubt](brain, grid)
    assert any(doubt in phrase for phrase in mask_doubts(brain, grid))


def test_a_doubtful_mask_is_a_warning_and_stands_in_the_report(a_coarse_scan, a_tiny_model, tmp_path, run_cli, caplog):
    given = ad.read_labels(a_coarse_scan.with_name("brain_mask.nii.gz"))
    brain = given.array > 0
    _without_a_side(brain, given.grid)
    sitk.WriteImage(to_image(given.with_array(brain)), str(tmp_path / "mask.nii.gz"))
    words = ("detect", a_coarse_scan, "--mask", tmp_path / "mask.nii.gz", "--model", a_tiny_model, "--out", tmp_path / "out")
    assert run_cli(*words).code == 0
    doubts = json.loads((tmp_path / "out" / "report.json").read_text())["brain"]["doubts"]
    assert any("no counterpart" in doubt for doubt in doubts)
    (told,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert "no counterpart" in told
    assert "correct it and give it with --mask" in told
