"""What the model expected: the mean of its windows, in the units and on the grid of the scan."""

import itertools
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import brain_inpaint_ad as ad
from brain_inpaint_ad.detectors.inpainting import InpaintingDetector
from brain_inpaint_ad.heatmap.accumulate import Blend
from brain_inpaint_ad.heatmap.losses import cut
from brain_inpaint_ad.heatmap.windows import WindowSettings, window_corners
from brain_inpaint_ad.pipeline import load_detector
from brain_inpaint_ad.prepare.grid import to_model_grid
from brain_inpaint_ad.prepare.intensity import landmarks, normalise, unscaled


@pytest.fixture(scope="module")
def a_result(a_phantom, a_tiny_model):
    return ad.detect(a_phantom.scan, model=str(a_tiny_model), rule="paper", stride_mm=8, reconstruct=True)


def chunked(windows, order, sizes):
    """Windows as an engine yields them: some at a time, in any order."""
    start = 0
    for size in itertools.cycle(sizes):
        if start >= len(order):
            return
        which = order[start : start + size]
        yield which, windows[which]
        start += size


@given(st.integers(1, 3), st.integers(4, 24), st.integers(4, 24), st.integers(1, 4), st.lists(st.integers(1, 40), min_size=1))
@settings(max_examples=40, deadline=None)
def test_windows_laid_over_each_other_give_their_mean_however_they_come(slices, rows, columns, size, sizes):
    generator = torch.Generator().manual_seed(rows * columns)
    brain = np.random.default_rng(rows).random((slices, rows, columns)) > 0.8
    corners = torch.from_numpy(window_corners(brain, WindowSettings(size=size, stride=(size + 1) // 2)))
    windows = torch.rand((len(corners), size, size), generator=generator)
    blend = Blend(corners, brain.shape, size=size)
    order = torch.randperm(len(corners), generator=generator)
    passed = list(blend.passing(chunked(windows, order, sizes)))
    assert sum(len(which) for which, _ in passed) == len(corners)
    total, count = np.zeros(brain.shape), np.zeros(brain.shape)
    for (index, row, column), window in zip(corners.tolist(), windows.numpy(), strict=True):
        total[index, row : row + size, column : column + size] += window
        count[index, row : row + size, column : column + size] += 1
    np.testing.assert_allclose(blend.mean().numpy(), total / np.maximum(count, 1), rtol=0, atol=1e-6)


def test_a_perfect_model_expects_the_scan_itself(a_result, a_tiny_model, monkeypatch):
    """Windows cut from the image instead of rebuilt: what comes back is the prepared image, and in the scan's units it."""
    prepared, detector = a_result.prepared, load_detector(str(a_tiny_model))

    def perfect(_, image, corners, size, progress):
        for which in torch.arange(len(corners)).split(50):
            yield which, cut(image, corners[which], size)

    monkeypatch.setattr(InpaintingDetector, "_rebuilt", perfect)
    heat, expected = detector.explained(prepared)
    assert not heat.any()
    np.testing.assert_allclose(expected, prepared.image.array, rtol=0, atol=1e-6)
    scan = prepared.scan.with_array(np.where(prepared.scan_brain, prepared.scan.array, 0))
    seen = to_model_grid(scan, prepared.image.grid)[prepared.brain]
    error = np.abs(prepared.in_scan_units(expected)[prepared.brain] - seen)
    assert np.median(error) < 0.03 * np.ptp(np.percentile(seen, (1, 99)))  # the bias field lies between


@given(st.floats(0.01, 1e5), st.floats(-1e4, 1e4), st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_intensities_come_back_from_the_models_scale(gain, offset, seed):
    image = gain * np.random.default_rng(seed).normal(size=(4, 12, 12)) + offset
    brain = np.random.default_rng(seed + 1).random(image.shape) > 0.3
    marks = landmarks(image, brain)
    assert list(marks) == sorted(marks)
    values = normalise(image, brain)
    kept = brain & (values > 0) & (values < 1)  # beyond, intensities are cut off
    np.testing.assert_allclose(unscaled(values, marks)[kept], image[kept], rtol=1e-4, atol=1e-4 * (gain + abs(offset)))


@pytest.mark.parametrize(("engine", "stride_mm"), [("incremental", 8), ("direct", 32)])
def test_the_heat_is_the_same_with_and_without_it(a_result, a_tiny_model, engine, stride_mm):
    detector = load_detector(str(a_tiny_model), stride_mm=stride_mm, engine=engine)
    heat, expected = detector.explained(a_result.prepared)
    np.testing.assert_array_equal(heat, detector.heatmap(a_result.prepared))
    assert expected.dtype == np.float32
    assert not expected[~a_result.prepared.brain].any()
    assert ((expected > 0) & (expected < 1))[a_result.prepared.brain].all()


def test_it_lies_on_the_scans_grid_in_the_scans_units_inside_the_brain(a_result, a_phantom):
    expected, scan = a_result.reconstruction, a_phantom.scan
    assert expected.grid == scan.grid
    assert expected.array.dtype == np.float32
    assert not expected.array[~a_result.prepared.scan_brain].any()
    low, *_, high = a_result.prepared.landmarks
    inside = expected.array[a_result.prepared.scan_brain]
    assert inside.max() <= high * 1.001
    assert (inside >= low * 0.999).mean() > 0.99  # at the rim there are voxels that the coarse grid's brain does not reach
    around = np.percentile(scan.array[a_result.prepared.scan_brain], (1, 99))
    assert around[0] < np.median(inside) < around[1]


def test_a_recut_keeps_it_and_nobody_gets_it_unasked(a_result, a_phantom, a_tiny_model):
    assert a_result.resegment(scale=200).reconstruction is a_result.reconstruction
    assert ad.detect(a_phantom.scan, model=str(a_tiny_model), rule="paper", stride_mm=16).reconstruction is None


def test_it_is_written_when_it_is_there_and_goes_when_the_result_is_replaced(a_result, tmp_path):
    out = tmp_path / "out"
    assert out / "reconstruction.nii.gz" in a_result.save(out)
    np.testing.assert_array_equal(ad.read_scan(out / "reconstruction.nii.gz").array, a_result.reconstruction.array)
    with pytest.raises(ad.OutputError, match=r"already holds .*reconstruction\.nii\.gz; add --overwrite"):
        a_result.save(out)
    paths = replace(a_result, reconstruction=None).save(out, overwrite=True)
    assert sorted(paths) == sorted(out.iterdir())
    assert not (out / "reconstruction.nii.gz").exists()


def test_the_command_line_writes_it_with_the_recut(a_coarse_scan, a_tiny_model, run_cli, tmp_path):
    words = ("--model", a_tiny_model, "--stride-mm", 16, "--rule", "paper", "--sigma", 1.5, "--min-size", 9)
    answer = run_cli("detect", a_coarse_scan, "--out", tmp_path / "out", *words, "--reconstruction", "--recut")
    assert (answer.code, answer.err) == (0, "")
    assert (tmp_path / "out" / "reconstruction.nii.gz").exists()
    again = ad.load_recut(tmp_path / "out" / "recut.npz")
    assert (again.settings.sigma, again.settings.min_size) == (1.5, 9)
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert (report["segmentation"]["sigma"], report["segmentation"]["min_size"]) == (1.5, 9)


def test_the_strict_engine_has_none(a_phantom, a_tiny_model):
    stages = []
    with pytest.raises(ad.SettingsError, match="paper-strict keeps no intensities"):
        ad.detect(
            a_phantom.scan,
            model=str(a_tiny_model),
            rule="paper",
            engine="paper-strict",
            reconstruct=True,
            progress=lambda _, stage: stages.append(stage),
        )
    assert stages == []
