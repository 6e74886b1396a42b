"""One detection from start to end on a real scene, with a worker that is handed in, and once with a real process."""

import subprocess
import sys
from pathlib import Path

import pytest

FAKE_CORE = Path(__file__).with_name("fake_core.py")


@pytest.fixture
def states():
    """The names of the states a detection went through."""
    return []


@pytest.fixture
def make_detection(mrml_lib, a_worker):
    """Makes detections with the fake worker; those still running at the end are cancelled."""
    made = []

    def make(**listeners):
        made.append(mrml_lib("Detection").Detection(**{"makeWorker": a_worker.make} | listeners))
        return made[-1]

    yield make
    for detection in made:
        detection.cancel()


@pytest.fixture
def a_detection(make_detection, states):
    """Tells its states to `states`."""
    return make_detection(onState=lambda state: states.append(state.value))


@pytest.fixture
def settings(lib):
    return lib("Settings").Settings(scale=150.0)


@pytest.fixture
def an_answer(a_scan, some_anomalies, write_result):
    """Writes a result of two anomalies."""
    return lambda folder: write_result(folder, some_anomalies, like=a_scan)


def test_a_detection_goes_from_idle_to_a_result(a_detection, a_worker, a_scan, an_answer, settings, states):
    a_detection.start(a_scan, settings=settings)
    a_worker.finish(an_answer)
    a_detection.poll()
    assert states == ["running", "importing", "idle"]
    assert a_detection.result.segmentationNode.GetSegmentation().GetNumberOfSegments() == 2
    assert a_detection.result.volumeNode is a_scan


def test_the_worker_gets_scan_mask_and_settings(a_detection, a_worker, a_scan, add_volume, some_anomalies, settings):
    mask = add_volume(some_anomalies, name="brain", kind="vtkMRMLLabelMapVolumeNode")
    a_detection.start(a_scan, mask, settings=settings)
    assert a_worker.scanExisted
    assert a_worker.request["mask"].is_file()
    assert a_worker.request["settings"] is settings
    assert not a_worker.request["out"].exists()  # the core makes it, and refuses one that is there


def test_progress_and_log_are_passed_on(mrml_lib, make_detection, a_worker, a_scan, settings):
    progress, log = [], []
    detection = make_detection(onProgress=progress.append, onLog=log.append)
    detection.start(a_scan, settings=settings)
    step = mrml_lib("Worker").Progress("inpainting", 0.5, 3.0)
    a_worker.said = [step, "a line"]
    detection.poll()
    assert (progress, log) == ([step], ["a line"])


def test_the_last_words_of_a_failed_worker_are_heard(make_detection, a_worker, a_scan, settings):
    log = []
    detection = make_detection(onLog=log.append)
    detection.start(a_scan, settings=settings)
    a_worker.said = ["the reason"]
    a_worker.finish(failure="it broke")
    detection.poll()
    assert log == ["the reason"]


def test_cancel_stops_the_worker_and_leaves_the_scene_and_the_last_result(
    a_detection, a_worker, a_scan, an_answer, settings, states, node_ids
):
    a_detection.start(a_scan, settings=settings)
    a_worker.finish(an_answer)
    a_detection.poll()
    last, before = a_detection.result, node_ids()
    a_worker.isFinished = False
    a_detection.start(a_scan, settings=settings)
    a_detection.cancel()
    assert a_worker.isCancelled
    assert states[-1] == "cancelled"
    assert (a_detection.result, node_ids()) == (last, before)


@pytest.mark.parametrize("end", ["success", "failure", "cancel", "damage"])
def test_no_file_is_left_behind(a_detection, a_worker, a_scan, an_answer, settings, end):
    a_detection.start(a_scan, settings=settings)
    folder = a_worker.request["scan"].parent
    assert folder.is_dir()
    if end == "cancel":
        a_detection.cancel()
    else:
        a_worker.finish(an_answer if end == "success" else None, "it broke" if end == "failure" else "")
        a_detection.poll()
    assert not folder.exists()


def test_a_failure_is_told_and_can_be_tried_again(a_detection, a_worker, a_scan, an_answer, settings, states):
    a_detection.start(a_scan, settings=settings)
    a_worker.finish(failure="scan.nrrd holds no brain.")
    a_detection.poll()
    assert states[-1] == "failed"
    assert a_detection.failureText == "scan.nrrd holds no brain."
    a_worker.isFinished = False
    a_detection.start(a_scan, settings=settings)
    a_worker.finish(an_answer)
    a_detection.poll()
    assert (states[-1], a_detection.failureText) == ("idle", "")


def test_a_failure_speaks_of_the_users_volumes_not_of_our_files(
    a_detection, a_worker, a_scan, add_volume, some_anomalies, settings
):
    mask = add_volume(some_anomalies, name="my brain mask", kind="vtkMRMLLabelMapVolumeNode")
    a_detection.start(a_scan, mask, settings=settings)
    a_worker.finish(failure=f"{a_worker.request['mask']} does not lie on {a_worker.request['scan']}.")
    a_detection.poll()
    assert a_detection.failureText == "'my brain mask' does not lie on 'a scan'."


def test_a_success_without_a_result_fails_and_adds_nothing(a_detection, a_worker, a_scan, settings, states, node_ids):
    before = node_ids()
    a_detection.start(a_scan, settings=settings)
    a_worker.finish()
    a_detection.poll()
    assert states[-1] == "failed"
    assert "heatmap.nii.gz" in a_detection.failureText
    assert node_ids() == before


def test_a_volume_removed_meanwhile_is_told(a_detection, a_worker, a_scene, a_scan, an_answer, settings):
    a_detection.start(a_scan, settings=settings)
    a_worker.finish(an_answer)
    a_scene.RemoveNode(a_scan)
    a_detection.poll()
    assert "removed from the scene" in a_detection.failureText


def test_a_second_start_is_refused_while_one_runs(mrml_lib, a_detection, a_scan, settings, states):
    a_detection.start(a_scan, settings=settings)
    with pytest.raises(mrml_lib("Detection").DetectionError, match="already running"):
        a_detection.start(a_scan, settings=settings)
    assert states == ["running"]


def test_a_volume_that_cannot_be_used_is_refused_before_anything_is_installed(a_detection, settings, states):
    installed = []
    with pytest.raises(ValueError, match="Choose a volume"):
        a_detection.start(None, settings=settings, install=lambda: installed.append("torch"))
    assert (installed, states) == ([], ["failed"])


def test_a_declined_installation_ends_in_failed(a_detection, a_scan, settings, states):
    def decline():
        raise RuntimeError("User declined")

    with pytest.raises(RuntimeError, match="User declined"):
        a_detection.start(a_scan, settings=settings, install=decline)
    assert states == ["installing", "failed"]


def test_a_cancel_during_the_installation_starts_nothing(a_detection, a_worker, a_scan, settings, states):
    a_detection.start(a_scan, settings=settings, install=a_detection.cancel)
    assert states == ["installing", "cancelled"]
    assert a_worker.request is None


def test_waiting_returns_the_result_or_raises_the_reason(mrml_lib, a_detection, a_worker, a_scan, an_answer, settings):
    a_detection.start(a_scan, settings=settings)
    a_worker.finish(an_answer)
    assert a_detection.wait() is a_detection.result
    a_worker.isFinished = False
    a_detection.start(a_scan, settings=settings)
    a_worker.finish(failure="it broke")
    with pytest.raises(mrml_lib("Detection").DetectionError, match="it broke"):
        a_detection.wait()


def test_a_real_process_that_refuses_ends_in_its_own_sentence(mrml_lib, make_detection, a_scan, settings, node_ids):
    module = mrml_lib("Detection")

    def make(*_arguments, **_mask):
        return mrml_lib("Worker").Worker([sys.executable, str(FAKE_CORE), "refuse"])

    before = node_ids()
    detection = make_detection(makeWorker=make)
    detection.start(a_scan, settings=settings)
    with pytest.raises(module.DetectionError, match="choose a T1 scan of a head"):
        detection.wait()
    assert node_ids() == before


def test_the_core_that_travels_with_the_extension_understands_our_options(lib, tmp_path):
    """The contract between the two: every option we pass is one the core's command line has."""
    core, settings = lib("Core"), lib("Settings").Settings(model="m")
    command = core.detectCommand(tmp_path / "s.nrrd", tmp_path / "o", settings, mask=tmp_path)
    help_command = [*command[: command.index("detect") + 1], "--help"]
    environment = core.environment(core.coreFolder()) | {"COLUMNS": "200", "NO_COLOR": "1"}
    told = subprocess.run(help_command, capture_output=True, encoding="utf-8", env=environment, timeout=120)
    if "No module named" in told.stderr:
        pytest.skip(f"the core's command line cannot be started here: {told.stderr.splitlines()[-1]}")
    missing = [word for word in command if word.startswith("--") and word not in told.stdout]
    assert (told.returncode, missing) == (0, [])


@pytest.mark.parametrize(
    ("first", "then"), [("IDLE", "IMPORTING"), ("IDLE", "CANCELLED"), ("FAILED", "IDLE"), ("IMPORTING", "CANCELLED")]
)
def test_states_have_no_other_ways_between_them(lib, first, then):
    states = lib("States")
    machine = states.StateMachine(lambda _state: None)
    for name in {"IDLE": [], "FAILED": ["FAILED"], "IMPORTING": ["RUNNING", "IMPORTING"]}[first]:
        machine.moveTo(states.State[name])
    with pytest.raises(RuntimeError, match=states.State[then].value):
        machine.moveTo(states.State[then])
    assert machine.current is states.State[first]
