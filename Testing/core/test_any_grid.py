"""Any grid a scan may come on, 0.4 to 6 mm, any acquisition and handedness: places are ITK's, on the way in and back.

Volumes hold coordinates, computed by ITK: interpolation keeps them as they are, so a voxel in a wrong place shows.
"""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from brain_inpaint_ad.errors import InputError
from brain_inpaint_ad.io import from_image, read_scan
from brain_inpaint_ad.memory import BASE_MB, BYTES_PER_VOXEL, MemoryBound, free_mb, memory_bound, needed_mb
from brain_inpaint_ad.prepare import GridSettings, Prepared
from brain_inpaint_ad.prepare.grid import model_grid, to_model_grid
from brain_inpaint_ad.prepare.labels import resample_labels
from brain_inpaint_ad.volume import Grid, Volume

SPACINGS = (0.4, 0.9, 2.0, 3.3, 6.0)
ROUNDING_MM = 2e-3  # float32, a few hundred mm from the origin
SETTINGS = GridSettings(spacing_mm=2.0, rows=128, columns=96)


@st.composite
def grids(draw) -> Grid:
    """36 mm or more along each axis, so that smoothing has no border in its middle."""
    spacing = tuple(draw(st.sampled_from(SPACINGS)) for _ in range(3))
    size = tuple(max(8, round(36 / mm)) for mm in spacing)
    turned = Rotation.from_euler("xyz", [draw(st.floats(-30, 30)) for _ in range(3)], degrees=True).as_matrix()
    acquired = np.eye(3)[:, draw(st.sampled_from(list(permutations(range(3)))))]
    signs = [draw(st.sampled_from([-1.0, 1.0])) for _ in range(3)]
    direction = turned @ acquired * signs
    origin = tuple(draw(st.floats(-150, 150)) for _ in range(3))
    return Grid(size, spacing, origin, tuple(float(cosine) for cosine in direction.ravel()))


def coordinates(grid: Grid) -> np.ndarray:
    """LPS mm of every voxel as ITK computes them: (slices, rows, columns, 3)."""
    image = sitk.PhysicalPointSource(sitk.sitkVectorFloat64, grid.size, grid.origin, grid.spacing, grid.direction)
    return sitk.GetArrayFromImage(image)


def middle(grid: Grid, margin_mm: float) -> np.ndarray:
    """A ball around the centre of the field, bool of the grid's shape."""
    places = coordinates(grid)
    centre = (places[0, 0, 0] + places[-1, -1, -1]) / 2
    radius = min(size * mm for size, mm in zip(grid.size, grid.spacing, strict=True)) / 2 - margin_mm
    return np.linalg.norm(places - centre, axis=-1) < radius


@settings(max_examples=8, deadline=None)
@given(grids())
def test_on_the_model_grid_every_voxel_holds_its_own_place(grid):
    target = model_grid(Volume(middle(grid, 8.0), grid), SETTINGS)
    wanted, inside = coordinates(target), middle_of(target, grid)
    assert inside.sum() > 30
    for axis, values in enumerate(np.moveaxis(coordinates(grid), -1, 0)):
        there = to_model_grid(Volume(values, grid), target)
        np.testing.assert_allclose(there[inside], wanted[..., axis][inside], atol=ROUNDING_MM)


def middle_of(target: Grid, grid: Grid) -> np.ndarray:
    """Voxels of `target` well within the field of `grid`."""
    places = coordinates(grid)
    centre = (places[0, 0, 0] + places[-1, -1, -1]) / 2
    return np.linalg.norm(coordinates(target) - centre, axis=-1) < 8.0


@settings(max_examples=8, deadline=None)
@given(grids())
def test_heat_and_labels_come_back_to_where_they_were(grid):
    brain = middle(grid, 8.0)
    target = model_grid(Volume(brain, grid), SETTINGS)
    image = Volume(np.zeros(target.shape, np.float32), target)
    prepared = Prepared(image, np.ones(target.shape, bool), Volume(np.zeros(grid.shape, np.float32), grid), brain, "given")
    deep = brain & middle(grid, 11.0)
    for axis, values in enumerate(np.moveaxis(coordinates(target), -1, 0)):
        heat = prepared.to_scan(values.astype(np.float32))
        assert heat.grid == grid
        np.testing.assert_allclose(heat.array[deep], coordinates(grid)[..., axis][deep], atol=ROUNDING_MM)
    ball = np.linalg.norm(coordinates(target) - coordinates(target)[brain_centre(target)], axis=-1) < 6.0
    labels = resample_labels(ball.astype(np.int32), target, grid, within=np.ones(grid.shape, bool))
    itk = sitk.Resample(as_image(ball.astype(np.uint8), target), as_image(labels, grid), sitk.Transform(), sitk.sitkLabelLinear)
    assert (labels != sitk.GetArrayFromImage(itk)).mean() < 1e-3  # halves are background here
    assert labels.any()


def brain_centre(grid: Grid) -> tuple[int, ...]:
    return tuple(size // 2 for size in grid.shape)


def as_image(array: np.ndarray, grid: Grid) -> sitk.Image:
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(grid.spacing)
    image.SetOrigin(grid.origin)
    image.SetDirection(grid.direction)
    return image


@settings(max_examples=10, deadline=None)
@given(grids(), st.sampled_from([".nii", ".nii.gz", ".nrrd", ".mha"]))
def test_a_file_of_any_grid_is_read_with_its_voxels_where_itk_wrote_them(tmp_path_factory, grid, suffix):
    path = tmp_path_factory.mktemp("grid") / f"scan{suffix}"
    values = coordinates(grid)[..., 2].astype(np.float32)
    sitk.WriteImage(as_image(values, grid), str(path))
    read = read_scan(path)
    assert read.grid.is_same_place(from_image(as_image(values, grid)).grid, tolerance_mm=1e-3)  # NIfTI keeps float32
    np.testing.assert_array_equal(read.array, values)


# Memory: known from the header, before the work.


def a_wide_file(folder, size=(200, 200, 200)):
    """8 million voxels, nearly all 0."""
    image = sitk.Image(size, sitk.sitkInt16)
    image[5, 5, 5] = 1
    path = folder / "wide.nrrd"
    sitk.WriteImage(image, str(path), useCompression=True)
    return path


def test_a_scan_that_would_take_more_memory_than_allowed_is_refused_by_its_header(a_tiny_model, tmp_path, run_cli):
    path = a_wide_file(tmp_path)
    answer = run_cli("detect", path, "--out", tmp_path / "out", "--model", a_tiny_model, "--max-memory", 1000)
    needed = BASE_MB + 8e6 * BYTES_PER_VOXEL / 1e6
    assert answer.code == 1
    assert (
        f"200×200×200 voxels and would take about {needed:.0f} MB of memory, more than the 1000 MB that are allowed"
        in answer.err
    )
    assert "resample" not in answer.err  # no scan is small enough for 1000 MB
    assert not (tmp_path / "out").exists()


def test_a_scan_that_would_fit_when_it_is_coarser_is_told_how_many_voxels_would():
    with pytest.raises(InputError, match=r"resample it to 5\.0 million voxels first .* or allow more with --max-memory"):
        MemoryBound(BASE_MB + 5.04 * BYTES_PER_VOXEL).check((200, 200, 200), "wide.nii")
    MemoryBound(BASE_MB + 5.04 * BYTES_PER_VOXEL).check((250, 200, 100), "less.nii")


def test_what_is_free_bounds_a_run_without_a_wish():
    bound = memory_bound(None)
    assert bound.limit_mb == pytest.approx(free_mb(), rel=0.5)
    with pytest.raises(
        InputError, match=r"this machine has free; resample it to .* million voxels first .* or close other programs"
    ):
        bound.check((10**5, 10**5, 10**5), "wide.nii")
    assert needed_mb((100, 100, 100)) == BASE_MB + BYTES_PER_VOXEL


@pytest.mark.parametrize(
    ("bound", "maps_mb"), [(MemoryBound(8000), 1000), (MemoryBound(1200), 300), (MemoryBound(50, True), 1000)]
)
def test_maps_take_a_share_of_what_is_allowed_and_never_depend_on_what_is_free(bound, maps_mb):
    assert bound.maps_mb(1000) == maps_mb
