"""Results whose truth is known, made by the core without a network: hot balls in a brain-shaped ellipsoid."""

from contextlib import contextmanager
from functools import cache
from zipfile import ZipFile

import numpy as np

from brain_inpaint_ad.findings import findings_csv
from brain_inpaint_ad.io import write_volume
from brain_inpaint_ad.prepare import Prepared
from brain_inpaint_ad.prepare.grid import GridSettings, mask_to_grid, model_grid
from brain_inpaint_ad.result import segment
from brain_inpaint_ad.segmentation.select import SegmentSettings
from brain_inpaint_ad.volume import Grid, Volume

_TURN = np.array([[-0.96, 0.28, 0], [-0.28, -0.96, 0], [0, 0, 1.0]])
OBLIQUE = np.eye(4)  # voxel (i, j, k) → RAS in mm: rotated about S, 3 × 3.5 × 5 mm
OBLIQUE[:3] = np.column_stack([_TURN * (3, 3.5, 5), (60, 90, -52)])
SAGITTAL = np.array([[0, 0, 3.2, -76], [-3, 0, 0, 70], [0, -3, 0, 66], [0, 0, 0, 1.0]])
AXIAL = np.array([[3, 0, 0, -80], [0, 3, 0, -66], [0, 0, 3, -66], [0, 0, 0, 1.0]])
QUARTER_TURN = np.array([[0, -1, 0, 50], [1, 0, 0, -20], [0, 0, 1, 8], [0, 0, 0, 1.0]])
TILT = np.array([[1, 0, 0, 1], [0, 0.8, -0.6, 2], [0, 0.6, 0.8, 3], [0, 0, 0, 1.0]])

SHAPE = (24, 44, 42)  # slices, rows, columns of the scan
THRESHOLD = 0.4
BALLS = (((0.28, 0.4, 0.4), 16.0, 0.8), ((0.74, 0.6, 0.55), 13.0, 0.7))  # place (share of the box), radius in mm, heat

_RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


def grid_of(matrix, shape=SHAPE):
    """The core's grid of an array whose voxels (i, j, k) lie in the world where `matrix` (to RAS) says."""
    lps = _RAS_TO_LPS @ matrix
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    direction = lps[:3, :3] / spacing
    return Grid(shape[::-1], tuple(map(float, spacing)), tuple(map(float, lps[:3, 3])), tuple(map(float, direction.ravel())))


@cache
def _made_before(numbers):
    return make_result(np.reshape(numbers, (4, 4)))


def make_result(matrix, *, shape=SHAPE, balls=BALLS, scale=75.0, model_spacing_mm=2.0, suits="slices"):
    """The core's Result; matrix: voxel (i, j, k) → world RAS in mm; suits: the segmentation its model's card names."""
    report = {"model": {"name": "known", "segmentation": suits}}
    grid = grid_of(matrix, shape)
    world = grid.to_world(np.argwhere(np.ones(shape, bool)))
    low, high = world.min(axis=0), world.max(axis=0)
    middle, radii = (low + high) / 2, np.minimum((high - low) / 2 * 0.85, (70, 80, 70))
    brain = ((((world - middle) / radii) ** 2).sum(axis=1) < 1).reshape(shape)
    share = 256 / model_spacing_mm
    model = model_grid(
        Volume(brain, grid), GridSettings(spacing_mm=model_spacing_mm, rows=int(share), columns=int(share * 0.75))
    )
    inside = mask_to_grid(Volume(brain, grid), model)
    places = model.to_world(np.argwhere(np.ones(model.shape, bool))).reshape(*model.shape, 3)
    rng = np.random.default_rng(0)
    image = 0.6 + 0.05 * rng.standard_normal(model.shape)
    heat = 0.1 + 0.02 * rng.random(model.shape)
    box = np.array([middle - radii, middle + radii])
    for place, radius_mm, hot in balls:
        near = np.linalg.norm(places - (box[0] + np.asarray(place) * (box[1] - box[0])), axis=-1) < radius_mm
        heat[near], image[near] = hot, 0.3 + 0.02 * rng.standard_normal(near.sum())
    image, heat = (np.where(inside, np.clip(array, 0, 1), 0).astype(np.float32) for array in (image, heat))
    scan = Volume(np.where(brain, 100, 0).astype(np.float32), grid, "scan.nrrd")
    prepared = Prepared(Volume(image, model, scan.name), inside, scan, brain, "given", (0.0, 20.0, 100.0, 150.0, 200.0))
    thresholds = {f"{kind}healthy_voxels_1_percent": THRESHOLD for kind in ("", "volume_", "scales_")}
    settings = SegmentSettings(min_volume_ml=1.0, scale=scale)
    return segment(prepared, heat, settings=settings, thresholds=thresholds, report=report)


def save(result, folder, *, reconstruction=True, recut=True):
    """The files the module reads."""
    folder.mkdir(parents=True, exist_ok=True)
    write_volume(result.heatmap, folder / "heatmap.nii.gz")
    write_volume(result.labelmap, folder / "anomalies.nii.gz")
    (folder / "findings.csv").write_text(findings_csv(result.findings), encoding="utf-8")
    if reconstruction:
        write_volume(result.heatmap.with_array(result.heatmap.array * 100), folder / "reconstruction.nii.gz")
    if recut:
        result.save_recut(folder / "recut.npz")


def put_under(node, *matrices):
    """Nests a node under linear transforms, innermost first; returns the transform nodes."""
    import slicer

    made = []
    for matrix in matrices:
        transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
        transform.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(matrix))
        node.SetAndObserveTransformNodeID(transform.GetID())
        made.append(transform)
        node = transform
    return made


@contextmanager
def slicer_modules(scene):
    """What Slicer's Colors and Segmentations modules bring to a scene: tables, colour bars, kinds of segments."""
    import slicer

    scene.RegisterNodeClass(slicer.vtkMRMLColorLegendDisplayNode())
    logics = [slicer.vtkMRMLColorLogic(), slicer.vtkSlicerSegmentationsModuleLogic()]
    for logic in logics:
        logic.SetMRMLScene(scene)
    logics[0].AddDefaultColorNodes()
    yield
    for logic in logics:
        logic.SetMRMLScene(None)


def paint(segmentation_node, identifier, mask, volume_node):
    """Fills a segment as the Segment Editor does; mask: (slices, rows, columns)."""
    import slicer
    from vtk.util.numpy_support import numpy_to_vtk

    image = slicer.vtkOrientedImageData()
    image.SetDimensions(mask.shape[::-1])
    image.GetPointData().SetScalars(numpy_to_vtk(mask.astype(np.uint8).ravel(), deep=True))
    matrix = slicer.vtkMRMLSliceNode().GetXYToRAS()
    volume_node.GetIJKToRASMatrix(matrix)
    image.SetImageToWorldMatrix(matrix)
    logic = slicer.vtkSlicerSegmentationsModuleLogic
    assert logic.SetBinaryLabelmapToSegment(image, segmentation_node, identifier, logic.MODE_REPLACE)


def add_result(add_volume, mrml_lib, folder, *, matrix=OBLIQUE, transforms=(), save_options=None, **settings):
    """(ResultNodes, the core's Result) of a scan with this matrix under these transforms."""
    world = matrix
    for transform in transforms:
        world = transform @ world
    truth = _made_before(tuple(world.ravel().tolist()))
    save(truth, folder, **(save_options or {}))
    scan = add_volume(truth.prepared.scan.array, matrix, "t1")
    scan.CreateDefaultDisplayNodes()
    put_under(scan, *transforms)
    chosen = mrml_lib("Settings").Settings(**{"model": "t1-inpaint", "windowMm": 32, "minVolumeMl": 1.0} | settings)
    return mrml_lib("ResultImport").importResult(folder, scan, settings=chosen), truth


def reloaded(scene, folder):
    """The scene as a new one, through .mrml and one file per node that can be stored, as Slicer's save dialog does."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(scene.GetNumberOfNodes()):
        node = scene.GetNthNode(number)
        if not node.IsA("vtkMRMLStorableNode") or node.GetHideFromEditors() or not node.GetSaveWithScene():
            continue
        if node.GetStorageNode() is None:
            node.AddDefaultStorageNode()
        if node.GetStorageNode() is not None:
            suffix = node.GetStorageNode().GetDefaultWriteFileExtension()
            node.GetStorageNode().SetFileName(str(folder / f"{node.GetID()}.{suffix}"))
            assert node.GetStorageNode().WriteData(node), node.GetName()
    scene.SetRootDirectory(str(folder))
    scene.SetURL(str(folder / "scene.mrml"))
    scene.Commit()
    return read_scene(folder / "scene.mrml")


def read_scene(path):
    """A new scene from a .mrml file."""
    import slicer

    found = slicer.vtkMRMLScene()
    with slicer_modules(found):
        found.SetRootDirectory(str(path.parent))
        found.SetURL(str(path))
        assert found.Connect()
    return found


def through_mrb(scene, folder):
    """The scene as a new one, through one .mrb file."""
    folder.mkdir(parents=True)
    assert scene.WriteToMRB(str(folder / "scene.mrb"))
    with ZipFile(folder / "scene.mrb") as bundle:
        bundle.extractall(folder)
    (path,) = folder.rglob("*.mrml")
    return read_scene(path)
