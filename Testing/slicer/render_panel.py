"""Draws the module's panel off-screen: the real `.ui` file and the real code, behind the Qt layer of the tests.

    python Testing/slicer/render_panel.py SCAN RESULT_FOLDER PICTURE [STEPS_FOLDER]

RESULT_FOLDER is what `detect SCAN --reconstruction --recut` wrote; the panel's detection is handed these files instead of
computing them again. PICTURE shows the panel after the detection, STEPS_FOLDER gets one picture per step on the way.
The ctk and qMRML widgets are stand-ins: titled frames, sliders with a value box, combo boxes.
"""

import json
import os
import shutil
import sys
import time
import types
from pathlib import Path

import qt_layer
import slicer
import slicer_layer
from PySide6 import QtCore, QtWidgets

MODULE = Path(__file__).resolve().parents[2] / "BrainInpaintAD"
WIDTH = 440  # pixels, as Slicer's panel has by default on a laptop
SCALE = 2  # device pixels per pixel


class Prepared:
    """A worker that has the result already; it tells progress as the core does and waits for `goOn`."""

    isFinished = False
    hasSucceeded = True

    def __init__(self, folder):
        self._folder, self.said = folder, []

    def make(self, _scan, out, _settings, *, mask):
        self._out = out
        return self

    def start(self):
        self.isFinished = False

    def events(self):
        said, self.said = self.said, []
        return said

    def goOn(self):
        shutil.copytree(self._folder, self._out)
        self.isFinished = True

    def cancel(self):
        """Nothing to stop."""

    def failure(self):
        return ""


def start_application():
    """Scene, `qt`, `ctk` and the modules of Slicer that ours needs, for the whole process."""
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    os.environ.setdefault("QT_SCALE_FACTOR", str(SCALE))
    sys.path.insert(0, str(MODULE))
    application = QtWidgets.QApplication([])
    application.setStyle("Fusion")
    scene = slicer_layer.make_scene()
    qt, ctk, mrml_widgets = qt_layer.make_qt()
    sys.modules |= {"qt": qt, "ctk": ctk}
    for name, module in (
        ("i18n", slicer_layer.make_i18n()),
        ("ScriptedLoadableModule", slicer_layer.make_scripted_module(MODULE)),
        ("parameterNodeWrapper", slicer_layer.make_parameter_node_wrapper(qt, ctk)),
    ):
        sys.modules[f"slicer.{name}"] = module
        setattr(slicer, name, module)
    for name, value in (mrml_widgets | {"app": slicer_layer.Application(application)}).items():
        setattr(slicer, name, value)
    return application, scene


def open_module(worker):
    """The module's widget as Slicer opens it; its detections are answered by `worker`, nothing is installed."""
    import qt
    from BrainInpaintADLib.Detection import Detection

    import BrainInpaintAD

    logic = BrainInpaintAD.BrainInpaintADLogic
    logic.newDetection = lambda self, **listeners: Detection(makeWorker=worker.make, **listeners)
    logic.install = lambda self, **_: None
    frame = slicer.qMRMLWidget()
    frame.setLayout(qt.QVBoxLayout())
    frame.layout().setContentsMargins(0, 0, 0, 0)
    module = BrainInpaintAD.BrainInpaintADWidget(types.SimpleNamespace(layout=frame.layout, isEntered=True, frame=frame))
    module.setup()
    return module, frame


def show_model(module, folder):
    """Choose the model that made the result, so that its texts are what the panel says."""
    made_by = json.loads((folder / "report.json").read_text(encoding="utf-8"))["model"]["name"]
    selector = module.ui.modelComboBox
    selector.currentIndex = max(0, selector.findText(made_by))


def let_qt_work(seconds=0.5):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        loop = QtCore.QEventLoop()
        QtCore.QTimer.singleShot(10, loop.quit)
        loop.exec()


def picture(frame, path):
    """The panel as high as it wants to be."""
    frame.setFixedWidth(WIDTH)
    frame.show()
    for _ in range(3):  # word-wrapped labels need a second look
        let_qt_work(0.1)
        frame.setFixedHeight(frame.layout().heightForWidth(WIDTH))
    let_qt_work(0.1)
    frame.grab().save(str(path))
    print(path)  # noqa: T201


def main(scan_path, folder, result_picture, steps_folder=None):
    _application, scene = start_application()
    import render_slices
    from BrainInpaintADLib.Worker import Progress

    steps = Path(steps_folder) if steps_folder else None
    if steps is not None:
        steps.mkdir(parents=True, exist_ok=True)

    def step(name):
        if steps is not None:
            picture(frame, steps / f"{name}.png")

    scan = render_slices.load_scan(scene, Path(scan_path))
    worker = Prepared(Path(folder))
    module, frame = open_module(worker)
    step("1-opened")
    module.ui.scanSelector.setCurrentNode(scan)
    show_model(module, Path(folder))
    step("2-chosen")
    module.ui.detectButton.click()
    worker.said = [Progress("comparing with healthy brains", 0.42, 4.0)]
    let_qt_work()
    step("3-running")
    worker.goOn()
    let_qt_work(2)
    module.ui.findingsTable.selectRow(0)
    module.ui.segmentsSection.collapsed = False
    picture(frame, result_picture)
    step("4-found")
    module.ui.advancedSection.collapsed = False
    module.ui.inputsSection.collapsed = False
    module.ui.exportSection.collapsed = False
    step("5-everything-open")
    module.ui.scaleSlider.value = 200
    let_qt_work(1)
    step("6-cut-anew")
    module.cleanup()


if __name__ == "__main__":
    main(*sys.argv[1:])
    sys.stdout.flush()
    os._exit(0)  # Qt and VTK take each other's objects down in no good order
