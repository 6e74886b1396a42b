"""Windows, losses and their mean per pixel; the incremental engine against one forward per window."""

import threading

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr

from brain_inpaint_ad.errors import Cancelled, SettingsError
from brain_inpaint_ad.heatmap.accumulate import accumulate
from brain_inpaint_ad.heatmap.direct import rebuild_direct
from brain_inpaint_ad.heatmap.incremental import Incremental
from brain_inpaint_ad.heatmap.losses import losses_of, window_losses
from brain_inpaint_ad.heatmap.windows import WindowSettings, window_corners
from brain_inpaint_ad.nets.unet import UNet, UNetSettings
from brain_inpaint_ad.phantom import PhantomSettings, make_phantom
from brain_inpaint_ad.prepare import prepare
from brain_inpaint_ad.weights.store import WINDOW_MODEL, load_generator


def a_generator(width: int, depth: int, seed: int = 0, max_width: int | None = None) -> UNet:
    """Random weights and random BatchNorm statistics: a fresh BatchNorm would be nearly the identity."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        generator = UNet(UNetSettings(width=width, depth=depth, max_width=max_width))
        for module in generator.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.running_mean.normal_()
                module.running_var.uniform_(0.5, 2)
                module.weight.data.uniform_(0.5, 1.5)
                module.bias.data.normal_()
    return generator.eval()


@st.composite
def cases(draw):
    """Depth, widths, window, stride and sides as they come; 1 to 300 windows, so that one forward per window stays quick."""
    depth, width = draw(st.integers(1, 4)), draw(st.integers(1, 5))
    rows, columns = draw(st.integers(1, 70)), draw(st.integers(1, 70))
    size = draw(st.integers(1, min(rows, columns)))
    least = max(1, int(np.ceil(((rows - size + 1) * (columns - size + 1) / 100) ** 0.5)))
    stride = draw(st.integers(min(least, size), size))
    max_width = draw(st.none() | st.integers(width, 2 * width + 1))
    return (width, depth, draw(st.integers(0, 99)), max_width), (draw(st.integers(1, 2)), rows, columns), size, stride


def collected(chunks, corners, size):
    """All windows in the order of their corners; each must come once."""
    windows, times = torch.zeros(len(corners), size, size), torch.zeros(len(corners), dtype=torch.int)
    for which, part in chunks:
        windows[which] = part
        times[which] += 1
    assert (times == 1).all()
    return windows


def some_corners(shape, size, stride, seed):
    """Up to 300 of all windows."""
    corners = torch.from_numpy(window_corners(np.ones(shape, bool), WindowSettings(size=size, stride=stride)))
    return corners[torch.randperm(len(corners), generator=torch.Generator().manual_seed(seed))[:300]]


@given(cases())
@settings(max_examples=40, deadline=None)
def test_incremental_rebuilds_what_one_forward_per_window_rebuilds(case):
    network, shape, size, stride = case
    generator = a_generator(*network)
    image = torch.rand(shape, generator=torch.Generator().manual_seed(size))
    corners = some_corners(shape, size, stride, seed=size)
    fast = collected(Incremental(generator).rebuild(image, corners, size=size), corners, size)
    slow = collected(rebuild_direct(generator, image, corners, size=size), corners, size)
    torch.testing.assert_close(fast, slow, rtol=0, atol=1e-5)  # fp32 rounding; the values lie in [0, 1]


@pytest.mark.parametrize("depth", [1, 2, 3, 4])
def test_incremental_is_exact_on_the_grid_models_are_trained_on(depth):
    generator = a_generator(4, depth)
    image = torch.rand((1, 128, 96), generator=torch.Generator().manual_seed(depth))
    corners = some_corners(image.shape, 16, 2, depth)
    fast = collected(Incremental(generator).rebuild(image, corners, size=16), corners, 16)
    slow = collected(rebuild_direct(generator, image, corners, size=16), corners, 16)
    torch.testing.assert_close(fast, slow, rtol=0, atol=1e-5)


@given(st.floats(1e-4, 1), st.integers(1, 5))
@settings(max_examples=10, deadline=None)
def test_the_memory_setting_changes_how_many_slices_are_held_and_nothing_else(memory_mb, slices):
    generator = a_generator(2, 2)
    image = torch.rand((slices, 24, 20), generator=torch.Generator().manual_seed(slices))
    corners = some_corners(image.shape, 6, 3, 0)
    whole = collected(Incremental(generator).rebuild(image, corners, size=6), corners, 6)
    parts = collected(Incremental(generator).rebuild(image, corners, size=6, memory_mb=memory_mb), corners, 6)
    torch.testing.assert_close(parts, whole, rtol=0, atol=1e-6)


def test_little_memory_means_few_slices_at_once(monkeypatch):
    held = []
    engine = Incremental(a_generator(4, 2))
    whole_slices = engine._whole_slices
    monkeypatch.setattr(engine, "_whole_slices", lambda image: held.append(len(image)) or whole_slices(image))
    image = torch.rand(6, 32, 32)
    corners = some_corners(image.shape, 8, 8, 0)
    per_slice = engine._slice_bytes(image) / 1e6
    collected(engine.rebuild(image, corners, size=8, memory_mb=2.5 * per_slice), corners, 8)
    assert held == [2, 2, 2]


def test_what_a_slice_is_said_to_take_is_what_it_takes():
    engine = Incremental(a_generator(4, 3))
    image = torch.rand(3, 40, 32)
    levels = engine._whole_slices(image)
    tensors = [t for level in levels for t in (level.entering, level.between, level.leaving) if t is not None]
    taken = sum(t.numel() * t.element_size() for t in tensors)
    assert 2 * taken <= 3 * engine._slice_bytes(image) <= 3 * taken  # as much again while they are made


@pytest.fixture
def two_threads():
    """The engine starts none of its own where torch has but one."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("two_threads")
def test_a_cancelled_rebuild_leaves_no_thread_at_work_and_the_thread_count_as_it_was():
    def cancel(fraction, stage):
        if fraction > 0:
            raise Cancelled("cancelled")

    image = torch.rand(2, 48, 48)
    corners = some_corners(image.shape, 8, 2, 0)
    threads, before = torch.get_num_threads(), threading.active_count()
    with pytest.raises(Cancelled):
        collected(Incremental(a_generator(4, 2)).rebuild(image, corners, size=8, progress=cancel), corners, 8)
    assert threading.active_count() == before
    assert torch.get_num_threads() == threads


def test_the_strict_minmax_is_that_of_each_whole_reconstructed_frame():
    generator, image = a_generator(3, 2), torch.rand(1, 24, 20, generator=torch.Generator().manual_seed(5))
    corners = some_corners(image.shape, 6, 5, 0)
    strict = collected(rebuild_direct(generator, image, corners, size=6, stretched=True), corners, 6)
    for corner, found in zip(corners.tolist(), strict, strict=True):
        _, row, column = corner
        erased, window = image.clone(), torch.zeros_like(image)
        erased[:, row : row + 6, column : column + 6] = 0
        window[:, row : row + 6, column : column + 6] = 1
        with torch.inference_mode():
            frame = generator(torch.stack([erased, window], dim=1))[0, 0]
        frame = (frame - frame.min()) / (frame.max() - frame.min())
        torch.testing.assert_close(found, frame[row : row + 6, column : column + 6], rtol=0, atol=1e-5)


def test_incremental_leaves_the_generator_as_it_was():
    generator = a_generator(2, 2).train()
    before = {key: value.clone() for key, value in generator.state_dict().items()}
    collected(Incremental(generator).rebuild(torch.rand(1, 16, 16), torch.tensor([[0, 3, 5]]), size=4), torch.zeros(1, 3), 4)
    assert generator.training
    assert all(torch.equal(before[key], value) for key, value in generator.state_dict().items())


def test_bfloat16_ranks_windows_as_float32_does():
    generator, card = load_generator(WINDOW_MODEL)
    image = torch.from_numpy(prepare(make_phantom(PhantomSettings(spacing_mm=3.0)).scan, settings=card.grid).image.array)[30:34]
    corners = torch.from_numpy(window_corners(image.numpy() > 0, WindowSettings(size=16, stride=6)))
    losses = []
    for dtype in (torch.float32, torch.bfloat16):
        rebuilt = Incremental(generator, dtype=dtype).rebuild(image, corners, size=16)
        losses.append(losses_of(rebuilt, image, corners, size=16, minmax=card.minmax))
    assert spearmanr(*losses).statistic >= 0.999


@pytest.mark.parametrize(("size", "stride"), [(8, 1), (8, 3), (8, 8), (7, 4), (16, 5)])
def test_constant_loss_gives_a_constant_heatmap(size, stride):
    shape = (2, 40, 36)
    corners = torch.from_numpy(window_corners(np.ones(shape, bool), WindowSettings(size=size, stride=stride)))
    heat = accumulate(torch.full((len(corners),), 0.3), corners, shape, size=size)
    torch.testing.assert_close(heat, torch.full(shape, 0.3))


def test_a_pixel_gets_the_mean_loss_of_the_windows_that_cover_it():
    shape, size = (2, 20, 17), 5
    corners = torch.from_numpy(window_corners(np.ones(shape, bool), WindowSettings(size=size, stride=2)))
    losses = torch.rand(len(corners), generator=torch.Generator().manual_seed(0))
    total, count = np.zeros(shape), np.zeros(shape)
    for (index, row, column), loss in zip(corners.tolist(), losses.tolist(), strict=True):
        total[index, row : row + size, column : column + size] += loss
        count[index, row : row + size, column : column + size] += 1
    expected = torch.from_numpy(total / count).float()
    torch.testing.assert_close(accumulate(losses, corners, shape, size=size), expected, rtol=0, atol=1e-6)


def test_windows_are_all_those_that_touch_the_brain():
    brain = np.zeros((3, 30, 26), bool)
    brain[1, 11, 7] = brain[2, 29, 25] = True
    settings_ = WindowSettings(size=6, stride=4)
    found = {tuple(corner) for corner in window_corners(brain, settings_).tolist()}
    everywhere = window_corners(np.ones_like(brain), settings_)
    touching = {(s, r, c) for s, r, c in everywhere.tolist() if brain[s, r : r + 6, c : c + 6].any()}
    assert found == touching
    assert {s for s, _, _ in found} == {1, 2}


def test_windows_reach_the_border_when_the_stride_does_not():
    corners = window_corners(np.ones((1, 11, 10), bool), WindowSettings(size=4, stride=3))
    assert sorted(set(corners[:, 1].tolist())) == [0, 3, 6, 7]
    assert sorted(set(corners[:, 2].tolist())) == [0, 3, 6]


def test_window_minmax_ignores_level_and_contrast_and_slice_minmax_does_not():
    pattern = torch.rand(5, 8, 8, generator=torch.Generator().manual_seed(2))
    dull = 0.3 + 0.2 * pattern
    torch.testing.assert_close(window_losses(pattern, dull, minmax="window"), torch.zeros(5), rtol=0, atol=1e-6)
    assert (window_losses(pattern, dull, minmax="slice") > 0.1).all()


def test_a_flat_window_is_compared_without_dividing_by_zero():
    flat, ramp = torch.full((1, 2, 2), 0.4), torch.tensor([[[0.0, 1.0], [0.0, 1.0]]])
    assert window_losses(flat, ramp, minmax="window").item() == pytest.approx(0.5)


@pytest.mark.parametrize(("size", "stride"), [(0, 1), (4, 0), (4, 5)])
def test_impossible_windows_are_refused(size, stride):
    with pytest.raises(SettingsError, match="must be"):
        WindowSettings(size=size, stride=stride)


def test_a_window_larger_than_the_slice_is_refused():
    with pytest.raises(SettingsError, match="does not fit"):
        window_corners(np.ones((1, 8, 8), bool), WindowSettings(size=9, stride=1))
