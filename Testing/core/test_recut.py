"""The recutter: what it remembers changes nothing, what it warms is there, what it keeps is bounded."""

import copy
import dataclasses
import pickle
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from skimage.segmentation import felzenszwalb as skimage_felzenszwalb

import brain_inpaint_ad as ad
from brain_inpaint_ad.segmentation import regions as regions_module
from brain_inpaint_ad.segmentation.cache import Cache
from brain_inpaint_ad.segmentation.recut import Recutter, cut_regions, snap
from brain_inpaint_ad.segmentation.select import Regions, SegmentSettings

SLICES = SegmentSettings(scale=20)
VOLUME = SegmentSettings(scale=20, segmentation="volume")
SPACING = (3.0, 1.0, 1.0)


@pytest.fixture
def a_recutter(a_hot_brain):
    return Recutter(*a_hot_brain, spacing=SPACING)


def literal_regions(image, brain, heatmap, *, scale, sigma, min_size) -> Regions:
    """Every slice cut whole by scikit-image, then kept where the brain is."""
    labels, heat, slices = np.zeros(image.shape, np.int32), [0.0], [0]
    for index in np.flatnonzero(brain.any(axis=(1, 2))):
        cut = skimage_felzenszwalb(image[index].astype(float), scale, sigma, min_size, channel_axis=None)
        order = dict.fromkeys(cut.ravel().tolist())  # in raster order of the whole slice
        for region in [r for r in order if (brain[index] & (cut == r)).any()]:
            inside = brain[index] & (cut == region)
            labels[index][inside] = len(slices)
            heat.append(heatmap[index][inside].mean(dtype=float))
            slices.append(index)
    return Regions(labels, np.array(heat), np.array(slices))


def assert_same(one: Regions, two: Regions) -> None:
    np.testing.assert_array_equal(one.labels, two.labels)
    np.testing.assert_allclose(one.heat, two.heat, rtol=1e-12)  # sums in another order
    np.testing.assert_array_equal(one.slices, two.slices)


def test_slices_are_cut_one_by_one_whatever_was_cut_before(a_hot_brain, a_recutter):
    for scale, sigma, min_size in ((20, 0.8, 20), (60, 0.8, 20), (20, 0.8, 20), (20, 0, 5), (20, 0.8, 20)):
        found = a_recutter.regions(SegmentSettings(scale=scale, sigma=sigma, min_size=min_size))
        assert_same(found, literal_regions(*a_hot_brain, scale=scale, sigma=sigma, min_size=min_size))


def test_without_numba_slices_are_cut_the_same(a_hot_brain, a_recutter, monkeypatch):
    monkeypatch.setattr(regions_module, "is_compiled", lambda: False)
    monkeypatch.setattr(regions_module, "build_graph", lambda *_, **__: pytest.fail("our own graph was built"))
    assert_same(cut_regions(*a_hot_brain, SLICES), literal_regions(*a_hot_brain, scale=20, sigma=0.8, min_size=20))


def test_the_volume_is_cut_within_the_brain_with_its_spacing(a_hot_brain, a_recutter):
    image, brain, heatmap = a_hot_brain
    found = a_recutter.regions(VOLUME)
    np.testing.assert_array_equal(found.labels, ad.felzenszwalb(image, scale=20, mask=brain, spacing=SPACING))
    for region in range(1, found.labels.max() + 1):
        assert found.heat[region] == pytest.approx(heatmap[found.labels == region].mean(dtype=float), rel=1e-12)
    assert len(found.heat) == found.labels.max() + 1
    assert found.heat[0] == 0
    assert not found.slices.any()
    assert not np.array_equal(found.labels, Recutter(*a_hot_brain).regions(VOLUME).labels)


@pytest.mark.parametrize("settings", [SLICES, VOLUME])
def test_a_brain_of_nothing_has_no_regions(a_hot_brain, settings):
    image, brain, heatmap = a_hot_brain
    found = cut_regions(image, np.zeros_like(brain), heatmap, settings)
    assert not found.labels.any()
    assert found.heat.tolist() == [0]


def test_one_slice_is_cut_as_it_is_among_all(a_hot_brain, a_recutter):
    whole = a_recutter.regions(SLICES)
    for index in (1, 4):
        alone = a_recutter.slice_regions(index, SLICES)
        first = np.flatnonzero(whole.slices[1:] == index)[0]
        np.testing.assert_array_equal(alone.labels[0], np.maximum(whole.labels[index] - first, 0))
        np.testing.assert_allclose(alone.heat[1:], whole.heat[1:][whole.slices[1:] == index], rtol=1e-12)
    assert not a_recutter.slice_regions(0, SLICES).labels.any()


def test_a_slice_of_a_volume_is_that_of_its_cut(a_recutter):
    whole = a_recutter.regions(VOLUME)
    for index in range(9):
        shown = a_recutter.slice_regions(index, VOLUME)
        np.testing.assert_array_equal(shown.labels[0], whole.labels[index])
        np.testing.assert_array_equal(shown.heat, whole.heat)


@pytest.mark.parametrize("settings", [SLICES, VOLUME])
def test_another_scale_sorts_no_edges_and_going_back_cuts_nothing(a_hot_brain, a_recutter, settings, monkeypatch):
    other = dataclasses.replace(settings, scale=90, min_size=5)
    fresh = cut_regions(*a_hot_brain, other, spacing=SPACING)
    first = a_recutter.regions(settings)
    monkeypatch.setattr(regions_module, "build_graph", lambda *_, **__: pytest.fail("edges were sorted again"))
    second = a_recutter.regions(other)
    assert_same(second, fresh)
    monkeypatch.setattr(regions_module, "cut", lambda *_, **__: pytest.fail("it was cut again"))
    assert_same(a_recutter.regions(settings), first)
    assert_same(a_recutter.regions(other), second)


@pytest.mark.parametrize("settings", [SLICES, VOLUME])
def test_what_was_warmed_is_there_and_right(a_hot_brain, a_recutter, settings, monkeypatch):
    scales = [snap(10), snap(40)]
    a_recutter.warm(scales, settings).join()
    wanted = [dataclasses.replace(settings, scale=scale) for scale in scales]
    fresh = [cut_regions(*a_hot_brain, each, spacing=SPACING) for each in wanted]
    monkeypatch.setattr(regions_module, "cut", lambda *_, **__: pytest.fail("it was cut again"))
    for each, expected in zip(wanted, fresh, strict=True):
        assert_same(a_recutter.regions(each), expected)


def cut_at_a_gate(monkeypatch) -> tuple[list[float], Event, Event]:
    """The scales of the cuts that began, an event when the first has, and one that lets them all go on."""
    begun, first, gate, true_cut = [], Event(), Event(), regions_module.cut

    def gated(graph, *, scale, min_size):
        begun.append(scale)
        first.set()
        assert gate.wait(20)
        return true_cut(graph, scale=scale, min_size=min_size)

    monkeypatch.setattr(regions_module, "cut", gated)
    return begun, first, gate


@pytest.mark.parametrize("settings", [SLICES, VOLUME])
def test_cancelled_warming_ends_after_the_cut_it_is_at(a_recutter, settings, monkeypatch):
    begun, first, gate = cut_at_a_gate(monkeypatch)
    thread = a_recutter.warm([10, 20, 30], settings)
    assert first.wait(20)
    a_recutter.cancel()
    gate.set()
    thread.join(20)
    assert not thread.is_alive()
    assert begun == [10]


def test_warming_anew_ends_what_was_being_warmed(a_recutter, monkeypatch):
    begun, first, gate = cut_at_a_gate(monkeypatch)
    old = a_recutter.warm([10, 20, 30], VOLUME)
    assert first.wait(20)
    new = a_recutter.warm([40], VOLUME)
    gate.set()
    old.join(20)
    new.join(20)
    assert sorted(begun) == [10, 40]


def test_warming_stops_when_the_cache_is_full_and_drops_nothing(a_hot_brain, monkeypatch):
    one_cut = 4 * a_hot_brain[1].sum() + 2_000  # labels, and room for heat and slices
    recutter = Recutter(*a_hot_brain, spacing=SPACING, cache_bytes=int(2.5 * one_cut))
    recutter.regions(VOLUME)
    begun, _, gate = cut_at_a_gate(monkeypatch)
    gate.set()
    recutter.warm([VOLUME.scale, 30, 40, 50, 60], VOLUME).join(20)
    assert begun == [30, 40]  # 20 is there, 30 fits, 40 does not
    recutter.regions(VOLUME)
    recutter.regions(dataclasses.replace(VOLUME, scale=30))
    assert begun == [30, 40]


def test_many_threads_get_what_one_gets(a_hot_brain, a_recutter):
    scales = [10, 20, 40, 80] * 4
    wanted = [dataclasses.replace(settings, scale=scale) for scale in scales for settings in (SLICES, VOLUME)]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(a_recutter.regions, wanted))
    for settings, regions in zip(wanted[:8], found[:8], strict=True):
        assert_same(regions, cut_regions(*a_hot_brain, settings, spacing=SPACING))
    for regions, same in zip(found, found[8:], strict=False):
        assert_same(regions, same)


def test_regions_of_the_cache_may_be_overwritten(a_recutter):
    first = a_recutter.regions(SLICES)
    expected = first.labels.copy()
    first.labels[:] = -1
    np.testing.assert_array_equal(a_recutter.regions(SLICES).labels, expected)
    with pytest.raises(ValueError, match="read-only"):
        first.heat[:] = 0


def test_a_cancelled_cut_leaves_the_recutter_whole(a_recutter):
    def cancel(_fraction, _stage):
        raise ad.Cancelled

    with pytest.raises(ad.Cancelled):
        a_recutter.regions(SLICES, progress=cancel)
    assert a_recutter.regions(SLICES).labels.any()


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda thing: pickle.loads(pickle.dumps(thing))])
def test_a_copied_recutter_cuts_the_same_also_while_it_is_warming(a_recutter, copied):
    thread = a_recutter.warm([30, 40, 50], VOLUME)
    other = copied(a_recutter)
    thread.join()
    for settings in (SLICES, VOLUME):
        assert_same(other.regions(settings), a_recutter.regions(settings))


@pytest.mark.parametrize("bad", [0.0, -75.0, np.nan, np.inf])
def test_a_scale_that_is_none_is_neither_warmed_nor_snapped(a_recutter, bad):
    with pytest.raises(ad.SettingsError, match="scale must be above 0"):
        a_recutter.warm([10, bad], VOLUME)
    with pytest.raises(ad.SettingsError, match="scale must be above 0"):
        snap(bad)


def test_a_spacing_that_is_no_tuple_is_refused(a_hot_brain):
    with pytest.raises(ad.SettingsError, match="spacing must be 3 lengths"):
        Recutter(*a_hot_brain, spacing=2.0)


def test_intensities_outside_zero_to_one_are_refused(a_hot_brain):
    image, brain, heatmap = a_hot_brain
    with pytest.raises(ad.InputError, match=r"intensities in \[0, 1\]"):
        Recutter(image * 255, brain, heatmap)


@given(st.floats(1e-3, 1e6))
def test_a_snapped_scale_is_near_and_stays(scale):
    assert snap(snap(scale)) == snap(scale)
    assert snap(scale) / scale == pytest.approx(1, rel=2 ** (1 / 24) - 1 + 1e-9)  # half a step


def test_the_default_scale_is_a_snapped_one_and_twelve_steps_double_it():
    assert snap(75) == SegmentSettings().scale == 75
    assert snap(150) == 150
    assert len({snap(scale) for scale in np.geomspace(75, 149, 500)}) == 13


@dataclasses.dataclass(frozen=True)
class Thing:
    nbytes: int


@given(st.lists(st.tuples(st.sampled_from("gpw"), st.integers(0, 5), st.integers(1, 12))))
def test_the_cache_keeps_what_was_used_last_within_its_bound(steps):
    """Against a list, least recently used first. p: put; w: put without evicting; g: get. A key's size never changes."""
    cache, kept, sizes = Cache(20), [], {}
    for what, key, size in steps:
        size = sizes.setdefault(key, size if size < 12 else 21)
        if what == "g":
            assert cache.get(key) == (Thing(size) if key in kept else None)
            if key in kept:
                kept.append(kept.pop(kept.index(key)))
        elif key not in kept:
            room = 20 - (sum(sizes[k] for k in kept) if what == "w" else 0)
            assert cache.put(key, Thing(size), evict=what == "p") == (size <= room)
            if size <= room:
                kept.append(key)
                while sum(sizes[k] for k in kept) > 20:
                    kept.pop(0)
    assert [key for key in range(6) if cache.get(key)] == sorted(kept)
