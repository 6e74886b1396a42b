"""Whatever is wrong with the input: one sentence, no traceback, and no file changed or left behind."""

from __future__ import annotations

import gzip
import json
import os
import re
import resource
import shutil
import struct
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from brain_inpaint_ad.io import to_image


@pytest.fixture(scope="session")
def an_image(a_phantom) -> sitk.Image:
    return to_image(a_phantom.scan)


@pytest.fixture
def a_folder(tmp_path) -> Path:
    """Where the bad input is put and beside it the results would be."""
    folder = tmp_path / "work"
    folder.mkdir()
    return folder


@pytest.fixture
def refusal(run_cli, a_folder, a_tiny_model) -> Callable[..., str]:
    """Runs detect, makes sure that it is refused as it should be, and returns the sentence."""

    def run(scan: Path, *options: object) -> str:
        before = tree(a_folder)
        defaults = [] if "--out" in options else ["--out", a_folder / "out"]
        defaults += [] if "--model" in options else ["--model", a_tiny_model]
        answer = run_cli("detect", scan, *defaults, *options)
        assert answer.code == 1
        assert tree(a_folder) == before
        assert answer.out == ""
        return the_sentence(answer.err)

    return run


def the_sentence(err: str) -> str:
    """What stands in `err`, which is "Error: " and one sentence and nothing else."""
    found = re.fullmatch(r"Error: ([^\n]+\.)\n", err)
    assert found, err
    assert not re.search(r"\. [A-Z]", found[1]), f"more than one sentence: {found[1]}"
    assert "sitk::" not in found[1]
    assert "Traceback" not in found[1]
    return found[1]


def tree(folder: Path) -> dict[Path, bytes | None]:
    """Everything below a folder, with its bytes."""
    return {path: path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


def write(image: sitk.Image, path: Path, *, packed: bool = False) -> Path:
    sitk.WriteImage(image, str(path), useCompression=packed)
    return path


def cut(path: Path, share: float = 0.5) -> Path:
    """Loses the rest of the file."""
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    return path


def flip_a_byte(path: Path) -> Path:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    return path


def edit(path: Path, old: bytes, new: bytes) -> Path:
    """Changes a header that is text."""
    content = path.read_bytes()
    assert content.count(old) == 1
    path.write_bytes(content.replace(old, new))
    return path


def patch(path: Path, at: int, kind: str, *values: float) -> Path:
    """Changes a NIfTI header."""
    content = bytearray(path.read_bytes())
    struct.pack_into("<" + kind, content, at, *values)
    path.write_bytes(content)
    return path


def with_values(image: sitk.Image, change: Callable[[np.ndarray], np.ndarray]) -> sitk.Image:
    """The same grid, other values."""
    changed = sitk.GetImageFromArray(change(sitk.GetArrayFromImage(image)))
    changed.CopyInformation(image)
    return changed


def with_one(value: float) -> Callable[[np.ndarray], np.ndarray]:
    def change(values: np.ndarray) -> np.ndarray:
        values[30, 30, 30] = value
        return values

    return change


def ball(values: np.ndarray) -> np.ndarray:
    """Noisy tissue in a ball of 80 mm."""
    z, y, x = np.indices(values.shape) * 3.0 - np.reshape(values.shape, (3, 1, 1, 1)) * 1.5
    return np.where(np.sqrt(x * x + y * y + z * z) < 40, noise(values), 0).astype(np.float32)


def cube(values: np.ndarray) -> np.ndarray:
    """Noisy tissue in a cube of 114 mm: the volume of a brain."""
    inside = np.zeros(values.shape, bool)
    inside[8:46, 10:48, 8:46] = True
    return np.where(inside, noise(values), 0).astype(np.float32)


def noise(values: np.ndarray) -> np.ndarray:
    return (500 + 80 * np.random.default_rng(0).standard_normal(values.shape)).astype(np.float32)


def a_detached_file(image: sitk.Image, path: Path, *, keep: float, packed: bool = False) -> Path:
    """A header of its own, and voxels in a second file of which a share is kept."""
    write(image, path, packed=packed)
    (voxels,) = (other for other in path.parent.iterdir() if other != path)
    if keep:
        cut(voxels, keep)
    else:
        voxels.unlink()
    return path


def a_short_packed_nifti(image: sitk.Image, path: Path) -> Path:
    """The gzip stream is whole, the NIfTI file within is not."""
    content = gzip.decompress(write(image, path).read_bytes())
    path.write_bytes(gzip.compress(content[: len(content) * 3 // 4]))
    return path


def text(path: Path, *, packed: bool = False) -> Path:
    content = b"not a scan at all\n" * 100
    path.write_bytes(gzip.compress(content) if packed else content)
    return path


FILES: dict[str, tuple[Callable[[sitk.Image, Path], Path], str]] = {
    # What is wrong: how to make it in a folder, and what the sentence must say.
    "a missing file": (lambda i, d: d / "none.nii.gz", "does not exist"),
    "a file below a file": (lambda i, d: write(i, d / "a.nii") / "b.nii", "does not exist"),
    "a name too long": (lambda i, d: d / ("x" * 300 + ".nii"), "may not be read"),
    "a folder": (lambda i, d: d, "is a folder"),
    "an unknown suffix": (lambda i, d: write(i, d / "a.nii").rename(d / "a.xyz"), "not a file type"),
    "an empty file": (lambda i, d: cut(write(i, d / "a.nii.gz"), 0), "empty"),
    "a cut .nii": (lambda i, d: cut(write(i, d / "a.nii")), "truncated"),
    "a .nii cut in its header": (lambda i, d: cut(write(i, d / "a.nii"), 1e-4), "no usable NIfTI header"),
    "a cut .nii.gz": (lambda i, d: cut(write(i, d / "a.nii.gz")), "truncated"),
    "a .nii.gz cut by a byte": (lambda i, d: cut(write(i, d / "a.nii.gz"), 1 - 1e-6), "truncated"),
    "a .nii.gz with too few voxels": (lambda i, d: a_short_packed_nifti(i, d / "a.nii.gz"), "truncated"),
    "a .nii.gz with a wrong byte": (lambda i, d: flip_a_byte(write(i, d / "a.nii.gz")), "damaged"),
    "a .nii that is packed": (lambda i, d: write(i, d / "a.nii.gz").rename(d / "a.nii"), "rename it to a.nii.gz"),
    "a cut .mha": (lambda i, d: cut(write(i, d / "a.mha")), "truncated"),
    "a cut packed .mha": (lambda i, d: cut(write(i, d / "a.mha", packed=True)), "truncated"),
    "a packed .mha with a wrong byte": (lambda i, d: flip_a_byte(write(i, d / "a.mha", packed=True)), "damaged"),
    "a cut .nrrd": (lambda i, d: cut(write(i, d / "a.nrrd")), "truncated"),
    "a cut packed .nrrd": (lambda i, d: cut(write(i, d / "a.nrrd", packed=True)), "truncated"),
    "a packed .nrrd with a wrong byte": (lambda i, d: flip_a_byte(write(i, d / "a.nrrd", packed=True)), "damaged"),
    "a .mhd without its voxels": (lambda i, d: a_detached_file(i, d / "a.mhd", keep=0), "a.raw cannot be read"),
    "a .mhd with half its voxels": (lambda i, d: a_detached_file(i, d / "a.mhd", keep=0.5), "truncated"),
    "a .mhd with half of a stream": (lambda i, d: a_detached_file(i, d / "a.mhd", keep=0.5, packed=True), "truncated"),
    "a .nhdr without its voxels": (lambda i, d: a_detached_file(i, d / "a.nhdr", keep=0), "could not be read"),
    "a .nhdr with half its voxels": (lambda i, d: a_detached_file(i, d / "a.nhdr", keep=0.5), "truncated"),
    "a .nhdr with half of a stream": (lambda i, d: a_detached_file(i, d / "a.nhdr", keep=0.5, packed=True), "truncated"),
    "text called .nii.gz": (lambda i, d: text(d / "a.nii.gz"), "no usable NIfTI header"),
    "packed text called .nii.gz": (lambda i, d: text(d / "a.nii.gz", packed=True), "no usable NIfTI header"),
    "text called .mha": (lambda i, d: text(d / "a.mha"), "could not be read"),
    "text called .nrrd": (lambda i, d: text(d / "a.nrrd"), "could not be read"),
    "a .nii of absurd size": (lambda i, d: patch(write(i, d / "a.nii"), 42, "3h", *[32767] * 3), "truncated"),
    "a .nii of negative size": (lambda i, d: patch(write(i, d / "a.nii"), 44, "h", -64), "voxels; at least 8"),
    "a .nii of no dimension": (lambda i, d: patch(write(i, d / "a.nii"), 40, "h", 0), "0 dimensions"),
    "a .nii of nine dimensions": (lambda i, d: patch(write(i, d / "a.nii"), 40, "h", 9), "9 dimensions"),
    "a .nii of an unknown type": (lambda i, d: patch(write(i, d / "a.nii"), 70, "h", 999), "unknown type 999"),
    "a .nii whose voxels begin nowhere": (lambda i, d: patch(write(i, d / "a.nii"), 108, "f", np.nan), "from byte nan"),
    "a .nii of spacing 0": (lambda i, d: patch(write(i, d / "a.nii"), 80, "f", 0), "spacing of 0 × 3 × 3"),
    "a .nii of negative spacing": (lambda i, d: patch(write(i, d / "a.nii"), 80, "f", -3), "spacing of -3 × 3 × 3"),
    "a .nii of spacing NaN": (lambda i, d: patch(write(i, d / "a.nii"), 80, "f", np.nan), "spacing of nan × 3 × 3"),
    "a .nii in no place": (lambda i, d: patch(write(i, d / "a.nii"), 280, "f", np.nan), "a place that is not a number"),
    "a .mha of absurd size": (
        lambda i, d: edit(write(i, d / "a.mha"), b"DimSize = 55 64 55", b"DimSize = 55000 64000 55000"),
        "truncated",
    ),
    "a packed .nrrd of absurd size": (
        lambda i, d: edit(write(i, d / "a.nrrd", packed=True), b"sizes: 55 64 55", b"sizes: 5500 6400 5500"),
        "truncated",
    ),
    "a .mha of spacing 0": (lambda i, d: edit(write(i, d / "a.mha"), b"Spacing = 3 3 3", b"Spacing = 3 0 3"), "spacing"),
    "a .nrrd of spacing 0": (lambda i, d: edit(write(i, d / "a.nrrd"), b"(0,3,0)", b"(0,0,0)"), "spacing"),
    "a skewed .nrrd": (lambda i, d: edit(write(i, d / "a.nrrd"), b"(0,3,0)", b"(1,3,0)"), "not at right angles"),
    "a .mha whose axes coincide": (
        lambda i, d: edit(write(i, d / "a.mha"), b"Matrix = 1 0 0 0 1 0", b"Matrix = 1 0 0 1 0 0"),
        "determinant is 0",
    ),
    "NaN": (lambda i, d: write(with_values(i, with_one(np.nan)), d / "a.nii.gz"), "holds 1 voxels that are NaN"),
    "infinity": (lambda i, d: write(with_values(i, with_one(np.inf)), d / "a.mha"), "NaN or infinite"),
    "more than float32 holds": (
        lambda i, d: write(with_values(i, lambda v: v.astype(np.float64) * 1e300), d / "a.nrrd"),
        "NaN or infinite",
    ),
    "three frames": (lambda i, d: write(sitk.JoinSeries([i, i, i]), d / "a.nii.gz"), "4-D"),
    "colour": (lambda i, d: write(sitk.Compose([sitk.Cast(i, sitk.sitkUInt8)] * 3), d / "a.nii.gz"), "3 values per voxel"),
    "complex voxels": (lambda i, d: write(sitk.RealAndImaginaryToComplex(i, i), d / "a.nii.gz"), "complex"),
    "complex voxels in .mha": (lambda i, d: write(sitk.RealAndImaginaryToComplex(i, i), d / "a.mha"), "2 values per voxel"),
    "one slice": (lambda i, d: write(i[:, :, 27:28], d / "a.nii.gz"), "at least 8 along each axis"),
    "a flat image": (lambda i, d: write(i[:, :, 27], d / "a.nrrd"), "2-D"),
    "a constant": (lambda i, d: write(with_values(i, lambda v: v * 0 + 7), d / "a.nii.gz"), "same value (7) everywhere"),
    "nothing but 0": (lambda i, d: write(with_values(i, lambda v: v * 0), d / "a.nii.gz"), "same value (0) everywhere"),
    "noise": (lambda i, d: write(with_values(i, noise), d / "a.nii.gz"), "looks like a brain"),
    "a small ball": (lambda i, d: write(with_values(i, ball), d / "a.nii.gz"), "brain"),
    "a cube": (lambda i, d: write(with_values(i, cube), d / "a.nii.gz"), "brain"),
}


@pytest.mark.parametrize("wrong", FILES)
def test_a_scan_that_cannot_be_used_is_refused(wrong, an_image, a_folder, refusal):
    make, says = FILES[wrong]
    assert says in refusal(make(an_image, a_folder))


MASKS: dict[str, tuple[Callable[[sitk.Image], sitk.Image], str]] = {
    "on another grid": (lambda m: m[1:, :, :], "resample the mask"),
    "moved by a voxel": (lambda m: sitk.Image(m[1:, :, :]), "resample the mask"),
    "empty": (lambda m: m * 0, "marks 0 ml"),
    "tiny": (lambda m: sitk.BinaryErode(m, (15, 15, 15)), "a brain has"),
    "everything": (lambda m: m * 0 + 1, "marks 5227 ml"),
    "with fractions": (lambda m: sitk.Cast(m, sitk.sitkFloat32) / 2, "fractions"),
}


@pytest.mark.parametrize("wrong", MASKS)
def test_a_mask_that_cannot_be_used_is_refused(wrong, a_phantom_scan, a_folder, refusal):
    change, says = MASKS[wrong]
    mask = sitk.ReadImage(str(a_phantom_scan.with_name("brain_mask.nii.gz")))
    path = write(change(mask), a_folder / "mask.nii.gz")
    assert says in refusal(a_phantom_scan, "--mask", path)


OPTIONS = {
    "a window the model does not have": (["--window-mm", 16], "trained for windows of 32 mm, not 16 mm"),
    "a window of NaN": (["--window-mm", "nan"], "not nan mm"),
    "a stride between voxels": (["--stride-mm", 3], "multiple of the model's voxels (4 mm), got 3 mm"),
    "a stride of 0": (["--stride-mm", 0], "got 0 mm"),
    "a negative stride": (["--stride-mm", -4], "got -4 mm"),
    "a stride of NaN": (["--stride-mm", "nan"], "got nan mm"),
    "a stride beyond the window": (["--stride-mm", 36], "stride must be 1 to 8 pixels"),
    "a scale of 0": (["--scale", 0], "scale must be above 0"),
    "a negative scale": (["--scale", -75], "scale must be above 0"),
    "a scale of NaN": (["--scale", "nan"], "scale must be above 0"),
    **{
        f"a {name} of {bad}": ([f"--{name}", bad], "sigma must be 0 to 100, min_size 1 or more, min_volume_ml 0 or more")
        for name, bad in (("sigma", -1), ("sigma", "nan"), ("min-size", 0), ("min-volume-ml", -1), ("min-volume-ml", "inf"))
    },
    "a reconstruction by the strict engine": (
        ["--reconstruction", "--engine", "paper-strict", "--rule", "paper"],
        "keeps no intensities",
    ),
    "a preview in a file": (["--preview", __file__], "is a file"),
    "a preview where nobody can write": (["--preview", "/dev/null/first"], "cannot be written"),
    "an unknown device": (["--device", "abacus"], "no device is called 'abacus'"),
    "a device of another kind": (["--device", "meta"], "not available"),
    "an unknown model": (["--model", "t9-guess"], "no model t9-guess"),
    "a model that is not there": (["--model", "none.safetensors"], "no model none.safetensors"),
    "a missing mask": (["--mask", "none.nii.gz"], "none.nii.gz does not exist"),
}


@pytest.mark.parametrize("wrong", OPTIONS)
def test_an_option_that_cannot_be_used_is_refused(wrong, a_phantom_scan, refusal):
    options, says = OPTIONS[wrong]
    assert says in refusal(a_phantom_scan, *options)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is CUDA here")
def test_cuda_where_there_is_none_is_refused(a_phantom_scan, refusal):
    assert "'cuda' is not available on this machine" in refusal(a_phantom_scan, "--device", "cuda")


def a_copy_of(model: Path, folder: Path) -> Path:
    for path in (model, model.with_suffix(".json")):
        shutil.copy(path, folder)
    return folder / model.name


MODELS: dict[str, tuple[Callable[[Path], object], str]] = {
    "with a wrong byte": (flip_a_byte, "SHA-256 differs"),
    "cut": (cut, "SHA-256 differs"),
    "without its card": (lambda m: m.with_suffix(".json").unlink(), "model card"),
    "with half a card": (lambda m: cut(m.with_suffix(".json")), "model card"),
    "with the card of another version": (lambda m: edit(m.with_suffix(".json"), b'"minmax"', b'"maxmin"'), "maxmin, minmax"),
    "of another architecture": (lambda m: edit(m.with_suffix(".json"), b'"depth": 2', b'"depth": 3'), "depth 3"),
}


@pytest.mark.parametrize("wrong", MODELS)
def test_a_damaged_model_is_refused(wrong, a_tiny_model, a_phantom_scan, a_folder, refusal):
    damage, says = MODELS[wrong]
    model = a_copy_of(a_tiny_model, a_folder)
    damage(model)
    assert says in refusal(a_phantom_scan, "--model", model)


def test_results_are_not_overwritten_unasked(a_phantom_scan, a_folder, refusal):
    (a_folder / "out").mkdir()
    (a_folder / "out" / "report.json").write_text("precious")
    assert "already holds report.json; add --overwrite" in refusal(a_phantom_scan)


@pytest.mark.parametrize("name", ["reconstruction.nii.gz", "recut.npz"])
def test_files_that_only_some_results_have_are_not_overwritten_either(name, a_phantom_scan, a_folder, refusal):
    (a_folder / "out").mkdir()
    (a_folder / "out" / name).write_text("precious")
    assert f"already holds {name}; add --overwrite" in refusal(a_phantom_scan)


def test_a_preview_is_not_overwritten_and_has_a_folder_of_its_own(a_phantom_scan, a_folder, refusal):
    (a_folder / "first").mkdir()
    (a_folder / "first" / "heatmap.nii.gz").write_text("precious")
    assert "first already holds heatmap.nii.gz; add" in refusal(a_phantom_scan, "--preview", a_folder / "first")
    assert "a folder of its own" in refusal(a_phantom_scan, "--preview", a_folder / "first" / ".." / "out", "--overwrite")


def test_a_file_in_the_place_of_the_folder_is_left_alone(a_phantom_scan, a_folder, refusal):
    (a_folder / "out").write_text("precious")
    assert "out is a file" in refusal(a_phantom_scan)
    assert "cannot be written" in refusal(a_phantom_scan, "--out", a_folder / "out" / "below")


def test_a_folder_in_the_place_of_a_result_is_refused_before_the_work(a_phantom_scan, a_folder, refusal):
    (a_folder / "out" / "overview.png").mkdir(parents=True)
    assert "holds folders called overview.png" in refusal(a_phantom_scan, "--overwrite")


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="no /proc here")
def test_a_place_where_nobody_can_write_is_refused(a_phantom_scan, refusal):
    assert "/proc/results cannot be written" in refusal(a_phantom_scan, "--out", "/proc/results")


# Permissions and a full disk are real, and root has every permission: a process of its own, as nobody.


AS_NOBODY = """
import os, sys
from typer.testing import CliRunner
from brain_inpaint_ad.cli.app import app

# What a command needs is imported first: nobody may not be able to enter the folders of this Python.
CliRunner().invoke(app, ["detect", "none.nii", "--out", "none", "--model", sys.argv[-1]])
if os.geteuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
app(sys.argv[1:], prog_name="brain-inpaint-ad")
"""


@pytest.fixture(scope="module")
def a_locked_place(a_tiny_model, a_phantom_scan):
    """Everybody can read model and scan, but not private.nii.gz, nor enter locked/."""
    with tempfile.TemporaryDirectory(prefix="brain-inpaint-ad-") as name:
        place = Path(name)
        place.chmod(0o755)
        a_copy_of(a_tiny_model, place)
        shutil.copy(a_phantom_scan, place / "t1.nii.gz")
        Path(shutil.copy(a_phantom_scan, place / "private.nii.gz")).chmod(0)
        (place / "locked").mkdir(mode=0)
        (place / "open").mkdir()
        (place / "open").chmod(0o777)
        for path in (place / "t1.nii.gz", *place.glob("tiny*")):
            path.chmod(0o644)
        yield place
        (place / "locked").chmod(0o700)


LOCKED = {
    "a scan without permission": ("private.nii.gz", "open/out", "private.nii.gz may not be read (Permission denied)"),
    "a scan in a locked folder": ("locked/t1.nii.gz", "open/out", "locked/t1.nii.gz may not be read (Permission denied)"),
    "results in a locked folder": ("t1.nii.gz", "locked/out", "locked/out cannot be written (Permission denied)"),
    "results beside the scan": ("t1.nii.gz", "out", "out cannot be written (Permission denied)"),
}


@pytest.mark.skipif(os.name != "posix", reason="permissions work otherwise here")
@pytest.mark.parametrize("wrong", LOCKED)
def test_without_permission_there_is_one_sentence(wrong, a_locked_place):
    scan, out, says = LOCKED[wrong]
    words = ("detect", a_locked_place / scan, "--out", a_locked_place / out, "--model", a_locked_place / "tiny.safetensors")
    command = [sys.executable, "-c", AS_NOBODY, *map(str, words)]
    answer = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert answer.returncode == 1
    assert says in the_sentence(answer.stderr)


def test_a_disk_that_fills_up_leaves_no_half_results(a_coarse_scan, a_tiny_model, a_folder, run_cli_in_a_process):
    """A limit on the size of files is as real as a full disk: writes fail from there on."""
    (a_folder / "out").mkdir()
    (a_folder / "out" / "report.json").write_text("precious")
    before = tree(a_folder)
    limit = 20_000  # bytes; the heatmap needs more than twice as many

    def forbid_large_files() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    words = ("detect", a_coarse_scan, "--out", a_folder / "out", "--model", a_tiny_model, "--overwrite")
    answer = run_cli_in_a_process(*words, preexec_fn=forbid_large_files)
    assert answer.code == 1
    assert "is the disk full?" in the_sentence(answer.err.splitlines(keepends=True)[-1])  # niftilib says its own before
    assert "Traceback" not in answer.err
    assert tree(a_folder) == before


# What looks unusual and is not wrong.


def test_names_with_spaces_and_any_letters_work(a_finished_run):
    answer, out = a_finished_run
    assert not str(out).isascii()
    assert (answer.code, answer.err) == (0, "")
    assert json.loads((out / "report.json").read_text(encoding="utf-8"))["scan"] == "крупный план.nii.gz"


def test_one_frame_in_four_dimensions_is_a_scan_and_gives_the_same_bytes_again(
    an_image, a_folder, a_finished_run, a_tiny_model, run_cli
):
    """The second time in this process, with as many threads as there are."""
    scan = write(sitk.JoinSeries([an_image]), a_folder / "a.nii")
    answer = run_cli("detect", scan, "--out", a_folder / "out", "--model", a_tiny_model)
    assert (answer.code, answer.err) == (0, "")
    assert f"Results are in {a_folder / 'out'}." in answer.out
    for name in ("heatmap.nii.gz", "anomalies.nii.gz", "findings.csv"):
        assert (a_folder / "out" / name).read_bytes() == (a_finished_run[1] / name).read_bytes()
