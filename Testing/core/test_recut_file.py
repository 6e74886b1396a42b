"""recut.npz: the same cuts elsewhere, without torch, and no trust in what a file says."""

import dataclasses
import io
import json
import subprocess
import sys
import zipfile

import numpy as np
import pytest

import brain_inpaint_ad as ad
from brain_inpaint_ad import recut_file


@pytest.fixture(scope="module")
def a_result(a_phantom, a_tiny_model):
    found = ad.detect(a_phantom.scan, model=str(a_tiny_model), rule="paper", stride_mm=8, scale=60)
    thresholds = {"healthy_voxels_1_percent": 0.1, "volume_healthy_voxels_1_percent": 0.1}
    return dataclasses.replace(found, thresholds=thresholds)


@pytest.fixture(scope="module")
def a_file(a_result, tmp_path_factory):
    path = tmp_path_factory.mktemp("Åsa 脳") / "recut.npz"
    a_result.save_recut(path)
    return path


def assert_same(one: ad.Result, two: ad.Result) -> None:
    np.testing.assert_array_equal(one.labelmap.array, two.labelmap.array)
    np.testing.assert_array_equal(one.heatmap.array, two.heatmap.array)
    np.testing.assert_array_equal(one.model_labelmap, two.model_labelmap)
    assert one.labelmap.grid == two.labelmap.grid
    assert one.model_grid == two.model_grid
    assert one.findings == two.findings
    assert one.summary == two.summary
    assert one.report == two.report
    assert one.settings == two.settings


def test_what_is_loaded_is_what_was_saved(a_result, a_file):
    loaded = ad.load_recut(a_file)
    assert_same(loaded, a_result)
    assert loaded.prepared.scan.name == a_result.prepared.scan.name
    assert loaded.prepared.brain_source == a_result.prepared.brain_source
    assert loaded.prepared.landmarks == a_result.prepared.landmarks
    assert loaded.prepared.scan.array.nbytes > 0
    assert loaded.prepared.scan.array.strides == (0, 0, 0)  # no memory for voxels that nobody has
    assert loaded.reconstruction is None


@pytest.mark.parametrize(
    "changes",
    [
        {"scale": 200.0},
        {"segmentation": "volume"},
        {"segmentation": "volume", "rule": "calibrated", "min_volume_ml": 0.0},
        {"rule": "calibrated", "min_volume_ml": 0.5, "sigma": 1.3, "min_size": 5},
    ],
)
def test_it_is_cut_as_the_original_is(a_result, a_file, changes):
    loaded = ad.load_recut(a_file.read_bytes())
    assert_same(loaded.resegment(**changes), a_result.resegment(**changes))
    for index in (0, len(a_result.prepared.brain) // 2):
        np.testing.assert_array_equal(loaded.cut_slice(index, **changes), a_result.cut_slice(index, **changes))


def test_a_loaded_result_is_saved_as_the_same_bytes(a_file, tmp_path):
    ad.load_recut(str(a_file)).save_recut(tmp_path / "again.npz")
    assert (tmp_path / "again.npz").read_bytes() == a_file.read_bytes()


def test_loading_needs_no_torch(a_file):
    probe = (
        "import sys, brain_inpaint_ad as ad; sys.modules['torch'] = None\n"
        "r = ad.load_recut(sys.argv[1]); r.resegment(scale=90); r.cut_slice(5)"
    )
    done = subprocess.run([sys.executable, "-c", probe, a_file], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def contents(path) -> dict[str, np.ndarray]:
    with np.load(path) as archive:
        return dict(archive)


def packed(arrays: dict[str, np.ndarray]) -> bytes:
    stream = io.BytesIO()
    np.savez_compressed(stream, **arrays)
    return stream.getvalue()


def about(arrays) -> dict:
    return json.loads(arrays["about"].tobytes())


def with_about(arrays, **changes) -> bytes:
    return packed({**arrays, "about": np.frombuffer(json.dumps({**about(arrays), **changes}).encode(), np.uint8)})


def with_grid(arrays, which, **changes) -> bytes:
    return with_about(arrays, **{which: {**about(arrays)[which], **changes}})


def zeros_called(shape: str) -> bytes:
    """A header that promises much, and little behind it."""
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode() + b"\0" * 64


def swapped(arrays, name, content: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(packed(arrays))) as old, zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as new:
        for each in old.namelist():
            new.writestr(each, content if each == f"{name}.npy" else old.read(each))
    return stream.getvalue()


def a_pickle() -> bytes:
    stream = io.BytesIO()
    np.save(stream, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    return stream.getvalue()


BAD = {
    "nothing": lambda a: b"",
    "text": lambda a: b"not a file of ours" * 50,
    "another zip": lambda a: packed({"x": np.zeros(3)}),
    "a lone array": lambda a: a_pickle(),
    "a missing array": lambda a: packed({key: value for key, value in a.items() if key != "heat"}),
    "one array more": lambda a: packed({**a, "extra": np.zeros(2)}),
    "a pickled array": lambda a: swapped(a, "heat", a_pickle()),
    "an absurd shape": lambda a: swapped(a, "heat", zeros_called("(1000000, 1000000)")),
    "a huge array": lambda a: packed({**a, "heat": np.zeros((60, 600, 600), np.float32)}),
    "another version": lambda a: with_about(a, format="brain-inpaint-ad recut 2"),
    "no format": lambda a: packed({**a, "about": np.frombuffer(b"{}", np.uint8)}),
    "JSON that is none": lambda a: packed({**a, "about": np.frombuffer(b"{", np.uint8)}),
    "a list": lambda a: packed({**a, "about": np.frombuffer(b"[1]", np.uint8)}),
    "very deep JSON": lambda a: packed({**a, "about": np.frombuffer(b"[" * 100_000, np.uint8)}),
    "bytes that are no text": lambda a: packed({**a, "about": np.full(9, 255, np.uint8)}),
    "a grid of another size": lambda a: with_grid(a, "model_grid", size=[3, 3, 3]),
    "a scan grid of another size": lambda a: with_grid(a, "scan_grid", size=[9, 9, 9]),
    "a grid without end": lambda a: with_grid(a, "scan_grid", size=[10**6, 10**6, 10**6]),
    "a grid of fractions": lambda a: with_grid(a, "scan_grid", size=[9.5, 9, 9]),
    "a spacing of 0": lambda a: with_grid(a, "scan_grid", spacing=[0, 1, 1]),
    "a spacing of NaN": lambda a: with_grid(a, "scan_grid", spacing=[float("nan"), 1, 1]),
    "a flat direction": lambda a: with_grid(a, "scan_grid", direction=[1, 0, 0, 1, 0, 0, 0, 0, 1]),
    "a short direction": lambda a: with_grid(a, "scan_grid", direction=[1, 0, 0]),
    "settings nobody has": lambda a: with_about(a, settings={"hue": 3}),
    "impossible settings": lambda a: with_about(a, settings={"scale": -1.0}),
    "settings that are text": lambda a: with_about(a, settings={"scale": "large"}),
    "thresholds that are text": lambda a: with_about(a, thresholds={"x": "hot"}),
    "a report that is a list": lambda a: with_about(a, report=[1]),
    "a scan without a name": lambda a: with_about(a, scan=None),
    "no landmarks": lambda a: with_about(a, landmarks=[]),
    "no threshold for its rule": lambda a: with_about(a, settings={"rule": "calibrated"}, thresholds={}),
    "heat of NaN": lambda a: packed({**a, "heat": a["heat"] * np.float32("nan")}),
    "intensities beyond 1": lambda a: packed({**a, "image": a["image"] * 255}),
    "float64": lambda a: packed({**a, "image": a["image"].astype(np.float64)}),
    "no brain": lambda a: packed({**a, "brain": a["brain"] * 0}),
    "too few bits": lambda a: packed({**a, "brain": a["brain"][:-1]}),
}


@pytest.mark.parametrize("wrong", BAD)
def test_what_is_no_file_of_ours_is_refused_in_one_sentence(wrong, a_file, tmp_path):
    content = BAD[wrong](contents(a_file))
    path = tmp_path / "recut.npz"
    path.write_bytes(content)
    for source in (content, path):
        with pytest.raises(ad.InputError) as refused:
            ad.load_recut(source)
        sentence = str(refused.value)
        assert sentence.endswith(".")
        assert "; " in sentence  # what is wrong; what to do
        assert "\n" not in sentence
        assert ". " not in sentence.replace("recut.npz ", "")
        assert ("the recut file" if isinstance(source, bytes) else "recut.npz") in sentence


@pytest.mark.parametrize("share", [0.05, 0.5, 0.9, 0.999])
def test_a_truncated_file_is_refused(a_file, share):
    content = a_file.read_bytes()
    with pytest.raises(ad.FormatError, match="damaged or no recut file"):
        ad.load_recut(content[: int(share * len(content))])


def test_no_wrong_byte_gives_another_result(a_file, a_result):
    """Every array has its checksum; bytes that no reader looks at may differ."""
    content = a_file.read_bytes()
    refused = 0
    for at in np.linspace(0, len(content) - 1, 60).astype(int):
        damaged = bytearray(content)
        damaged[at] ^= 0xFF
        try:
            found = ad.load_recut(bytes(damaged))
        except ad.InputError:
            refused += 1
        else:
            np.testing.assert_array_equal(found.model_labelmap, a_result.model_labelmap)
    assert refused > 50


def test_a_missing_file_and_a_folder_are_named(tmp_path):
    with pytest.raises(ad.FormatError, match="does not exist"):
        ad.load_recut(tmp_path / "none.npz")
    with pytest.raises(ad.FormatError, match=r"cannot be read \(Is a directory\)"):
        ad.load_recut(tmp_path)


def test_nothing_large_is_unpacked_before_it_was_measured(a_file, monkeypatch):
    """A bomb: zeros that pack well."""
    bomb = packed({**contents(a_file), "image": np.zeros((2**27,), np.float32)})
    monkeypatch.setattr(zipfile.ZipFile, "read", lambda self, name: pytest.fail(name) if "image" in name else b"")
    monkeypatch.setattr(recut_file, "_MAX_HEADER", 4096)
    with pytest.raises(ad.FormatError, match="damaged"):
        ad.load_recut(bomb)


def test_saving_where_nothing_can_be_saved_is_one_sentence(a_result, tmp_path):
    with pytest.raises(ad.OutputError, match="could not be written"):
        a_result.save_recut(tmp_path / "none" / "recut.npz")


def test_it_is_saved_with_the_results_when_asked_for(a_result, tmp_path):
    out = tmp_path / "out"
    assert out / "recut.npz" in a_result.save(out, recut=True)
    assert_same(ad.load_recut(out / "recut.npz"), a_result)
    with pytest.raises(ad.OutputError, match=r"already holds .*recut\.npz; add --overwrite"):
        a_result.save(out)
    a_result.save(out, overwrite=True)
    assert not (out / "recut.npz").exists()  # it was another result's
