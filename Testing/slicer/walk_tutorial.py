"""Walks through the tutorial of docs/slicer.md on the test layer: panel and slice views after every step, as pictures.

    python Testing/slicer/walk_tutorial.py SCAN RESULT_FOLDER PUBLISHED_FOLDER PREVIEW_FOLDER PICTURES

The folders are what `detect SCAN --out RESULT_FOLDER --reconstruction --recut` wrote and, of the published model,
`detect SCAN --model t1-inpaint-32mm --out PUBLISHED_FOLDER --reconstruction --recut --preview PREVIEW_FOLDER`; the panel's
detections are handed these files, so that the walk takes seconds. Slice views are drawn by Slicer's own slice logic, with the
outlines of the visible segments.
"""

import os

os.environ["QT_SCALE_FACTOR"] = "1"  # small files: one pixel per pixel

import shutil
import sys
import tempfile
from pathlib import Path

import matplotlib.image
import numpy as np
import render_panel
import render_slices
import slicer

VIEWS = (("Red", "Axial"), ("Yellow", "Sagittal"), ("Green", "Coronal"))


class Foretold(render_panel.Prepared):
    """A worker that has results already, one after the other, and a preview."""

    def has(self, folder):
        self._folder = folder

    def showPreview(self, preview):
        from BrainInpaintADLib import Core
        from BrainInpaintADLib.Worker import Progress

        shutil.copytree(preview, Core.previewFolder(self._out))
        self.said = [Progress(Core.PREVIEW_READY, 0.15, 55.0)]


def make_views(scene):
    """Axial, sagittal and coronal slice views without a window."""
    views = []
    for name, orientation in VIEWS:
        logic = slicer.vtkMRMLSliceLogic()
        logic.SetMRMLScene(scene)
        logic.AddSliceNode(name).SetOrientation(orientation)
        views.append(logic)
    return views


def centre(views, volume):
    """As Slicer fits its views to a volume that has just come in."""
    bounds = [0.0] * 6
    volume.GetRASBounds(bounds)
    for logic in views:
        render_slices.look_at(logic, [(low + high) / 2 for low, high in zip(bounds[::2], bounds[1::2], strict=True)])


def seen(logic, scene):
    """What a slice view shows: uint8 (rows, columns, RGB), outlines of the visible segments included."""
    image = render_slices.blended(logic)
    count = scene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode")
    for node in (scene.GetNthNodeByClass(number, "vtkMRMLSegmentationNode") for number in range(count)):
        display, segmentation = node.GetDisplayNode(), node.GetSegmentation()
        if display is None or not display.GetVisibility():
            continue
        for identifier in segmentation.GetSegmentIDs():
            if display.GetSegmentVisibility(identifier):
                segment = segmentation.GetSegment(identifier)
                render_slices.draw_border(image, _mask(logic, segment), segment.GetColor())
    return image


def _mask(logic, segment):
    """Pixels of a slice view that lie in a segment; the tutorial's scan is under no transform."""
    labelmap = segment.GetRepresentation("Binary labelmap")
    if labelmap is None or labelmap.GetNumberOfPoints() == 0:
        return np.zeros((render_slices.PIXELS,) * 2, bool)
    matrix = slicer.vtkMRMLSliceNode().GetXYToRAS()
    labelmap.GetImageToWorldMatrix(matrix)
    first = labelmap.GetExtent()[::2]
    columns, rows, slices = labelmap.GetDimensions()
    voxels = render_slices.vtk_to_numpy(labelmap.GetPointData().GetScalars()).reshape(slices, rows, columns)
    to_index = slicer.util.arrayFromVTKMatrix(matrix)
    to_index[:3, 3] += to_index[:3, :3] @ first
    return render_slices.sampled(logic, voxels, to_index) == segment.GetLabelValue()


def beside(panel, views):
    """The slice views one below the other, left of the panel; both start at the top."""
    column = np.vstack(views)
    height = max(len(column), len(panel))
    padded = [np.pad(part, ((0, height - len(part)), (0, 0), (0, 0)), constant_values=239) for part in (column, panel)]
    return np.hstack(padded)


def main(scan_path, result_folder, published_folder, preview_folder, pictures):
    _application, scene = render_panel.start_application()
    from BrainInpaintADLib.Worker import Progress

    out = Path(pictures)
    out.mkdir(parents=True, exist_ok=True)
    views = make_views(scene)
    worker = Foretold(Path(result_folder))
    module, frame = render_panel.open_module(worker)
    ui = module.ui

    def step(name, seconds=0.6):
        render_panel.let_qt_work(seconds)
        with tempfile.TemporaryDirectory() as folder:
            render_panel.picture(frame, Path(folder) / "panel.png")
            panel = (matplotlib.image.imread(Path(folder) / "panel.png")[..., :3] * 255).astype(np.uint8)
        matplotlib.image.imsave(out / f"{name}.png", beside(panel, [seen(view, scene) for view in views]))

    step("01-module-opened")
    scan = render_slices.load_scan(scene, Path(scan_path))
    slicer.util.setSliceViewerLayers(background=scan, fit=False)
    centre(views, scan)
    ui.scanSelector.setCurrentNode(scan)
    step("02-scan-chosen")
    ui.detectButton.click()
    worker.said = [Progress("laying healthy brains over the scan", 0.15, 9.0)]
    step("03-running")
    worker.goOn()
    step("04-result", 2)
    ui.findingsTable.selectRow(0)
    step("05-finding-selected")
    ui.scaleSlider.valueIsChanging.emit(40.0)  # the stand-in is drawn where it was; Slicer's slider goes along
    step("06-scale-dragged")
    ui.scaleSlider.value = 40.0
    step("07-scale-released", 1)
    ui.scaleSlider.value = 75.0
    render_panel.let_qt_work(1)
    if ui.findingsTable.rowCount:
        last = ui.findingsTable.item(ui.findingsTable.rowCount - 1, 0)
        last.setCheckState(render_panel.QtCore.Qt.CheckState.Unchecked)
    step("08-finding-discarded")
    ui.reconstructionCheckBox.checked = True
    ui.opacitySlider.value = 0.0
    step("09-what-the-model-expected")
    ui.reconstructionCheckBox.checked = False
    ui.opacitySlider.value = 0.5
    ui.exportSection.collapsed = False
    ui.exportNodeButton.click()
    step("10-exported")
    ui.exportSection.collapsed = True
    ui.inputsSection.collapsed = False
    ui.modelComboBox.currentIndex = ui.modelComboBox.findText("t1-inpaint")
    worker.has(Path(published_folder))
    ui.detectButton.click()
    worker.showPreview(Path(preview_folder))
    step("11-preview")
    worker.goOn()
    step("12-published-model", 2)
    print(*(node.GetName() for node in slicer.util.getNodesByClass("vtkMRMLLabelMapVolumeNode")), sep="\n")  # noqa: T201
    module.cleanup()


if __name__ == "__main__":
    main(*sys.argv[1:])
    sys.stdout.flush()
    os._exit(0)  # Qt and VTK take each other's objects down in no good order
