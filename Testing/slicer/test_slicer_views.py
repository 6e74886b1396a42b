"""Views that follow a finding, on real slice nodes."""

import numpy as np
import pytest
from known_result import slicer_modules


@pytest.fixture
def views(mrml_lib):
    return mrml_lib("Views")


@pytest.fixture
def slice_views(a_scene):
    """Red, Green and Yellow, 100 mm wide, around the origin."""
    import slicer

    slicer.vtkMRMLSliceNode.AddDefaultSliceOrientationPresets(a_scene)
    nodes = []
    for name, orientation in (("Green", "Coronal"), ("Red", "Axial"), ("Yellow", "Sagittal")):
        node = a_scene.AddNewNodeByClass("vtkMRMLSliceNode", name)
        node.SetLayoutName(name)
        node.SetOrientation(orientation)
        node.SetDimensions(200, 200, 1)
        node.SetFieldOfView(100, 100, 1)
        nodes.append(node)
    return nodes


def off_plane(node, point):
    """mm between the point and the view's plane."""
    import slicer

    matrix = slicer.util.arrayFromVTKMatrix(node.GetSliceToRAS())
    return abs((np.asarray(point) - matrix[:3, 3]) @ matrix[:3, 2])


def middle_of(node):
    import slicer

    return slicer.util.arrayFromVTKMatrix(node.GetSliceToRAS())[:3, 3]


def test_every_view_shows_the_point_and_moves_no_more_than_it_must(views, a_scene, slice_views):
    point = (20.0, -15.0, 30.0)
    views.jumpTo(a_scene, point)
    for node in slice_views:
        assert off_plane(node, point) < 1e-6
    np.testing.assert_allclose(middle_of(slice_views[1]), (0, 0, 30))  # the axial view is not shifted in its plane


def test_a_view_that_would_not_show_the_point_is_centred_on_it(views, a_scene, slice_views):
    point = (20.0, -15.0, 80.0)  # beyond the 50 mm that coronal and sagittal views reach up
    views.jumpTo(a_scene, point)
    np.testing.assert_allclose(middle_of(slice_views[0]), point)
    np.testing.assert_allclose(middle_of(slice_views[2]), point)
    np.testing.assert_allclose(middle_of(slice_views[1]), (0, 0, 80))


def test_the_red_view_is_the_axial_one(views, a_scene, slice_views):
    slice_views[1].JumpSliceByOffsetting(0, 0, 12)
    assert views.axialPoint(a_scene) == pytest.approx((0, 0, 12))


def test_when_red_was_turned_another_axial_view_counts(views, a_scene, slice_views):
    slice_views[1].SetOrientation("Sagittal")
    slice_views[0].SetOrientation("Axial")
    slice_views[0].JumpSliceByOffsetting(0, 0, -7)
    assert views.axialPoint(a_scene) == pytest.approx((0, 0, -7))


def test_without_views_there_is_no_axial_point(views, a_scene):
    assert views.axialPoint(a_scene) is None
    views.jumpTo(a_scene, (0.0, 0.0, 0.0))


def test_surfaces_come_and_go(mrml_lib, views, a_scene, a_scan, some_anomalies):
    with slicer_modules(a_scene):
        node = mrml_lib("Segments").addToScene(some_anomalies, a_scan, "found", a_scan)
        assert not views.is3DShown(node)
        views.show3D(node, True)
        assert views.is3DShown(node)
        surface = node.GetClosedSurfaceInternalRepresentation("Anomaly_1")
        assert surface.GetNumberOfPoints() > 0
        views.show3D(node, False)
        assert not views.is3DShown(node)
