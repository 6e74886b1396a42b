"""One detection from start to end on a real scene, with a worker that is handed in, and once with a real process."""

import os
import shutil
import sys
import time
import types
from pathlib import Path

import numpy as np
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
def settings(mrml_lib):
    return mrml_lib("Settings").Settings(scale=150.0)


@pytest.fixture
def an_answer(a_scan, some_anomalies, write_result, tmp_path):
    """Writes a result of two anomalies, without touching the scene any more."""
    write_result(tmp_path / "an answer", some_anomalies, like=a_scan)
    return lambda folder: shutil.copytree(tmp_path / "an answer", folder)


@pytest.fixture
def users_nodes(a_scene):
    """The ids of the nodes a user sees come and go; shared colour tables and the hierarchy itself are Slicer's."""

    def ids():
        nodes = [a_scene.GetNthNode(number) for number in range(a_scene.GetNumberOfNodes())]
        return {node.GetID() for node in nodes if not node.IsA("vtkMRMLColorNode")} - {"vtkMRMLSubjectHierarchyNode1"}

    return ids


@pytest.fixture
def a_preview(mrml_lib, an_answer):
    """Lets a worker write a preview and say so."""

    def say(worker):
        an_answer(mrml_lib("Core").previewFolder(worker.request["out"]))
        worker.said = [mrml_lib("Worker").Progress("preview ready", 0.2)]

    return say


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
    assert a_worker.request["settings"] == settings
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
    assert a_detection.failureText == "'a scan' holds no brain."
    a_worker.isFinished = False
    a_detection.start(a_scan, settings=settings)
    a_worker.finish(an_answer)
    a_detection.poll()
    assert (states[-1], a_detection.failureText) == ("idle", "")


def test_the_log_speaks_of_the_users_volumes_too(make_detection, a_worker, a_scan, settings):
    log = []
    detection = make_detection(onLog=log.append)
    detection.start(a_scan, settings=settings)
    a_worker.said = ["scan.nrrd is read", f"writing to {a_worker.request['out']}"]
    detection.poll()
    assert log[0] == "'a scan' is read"
    assert str(a_worker.request["out"].parent) not in log[1]


def test_a_volume_named_like_our_files_is_named_once(a_detection, a_worker, add_volume, some_anomalies, settings):
    scan = add_volume(some_anomalies.astype(float), name="mask.nrrd")
    mask = add_volume(some_anomalies, name="scan.nrrd", kind="vtkMRMLLabelMapVolumeNode")
    a_detection.start(scan, mask, settings=settings)
    a_worker.finish(failure="mask.nrrd does not lie on scan.nrrd.")
    a_detection.poll()
    assert a_detection.failureText == "'scan.nrrd' does not lie on 'mask.nrrd'."


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


def test_a_volume_removed_meanwhile_stops_the_computation(a_detection, a_worker, a_scene, a_scan, settings, states):
    a_detection.start(a_scan, settings=settings)
    a_scene.RemoveNode(a_scan)
    a_detection.poll()
    assert (a_worker.isCancelled, states[-1]) == (True, "failed")
    assert "removed from the scene" in a_detection.failureText


def test_a_scene_closed_meanwhile_is_survived(a_detection, a_worker, a_scene, a_scan, a_preview, settings, states):
    a_detection.start(a_scan, settings=settings)
    a_preview(a_worker)
    a_detection.poll()
    a_scene.Clear(0)
    a_detection.poll()
    assert (a_worker.isCancelled, states[-1], a_detection.preview) == (True, "failed", None)


def test_a_preview_is_there_while_the_computation_goes_on(
    mrml_lib, make_detection, a_worker, a_scan, a_preview, settings, states
):
    seen = []
    detection = make_detection(onState=lambda state: states.append(state.value), onPreview=seen.append)
    detection.start(a_scan, settings=settings)
    a_preview(a_worker)
    detection.poll()
    assert states == ["running"]
    assert seen == [detection.preview]
    assert detection.preview.isPreview
    assert detection.preview.segmentationNode.GetSegmentation().GetNumberOfSegments() == 2


def test_the_result_replaces_the_preview(a_detection, a_worker, a_scan, a_preview, an_answer, settings, users_nodes):
    a_detection.start(a_scan, settings=settings)
    a_preview(a_worker)
    a_detection.poll()
    preview, count = a_detection.preview, len(users_nodes())
    a_worker.finish(an_answer)
    a_detection.poll()
    assert a_detection.preview is None
    assert not a_detection.result.isPreview
    assert preview.heatmapNode.GetScene() is None
    assert len(users_nodes()) == count


@pytest.mark.parametrize("end", ["cancel", "failure", "damage", "removed volume"])
def test_without_a_result_the_preview_goes_too(
    a_detection, a_worker, a_scene, a_scan, add_volume, a_preview, settings, users_nodes, end
):
    add_volume(np.zeros((2, 2, 2)), name="somebody else's")
    before = users_nodes()
    a_detection.start(a_scan, settings=settings)
    a_preview(a_worker)
    a_detection.poll()
    assert users_nodes() > before
    if end == "cancel":
        a_detection.cancel()
    elif end == "removed volume":
        before.remove(a_scan.GetID())
        a_scene.RemoveNode(a_scan)
    else:
        a_worker.finish(failure="it broke" if end == "failure" else "")
    a_detection.poll()
    assert users_nodes() == before
    assert a_detection.preview is None


@pytest.fixture
def a_view_of_another_patient(mrml_lib, a_scene, add_volume, some_anomalies, write_result, settings, tmp_path):
    """(what the view shows, a function) of a view with another patient's result."""
    import slicer

    scan = add_volume(np.random.default_rng(1).random(some_anomalies.shape), name="another patient")
    write_result(tmp_path / "another", some_anomalies, like=scan)
    results, heatmap = mrml_lib("Results"), mrml_lib("Heatmap")
    a_scene.RegisterNodeClass(slicer.vtkMRMLColorLegendDisplayNode())
    shown = mrml_lib("ResultImport").importResult(tmp_path / "another", scan, settings=settings)
    view = a_scene.AddNewNodeByClass("vtkMRMLSliceCompositeNode")
    results.show(shown, opacity=0.3)
    heatmap.setColourBar(shown.heatmapNode, True)

    def seen():
        layers = view.GetBackgroundVolumeID(), view.GetForegroundVolumeID(), view.GetForegroundOpacity()
        return *layers, bool(shown.segmentationNode.GetDisplayVisibility()), heatmap.isColourBarShown(shown.heatmapNode)

    return seen


@pytest.mark.parametrize("end", ["cancel", "failure", "damage", "removed volume", "deleted part"])
def test_without_a_result_the_views_show_what_they_showed_before_the_preview(
    mrml_lib, make_detection, a_worker, a_scene, a_scan, a_preview, settings, a_view_of_another_patient, end
):
    before = a_view_of_another_patient()
    detection = make_detection(onPreview=lambda preview: mrml_lib("Results").show(preview, opacity=0.7))
    detection.start(a_scan, settings=settings)
    a_preview(a_worker)
    detection.poll()
    assert a_view_of_another_patient()[0] == a_scan.GetID()
    if end == "deleted part":
        a_scene.RemoveNode(detection.preview.segmentationNode)
    if end in ("cancel", "deleted part"):
        detection.cancel()
    elif end == "removed volume":
        a_scene.RemoveNode(a_scan)
    else:
        a_worker.finish(failure="it broke" if end == "failure" else "")
    detection.poll()
    assert a_view_of_another_patient() == before


def test_with_a_result_what_was_shown_before_the_preview_does_not_come_back(
    mrml_lib, make_detection, a_worker, a_scan, a_preview, an_answer, settings, a_view_of_another_patient
):
    detection = make_detection(onPreview=lambda preview: mrml_lib("Results").show(preview, opacity=0.7))
    detection.start(a_scan, settings=settings)
    a_preview(a_worker)
    detection.poll()
    a_worker.finish(an_answer)
    detection.poll()
    assert a_view_of_another_patient() == (a_scan.GetID(), None, 0.7, False, False)


def test_a_listener_that_breaks_leaves_no_worker_behind(make_detection, a_worker, a_scan, settings):
    def listen(state):
        if state.value == "running":
            raise ValueError("a listener broke")

    detection = make_detection(onState=listen)
    with pytest.raises(ValueError, match="a listener broke"):
        detection.start(a_scan, settings=settings)
    assert (a_worker.isCancelled, detection.state.value) == (True, "failed")


def test_a_preview_whose_parts_the_user_deleted_does_no_harm(a_detection, a_worker, a_scene, a_scan, a_preview, settings):
    a_detection.start(a_scan, settings=settings)
    a_preview(a_worker)
    a_detection.poll()
    a_scene.RemoveNode(a_detection.preview.segmentationNode)
    a_detection.cancel()
    assert a_detection.state.value == "cancelled"


def test_a_preview_that_cannot_be_read_is_logged_and_the_detection_goes_on(
    mrml_lib, make_detection, a_worker, a_scan, an_answer, settings
):
    log = []
    detection = make_detection(onLog=log.append)
    detection.start(a_scan, settings=settings)
    a_worker.said = [mrml_lib("Worker").Progress("preview ready", 0.2)]
    detection.poll()
    assert (detection.state.value, detection.preview) == ("running", None)
    assert "heatmap.nii.gz" in log[0]
    a_worker.finish(an_answer)
    detection.poll()
    assert detection.state.value == "idle"


def test_a_listener_may_cancel_at_the_preview(make_detection, a_worker, a_scan, a_preview, settings, users_nodes):
    before = users_nodes()
    detection = make_detection(onPreview=lambda _preview: detection.cancel())
    detection.start(a_scan, settings=settings)
    a_preview(a_worker)
    a_worker.said.append("a line nobody hears any more")
    detection.poll()
    assert detection.state.value == "cancelled"
    assert users_nodes() == before


def test_a_gpu_that_fails_leaves_the_work_to_the_cpu(make_detection, a_worker, a_scan, an_answer, settings):
    log = []
    detection = make_detection(onLog=log.append)
    detection.start(a_scan, settings=settings)
    a_worker.finish(failure="torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB.")
    a_worker.isFinished = True
    detection.poll()
    assert detection.state.value == "running"
    assert "going on with the CPU" in log[0]
    assert a_worker.request["settings"].device == "cpu"
    a_worker.finish(an_answer)
    detection.poll()
    assert detection.state.value == "idle"


def test_a_gpu_the_user_insisted_on_fails_for_good(mrml_lib, a_detection, a_worker, a_scan):
    a_detection.start(a_scan, settings=mrml_lib("Settings").Settings(device="cuda"))
    a_worker.finish(failure="CUDA error: no kernel image is available")
    a_detection.poll()
    assert a_detection.state.value == "failed"


@pytest.mark.parametrize("wrong", [{"model": "gan"}, {"model": "t1-inpaint", "windowMm": 24}])
def test_a_model_or_window_there_is_not_is_refused_at_the_start(mrml_lib, make_detection, a_scan, node_ids, wrong):
    detection, before = make_detection(makeWorker=mrml_lib("Detection").coreWorker), node_ids()
    with pytest.raises(mrml_lib("Models").ModelsError, match=r"choose one of"):
        detection.start(a_scan, settings=mrml_lib("Settings").Settings(**wrong))
    assert (detection.state.value, node_ids()) == ("failed", before)


@pytest.mark.skipif(
    os.name == "nt" or (os.geteuid() == 0 and not Path("/proc").is_dir()), reason="needs a folder nobody may write to"
)
def test_a_temporary_folder_that_cannot_be_written_is_told(mrml_lib, a_detection, a_scan, settings, monkeypatch, tmp_path):
    blocked = "/proc" if os.geteuid() == 0 else str(tmp_path / "blocked")  # root may write everywhere but there
    if os.geteuid() != 0:
        Path(blocked).mkdir(mode=0o500)
    monkeypatch.setattr(mrml_lib("Detection"), "gettempdir", lambda: blocked)
    with pytest.raises(mrml_lib("Detection").DetectionError, match=f"temporary folder {blocked} .*Application Settings"):
        a_detection.start(a_scan, settings=settings)
    assert a_detection.state.value == "failed"


def test_slicers_own_temporary_folder_is_used(make_detection, a_worker, a_scan, settings, monkeypatch, tmp_path):
    import slicer

    folder = tmp_path / "Ein Ordner für 脳"
    folder.mkdir()
    monkeypatch.setattr(slicer, "app", types.SimpleNamespace(temporaryPath=str(folder)), raising=False)
    detection = make_detection()
    detection.start(a_scan, settings=settings)
    assert a_worker.request["scan"].is_file()
    assert folder in a_worker.request["scan"].parents
    detection.cancel()
    assert list(folder.iterdir()) == []


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


def test_an_installer_that_gives_up_after_a_cancel_leaves_it_cancelled(a_detection, a_scan, settings, states):
    def give_up():
        a_detection.cancel()
        raise RuntimeError("no answer from the user")

    a_detection.start(a_scan, settings=settings, install=give_up)
    assert states == ["installing", "cancelled"]


def test_an_interrupted_wait_cancels(a_detection, a_worker, a_scan, settings, monkeypatch):
    def interrupt():
        raise KeyboardInterrupt

    a_detection.start(a_scan, settings=settings)
    monkeypatch.setattr(a_worker, "events", interrupt)
    with pytest.raises(KeyboardInterrupt):
        a_detection.wait()
    assert (a_worker.isCancelled, a_detection.state.value) == (True, "cancelled")


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


@pytest.mark.parametrize(
    ("first", "then"), [("IDLE", "IMPORTING"), ("IDLE", "CANCELLED"), ("FAILED", "IDLE"), ("IMPORTING", "CANCELLED")]
)
def test_states_have_no_other_ways_between_them(mrml_lib, first, then):
    states = mrml_lib("States")
    machine = states.StateMachine(lambda _state: None)
    for name in {"IDLE": [], "FAILED": ["FAILED"], "IMPORTING": ["RUNNING", "IMPORTING"]}[first]:
        machine.moveTo(states.State[name])
    with pytest.raises(RuntimeError, match=states.State[then].value):
        machine.moveTo(states.State[then])
    assert machine.current is states.State[first]


@pytest.fixture(scope="module")
def a_phantom():
    """A made-up brain, oblique, with a dark ball 15 mm wide 30 mm to the right, 10 mm anterior and 20 mm up from its middle."""
    from brain_inpaint_ad.phantom import Lesion, PhantomSettings, make_phantom

    lesion = Lesion(centre_mm=(30.0, 10.0, 20.0), radius_mm=15.0)
    return make_phantom(PhantomSettings(spacing_mm=(4.0, 4.0, 5.0), lesions=(lesion,), rotation_degrees=(4.0, 0.0, 10.0)))


def centre_ras(mask, affine):
    """Of a bool array (slices, rows, columns); affine: (column, row, slice) → LPS mm."""
    middle = np.argwhere(mask).mean(axis=0)[::-1]
    return (affine @ [*middle, 1.0])[:3] * [-1, -1, 1]


@pytest.fixture
def a_brain(add_volume, a_phantom):
    """The phantom in the scene."""
    return add_volume(a_phantom.scan.array, np.diag([-1.0, -1, 1, 1]) @ a_phantom.scan.grid.affine, "Köpfchen n° 1")


@pytest.fixture
def real(mrml_lib, make_detection):
    """Makes detections by the real core, in a process of its own."""
    return lambda **listeners: make_detection(makeWorker=mrml_lib("Detection").coreWorker, **listeners)


def quick(mrml_lib):
    """Settings that cost seconds: few windows, and every slice's hottest region."""
    return mrml_lib("Settings").Settings(model="t1-inpaint-fast", windowMm=32, strideMm=16, rule="paper", device="cpu")


def test_a_real_core_finds_the_lesion_of_a_phantom_first_as_a_preview(mrml_lib, real, a_brain, a_phantom):
    """The whole way: a scan under a transform, files, the process, the shipped models, and nodes again."""
    import slicer

    move = np.array([[1, 0, 0, 7], [0, 1, 0, -5], [0, 0, 1, 3], [0, 0, 0, 1.0]])
    moved = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "moved")
    moved.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(move))
    a_brain.SetAndObserveTransformNodeID(moved.GetID())
    progress, log, previews = [], [], []
    detection = real(onProgress=progress.append, onLog=log.append, onPreview=previews.append)
    detection.start(a_brain, settings=quick(mrml_lib))
    folder = detection._files.out.parent
    result = detection.wait()
    assert len(previews) == 1, log
    assert [step.stage for step in progress].count("preview ready") == 1
    assert not folder.exists()
    assert (result.model, result.windowMm, result.isPreview) == ("t1-inpaint-fast", 32, False)
    assert None not in (result.reconstructionNode, result.recutNode)
    heat, truth = slicer.util.arrayFromVolume(result.heatmapNode), a_phantom.truth.array > 0
    assert heat[truth].mean() > 1.5 * heat[a_phantom.brain.array & ~truth].mean()
    lesion = (move @ [*centre_ras(truth, a_phantom.truth.grid.affine), 1.0])[:3]
    hottest = max(result.findings, key=lambda finding: finding.peakHeat)
    assert np.linalg.norm(np.subtract(hottest.centreRasMm, lesion)) < 40


def test_a_real_core_gives_rarity_and_the_healthy_brain_with_the_default_model(mrml_lib, real, a_brain):
    import slicer

    progress, previews = [], []
    detection = real(onProgress=progress.append, onPreview=previews.append)
    detection.start(a_brain, settings=mrml_lib("Settings").Settings(device="cpu"))
    result = detection.wait()
    assert (result.model, result.windowMm, result.isRarity, previews) == ("t1-evidence", 0, True, [])
    assert result.heatmapNode.GetName() == "Köpfchen n° 1 heatmap"
    assert None not in (result.reconstructionNode, result.recutNode)
    heat, expected = (slicer.util.arrayFromVolume(node) for node in (result.heatmapNode, result.reconstructionNode))
    assert heat.min() == 0 < heat.max()
    assert (expected[heat > 0] > 0).mean() > 0.5
    assert mrml_lib("Recut").Recut(result).apply(mrml_lib("Settings").Settings(rule="paper")).findings


def test_a_real_core_is_cancelled_within_a_second_and_its_preview_leaves_no_trace(mrml_lib, real, a_brain, users_nodes):
    before = users_nodes()
    detection = real()
    detection.start(a_brain, settings=quick(mrml_lib))
    folder, process = detection._files.out.parent, detection._worker._process
    while detection.preview is None and detection.state.isBusy:
        detection.poll()
        time.sleep(0.05)
    assert users_nodes() > before
    started = time.monotonic()
    detection.cancel()
    assert time.monotonic() - started < 1.0  # the promise to the user
    assert process.poll() is not None
    assert (users_nodes(), folder.exists(), detection.state.value) == (before, False, "cancelled")


def test_a_real_core_refuses_in_the_users_words(mrml_lib, real, add_volume, a_brain):
    mask = add_volume(np.zeros((30, 30, 30), np.int16), np.diag([5, 5, 5, 1.0]), "Maske", "vtkMRMLLabelMapVolumeNode")
    log = []
    detection = real(onLog=log.append)
    detection.start(a_brain, mask, settings=quick(mrml_lib))
    with pytest.raises(mrml_lib("Detection").DetectionError) as refused:
        detection.wait()
    told = " ".join([str(refused.value), *log])
    assert "'Maske'" in told
    assert "'Köpfchen n° 1'" in told
    assert ".nrrd" not in told
