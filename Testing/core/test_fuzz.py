"""Files nobody meant to write, against every reader: a refusal in one sentence or a volume in its place; no crash, no hang.

BRAIN_INPAINT_AD_FUZZ_CASES sets how many cases each test draws; what long runs found is in docs/robustness.md.
"""

from __future__ import annotations

import gzip
import os
import struct
import time
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from brain_inpaint_ad.dicom import open_scan
from brain_inpaint_ad.errors import BrainInpaintError, FormatError
from brain_inpaint_ad.io import from_image, read_scan
from brain_inpaint_ad.weights.card import read_card

CASES = int(os.environ.get("BRAIN_INPAINT_AD_FUZZ_CASES", "60"))
PATIENCE_S = 5.0  # of this process's own time, for a file of some kilobytes
FUZZ = settings(
    max_examples=CASES, deadline=None, suppress_health_check=list(HealthCheck), database=None, derandomize=CASES < 1000
)
SUFFIXES = (".nii", ".nii.gz", ".nrrd", ".mha", ".dcm")
HEAD = {".nii": 348, ".nii.gz": 348, ".nrrd": 400, ".mha": 400, ".dcm": 3000}  # bytes in which most numbers stand
SHAPE = (8, 9, 10)
# What breaks parsers: by the number of bytes.
ODD_NUMBERS = [
    struct.pack(order + kind, value)
    for order in "<>"
    for kind, values in {
        "h": (-1, 0, 1, 7, 8, 32767, -32768),
        "i": (-1, 0, 2**31 - 1, -(2**31)),
        "f": (np.nan, np.inf, -np.inf, 0.0, -0.0, 1e38, 1e-38),
    }.items()
    for value in values
]
ODD_WORDS = [
    b"",
    b"0",
    b"-1",
    b"nan",
    b"1e999",
    b"99999999999999999999",
    b"../../etc/passwd",
    b"LIST",
    b"%d",
    b"\x00",
    b"\xff" * 9,
]


@pytest.fixture(scope="module")
def seeds(tmp_path_factory) -> dict[str, bytes]:
    """One small whole file of each kind."""
    folder = tmp_path_factory.mktemp("seeds")
    image = sitk.GetImageFromArray(np.arange(np.prod(SHAPE), dtype=np.float32).reshape(SHAPE))
    image.SetSpacing((1.5, 2.0, 3.0))
    image.SetOrigin((-7.0, 8.0, 9.0))
    found = {}
    for suffix in SUFFIXES[:-1]:
        sitk.WriteImage(image, str(folder / f"scan{suffix}"))
        found[suffix] = (folder / f"scan{suffix}").read_bytes()
    dicom_files = pytest.importorskip("dicom_files", exc_type=ImportError)
    found[".dcm"] = dicom_files.save_enhanced(from_image(image), folder / "IM1").read_bytes()
    return found


@st.composite
def damages(draw) -> list[tuple[str, float, bytes]]:
    """Up to four: what, where (share of the file or of its head), with what."""
    kinds = st.sampled_from(["cut", "put in head", "put anywhere", "insert in head", "drop in head"])
    values = st.one_of(st.sampled_from(ODD_NUMBERS), st.sampled_from(ODD_WORDS), st.binary(min_size=1, max_size=8))
    return draw(st.lists(st.tuples(kinds, st.floats(0, 1, exclude_max=True), values), min_size=1, max_size=4))


def damaged(content: bytes, list_of: list[tuple[str, float, bytes]], head: int) -> bytes:
    for what, where, value in list_of:
        at = int(where * (len(content) if what in ("cut", "put anywhere") else min(head, len(content))))
        content = {
            "cut": lambda c, at, v: c[:at],
            "put in head": lambda c, at, v: c[:at] + v + c[at + len(v) :],
            "put anywhere": lambda c, at, v: c[:at] + v + c[at + len(v) :],
            "insert in head": lambda c, at, v: c[:at] + v + c[at:],
            "drop in head": lambda c, at, v: c[:at] + c[at + len(v) :],
        }[what](content, at, value)
    return content


def outcome_of(action):
    """What it gives, or the sentence with which it refuses; any other exception is a finding."""
    try:
        return action(), ""
    except BrainInpaintError as refusal:
        return None, str(refusal)


def check(path: Path) -> None:
    """The law for every file."""
    started = time.process_time()
    volume, refusal = outcome_of(lambda: open_scan(path))
    assert "\n" not in refusal
    assert "sitk::" not in refusal
    if volume is not None:
        assert volume.array.shape == volume.grid.shape
        assert min(volume.grid.spacing) > 0
        assert np.isfinite(volume.grid.affine).all()
        assert np.isfinite(volume.array).all()
        axes = np.reshape(volume.grid.direction, (3, 3))
        np.testing.assert_allclose(axes.T @ axes, np.eye(3), atol=2e-3)
    assert time.process_time() - started < PATIENCE_S


@pytest.mark.filterwarnings("ignore")  # pydicom's and ITK's opinions of such files
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_damaged_file_is_refused_or_read_as_a_volume_in_its_place(suffix, seeds, tmp_path):
    packed = suffix == ".nii.gz"
    whole = gzip.decompress(seeds[suffix]) if packed else seeds[suffix]

    @FUZZ
    @given(damages(), st.booleans())
    def fuzz(list_of, outside):
        if packed and outside:  # the stream itself
            content = damaged(seeds[suffix], list_of, 20)
        else:
            content = damaged(whole, list_of, HEAD[suffix])
            content = gzip.compress(content, 1) if packed else content
        path = tmp_path / f"scan{suffix}"
        path.write_bytes(content)
        check(path)

    fuzz()


# What long runs found, each once a traceback.
FOUND = {
    "voxels of a .nii from byte 1e19 on": (".nii", [("put in head", 0.302734375, b"\0\0\0\0\0\0_")]),
    "a .mha whose voxels lie in a file with a zero byte in its name": (".mha", [("put in head", 0.734375, b"\0\0")]),
    "a .dcm with an unknown kind of value in a frame": (".dcm", [("insert in head", 0.5, b"\xff\xff")]),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("what", FOUND)
def test_what_fuzzing_found_is_refused(what, seeds, tmp_path):
    suffix, list_of = FOUND[what]
    path = tmp_path / f"scan{suffix}"
    path.write_bytes(damaged(seeds[suffix], list_of, HEAD[suffix]))
    check(path)
    assert outcome_of(lambda: open_scan(path))[1]


@pytest.mark.parametrize("suffix", [".nii", ".nrrd", ".mha"])
def test_damage_to_the_voxels_alone_never_moves_them(suffix, seeds, tmp_path):
    (tmp_path / f"whole{suffix}").write_bytes(seeds[suffix])
    grid = read_scan(tmp_path / f"whole{suffix}").grid
    content, voxels = seeds[suffix], int(np.prod(SHAPE)) * 4

    @FUZZ
    @given(st.integers(0, voxels - 8), st.binary(min_size=1, max_size=8))
    def fuzz(at, value):
        begin = len(content) - voxels + at
        (tmp_path / f"scan{suffix}").write_bytes(content[:begin] + value + content[begin + len(value) :])
        read, refusal = outcome_of(lambda: read_scan(tmp_path / f"scan{suffix}").grid)
        assert read == grid or "NaN or infinite" in refusal

    fuzz()


def test_any_card_is_refused_or_is_one(tmp_path):
    card = Path(read_card.__code__.co_filename).parent / "shipped" / "t1-inpaint-32mm.json"
    content = card.read_bytes()

    @FUZZ
    @given(damages())
    def fuzz(list_of):
        (tmp_path / "card.json").write_bytes(damaged(content, list_of, len(content)))
        read, refusal = outcome_of(lambda: read_card(tmp_path / "card.json"))
        assert bool(read) != bool(refusal)
        assert "\n" not in refusal

    fuzz()


OUTSIDE = {
    "one folder up": "../secret.raw",
    "up from within": "a/../../secret.raw",
    "an absolute path": "/etc/passwd",
    "a drive": "C:\\secret.raw",
    "up, in Windows' way": "..\\secret.raw",
}


@pytest.mark.parametrize("where", OUTSIDE)
@pytest.mark.parametrize("suffix", [".mhd", ".nhdr"])
def test_a_header_does_not_have_other_files_of_the_machine_read(where, suffix, tmp_path):
    folder = tmp_path / "scans"
    folder.mkdir()
    image = sitk.GetImageFromArray(np.arange(np.prod(SHAPE), dtype=np.float32).reshape(SHAPE))
    sitk.WriteImage(image, str(folder / f"scan{suffix}"))
    (voxels,) = (path for path in folder.iterdir() if path.suffix != suffix)
    (tmp_path / "secret.raw").write_bytes(b"\1" * 10_000)
    header = (folder / f"scan{suffix}").read_text()
    assert header.count(voxels.name) == 1
    (folder / f"scan{suffix}").write_text(header.replace(voxels.name, OUTSIDE[where]))
    with pytest.raises(FormatError, match="outside of its own folder"):
        read_scan(folder / f"scan{suffix}")
