"""The worker with real processes: what is heard, what is told on failure, and that nobody survives a cancel."""

import os
import sys
import time
from pathlib import Path

import pytest

FAKE_CORE = Path(__file__).with_name("fake_core.py")


@pytest.fixture
def make_worker(mrml_lib):
    """Makes workers of the fake core; those still alive at the end are stopped."""
    made = []

    def make(*arguments, script=FAKE_CORE, environment=None):
        command = [sys.executable, str(script), *map(str, arguments)]
        made.append(mrml_lib("Worker").Worker(command, environment=environment))
        return made[-1]

    yield make
    for worker in made:
        worker.cancel()


def wait_for(condition, *, seconds=15):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.01)


def run_to_the_end(worker):
    """Starts it, waits, and gives back everything it said."""
    worker.start()
    said = []

    def is_over():
        is_finished = worker.isFinished
        said.extend(worker.events())
        return is_finished

    wait_for(is_over)
    return said


def is_alive(pid):
    """Whether a process runs; a zombie that only waits to be reaped does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_progress_and_log_arrive_in_order(mrml_lib, make_worker):
    progress = mrml_lib("Worker").Progress
    worker = make_worker("succeed", "a line for the log")
    assert run_to_the_end(worker) == [
        progress("préparation", 0.25, 1.5),
        "a line for the log",
        progress("inpainting", 1.0, None),
    ]
    assert worker.hasSucceeded


def test_not_a_word_is_lost_when_much_is_said_just_before_the_end(make_worker):
    assert run_to_the_end(make_worker("chatter", 1_500)) == [str(number) for number in range(1_500)]


def test_a_flood_keeps_its_beginning_its_progress_and_the_number_of_lines_left_out(mrml_lib, make_worker):
    module = mrml_lib("Worker")
    worker = make_worker("flood", 100_000)
    worker.start()
    wait_for(lambda: worker.isFinished, seconds=60)  # nobody polls meanwhile
    said = worker.events()
    assert len(said) < 3_000
    assert said[1] == "line 0"
    assert [event.stage for event in said if isinstance(event, module.Progress)] == ["flooding", "preview ready", "dry again"]
    kept = sum(isinstance(event, str) and event.startswith("line") for event in said)
    assert said[-1] == f"… {100_000 - kept} more lines left out"


def test_a_line_without_an_end_comes_in_pieces(make_worker):
    said = run_to_the_end(make_worker("endless_line", 25_000))
    assert [len(piece) for piece in said] == [10_000, 10_000, 5_000]


def test_of_one_stages_progress_only_the_latest_waits(mrml_lib, make_worker):
    worker = make_worker("race", 500)
    worker.start()
    wait_for(lambda: worker.isFinished)
    assert [event.fraction for event in worker.events()] == [1.0]


def test_a_progress_line_written_in_two_parts_is_one(mrml_lib, make_worker):
    assert run_to_the_end(make_worker("halting")) == [mrml_lib("Worker").Progress("cut in two", 0.5, None)]


def test_bytes_that_are_no_text_do_no_harm(make_worker):
    said = run_to_the_end(make_worker("gibberish"))
    assert said[-1] == "and on"


def test_a_slow_reader_still_hears_the_last_word(make_worker, monkeypatch):
    worker = make_worker("succeed", "a line for the log")
    hear = worker._onOutput
    monkeypatch.setattr(worker, "_onOutput", lambda line: (time.sleep(0.2), hear(line)))
    assert len(run_to_the_end(worker)) == 3


def test_a_grandchild_that_stays_behind_does_not_keep_us_waiting(make_worker):
    start = time.monotonic()
    worker = make_worker("orphan")
    run_to_the_end(worker)
    assert worker.hasSucceeded
    assert time.monotonic() - start < 10  # the grandchild sleeps for 60 s


def test_a_script_in_a_folder_with_spaces_and_accents_works(make_worker, tmp_path):
    script = tmp_path / "Éxamen n° 3 – 脳" / "fake core.py"
    script.parent.mkdir()
    script.write_bytes(FAKE_CORE.read_bytes())
    assert "日本 語 ü" in run_to_the_end(make_worker("succeed", "日本 語 ü", script=script))


def test_the_environment_reaches_the_process(mrml_lib, make_worker, tmp_path):
    (tmp_path / "a_core_module.py").write_text("SAYS = 'found on the path'", encoding="utf-8")
    script = tmp_path / "asks.py"
    script.write_text("import a_core_module; print(a_core_module.SAYS)", encoding="utf-8")
    worker = make_worker(script=script, environment=mrml_lib("Core").environment(tmp_path))
    assert run_to_the_end(worker) == ["found on the path"]


def test_a_refusal_is_told_in_the_cores_own_sentence(make_worker):
    worker = make_worker("refuse")
    said = run_to_the_end(worker)
    assert not worker.hasSucceeded
    assert worker.failure() == "scan.nrrd holds no brain; choose a T1 scan of a head."
    assert "a warning before the end" in said


def test_a_crash_is_told_by_its_last_line_and_logged_whole(make_worker):
    worker = make_worker("crash")
    said = run_to_the_end(worker)
    assert worker.failure() == "ZeroDivisionError: a bug"
    assert any("Traceback" in line for line in said)


def test_a_missing_package_is_told_with_the_button_to_press(make_worker):
    worker = make_worker("lack_a_package")
    run_to_the_end(worker)
    assert worker.failure() == "The Python package 'scikit_nothing' is missing; press 'Install' in the module and try again."


def test_an_end_without_a_word_is_told_with_its_code(make_worker):
    worker = make_worker("leave", 3)
    run_to_the_end(worker)
    assert "code 3" in worker.failure()


@pytest.mark.skipif(os.name == "nt", reason="signals are POSIX")
def test_a_process_killed_by_the_system_is_told_as_full_memory(make_worker):
    worker = make_worker("vanish")
    run_to_the_end(worker)
    assert "memory" in worker.failure()


def test_a_program_that_is_not_there_is_refused_at_start(mrml_lib, tmp_path):
    with pytest.raises(OSError, match="no python here"):
        mrml_lib("Worker").Worker([str(tmp_path / "no python here")]).start()


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="asks /proc who is alive")
@pytest.mark.parametrize("is_stubborn", ["no", "yes"])
def test_cancel_ends_child_and_grandchild_within_a_second(make_worker, tmp_path, is_stubborn):
    pids = tmp_path / "pids"
    worker = make_worker("family", pids, is_stubborn)
    worker.start()
    wait_for(lambda: pids.is_file() and len(pids.read_text().split()) == 2)
    family = pids.read_text().split()
    time.sleep(0.3)  # the stubborn grandchild needs a moment to close its ears
    assert all(map(is_alive, family))
    start = time.monotonic()
    worker.cancel()
    assert time.monotonic() - start < 1.0  # the promise to the user
    wait_for(lambda: not any(map(is_alive, family)), seconds=0.5)  # the kernel's own time to end a killed process
    assert not worker.hasSucceeded


def test_cancel_before_the_start_and_twice_does_no_harm(make_worker):
    worker = make_worker("sleep", 60)
    worker.cancel()
    worker.start()
    worker.cancel()
    worker.cancel()
    assert worker.isFinished


@pytest.mark.parametrize(
    "line",
    [
        "plain text",
        "[1, 2]",
        "null",
        '{"stage": "x"}',
        '{"fraction": 1}',
        '{"stage": 3, "fraction": 0.5}',
        '{"stage": "x", "fraction": NaN}',
        '{"stage": "x", "fraction": "much"}',
    ],
)
def test_lines_that_are_not_progress_belong_in_the_log(mrml_lib, line):
    assert mrml_lib("Worker").parseProgress(line) is None


@pytest.mark.parametrize(("told", "kept"), [("1.7", 1.0), ("-1", 0.0), ("0.5", 0.5)])
def test_a_fraction_stays_between_nothing_and_all(mrml_lib, told, kept):
    assert mrml_lib("Worker").parseProgress(f'{{"stage": "x", "fraction": {told}}}').fraction == kept


@pytest.mark.parametrize("left", ["-1", "NaN", "Infinity", "null"])
def test_a_time_that_cannot_be_is_not_shown(mrml_lib, left):
    line = f'{{"stage": "x", "fraction": 0.5, "seconds_left": {left}}}'
    assert mrml_lib("Worker").parseProgress(line).secondsLeft is None
