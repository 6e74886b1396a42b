"""The heatmap as it is seen: the blended slice image of a real slice logic."""

import numpy as np
import pytest
from vtk.util.numpy_support import vtk_to_numpy


def import_result(mrml_lib, folder, scan, model="t1-inpaint"):
    chosen = mrml_lib("Settings").Settings(model=model, windowMm=0 if model == "t1-evidence" else 32)
    return mrml_lib("ResultImport").importResult(folder, scan, settings=chosen)


SLICE_MM = 3.25 + 5 * 8  # the middle of slice 8 of the oblique scan, along S


@pytest.fixture
def slicers_colours(a_scene):
    """The colour tables every Slicer scene has."""
    import slicer

    logic = slicer.vtkMRMLColorLogic()
    logic.SetMRMLScene(a_scene)
    logic.AddDefaultColorNodes()
    yield
    logic.SetMRMLScene(None)


@pytest.fixture
def a_slice_view(a_scene, slicers_colours):
    """An axial slice view without a window: gives the blended image, uint8 (rows, columns, RGBA)."""
    import slicer

    slicer.vtkMRMLSliceNode.AddDefaultSliceOrientationPresets(a_scene)
    logic = slicer.vtkMRMLSliceLogic()
    logic.SetMRMLScene(a_scene)
    node = logic.AddSliceNode("Red")
    node.SetOrientation("Axial")

    def show():
        node.SetDimensions(120, 120, 1)
        node.SetFieldOfView(40, 40, 1)
        node.JumpSliceByCentering(2, -21, SLICE_MM)
        logic.UpdatePipeline()
        logic.GetBlend().Update()
        image = logic.GetBlend().GetOutput()
        columns, rows, _ = image.GetDimensions()
        return vtk_to_numpy(image.GetPointData().GetScalars()).reshape(rows, columns, -1).copy()

    yield show
    logic.SetMRMLScene(None)


def coloured(image):
    """Pixels that are not grey."""
    channels = image[..., :3].astype(int)
    return int((np.ptp(channels, axis=-1) > 8).sum())


@pytest.fixture
def a_result(mrml_lib, a_scan, some_anomalies, write_result, tmp_path):
    """Hot (0.8) inside anomaly 2, lukewarm (0.1) elsewhere in the brain."""
    heat = np.full(some_anomalies.shape, 0.1, np.float32)
    heat[some_anomalies == 2] = 0.8
    write_result(tmp_path, some_anomalies, like=a_scan, heat=heat)
    return import_result(mrml_lib, tmp_path, a_scan)


def test_only_the_hot_region_is_coloured(mrml_lib, a_slice_view, a_scan, a_result):
    mrml_lib("SliceLayers").showOverlay(a_scan, a_result.heatmapNode, opacity=0.6)
    pixel_mm2 = (40 / 120) ** 2
    hot_mm2 = 5 * 1.1 * 3 * 0.9  # rows × columns of anomaly 2, in the plane
    # interpolation between 0.8 and 0.1 draws the threshold half a voxel outwards on each side: at most +1 voxel a side
    limits = hot_mm2 / pixel_mm2, 6 * 1.1 * 4 * 0.9 / pixel_mm2
    assert limits[0] * 0.9 < coloured(a_slice_view()) < limits[1] * 1.1


def test_no_opacity_leaves_the_scan_alone(mrml_lib, a_slice_view, a_scan, a_result):
    layers = mrml_lib("SliceLayers")
    layers.showOverlay(a_scan, a_result.heatmapNode, opacity=0.6)
    layers.setOpacity(a_result.heatmapNode, 0.0)
    assert coloured(a_slice_view()) == 0


def test_the_slider_does_not_touch_another_foreground(mrml_lib, a_scene, a_slice_view, a_scan, a_result, add_volume):
    import slicer

    other = add_volume(np.ones((3, 4, 5), np.float32), name="another foreground")
    slicer.util.setSliceViewerLayers(foreground=other, foregroundOpacity=0.7)
    mrml_lib("SliceLayers").setOpacity(a_result.heatmapNode, 0.1)
    assert a_scene.GetFirstNodeByClass("vtkMRMLSliceCompositeNode").GetForegroundOpacity() == 0.7


def test_the_scan_keeps_its_own_display(mrml_lib, a_scan, some_anomalies, write_result, tmp_path):
    a_scan.CreateDefaultDisplayNodes()
    time = a_scan.GetDisplayNode().GetMTime()
    write_result(tmp_path, some_anomalies, like=a_scan)
    result = import_result(mrml_lib, tmp_path, a_scan)
    assert result.heatmapNode.GetDisplayNode() is not a_scan.GetDisplayNode()
    assert a_scan.GetDisplayNode().GetMTime() == time


def test_what_the_views_showed_before_a_heatmap_comes_back_but_not_where_the_user_chose_anew(
    mrml_lib, a_scene, a_scan, a_result, add_volume
):
    layers = mrml_lib("SliceLayers")
    others = [add_volume(np.ones((3, 4, 5), np.float32), name=f"other {number}") for number in range(4)]
    views = [a_scene.AddNewNodeByClass("vtkMRMLSliceCompositeNode") for _ in range(3)]
    for view, foreground in zip(views, others, strict=False):
        view.SetBackgroundVolumeID(others[3].GetID())
        view.SetForegroundVolumeID(foreground.GetID())
        view.SetForegroundOpacity(0.25)
    before = layers.layers(a_scene)
    layers.showOverlay(a_scan, a_result.heatmapNode, opacity=0.6)
    views[1].SetForegroundVolumeID(a_scan.GetID())
    a_scene.RemoveNode(others[2])
    layers.setLayers(before, insteadOf=a_result.heatmapNode)
    found = [(view.GetBackgroundVolumeID(), view.GetForegroundVolumeID(), view.GetForegroundOpacity()) for view in views]
    assert found == [
        (others[3].GetID(), others[0].GetID(), 0.25),
        (a_scan.GetID(), a_scan.GetID(), 0.6),
        (others[3].GetID(), None, 0.25),
    ]


def test_slicers_own_colours_are_preferred(mrml_lib, a_scene, a_slice_view, a_scan, a_result):
    import slicer

    heatmap = mrml_lib("Heatmap")
    heatmap.setColourMap(a_result.heatmapNode, "Iron")
    assert a_result.heatmapNode.GetDisplayNode().GetColorNodeID() == "vtkMRMLColorTableNodeIron"
    shipped = slicer.vtkMRMLColorTableNode()  # the files of the real application are not in slicer-core
    shipped.SetTypeToUser()
    shipped.SetNumberOfColors(2)
    shipped.SetName("Viridis")
    a_scene.AddNode(shipped)
    shipped = a_scene.GetFirstNodeByName("Viridis")
    heatmap._SLICERS_OWN["Viridis"] = shipped.GetID()
    heatmap.setColourMap(a_result.heatmapNode, "Viridis")
    assert a_result.heatmapNode.GetDisplayNode().GetColorNode() is shipped


def test_every_colour_map_can_be_chosen_and_is_told_back(mrml_lib, a_scene, a_slice_view, a_result):
    heatmap = mrml_lib("Heatmap")
    assert heatmap.colourMap(a_result.heatmapNode) == heatmap.COLOUR_MAPS[0]
    nodes = set()
    for name in (*heatmap.COLOUR_MAPS, *heatmap.COLOUR_MAPS):
        heatmap.setColourMap(a_result.heatmapNode, name)
        assert heatmap.colourMap(a_result.heatmapNode) == name
        nodes.add(a_result.heatmapNode.GetDisplayNode().GetColorNodeID())
    assert len(nodes) == len(heatmap.COLOUR_MAPS)
    a_result.heatmapNode.GetDisplayNode().SetAndObserveColorNodeID("vtkMRMLColorTableNodeGrey")
    assert heatmap.colourMap(a_result.heatmapNode) == ""
    with pytest.raises(heatmap.HeatmapError, match="choose one of Inferno"):
        heatmap.setColourMap(a_result.heatmapNode, "Sepia")


def test_colours_grow_brighter_with_the_heat(mrml_lib, a_scene, a_result):
    heatmap = mrml_lib("Heatmap")
    for name in heatmap.COLOUR_MAPS:
        heatmap.setColourMap(a_result.heatmapNode, name)
        table = a_result.heatmapNode.GetDisplayNode().GetColorNode().GetLookupTable()
        colours = vtk_to_numpy(table.GetTable())[:, :3] @ [0.299, 0.587, 0.114]
        assert (np.diff(colours[::16]) > 0).all(), name


def test_the_threshold_decides_what_is_seen(mrml_lib, a_slice_view, a_scan, a_result):
    heatmap = mrml_lib("Heatmap")
    mrml_lib("SliceLayers").showOverlay(a_scan, a_result.heatmapNode, opacity=0.6)
    low, high = heatmap.thresholdRange(a_result.heatmapNode)
    assert (low, high) == (0.0, pytest.approx(0.8))
    seen = []
    for least in (0.0, 0.3, high + 0.01):
        heatmap.setThreshold(a_result.heatmapNode, least)
        assert heatmap.threshold(a_result.heatmapNode) == pytest.approx(least)
        seen.append(coloured(a_slice_view()))
    assert seen[0] > seen[1] > seen[2] == 0


def test_the_colour_bar_comes_and_goes(mrml_lib, a_scene, a_result, node_ids):
    import slicer

    heatmap = mrml_lib("Heatmap")
    heatmap.setColourBar(a_result.heatmapNode, True)  # the Colors module is not there
    assert not heatmap.isColourBarShown(a_result.heatmapNode)
    a_scene.RegisterNodeClass(slicer.vtkMRMLColorLegendDisplayNode())
    before = node_ids()
    heatmap.setColourBar(a_result.heatmapNode, False)
    assert node_ids() == before
    for isShown in (True, False, True):
        heatmap.setColourBar(a_result.heatmapNode, isShown)
        assert heatmap.isColourBarShown(a_result.heatmapNode) == isShown
    assert len(node_ids() - before) == 1
    assert a_result.heatmapNode.GetDisplayNode().IsA("vtkMRMLScalarVolumeDisplayNode")


def test_views_keep_their_place_when_the_reconstruction_comes_in(mrml_lib, a_scene, a_scan, a_result, add_volume, monkeypatch):
    import slicer

    fitted = []
    a_scene.AddNewNodeByClass("vtkMRMLSliceCompositeNode")
    set_layers = slicer.util.setSliceViewerLayers
    monkeypatch.setattr(slicer, "app", object(), raising=False)
    monkeypatch.setattr(
        slicer.util, "setSliceViewerLayers", lambda *, fit, **layers: (fitted.append(fit), set_layers(**layers))
    )
    reconstructions = [add_volume(slicer.util.arrayFromVolume(a_scan), name=f"healthy {number}") for number in range(2)]
    for node in reconstructions:
        node.SetNodeReferenceID("BrainInpaintAD.scan", a_scan.GetID())
    for behind in (None, *reconstructions, None):  # two windows, one after the other
        mrml_lib("SliceLayers").showOverlay(a_scan, a_result.heatmapNode, opacity=0.5, backgroundNode=behind)
    assert fitted == [True, False, False, False]


def test_two_heatmaps_share_one_table_of_our_own(mrml_lib, a_scene, a_scan, some_anomalies, write_result, tmp_path):
    write_result(tmp_path, some_anomalies, like=a_scan)
    nodes = [import_result(mrml_lib, tmp_path, a_scan).heatmapNode for _ in range(2)]
    assert len({node.GetDisplayNode().GetColorNodeID() for node in nodes}) == 1


def test_the_colour_range_ignores_an_outlier_and_the_background(mrml_lib):
    heat = np.zeros(20_001)
    heat[:10_001] = np.linspace(0.1, 0.5, 10_001)
    heat[0] = 50.0
    two_ranks = 2 * 0.4 / 10_000  # the outlier pushes every other value down by one rank, and percentiles interpolate
    assert mrml_lib("Heatmap").heatRange(heat) == pytest.approx((0.3, 0.5 - 0.0004), abs=two_ranks)


@pytest.fixture
def rarity(mrml_lib, a_scan, some_anomalies, write_result, tmp_path):
    """A heatmap of rarity with this heat in anomaly 2 and 0.3 elsewhere, which is half of all healthy voxels."""

    def make(hottest):
        heat = np.where(some_anomalies == 2, hottest, 0.3).astype(np.float32)
        write_result(tmp_path, some_anomalies, like=a_scan, heat=heat)
        return import_result(mrml_lib, tmp_path, a_scan, "t1-evidence")

    return make


@pytest.mark.parametrize("hottest", [1.5, 4.0, 9.0])
def test_rarity_has_the_same_colours_in_every_scan_and_hides_what_is_common(mrml_lib, rarity, hottest):
    node = rarity(hottest).heatmapNode
    display = node.GetDisplayNode()
    assert (display.GetWindowLevelMin(), display.GetWindowLevelMax()) == (0.0, 6.0)
    assert mrml_lib("Heatmap").thresholdRange(node) == (0.0, 6.0)
    assert mrml_lib("Heatmap").threshold(node) == pytest.approx(2.0)  # 1 in 100


def test_only_what_is_rare_is_coloured(mrml_lib, a_slice_view, a_scan, rarity):
    seen = []
    for hottest in (4.0, 1.5):
        mrml_lib("SliceLayers").showOverlay(a_scan, rarity(hottest).heatmapNode, opacity=0.6)
        seen.append(coloured(a_slice_view()))
    assert seen[0] > seen[1] == 0


@pytest.mark.parametrize(
    ("heat", "text"),
    [
        (0.0, "1 in 1 healthy voxels"),
        (0.3, "1 in 2 healthy voxels"),
        (2, "1 in 100 healthy voxels"),
        (3.0, "1 in 1,000 healthy voxels"),
        (3.4, "1 in 2,500 healthy voxels"),
        (5.0, "1 in 100,000 healthy voxels"),
        (7.2, "fewer than 1 in 100,000 healthy voxels"),
    ],
)
def test_rarity_is_told_in_words(mrml_lib, heat, text):
    assert mrml_lib("Heatmap").rarityText(heat) == text


def test_the_colour_bar_says_what_its_numbers_mean(mrml_lib, a_scene, a_result, rarity):
    import slicer

    a_scene.RegisterNodeClass(slicer.vtkMRMLColorLegendDisplayNode())
    heatmap, titles = mrml_lib("Heatmap"), []
    for node in (a_result.heatmapNode, rarity(4.0).heatmapNode):
        heatmap.setColourBar(node, True)
        titles.append(slicer.vtkSlicerColorLogic.GetColorLegendDisplayNode(node).GetTitleText().replace("\n", " "))
    assert titles == ["Heat", "Heat (3: 1 in 1,000 healthy voxels)"]


def test_a_model_that_is_gone_leaves_heat_without_a_unit(mrml_lib, a_scan, some_anomalies, write_result, tmp_path):
    write_result(tmp_path, some_anomalies, like=a_scan)
    assert not import_result(mrml_lib, tmp_path, a_scan, "t1-gone").isRarity


@pytest.mark.parametrize("level", [0.0, 0.2])
def test_an_even_heatmap_shows_nothing(mrml_lib, a_scan, some_anomalies, write_result, tmp_path, level):
    write_result(tmp_path, some_anomalies, like=a_scan, heat=np.full(some_anomalies.shape, level, np.float32))
    display = import_result(mrml_lib, tmp_path, a_scan).heatmapNode.GetDisplayNode()
    assert display.GetApplyThreshold()
    assert display.GetLowerThreshold() > level


def test_views_are_refitted_only_when_another_scan_comes_in(mrml_lib, a_scene, a_scan, a_result, monkeypatch):
    import slicer

    fitted = []
    a_scene.AddNewNodeByClass("vtkMRMLSliceCompositeNode")
    set_layers = slicer.util.setSliceViewerLayers
    monkeypatch.setattr(slicer, "app", object(), raising=False)

    def watch(*, fit, **layers):
        fitted.append(fit)
        set_layers(**layers)

    monkeypatch.setattr(slicer.util, "setSliceViewerLayers", watch)
    for _ in range(2):
        mrml_lib("SliceLayers").showOverlay(a_scan, a_result.heatmapNode, opacity=0.5)
    assert fitted == [True, False]
