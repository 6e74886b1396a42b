"""Fixtures for the Slicer module. Whatever is put on `slicer` or into sys.modules is taken away after each test."""

import importlib
import importlib.util
import os
import sys
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
            slicer.mrmlScene.RemoveNode(node)
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
    return qt_application
