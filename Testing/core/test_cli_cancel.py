"""Stopping a run: soon, with a code of its own, and nothing left behind. Progress lines, as Slicer reads them."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from brain_inpaint_ad.files import folder_in_work, write_atomically

SOON_S = 1.0  # 0.5 s of patience with the worker, and the end of a process

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no signals to send")


def wait_for(process: subprocess.Popen[str], stage: str) -> None:
    """Reads progress until `stage` begins."""
    for line in process.stdout:
        if json.loads(line)["stage"] == stage:
            return
    pytest.fail(f"{stage!r} never came: {process.stderr.read()}")


@pytest.mark.parametrize(
    ("number", "stage"),
    [
        (signal.SIGTERM, "starting"),
        (signal.SIGINT, "correcting the bias field"),  # ITK computes for seconds without a word
        (signal.SIGTERM, "erasing and rebuilding"),
        (signal.SIGINT, "erasing and rebuilding"),
    ],
    ids=lambda value: getattr(value, "name", value),
)
def test_a_stopped_run_ends_soon_and_leaves_nothing(
    number, stage, a_phantom_scan, a_coarse_scan, a_slow_model, tmp_path, start_cli
):
    scan = a_coarse_scan if stage == "erasing and rebuilding" else a_phantom_scan
    words = ("detect", scan, "--out", tmp_path / "out", "--model", a_slow_model, "--progress", "jsonl")
    with start_cli(*words) as process:
        wait_for(process, stage)
        sent = time.monotonic()
        process.send_signal(number)
        out, err = process.communicate(timeout=30)
        took = time.monotonic() - sent
    assert (process.returncode, err) == (130, "Cancelled.\n")
    assert took < SOON_S
    assert list(tmp_path.iterdir()) == []
    assert all(json.loads(line)["stage"] != "writing results" for line in out.splitlines())


STUCK_WHILE_WRITING = """
import sys, time
from pathlib import Path
from brain_inpaint_ad.cli.run import ProgressStyle, run
from brain_inpaint_ad.files import folder_in_work, write_atomically

def work(report):
    with folder_in_work(Path(sys.argv[1])) as folder, write_atomically(folder / "heatmap.nii.gz") as path:
        path.write_text("half")
        report(0.97, "writing results")
        time.sleep(60)

run(work, ProgressStyle.jsonl)
"""


def test_a_run_stopped_while_it_writes_takes_its_half_written_files_along(tmp_path):
    command = [sys.executable, "-c", STUCK_WHILE_WRITING, str(tmp_path)]
    with subprocess.Popen(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        wait_for(process, "writing results")
        assert len(list(tmp_path.rglob("*"))) == 2
        process.terminate()
        _, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (130, "Cancelled.\n")
    assert list(tmp_path.iterdir()) == []


def test_files_in_work_are_gone_after_a_failure_and_the_old_one_stays(tmp_path):
    old = tmp_path / "report.json"
    old.write_text("old")

    def fail_at_work() -> None:
        with folder_in_work(tmp_path) as folder, write_atomically(old) as path:
            (folder / "new").write_text("new")
            path.write_text("new")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_at_work()
    assert list(tmp_path.iterdir()) == [old]
    assert old.read_text() == "old"


def test_a_command_in_this_process_gives_the_signals_back(a_tiny_model, tmp_path, run_cli):
    """Else Ctrl-C would do nothing more in a program that called a command."""
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.getsignal(number) for number in numbers]
    run_cli("detect", tmp_path / "none.nii", "--out", tmp_path / "out", "--model", a_tiny_model)
    assert [signal.getsignal(number) for number in numbers] == before


def test_progress_lines_are_json_and_only_grow(a_finished_run):
    answer, _ = a_finished_run
    assert (answer.code, answer.err) == (0, "")
    lines = [json.loads(line) for line in answer.out.splitlines()]
    assert all(set(line) == {"stage", "fraction", "seconds_left"} for line in lines)
    fractions = [line["fraction"] for line in lines]
    assert fractions == sorted(fractions)
    assert (fractions[0], fractions[-1]) == (0.0, 1.0)
    assert all(line["seconds_left"] is None or line["seconds_left"] >= 0 for line in lines)
    stages = list(dict.fromkeys(line["stage"] for line in lines))
    assert stages[-2:] == ["writing results", "done"]
    assert "erasing and rebuilding" in stages


def test_only_the_results_are_there_when_a_run_has_ended(a_finished_run):
    _, out = a_finished_run
    names = ["anomalies.nii.gz", "brain_mask.nii.gz", "findings.csv", "heatmap.nii.gz", "overview.png", "report.json"]
    assert sorted(path.name for path in out.iterdir()) == names
    assert list(out.parent.iterdir()) == [out]  # its parent was made with it
    assert {Path(path).stat().st_mode & 0o777 for path in out.iterdir()} == {0o644}
