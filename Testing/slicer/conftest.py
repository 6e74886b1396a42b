"""Fixtures for the Slicer module. Whatever is put on `slicer` or into sys.modules is taken away after each test."""

import importlib
import importlib.util
import json
import os
import sys
import time
import types
from pathlib import Path

import numpy as np
import pytest

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parents[1]
MODULE_FOLDER = REPOSITORY / "BrainInpaintAD"
sys.path[:0] = [str(HERE)]  # the layers and the fake core, whatever pytest's import mode

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

OBLIQUE = np.array(  # voxel (i, j, k) → RAS in mm: rotated about S, 0.9 × 1.1 × 5 mm, LPS-like signs
    [[-0.859803, 0.325072, 0, 7], [-0.265968, -1.05087, 0, -11.5], [0, 0, 5, 3.25], [0, 0, 0, 1.0]]
)


@pytest.fixture
def a_module_path(monkeypatch):
    """Our module can be imported, afresh, and is forgotten afterwards."""
    monkeypatch.syspath_prepend(str(MODULE_FOLDER))
    yield MODULE_FOLDER
    for name in [name for name in sys.modules if name.split(".")[0] in ("BrainInpaintAD", "BrainInpaintADLib")]:
        del sys.modules[name]


@pytest.fixture
def lib(a_module_path):
    """Imports a part of BrainInpaintADLib by name."""
    return lambda name: importlib.import_module(f"BrainInpaintADLib.{name}")


@pytest.fixture
def a_scene(monkeypatch):
    """A real MRML scene that is Slicer's current one."""
    if importlib.util.find_spec("slicer") is None:
        pytest.skip("slicer-core is not installed (pip install slicer-core)")
    import slicer
    import slicer_layer

    scene = slicer.vtkMRMLScene()
    monkeypatch.setattr(slicer, "mrmlScene", scene, raising=False)
    i18n = slicer_layer.make_i18n()
    monkeypatch.setitem(sys.modules, "slicer.i18n", i18n)
    monkeypatch.setattr(slicer, "i18n", i18n, raising=False)
    yield scene
    scene.Clear(1)


@pytest.fixture
def slicers_modules(a_scene):
    """The scene with what Slicer's Colors and Segmentations modules bring along."""
    from known_result import slicer_modules

    with slicer_modules(a_scene):
        yield


@pytest.fixture
def mrml_lib(a_scene, lib):
    """Imports a part that needs MRML, with a scene there."""
    return lib


@pytest.fixture
def some_anomalies():
    """int16 (slices, rows, columns): two boxes, labels 1 and 2."""
    labels = np.zeros((12, 20, 16), np.int16)
    labels[2:4, 3:6, 5:8] = 1
    labels[7:9, 10:15, 5:8] = 2
    return labels


@pytest.fixture
def add_volume(a_scene):
    """Adds a volume: array (slices, rows, columns), its matrix, its name, its class."""
    import slicer

    def add(array, matrix=OBLIQUE, name="a scan", kind="vtkMRMLScalarVolumeNode"):
        return slicer.util.addVolumeFromArray(array, matrix, name, kind)

    return add


@pytest.fixture
def a_scan(add_volume, some_anomalies):
    """An oblique, anisotropic scan whose voxels are all different."""
    voxels = np.arange(some_anomalies.size, dtype=np.float32).reshape(some_anomalies.shape)
    return add_volume(voxels)


@pytest.fixture
def write_result(mrml_lib, add_volume):
    """Writes what the core would write about a scan whose labelmap is known."""
    import slicer

    def write(folder, labels, *, like, heat=None):
        folder.mkdir(parents=True, exist_ok=True)
        heat = labels * np.float32(0.4) if heat is None else heat
        matrix = mrml_lib("Scene").worldMatrix(like)
        for array, name in ((labels, "anomalies.nii.gz"), (heat, "heatmap.nii.gz")):
            node = add_volume(array, matrix, name)
            mrml_lib("Scene").writeVolume(node, folder / name)
            for made in filter(None, (node.GetDisplayNode(), node)):
                slicer.mrmlScene.RemoveNode(made)
        rows = [f"{label},{label / 10},0.3,0.{label},31,-12,44\n" for label in np.unique(labels[labels > 0])]
        head = "label,volume_ml,mean_heat,peak_heat,r_mm,a_mm,s_mm\n"
        (folder / "findings.csv").write_text(head + "".join(rows), encoding="utf-8")

    return write


class FakeWorker:
    """Does what the test tells it to: `says` events, then ends with `answer` (writes the result) or a failure."""

    def __init__(self):
        self.said, self.failureText, self.answer = [], "", None
        self.isFinished = self.isCancelled = False
        self.request = None

    def make(self, scan, out, settings, *, mask):
        self.request = {"scan": scan, "out": out, "settings": settings, "mask": mask}
        return self

    def start(self):
        self.scanExisted = self.request["scan"].is_file()

    def finish(self, answer=None, failure=""):
        self.failureText, self.isFinished = failure, True
        if answer is not None:
            answer(self.request["out"])

    def events(self):
        said, self.said = self.said, []
        return said

    @property
    def hasSucceeded(self):
        return self.isFinished and not self.failureText

    def failure(self):
        return self.failureText

    def cancel(self):
        self.isCancelled = True


@pytest.fixture
def a_worker():
    """A worker that computes nothing."""
    return FakeWorker()


@pytest.fixture
def node_ids(a_scene):
    """The ids of all nodes of the scene, now."""
    return lambda: {a_scene.GetNthNode(number).GetID() for number in range(a_scene.GetNumberOfNodes())}


@pytest.fixture
def application(a_scene, a_module_path, monkeypatch):
    """The Slicer application off-screen: `qt`, `ctk`, `slicer.app` and the Python modules ours needs."""
    if importlib.util.find_spec("PySide6") is None:
        pytest.skip("PySide6 is not installed (pip install PySide6-Essentials)")
    import qt_layer
    import slicer
    import slicer_layer
    from PySide6 import QtWidgets

    qt_application = QtWidgets.QApplication.instance() or QtWidgets.QApplication([])
    qt, ctk, mrml_widgets = qt_layer.make_qt()
    made = {
        "ScriptedLoadableModule": slicer_layer.make_scripted_module(a_module_path),
        "parameterNodeWrapper": slicer_layer.make_parameter_node_wrapper(qt, ctk),
    }
    for name, module in made.items():
        monkeypatch.setitem(sys.modules, f"slicer.{name}", module)
    for name, value in (made | mrml_widgets | {"app": slicer_layer.Application(qt_application)}).items():
        monkeypatch.setattr(slicer, name, value, raising=False)
    monkeypatch.setitem(sys.modules, "qt", qt)
    monkeypatch.setitem(sys.modules, "ctk", ctk)
    monkeypatch.setattr(slicer.util, "errorDisplay", lambda text, **_: slicer.app.errors.append(text))
    monkeypatch.setattr(slicer.util, "infoDisplay", lambda text, **_: slicer.app.said.append(text))
    for name in ("confirmYesNoDisplay", "confirmOkCancelDisplay"):
        monkeypatch.setattr(slicer.util, name, slicer.app.confirm)
    segmentations = slicer.vtkSlicerSegmentationsModuleLogic()  # as in Slicer, where the module registers what segments hold
    segmentations.SetMRMLScene(a_scene)
    yield qt_application
    segmentations.SetMRMLScene(None)


class FakeRecut:
    """Cuts nothing and writes down what it was asked for."""

    canRecut = True
    isLoading = False

    def __init__(self, result):
        self.result = result
        self.slices, self.volumes, self.ended, self.warmed, self.closed = [], [], 0, 0, 0
        self.refusal = None

    def warm(self):
        self.warmed += 1

    def showSlice(self, settings, pointRasMm=None):
        self.slices.append(settings)
        return 1

    def apply(self, settings, *, withSurfaces=True):
        if self.refusal is not None:
            raise self.refusal
        self.volumes.append(settings)
        return self.result

    def endPreview(self):
        self.ended += 1

    def close(self):
        self.closed += 1


class FakeInstaller:
    """Installs nothing; the test says what is missing and what was installed."""

    def __init__(self):
        self.plan_ = types.SimpleNamespace(isEmpty=True, text="numba, 40 MB")
        self.ours = []
        self.calls = []
        self.refusal = None

    def plan(self):
        return self.plan_

    def removable(self):
        return self.ours

    def check(self):
        self.calls.append("check")

    def ensure(self, **how):
        self.calls.append(("ensure", how))
        if self.refusal is not None:
            raise self.refusal

    def installFromFolder(self, folder, **_):
        self.calls.append(("folder", folder))
        return "2 packages were installed."

    def remove(self):
        self.calls.append("remove")
        return "2 packages were removed."


def a_card(name, window, *, method="inpainting", modality="T1"):
    return {
        "name": f"{name}-{window}mm",
        "description": "Knows healthy brains.",
        "method": method,
        "modality": modality,
        "window_mm": float(window),
        "spacing_mm": 2.0,
        "rows": 128,
        "columns": 96,
        "sha256": "0" * 64,
    }


@pytest.fixture
def some_cards():
    """Two models, both with windows: one of 16, 32 and 64 mm, one of 32 mm only. The default is not among them."""
    return [*(a_card("t1-inpaint", size) for size in (16, 32, 64)), a_card("t1-loss", 32, method="loss-prediction")]


@pytest.fixture
def some_models(lib, tmp_path, a_scene, some_cards):
    """The models of `some_cards`."""
    for card in some_cards:
        (tmp_path / f"{card['name']}.json").write_text(json.dumps(card), encoding="utf-8")
        (tmp_path / f"{card['name']}.safetensors").touch()
    return lib("Models").listModels(tmp_path)


@pytest.fixture
def an_installer():
    return FakeInstaller()


@pytest.fixture
def a_panel_of(application, a_scene, a_worker, an_installer, some_models, lib, monkeypatch):
    """Opens the module; its detections use the fake worker, install nothing, and sliders cut nothing."""
    opened = []
    monkeypatch.setattr(lib("Models"), "listModels", lambda *_folders: list(some_models))

    def open_module(recut=FakeRecut):
        import qt
        import slicer

        module = importlib.import_module("BrainInpaintAD")
        make_detection = importlib.import_module("BrainInpaintADLib.Detection").Detection
        logic = module.BrainInpaintADLogic
        logic.newInstaller = lambda self: an_installer
        logic.newDetection = lambda self, **listeners: make_detection(makeWorker=a_worker.make, **listeners)
        if recut is not None:
            logic.newRecut = lambda self, result: recuts.append(recut(result)) or recuts[-1]
        parent = slicer.qMRMLWidget()
        parent.setLayout(qt.QVBoxLayout())
        frame = types.SimpleNamespace(layout=parent.layout, isEntered=True, frame=parent)
        widget = module.BrainInpaintADWidget(frame)
        recuts = widget.recuts = []
        widget.setup()
        opened.append(widget)
        return widget

    yield open_module
    for widget in opened:
        widget.cleanup()


@pytest.fixture
def a_module(a_panel_of):
    return a_panel_of()


@pytest.fixture
def ui(a_module):
    return a_module.ui


@pytest.fixture
def parameters(a_module):
    return a_module.logic.parameters()


@pytest.fixture
def wait_until(application):
    """Lets Qt work until the condition holds."""
    from PySide6 import QtCore

    def wait(condition, *, tries=500):
        for _ in range(tries):
            if condition():
                return
            loop = QtCore.QEventLoop()  # not processEvents: PySide6 6.12 loses a reference to None at each call
            QtCore.QTimer.singleShot(10, loop.quit)
            loop.exec()
        raise AssertionError("waited too long")

    return wait


@pytest.fixture
def let_qt_work(wait_until):
    """Lets Qt work for so many milliseconds, by default until all timers of 0 ms have fired."""

    def work(milliseconds=30):
        end = time.monotonic() + milliseconds / 1000
        wait_until(lambda: time.monotonic() >= end)

    return work


@pytest.fixture
def run(a_module, a_worker, wait_until):
    """Presses the button; `finish(...)` lets the worker end and the timer notice."""

    def finish(**end):
        a_worker.finish(**end)
        wait_until(lambda: a_module.ui.detectButton.text != "&Cancel")

    def press():
        a_worker.isFinished = False
        a_module.ui.detectButton.click()
        return finish

    return press


@pytest.fixture
def an_answer(a_scan, some_anomalies, write_result):
    return lambda folder: write_result(folder, some_anomalies, like=a_scan)


@pytest.fixture
def a_result(a_scan, ui, run, an_answer, parameters, mrml_lib):
    """The panel after a detection: two anomalies in `a scan`."""
    ui.scanSelector.setCurrentNode(a_scan)
    run()(answer=an_answer)
    return mrml_lib("Results").resultOf(parameters.result)
