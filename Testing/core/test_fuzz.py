"""Files nobody meant to write, against every reader: a refusal in one sentence or a volume in its place; no crash, no hang.

BRAIN_INPAINT_AD_FUZZ_CASES sets how many cases are drawn in all; what long runs found is in docs/robustness.md.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from brain_inpaint_ad.dicom import open_scan
from brain_inpaint_ad.errors import FormatError
from brain_inpaint_ad.io import read_scan

pytest.importorskip("pydicom")
import fuzz
from fuzz import HEAD, KINDS, SHAPE, SUFFIXES, WAYS, check, damaged, outcome_of

CASES = int(os.environ.get("BRAIN_INPAINT_AD_FUZZ_CASES", "10000"))
SEED = 0


@pytest.fixture(scope="module")
def a_fuzzer():
    with tempfile.TemporaryDirectory(dir=fuzz.in_memory()) as folder:
        yield fuzz.Fuzzer(Path(folder))


@pytest.fixture(scope="module")
def seeds(a_fuzzer) -> dict[str, bytes]:
    """One small whole file of each suffix."""
    return a_fuzzer.seeds


@pytest.mark.filterwarnings("ignore")  # pydicom's and ITK's opinions of such files
@pytest.mark.parametrize("kind", KINDS)
def test_any_damaged_file_is_refused_or_is_a_volume_in_its_place(kind, a_fuzzer):
    """A case that fails is drawn again by its number: fuzz.Fuzzer(folder).run(kind, SEED, number)."""
    for number in range(-(-CASES // len(KINDS))):
        try:
            a_fuzzer.run(kind, SEED, number)
        except Exception as error:
            raise AssertionError(f"case {number} of {kind}") from error


@st.composite
def damages(draw) -> fuzz.Damage:
    """Up to four, which hypothesis makes as small as they can be."""
    values = st.one_of(st.sampled_from(fuzz.ODD_NUMBERS), st.sampled_from(fuzz.ODD_WORDS), st.binary(min_size=1, max_size=8))
    one = st.tuples(st.sampled_from(WAYS), st.floats(0, 1, exclude_max=True), values)
    return draw(st.lists(one, min_size=1, max_size=4))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_smallest_damages_are_refused_or_read_as_well(suffix, seeds, tmp_path):
    @settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck), database=None, derandomize=True)
    @given(damages())
    def fuzzed(list_of):
        path = tmp_path / f"scan{suffix}"
        path.write_bytes(damaged(seeds[suffix], list_of, HEAD[suffix]))
        check(path)

    fuzzed()


# What long runs found, each once a traceback.
FOUND = {
    "voxels of a .nii from byte 1e19 on": (".nii", [("put in head", 0.302734375, b"\0\0\0\0\0\0_")]),
    "a .mha whose voxels lie in a file with a zero byte in its name": (".mha", [("put in head", 0.734375, b"\0\0")]),
    "a .mha of 1e20 dimensions": (".mha", [("insert in head", 0.06643452656, b"99999999999999999999")]),  # the process died
    "a .dcm with an unknown kind of value in a frame": (".dcm", [("insert in head", 0.5, b"\xff\xff")]),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("kind", "seed", "number"), [(".dcm", 7, n) for n in (1237, 3262, 5566, 31171)])
def test_what_the_long_run_found_is_refused(kind, seed, number, a_fuzzer):
    """An unknown kind of value (in the header, before it), no columns, no frames: each once a traceback."""
    a_fuzzer.run(kind, seed, number)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("what", FOUND)
def test_what_fuzzing_found_is_refused(what, seeds, tmp_path):
    suffix, list_of = FOUND[what]
    path = tmp_path / f"scan{suffix}"
    path.write_bytes(damaged(seeds[suffix], list_of, HEAD[suffix]))
    check(path)
    assert outcome_of(lambda: open_scan(path))[1]


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
