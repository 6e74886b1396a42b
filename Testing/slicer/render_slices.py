"""Draws axial slices of a scan with its heatmap and segments, through the module's own code on real MRML.

    python Testing/slicer/render_slices.py SCAN RESULT_FOLDER PICTURE [SLICES]

RESULT_FOLDER is what `detect` wrote. Scan and heatmap are blended by Slicer's slice logic, as its slice views do;
the outlines are those of the imported segments, exported again.
"""

import sys
from pathlib import Path

import matplotlib.image
import numpy as np
import slicer
from vtk.util.numpy_support import vtk_to_numpy

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[1] / "BrainInpaintAD")]

PIXELS = 360
FIELD_MM = 230.0  # a head with some air around it


def make_scene():
    """A scene as Slicer has it, with its colour tables."""
    import slicer_layer

    scene = slicer.vtkMRMLScene()
    slicer.mrmlScene = scene
    sys.modules["slicer.i18n"] = slicer.i18n = slicer_layer.make_i18n()
    colours = slicer.vtkMRMLColorLogic()
    colours.SetMRMLScene(scene)
    colours.AddDefaultColorNodes()
    slicer.vtkMRMLSliceNode.AddDefaultSliceOrientationPresets(scene)
    return scene, colours


def load_scan(scene, path):
    """The scan as a node of the scene."""
    node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", path.name.partition(".")[0])
    storage = slicer.vtkMRMLVolumeArchetypeStorageNode()
    storage.SetFileName(str(path))
    if not storage.ReadData(node):
        raise SystemExit(f"{path} cannot be read")
    node.CreateDefaultDisplayNodes()
    return node


def make_view(scene):
    """An axial slice view without a window."""
    logic = slicer.vtkMRMLSliceLogic()
    logic.SetMRMLScene(scene)
    logic.AddSliceNode("Red").SetOrientation("Axial")
    return logic


def look_at(logic, centre_ras_mm):
    """Size and place of a slice view."""
    node = logic.GetSliceNode()
    node.SetDimensions(PIXELS, PIXELS, 1)
    node.SetFieldOfView(FIELD_MM, FIELD_MM, 1)
    node.JumpSliceByCentering(*centre_ras_mm)


def blended(logic):
    """What the slice view shows: uint8 (rows, columns, RGB), the first row at the top."""
    logic.UpdatePipeline()
    logic.GetBlend().Update()
    image = logic.GetBlend().GetOutput()
    if image.GetPointData().GetScalars() is None:
        return np.zeros((PIXELS, PIXELS, 3), np.uint8)  # no volume is shown
    columns, rows, _ = image.GetDimensions()
    return vtk_to_numpy(image.GetPointData().GetScalars()).reshape(rows, columns, -1)[::-1, :, :3].copy()


def sampled(logic, labels, matrix):
    """The labelmap under each pixel of the slice view, the first row at the top."""
    to_ras = slicer.util.arrayFromVTKMatrix(logic.GetSliceNode().GetXYToRAS())
    rows, columns = np.mgrid[:PIXELS, :PIXELS]
    pixels = np.stack([columns.ravel(), rows.ravel(), np.zeros(rows.size), np.ones(rows.size)])
    i, j, k = np.rint(np.linalg.solve(matrix, to_ras @ pixels)[:3]).astype(int)
    sizes = zip((k, j, i), labels.shape, strict=True)
    inside = np.all([(index >= 0) & (index < size) for index, size in sizes], axis=0)
    found = np.zeros(rows.size, int)
    found[inside] = labels[k[inside], j[inside], i[inside]]
    return found.reshape(PIXELS, PIXELS)[::-1]


def outline(image, labels, segmentation):
    """Draws the border of each label in the colour of its segment, in place."""
    for number in range(segmentation.GetNumberOfSegments()):
        segment = segmentation.GetNthSegment(number)
        draw_border(image, labels == segment.GetLabelValue(), segment.GetColor())


def draw_border(image, mask, colour):
    """mask: bool (rows, columns); colour: 0 to 1. In place."""
    inner = mask & np.all([np.roll(mask, shift, axis) for axis in (0, 1) for shift in (-1, 1)], axis=0)
    image[mask & ~inner] = np.multiply(colour, 255)


def main(scan_path, folder, picture, count=6):
    scene, _colours = make_scene()
    from BrainInpaintADLib import ResultImport, Results, Scene, SegmentExport
    from BrainInpaintADLib.Settings import Settings

    scan = load_scan(scene, Path(scan_path))
    logic = make_view(scene)
    result = ResultImport.importResult(Path(folder), scan, settings=Settings())
    Results.show(result, opacity=0.5)
    labels = slicer.util.arrayFromVolume(SegmentExport.exportLabelmap(result.segmentationNode, scan))
    matrix = Scene.worldMatrix(scan)
    busiest = np.sort(np.argsort((labels > 0).sum(axis=(1, 2)) + 1e-6 * np.arange(len(labels)))[-40:])
    tiles = []
    for k in busiest[np.linspace(0, len(busiest) - 1, int(count)).astype(int)]:
        centre = matrix @ [labels.shape[2] / 2, labels.shape[1] / 2, k, 1]
        look_at(logic, centre[:3])
        image = blended(logic)
        outline(image, sampled(logic, labels, matrix), result.segmentationNode.GetSegmentation())
        tiles.append(image)
    half = len(tiles) // 2
    grid = np.vstack([np.hstack(tiles[:half]), np.hstack(tiles[half : 2 * half])])
    matplotlib.image.imsave(picture, grid)


if __name__ == "__main__":
    main(*sys.argv[1:])
