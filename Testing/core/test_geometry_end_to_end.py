"""However a scan is stored, its results lie on its grid and in the right place of the world."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from brain_inpaint_ad.io import read_scan, to_image
from brain_inpaint_ad.phantom import Lesion, PhantomSettings, make_phantom

LESION = Lesion(centre_mm=(30.0, 10.0, 20.0), radius_mm=15.0)  # that of a_phantom


def plain(image: sitk.Image) -> sitk.Image:
    return image


def oblique(_: sitk.Image) -> sitk.Image:
    """The same head sampled anew on turned axes."""
    settings = PhantomSettings(spacing_mm=4.0, lesions=(LESION,), rotation_degrees=(12.0, -8.0, 15.0))
    return to_image(make_phantom(settings).scan)


def in_thick_slices(_: sitk.Image) -> sitk.Image:
    """The same head sampled anew in slices of 5 mm."""
    settings = PhantomSettings(spacing_mm=(1.5, 1.5, 5.0), lesions=(LESION,), rotation_degrees=(0.0, 5.0, 0.0))
    return to_image(make_phantom(settings).scan)


def sagittal(image: sitk.Image) -> sitk.Image:
    """The same voxels, stored slice by slice from the left to the right."""
    return sitk.PermuteAxes(image, [1, 2, 0])


def a_coronal_stack(_: sitk.Image) -> sitk.Image:
    """The same head in coronal slices of 6 mm, as quick 2-D sequences take them: columns to the left, rows down."""
    fine = make_phantom(PhantomSettings(spacing_mm=(1.5, 6.0, 1.5), lesions=(LESION,))).scan
    return sitk.Flip(sitk.PermuteAxes(to_image(fine), [0, 2, 1]), (False, True, False))


def left_handed(image: sitk.Image) -> sitk.Image:
    """The same voxels, the columns stored the other way round."""
    flipped = sitk.GetImageFromArray(sitk.GetArrayFromImage(image)[:, :, ::-1])
    flipped.SetSpacing(image.GetSpacing())
    flipped.SetOrigin(image.TransformIndexToPhysicalPoint((image.GetWidth() - 1, 0, 0)))
    flipped.SetDirection(np.diag([-1.0, 1.0, 1.0]).ravel())
    return flipped


STORED: dict[str, tuple[Callable[[sitk.Image], sitk.Image], str]] = {
    "plain .nii.gz": (plain, "t1.nii.gz"),
    "oblique .nii.gz": (oblique, "t1.nii.gz"),
    "thick slices .nii.gz": (in_thick_slices, "t1.nii.gz"),
    "coronal 2-D stack .nii.gz": (a_coronal_stack, "t1.nii.gz"),
    "sagittal .nrrd": (sagittal, "t1.nrrd"),
    "left-handed .mha": (left_handed, "t1.mha"),
}


@pytest.fixture(params=STORED, scope="module")
def a_stored_scan(
    request, a_phantom, a_finished_run, a_tiny_model, tmp_path_factory, run_cli_in_a_process
) -> tuple[sitk.Image, Path]:
    """A scan as it was written, and the folder of its results."""
    store, name = STORED[request.param]
    folder = tmp_path_factory.mktemp("stored")
    image = store(to_image(a_phantom.scan))
    if store is plain:
        return image, a_finished_run[1]
    sitk.WriteImage(image, str(folder / name))
    answer = run_cli_in_a_process("detect", folder / name, "--out", folder / "out", "--model", a_tiny_model)
    assert (answer.code, answer.err) == (0, "")
    return image, folder / "out"


@pytest.fixture(scope="module")
def the_heat(a_finished_run) -> sitk.Image:
    """Of the plain phantom."""
    return sitk.ReadImage(str(a_finished_run[1] / "heatmap.nii.gz"))


@pytest.mark.parametrize("name", ["heatmap.nii.gz", "anomalies.nii.gz"])
def test_results_lie_on_the_grid_of_the_scan(name, a_stored_scan):
    scan, out = a_stored_scan
    result = sitk.ReadImage(str(out / name))
    assert result.GetSize() == scan.GetSize()
    # NIfTI keeps a place as float32 numbers and a quaternion.
    np.testing.assert_allclose(result.GetSpacing(), scan.GetSpacing(), rtol=1e-6)
    np.testing.assert_allclose(result.GetOrigin(), scan.GetOrigin(), atol=1e-4)
    np.testing.assert_allclose(result.GetDirection(), scan.GetDirection(), atol=1e-6)
    last = [size - 1 for size in scan.GetSize()]
    apart = np.subtract(result.TransformIndexToPhysicalPoint(last), scan.TransformIndexToPhysicalPoint(last))
    assert np.abs(apart).max() < 1e-3


def test_the_heat_is_where_it_is_in_the_plain_scan(a_stored_scan, the_heat):
    _, out = a_stored_scan
    heat = sitk.ReadImage(str(out / "heatmap.nii.gz"))
    assert likeness(heat, the_heat) > 0.95
    for axis in range(3):
        assert likeness(heat, mirrored(the_heat, axis)) < 0.95, "heat in a wrong place must not pass"


def test_the_table_says_where_the_labels_are(a_stored_scan):
    _, out = a_stored_scan
    shapes = sitk.LabelShapeStatisticsImageFilter()
    shapes.Execute(sitk.ReadImage(str(out / "anomalies.nii.gz")))
    with (out / "findings.csv").open(newline="", encoding="utf-8") as table:
        rows = list(csv.DictReader(table))
    assert [int(row["label"]) for row in rows] == list(shapes.GetLabels()) != []
    for row in rows:
        left, posterior, superior = shapes.GetCentroid(int(row["label"]))
        place = [float(row[axis]) for axis in ("r_mm", "a_mm", "s_mm")]
        np.testing.assert_allclose(place, (-left, -posterior, superior), atol=0.01)
        assert float(row["volume_ml"]) == pytest.approx(shapes.GetPhysicalSize(int(row["label"])) / 1000, rel=1e-4)


def test_nii_and_nii_gz_of_one_name_are_not_mixed_up(a_phantom, tmp_path):
    """ITK would read the voxels of the one beside."""
    image = to_image(a_phantom.scan)
    sitk.WriteImage(image, str(tmp_path / "t1.nii.gz"))
    sitk.WriteImage(sagittal(image) * 2, str(tmp_path / "t1.nii"))
    np.testing.assert_array_equal(read_scan(tmp_path / "t1.nii.gz").array, a_phantom.scan.array)


def likeness(heat: sitk.Image, other: sitk.Image) -> float:
    """Correlation where both have heat, `other` taken to the grid of `heat`."""
    first, second = (sitk.GetArrayFromImage(image) for image in (heat, sitk.Resample(other, heat)))
    both = (first > 0) & (second > 0)
    return float(np.corrcoef(first[both], second[both])[0, 1])


def mirrored(image: sitk.Image, axis: int) -> sitk.Image:
    """The same values in the wrong place."""
    flipped = sitk.GetImageFromArray(np.flip(sitk.GetArrayFromImage(image), 2 - axis))
    flipped.CopyInformation(image)
    return flipped
