"""Scans under odd names, with headers that contradict themselves, and terminals that lack letters."""

import os
import shutil
import struct
import sys
from pathlib import Path

import nibabel
import numpy as np
import pytest

import brain_inpaint_ad as ad
from brain_inpaint_ad.errors import BrainInpaintError, FormatError, OutputError
from brain_inpaint_ad.io import read_scan, write_volume
from brain_inpaint_ad.result_files import check_output

PLACE = np.array([[-2.0, 0, 0, 40], [0, -2, 0, 30], [0, 0, 3, -20], [0, 0, 0, 1]])  # RAS
TURNED = PLACE @ np.array([[0.8, -0.6, 0, 0], [0.6, 0.8, 0, 0], [0, 0, -1, 0], [0, 0, 0, 1]])  # its third axis the other way
VALUES = np.arange(10 * 12 * 14, dtype=np.float32).reshape(10, 12, 14)


def save(path, *, qform=PLACE, sform=PLACE, codes=(1, 1), units="mm"):
    image = nibabel.Nifti1Image(VALUES, np.eye(4))
    image.set_qform(qform, codes[0])
    image.set_sform(sform, codes[1])
    image.header.set_xyzt_units(units, "sec")
    nibabel.save(image, path)
    return path


def warnings_of(caplog):
    return [record.getMessage() for record in caplog.records]


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere file names are text")
def test_a_name_that_is_no_text_is_read_and_not_written_to(tmp_path):
    """ITK's reader would end the process."""
    plain = save(tmp_path / "scan.nii.gz")
    odd = os.fsdecode(os.fsencode(tmp_path) + b"/scan\xff.nii.gz")
    shutil.copy(plain, odd)
    np.testing.assert_array_equal(read_scan(odd).array, read_scan(plain).array)
    folder = os.fsdecode(os.fsencode(tmp_path) + b"/out\xff")
    for refused in (lambda: write_volume(read_scan(plain), odd), lambda: check_output(Path(folder), overwrite=False)):
        with pytest.raises(OutputError, match="none in UTF-8"):
            refused()
    header = Path(os.fsdecode(os.fsencode(tmp_path) + b"/scan\xff.mhd"))
    header.write_text("NDims = 3\n")
    with pytest.raises(FormatError, match="rename it"):
        read_scan(header)


@pytest.mark.parametrize("name", ["SCAN.NII.GZ", "scan.Nii.gz", "scan.NII"])
def test_an_ending_in_any_case_is_read(name, tmp_path, capfd):
    plain = save(tmp_path / ("a.nii.gz" if name.lower().endswith("gz") else "a.nii"))
    shutil.copy(plain, tmp_path / name)
    assert read_scan(tmp_path / name).grid == read_scan(plain).grid
    assert capfd.readouterr().err == ""


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_a_pipe_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "scan.nii.gz")
    with pytest.raises(FormatError, match="no ordinary file"):
        ad.detect(tmp_path / "scan.nii.gz")


@pytest.mark.parametrize("units", ["mm", "meter"])
@pytest.mark.parametrize(("codes", "taken"), [((1, 2), "qform"), ((2, 4), "qform"), ((1, 1), "sform"), ((4, 1), "sform")])
def test_a_header_with_two_places_is_warned_of_by_how_far_they_are_apart(codes, taken, units, tmp_path, caplog):
    scale = np.diag([1e-3] * 3 + [1]) if units == "meter" else np.eye(4)
    moved = TURNED.copy()
    moved[:3, 3] += (30, 40, 0)
    scan = read_scan(save(tmp_path / "scan.nii", qform=scale @ TURNED, sform=scale @ moved, codes=codes, units=units))
    (told,) = warnings_of(caplog)
    assert "up to 50 mm apart" in told
    assert f"the {taken} was taken" in told
    assert "scan.nii" in told
    place = (TURNED if taken == "qform" else moved)[:3, 3] * (-1, -1, 1)
    np.testing.assert_allclose(scan.grid.origin, place, atol=1e-3)


def test_a_header_whose_places_are_turned_against_each_other_is_warned_of_by_the_farthest_corner(tmp_path, caplog):
    read_scan(save(tmp_path / "scan.nii", qform=PLACE, sform=np.diag([-1, -1, 1, 1]) @ PLACE))
    (told,) = warnings_of(caplog)
    ends = np.array([[x, y, z, 1] for x in (0, 9) for y in (0, 11) for z in (0, 13)]) @ PLACE.T
    assert f"up to {np.linalg.norm(2 * ends[:, :2], axis=1).max():.0f} mm apart" in told


def test_a_header_without_a_place_is_warned_of(tmp_path, caplog):
    read_scan(save(tmp_path / "scan.nii", codes=(0, 0)))
    (told,) = warnings_of(caplog)
    assert "left and right may be swapped" in told


@pytest.mark.parametrize("codes", [(1, 1), (1, 0), (0, 1), (1, 4), (0, 2)])
@pytest.mark.parametrize("units", ["mm", "unknown", "meter", "micron"])
def test_a_header_with_one_place_is_not(codes, units, tmp_path, caplog):
    scale = {"meter": 1e-3, "micron": 1e3}.get(units, 1.0)
    place = np.diag([scale, scale, scale, 1.0]) @ PLACE
    scan = read_scan(save(tmp_path / "scan.nii", qform=place, sform=place, codes=codes, units=units))
    assert warnings_of(caplog) == []
    np.testing.assert_allclose(scan.grid.origin, (-40, -30, -20), atol=1e-4)
    np.testing.assert_allclose(scan.grid.spacing, (2, 2, 3), rtol=1e-6)


def test_a_terminal_that_lacks_letters_is_no_reason_to_fail(run_cli_in_a_process, tmp_path):
    for words, code in ((("models", "list"), 0), (("detect", tmp_path / "Größe – 脑.nii", "--out", tmp_path / "out"), 1)):
        answer = run_cli_in_a_process(*words, env={"PYTHONIOENCODING": "ascii"})
        assert answer.code == code
        assert "Traceback" not in answer.err


def test_every_error_of_reading_is_one_of_ours(tmp_path):
    (tmp_path / "loop.nii.gz").symlink_to(tmp_path / "loop.nii.gz")
    (tmp_path / "away.nii.gz").symlink_to(tmp_path / "nowhere.nii.gz")
    for name in ("loop.nii.gz", "away.nii.gz"):
        with pytest.raises(BrainInpaintError, match=name):
            ad.detect(tmp_path / name)


def test_a_qform_that_is_no_unit_quaternion_is_read_as_itk_reads_it(tmp_path, caplog):
    """nifti1_io makes it one; a half turn about z, as the sform says, is no other place."""
    path = save(tmp_path / "scan.nii", qform=PLACE, sform=PLACE)
    header = bytearray(path.read_bytes())
    turn = np.array(struct.unpack_from("<3f", header, 256))
    assert np.linalg.norm(turn) == pytest.approx(1)
    struct.pack_into("<3f", header, 256, *(1.4 * turn))
    path.write_bytes(header)
    read_scan(path)
    assert warnings_of(caplog) == []


def test_a_place_that_is_no_number_is_told(tmp_path, caplog):
    path = save(tmp_path / "scan.nii", qform=PLACE, sform=PLACE)
    header = bytearray(path.read_bytes())
    struct.pack_into("<f", header, 268, np.nan)  # of the qform, which ITK does not take here
    path.write_bytes(header)
    read_scan(path)
    (told,) = warnings_of(caplog)
    assert "its qform is no place" in told
