"""DICOM folders: read as GDCM reads them, refused by name where they make no grid, answered with a SEG that fits."""

from __future__ import annotations

import gzip
import json
import re
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image

pytest.importorskip("highdicom")
import highdicom
import pydicom
from dicom_files import IDENTIFIERS, save_classic, save_enhanced

from brain_inpaint_ad.dicom import list_folder, open_scan
from brain_inpaint_ad.dicom.seg import write_seg
from brain_inpaint_ad.errors import FormatError, InputError, SettingsError
from brain_inpaint_ad.io import from_image, to_image
from brain_inpaint_ad.phantom import Lesion, PhantomSettings, make_phantom
from brain_inpaint_ad.volume import Grid, Volume

ROUNDING_MM = 1e-4  # a decimal string has ten digits here


@pytest.fixture(scope="module")
def a_volume() -> Volume:
    """Uneven voxels on turned axes, no two values alike."""
    turned = np.reshape(sitk.Euler3DTransform((0, 0, 0), 0.3, -0.2, 0.5).GetMatrix(), (3, 3))
    grid = Grid((9, 10, 12), (1.5, 2.0, 3.0), (-40.0, 22.5, -31.0), tuple(turned.ravel()))
    return Volume(np.arange(9 * 10 * 12, dtype=np.float32).reshape(grid.shape), grid, "a volume")


def axes_in_another_order(volume: Volume, order: list[int]) -> Volume:
    """The same voxels, acquired sagittally or coronally; right-handed, as all DICOM is."""
    image = sitk.PermuteAxes(to_image(volume), order)
    if np.linalg.det(np.reshape(image.GetDirection(), (3, 3))) < 0:
        image = sitk.Flip(image, (False, False, True))
    return from_image(image, "reordered")


@pytest.mark.parametrize("order", [[0, 1, 2], [1, 2, 0], [0, 2, 1]], ids=["axial", "sagittal", "coronal"])
def test_a_classic_series_is_read_as_gdcm_reads_it_and_as_it_was_written(order, a_volume, tmp_path):
    volume = axes_in_another_order(a_volume, order)
    folder = save_classic(volume, tmp_path / "series")
    read = open_scan(folder)
    assert read.grid.is_same_place(volume.grid, tolerance_mm=ROUNDING_MM)
    np.testing.assert_array_equal(read.array, volume.array)
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    theirs = from_image(reader.Execute())
    assert read.grid.is_same_place(theirs.grid, tolerance_mm=ROUNDING_MM)
    np.testing.assert_array_equal(read.array, theirs.array)


def test_every_slice_has_its_own_slope_and_intercept(a_volume, tmp_path):
    folder = save_classic(a_volume, tmp_path, scale=lambda slice_: (0.25 + slice_ / 8, -3.0 * slice_))
    coarsest = 0.25 + 11 / 8
    np.testing.assert_allclose(open_scan(folder).array, a_volume.array, atol=coarsest / 2)


def test_a_multi_frame_file_is_read_as_the_classic_series_is(a_volume, tmp_path):
    read = open_scan(save_enhanced(a_volume, tmp_path / "IM1"))
    assert read.grid.is_same_place(a_volume.grid, tolerance_mm=ROUNDING_MM)
    np.testing.assert_allclose(read.array, a_volume.array, atol=0.31)  # half the coarsest slope


def test_the_only_series_with_enough_slices_is_the_scan(a_volume, tmp_path):
    save_classic(a_volume, tmp_path / "a", number=7)
    save_classic(a_volume, tmp_path / "b", number=1, description="localizer", keep=range(3))
    assert open_scan(tmp_path).name == "DICOM series 7"


def test_of_several_series_one_is_chosen_by_number_or_uid_and_all_are_listed(a_volume, tmp_path, monkeypatch, run_cli):
    save_classic(a_volume, tmp_path / "a", number=3)
    save_classic(a_volume.with_array(a_volume.array + 1), tmp_path / "b", number=4, description="t2 tse")
    with pytest.raises(SettingsError, match=r"3: t1 mprage, 12 images; 4: t2 tse, 12 images\); choose one with --series"):
        open_scan(tmp_path)
    with pytest.raises(SettingsError, match="no series 5; it holds 3: t1 mprage"):
        open_scan(tmp_path, series="5")
    second = open_scan(tmp_path, series="4")
    assert second.array.min() == 1
    uid = pydicom.dcmread(next((tmp_path / "b").iterdir())).SeriesInstanceUID
    np.testing.assert_array_equal(open_scan(tmp_path, series=uid).array, second.array)
    for columns in ("200", "20"):
        monkeypatch.setenv("COLUMNS", columns)
        listed = run_cli("series", tmp_path)
        assert listed.code == 0
        assert re.search(r"^4 +t2 tse +MR +12 +" + re.escape(uid) + " *$", listed.out, re.MULTILINE)


@pytest.mark.parametrize(
    ("name", "description", "shown"),
    [
        ("Li^Wu", "T1 LI WU", "T1 … …"),
        ("Li^Wu", "t1 liwu line", "t1 … line"),
        ("Ng^Kim", "ng_kim t1 angio", "…_… t1 angio"),
        ("Wang^Wei=王^伟", "T1 王伟", "T1 …"),
        ("Quirrelmann^Ada", "t1 of quirrelmanns", "t1 of …s"),
    ],
)
def test_a_listed_description_names_nobody_however_short_the_name(name, description, shown, a_volume, tmp_path):
    def named(header, _):
        header.SpecificCharacterSet, header.PatientName = "ISO_IR 192", name

    folder = save_classic(a_volume, tmp_path / "series", description=description, change=named)
    (listed,) = list_folder(folder)
    assert listed.description == shown


def with_one_of(series: Path, other: Path) -> Path:
    """One file of another folder goes into the series."""
    shutil.copy(next(other.iterdir()), series / "odd one")
    return series


def set_in_all(name: str, value: object):
    def change(header: pydicom.Dataset, slice_: int) -> None:
        setattr(header, name, value)

    return change


def set_in_one(name: str, value: object):
    def change(header: pydicom.Dataset, slice_: int) -> None:
        if slice_ == 5:
            setattr(header, name, value)

    return change


def without(name: str):
    def change(header: pydicom.Dataset, slice_: int) -> None:
        del header[name]

    return change


def cut_one(folder: Path, share: float) -> Path:
    file = sorted(folder.iterdir())[4]
    file.write_bytes(file.read_bytes()[: int(file.stat().st_size * share)])
    return folder


def twice(volume: Volume, folder: Path) -> Path:
    """Two echoes in one series."""
    save_classic(volume, folder, change=set_in_all("SeriesInstanceUID", "1.2.3"))
    for file in sorted(folder.iterdir()):
        header = pydicom.dcmread(file)
        header.EchoNumbers, header.SOPInstanceUID = 2, pydicom.uid.generate_uid()
        header.save_as(folder / f"{file.name}-2")
    return folder


REFUSED = {
    "two missing slices": (
        lambda v, d: save_classic(v, d, keep=[0, 1, 2, 3, 6, 7, 8, 9, 10, 11]),
        r"lacks 2 slices \(the first gap is behind slice 4 of 10, where 9.00 mm lie between slices instead of 3.00 mm",
    ),
    "two gaps": (lambda v, d: save_classic(v, d, keep=[0, 1, 3, 4, 5, 7, 8, 9, 10]), "lacks 2 slices .* behind slice 2 of 9"),
    "a tilted gantry": (lambda v, d: save_classic(v, d, tilt_mm=0.8), r"tilted gantry \(14.9°"),
    "slices at uneven distances": (
        lambda v, d: save_classic(v, d, change=set_in_one("ImagePositionPatient", [-42.9, 29.5, -17.0])),
        "apart; resample it",
    ),
    "two echoes": (lambda v, d: twice(v, d), "12 images at places where there is one already"),
    "too few slices": (lambda v, d: save_classic(v, d, keep=range(4)), "9×10×4 voxels; at least 8"),
    "another direction among them": (
        lambda v, d: save_classic(v, d, change=set_in_one("ImageOrientationPatient", [1, 0, 0, 0, 1, 0])),
        "several directions",
    ),
    "another pixel size among them": (
        lambda v, d: save_classic(v, d, change=set_in_one("PixelSpacing", [2, 3])),
        "several sizes",
    ),
    "no place": (lambda v, d: save_classic(v, d, change=without("ImagePositionPatient")), "ImagePositionPatient is missing"),
    "no pixel size": (lambda v, d: save_classic(v, d, change=without("PixelSpacing")), "PixelSpacing is missing"),
    "pixels of 0 mm": (lambda v, d: save_classic(v, d, change=set_in_all("PixelSpacing", [0, 2])), "pixels of 0 × 2 mm"),
    "axes that coincide": (
        lambda v, d: save_classic(v, d, change=set_in_all("ImageOrientationPatient", [1, 0, 0, 1, 0, 0])),
        "not at right angles",
    ),
    "colour": (lambda v, d: save_classic(v, d, change=set_in_all("SamplesPerPixel", 3)), "in colour"),
    "a file cut in its pixels": (lambda v, d: cut_one(save_classic(v, d), 0.95), "truncated, damaged"),
    "one value everywhere": (lambda v, d: save_classic(v.with_array(v.array * 0 + 5), d), r"same value \(5\) everywhere"),
    "no images": (lambda v, d: save_classic(v, d, modality="SEG"), "no images"),
}


@pytest.mark.parametrize("wrong", REFUSED)
def test_a_series_that_makes_no_grid_is_refused_by_name(wrong, a_volume, tmp_path):
    make, says = REFUSED[wrong]
    folder = make(a_volume, tmp_path / "series")
    with pytest.raises(InputError, match=says) as refusal:
        open_scan(folder)
    assert "Quirrelmann" not in str(refusal.value)


@pytest.mark.parametrize("end", ["first", "last"])
def test_a_slice_cut_anywhere_is_never_left_out_without_a_word(end, a_volume, tmp_path):
    """At an end of the stack no gap would tell."""
    save_classic(a_volume, tmp_path)
    wanted = 1 if end == "first" else len(a_volume.array)
    file = next(path for path in tmp_path.iterdir() if pydicom.dcmread(path).InstanceNumber == wanted)
    content = file.read_bytes()
    for length in (*range(150, len(content), 31), len(content) - 1):
        file.write_bytes(content[:length])
        with pytest.raises(InputError, match=r"damaged|missing or unusable"):
            open_scan(tmp_path)


def test_only_dicom_has_series_and_a_seg(a_coarse_scan, tmp_path, run_cli):
    with pytest.raises(SettingsError, match="leave it away"):
        open_scan(a_coarse_scan, series="3")
    answer = run_cli("detect", a_coarse_scan, "--out", tmp_path / "out", "--dicom-seg")
    assert (answer.code, list(tmp_path.iterdir())) == (1, [])
    assert "leave --dicom-seg away" in answer.err
    (tmp_path / "notes.txt").write_text("nothing")
    with pytest.raises(FormatError, match="a folder without DICOM files"):
        open_scan(tmp_path)
    assert "holds no DICOM files" in run_cli("series", tmp_path).err


def some_labels(volume: Volume) -> Volume:
    labels = np.zeros(volume.grid.shape, np.int16)
    labels[2:5, 3:6, 1:4] = 1
    labels[7, 2:9, 5] = 2
    labels[11, 0, 8] = 3
    return volume.with_array(labels, "anomalies")


@pytest.mark.parametrize("save", ["classic", "enhanced"])
def test_a_seg_reads_back_with_the_labels_where_they_were(save, a_volume, tmp_path):
    scan = open_scan(save_classic(a_volume, tmp_path / "s") if save == "classic" else save_enhanced(a_volume, tmp_path / "s"))
    labels = some_labels(scan)
    write_seg(labels, scan, tmp_path / "seg.dcm", model="t1")
    segmentation = highdicom.seg.segread(tmp_path / "seg.dcm")
    assert [segmentation.get_segment_description(n).segment_label for n in (1, 2, 3)] == ["anomaly 1", "anomaly 2", "anomaly 3"]
    volume = segmentation.get_volume(combine_segments=True)  # only the slices with labels
    for label in (1, 2, 3):
        there = np.argwhere(volume.array == label) @ volume.affine[:3, :3].T + volume.affine[:3, 3]
        meant = labels.grid.to_world(np.argwhere(labels.array == label))
        assert len(there) == len(meant)
        np.testing.assert_allclose(sorted(there.tolist()), sorted(meant.tolist()), atol=1e-2)
    source = scan.origin.frames[0].header
    for name in ("PatientName", "PatientID", "StudyInstanceUID", "FrameOfReferenceUID"):
        assert segmentation.get(name) == source.get(name)
    assert segmentation.SeriesInstanceUID != source.SeriesInstanceUID


def test_a_seg_written_beside_the_scan_does_not_become_a_scan(a_volume, tmp_path):
    scan = open_scan(save_classic(a_volume, tmp_path / "series"))
    write_seg(some_labels(scan), scan, tmp_path / "series" / "seg.dcm", model="t1")
    np.testing.assert_array_equal(open_scan(tmp_path / "series").array, scan.array)


def test_a_series_without_what_a_seg_refers_to_is_refused(a_volume, tmp_path):
    scan = open_scan(save_classic(a_volume, tmp_path / "series", change=without("FrameOfReferenceUID")))
    with pytest.raises(InputError, match="lacks FrameOfReferenceUID"):
        write_seg(some_labels(scan), scan, tmp_path / "seg.dcm", model="t1")
    assert not (tmp_path / "seg.dcm").exists()


@pytest.fixture(scope="module")
def a_detected_series(tmp_path_factory, a_tiny_model, run_cli_in_a_process):
    """detect on a tagged series of a lesioned phantom: folder of the series, what was said, folder of results."""
    lesion = Lesion(centre_mm=(30.0, 10.0, 20.0), radius_mm=15.0)
    phantom = make_phantom(PhantomSettings(spacing_mm=5.0, lesions=(lesion,), rotation_degrees=(10.0, -8.0, 5.0)))
    place = tmp_path_factory.mktemp("dicom")
    series = save_classic(phantom.scan, place / "series", description="t1 of quirrelmann\x1b[2J")
    words = ("--model", a_tiny_model, "--rule", "paper", "--dicom-seg", "--recut", "--reconstruction", "--progress", "none")
    answer = run_cli_in_a_process("detect", series, "--out", place / "out", *words)
    return series, answer, place / "out"


def test_detect_takes_a_dicom_folder_and_its_seg_is_the_labelmap(a_detected_series):
    series, answer, out = a_detected_series
    assert (answer.code, answer.err) == (0, "")
    labels = sitk.ReadImage(str(out / "anomalies.nii.gz"))
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(series)))
    np.testing.assert_allclose(labels.GetOrigin(), reader.Execute().GetOrigin(), atol=1e-3)
    volume = highdicom.seg.segread(out / "anomalies.dcm").get_volume(combine_segments=True)
    values = sitk.GetArrayFromImage(labels)
    for label in range(1, values.max() + 1):
        there = np.argwhere(volume.array == label) @ volume.affine[:3, :3].T + volume.affine[:3, 3]
        meant = from_image(labels).grid.to_world(np.argwhere(values == label))
        assert len(there) == len(meant) > 0
        np.testing.assert_allclose(there.mean(axis=0), meant.mean(axis=0), atol=1e-2)


def test_where_nothing_is_found_there_is_no_seg_and_it_is_said(a_detected_series, a_tiny_model, tmp_path, run_cli, caplog):
    words = ("--model", a_tiny_model, "--min-volume-ml", 10_000, "--dicom-seg")
    answer = run_cli("detect", a_detected_series[0], "--out", tmp_path / "out", *words)
    assert answer.code == 0
    assert "Nothing found" in answer.out
    assert "no anomalies.dcm is written" in caplog.text
    assert not (tmp_path / "out" / "anomalies.dcm").exists()


def test_no_identifier_of_the_patient_reaches_log_report_or_names_but_the_seg_that_was_asked_for(a_detected_series):
    series, answer, out = a_detected_series
    words = [part for value in IDENTIFIERS.values() for part in value.split("^")]
    texts = {"what was printed": (answer.out + answer.err).encode()}
    for path in out.iterdir():
        assert not any(word in path.name for word in words)
        if path.name != "anomalies.dcm":
            texts[path.name] = unpacked(path)
    assert len(texts) >= 7
    for name, content in texts.items():
        for word in words:
            assert word.encode() not in content, f"{word} in {name}"
    report = json.loads((out / "report.json").read_text())
    assert report["scan"] == "DICOM series 3"
    count = len(list(series.iterdir()))
    assert report["series"] == {"number": "3", "modality": "MR", "slices": count}  # a description is free text, and may name
    assert answer.out.endswith(f"\nRead from series 3: MR, {count} slices\n")
    for content in texts.values():
        assert b"quirrelmann" not in content.lower()
    assert b"Quirrelmann" in (out / "anomalies.dcm").read_bytes()  # so that the search is one


def unpacked(path: Path) -> bytes:
    """Bytes to search: of what is packed, what is within."""
    if path.name.endswith(".gz"):
        return gzip.decompress(path.read_bytes())
    if path.suffix == ".npz":
        with zipfile.ZipFile(path) as archive:
            return b"".join(archive.read(name) for name in archive.namelist())
    if path.suffix == ".png":
        with Image.open(path) as image:
            return repr(image.info).encode() + path.read_bytes()
    return path.read_bytes()
