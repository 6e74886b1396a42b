"""What a machine can do to a run: killed at any moment, no memory, weights or checkpoints damaged, two runs in one folder.

Every fault is caused, not imagined: processes kill themselves, memory has a limit, files are damaged on the disk.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from brain_inpaint_ad.errors import TrainingError
from brain_inpaint_ad.files import move_into_place, only_run_in
from brain_inpaint_ad.nets.unet import UNet, UNetSettings
from brain_inpaint_ad.training import loop
from brain_inpaint_ad.weights.card import Card
from brain_inpaint_ad.weights.store import load_model, save_model

pytestmark = pytest.mark.skipif(os.name != "posix", reason="Windows has no signals to kill with")

NAMES = ("heatmap", "anomalies", "findings", "overview", "extra", "report")
KILLED = -signal.SIGKILL


def run_python(code: str, *words: object, **options: object) -> subprocess.CompletedProcess[str]:
    """A process of its own with one thread."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS": "1"}
    command = [sys.executable, "-c", code, *map(str, words)]
    return subprocess.run(command, text=True, capture_output=True, timeout=600, check=False, env=environment, **options)


# Kills itself (signal 9) right before the n-th time the system is asked to rename, remove or make something.
KILLED_WHILE_SAVING = """
import os, signal, sys
from pathlib import Path
from brain_inpaint_ad.files import folder_in_work, move_into_place, only_run_in, write_atomically

folder, text, last, names = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4:]
steps = 0

def die(event, details):
    global steps
    if event in ("os.rename", "os.remove", "os.mkdir", "os.chmod"):
        if steps == last:
            os.kill(os.getpid(), signal.SIGKILL)
        steps += 1

with only_run_in(folder), folder_in_work(folder.parent, folder) as staging:
    sys.addaudithook(die)
    for name in names:
        with write_atomically(staging / name) as path:
            path.write_text(text)
    move_into_place(staging, folder, ("heatmap", "anomalies", "findings", "overview", "extra", "report"))
"""


@pytest.mark.parametrize("begun", ["no folder", "an empty folder", "an older result"])
def test_a_save_killed_at_any_step_leaves_all_or_what_is_no_result(begun, tmp_path):
    """The report comes last: where it is, all that belongs to it is. The next run leaves nothing of the killed ones."""
    for step in range(40):
        folder = tmp_path / f"{step}" / "out"
        folder.parent.mkdir()
        if begun != "no folder":
            folder.mkdir()
        if begun == "an older result":
            for name in NAMES:
                (folder / name).write_text("old")
        new = [name for name in NAMES if name != "extra"]  # of the older result that is to go
        done = run_python(KILLED_WHILE_SAVING, folder, "new", step, *new)
        shown = {path.name: path.read_text() for path in folder.iterdir()} if folder.exists() else {}
        if "report" in shown:
            wanted = dict.fromkeys(NAMES, "old") if shown["report"] == "old" else dict.fromkeys(new, "new")
            assert shown == wanted, f"killed at step {step}"
        if done.returncode == 0:
            break
        assert done.returncode == KILLED, done.stderr
        if step % 4 == 0:
            assert run_python(KILLED_WHILE_SAVING, folder, "again", 999, *new).returncode == 0
            assert {path.name: path.read_text() for path in folder.iterdir()} == dict.fromkeys(new, "again")
            assert list(folder.parent.iterdir()) == [folder]  # what the killed one left is gone
    else:
        pytest.fail("a save should not take 40 steps")
    assert step > 8  # there were moments to be killed at


def test_a_new_folder_of_results_appears_at_once_and_is_an_ordinary_one(tmp_path):
    (tmp_path / "staging").mkdir(mode=0o700)
    (tmp_path / "staging" / "report").write_text("new")
    assert move_into_place(tmp_path / "staging", tmp_path / "a" / "b", NAMES) == [tmp_path / "a" / "b" / "report"]
    (tmp_path / "plain").mkdir()
    assert (tmp_path / "a" / "b").stat().st_mode == (tmp_path / "plain").stat().st_mode


HOLD = """
import sys, time
from pathlib import Path
from brain_inpaint_ad.files import only_run_in

with only_run_in(Path(sys.argv[1])):
    print("here", flush=True)
    time.sleep(60)
"""


def test_two_runs_into_one_folder_are_refused_until_the_first_has_ended_or_was_killed(
    tmp_path, a_coarse_scan, a_tiny_model, a_healthy_folder, run_cli
):
    out = tmp_path / "out"
    commands = (
        ("detect", a_coarse_scan, "--out", out, "--model", a_tiny_model),
        ("train", "inpainting", "--data", a_healthy_folder, "--out", out),
        ("evaluate", "--dataset", "ixi", "--data", a_healthy_folder, "--out", out),
    )
    with subprocess.Popen([sys.executable, "-c", HOLD, str(out)], text=True, stdout=subprocess.PIPE) as holder:
        assert holder.stdout.readline() == "here\n"
        for words in commands:
            answer = run_cli(*words)
            assert answer.code == 1
            assert answer.err == f"Error: another run is writing to {out}; wait for it or choose another folder.\n"
        holder.kill()
    assert not out.exists()
    with only_run_in(out), only_run_in(out):  # free again, and one run may ask twice
        pass


TRAIN = """
import os, signal, sys
from pathlib import Path
import torch
from brain_inpaint_ad.training import loop

folder, die_at, die_in_save = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3] == "save"
net = torch.nn.Linear(3, 1)
with torch.no_grad():
    net.weight.fill_(0.5), net.bias.zero_()
optimiser = torch.optim.Adam(net.parameters(), lr=0.1)
steps = [0]

def step(rng):
    steps[0] += 1
    if steps[0] == die_at and not die_in_save:
        os.kill(os.getpid(), signal.SIGKILL)
    loss = net(torch.rand(8, 3, generator=rng)).square().mean()
    optimiser.zero_grad(); loss.backward(); optimiser.step()
    return {"loss": loss.detach()}

class Nowhere:
    def add_scalar(self, *_): pass

if die_in_save:
    usual = torch.save
    def half(content, path):
        usual(content, path)
        if steps[0] == die_at:
            path.write_bytes(path.read_bytes()[:100])
            os.kill(os.getpid(), signal.SIGKILL)
    torch.save = half

settings = loop.LoopSettings(iterations=9, save_every=2)
state = loop.State({"net": net}, {"adam": optimiser}, {})
print(loop.run(state, step, settings, folder=folder, logger=Nowhere(), inspect=lambda _: None), net.weight.tolist())
"""


def test_training_killed_in_a_step_or_in_a_save_goes_on_to_the_same_weights(tmp_path):
    (tmp_path / "whole").mkdir()
    (tmp_path / "cut").mkdir()
    whole = run_python(TRAIN, tmp_path / "whole", 0, "")
    assert whole.returncode == 0, whole.stderr
    for die_at, where in ((4, "step"), (4, "save")):
        assert run_python(TRAIN, tmp_path / "cut", die_at, where).returncode == KILLED
    assert [path.name for path in (tmp_path / "cut").glob(".writing-*")]  # half a checkpoint, under no checkpoint's name
    with only_run_in(tmp_path / "cut"):
        assert [path.name for path in (tmp_path / "cut").iterdir()] == [loop.CHECKPOINT]
    assert run_python(TRAIN, tmp_path / "cut", 0, "").stdout == whole.stdout


@pytest.mark.parametrize("share", [0.0, 0.3, 0.99])
def test_a_cut_checkpoint_is_refused_with_its_name(share, tmp_path):
    net = torch.nn.Linear(2, 2)
    state = loop.State({"net": net}, {}, {})
    path = tmp_path / loop.CHECKPOINT
    loop.save(state, 3, path)
    assert loop.load(state, path) == 3
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    with pytest.raises(TrainingError, match=r"checkpoint.pt is no usable checkpoint \(\w+\); delete it"):
        loop.load(state, path)


class _Runs:
    """What a pickle may do when it is opened."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return (os.mkdir, (str(self.path),))


def test_a_checkpoint_that_would_run_code_is_refused_and_runs_none(tmp_path):
    path = tmp_path / loop.CHECKPOINT
    torch.save({"iteration": 1, "settings": {}, "nets": _Runs(tmp_path / "ran"), "optimisers": {}}, path)
    with pytest.raises(TrainingError, match="no usable checkpoint"):
        loop.load(loop.State({}, {}, {}), path)
    assert not (tmp_path / "ran").exists()


def test_weights_of_nan_are_refused_though_their_checksum_is_right(a_tiny_model, a_coarse_scan, tmp_path, run_cli):
    network = UNet(UNetSettings(width=2, depth=2))
    with torch.no_grad():
        next(network.parameters())[0] = torch.nan
    card = json.loads(a_tiny_model.with_suffix(".json").read_text(encoding="utf-8"))
    model = tmp_path / "nan.safetensors"
    save_model(network, model, lambda digest: Card(**{**card, "sha256": digest}))
    answer = run_cli("detect", a_coarse_scan, "--out", tmp_path / "out", "--model", model)
    assert (answer.code, (tmp_path / "out").exists()) == (1, False)
    assert answer.err.endswith("nan.safetensors holds NaN or infinite weights; install the model again.\n")


def test_weights_too_large_for_half_precision_are_kept(a_tiny_model, tmp_path):
    network = UNet(UNetSettings(width=2, depth=2))
    variance = next(value for key, value in network.state_dict().items() if key.endswith("running_var"))
    variance[0] = 70_000.0
    card = json.loads(a_tiny_model.with_suffix(".json").read_text(encoding="utf-8"))
    model = tmp_path / "large.safetensors"
    save_model(network, model, lambda digest: Card(**{**card, "sha256": digest}))
    assert any(bool((value == 70_000.0).any()) for value in load_model(str(model))[0].state_dict().values())


WITH_LITTLE_MEMORY = """
import resource, sys
from typer.testing import CliRunner
from brain_inpaint_ad.cli.app import app

CliRunner().invoke(app, ["detect", "none.nii", "--out", "none", "--model", sys.argv[-1]])  # imports what is needed
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
spare = int(sys.argv[1]) * 1_000_000
resource.setrlimit(resource.RLIMIT_AS, (used + spare, used + spare))
app(sys.argv[2:], prog_name="brain-inpaint-ad")
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="no /proc here")
def test_a_full_memory_is_one_sentence_and_leaves_nothing(a_tiny_model, tmp_path):
    image = sitk.GetImageFromArray(np.zeros((200, 200, 200), np.int16))
    image[50:150, 50:150, 50:150] = 700
    image[80:120, 80:120, 80:120] = 900
    scan = tmp_path / "large.nrrd"
    sitk.WriteImage(image, str(scan), useCompression=True)
    done = run_python(WITH_LITTLE_MEMORY, 120, "detect", scan, "--out", tmp_path / "out", "--model", a_tiny_model)
    assert done.returncode == 1, done.stderr
    assert "not enough memory for this scan; close other programs" in done.stderr
    assert "Traceback" not in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["large.nrrd"]


def test_a_run_that_is_killed_while_it_works_leaves_nothing_and_the_next_one_succeeds(
    a_coarse_scan, a_slow_model, a_tiny_model, tmp_path, start_cli, run_cli
):
    words = ("detect", a_coarse_scan, "--out", tmp_path / "out")
    with start_cli(*words, "--model", a_slow_model, "--progress", "jsonl") as process:
        assert any(json.loads(line)["stage"] == "erasing and rebuilding" for line in process.stdout)
        process.kill()
        process.communicate(timeout=60)
    assert process.returncode == KILLED
    assert list(tmp_path.iterdir()) == []
    assert run_cli(*words, "--model", a_tiny_model).code == 0
    shutil.rmtree(tmp_path / "out")
    assert list(tmp_path.iterdir()) == []
