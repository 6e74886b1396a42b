"""felzenszwalb: scikit-image's partition in 2-D, a slow and obvious one in 3-D, laws, and life without numba."""

import os
import shutil
import subprocess
import sys
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter, label
from skimage.segmentation import felzenszwalb as skimage_felzenszwalb

import brain_inpaint_ad as ad
from brain_inpaint_ad import segmentation
from brain_inpaint_ad.segmentation.graph import is_compiled

DATA = Path(os.environ.get("BRAIN_INPAINT_AD_DATA", "../shared/data"))
FULL, FACES = np.ones((3, 3, 3)), None  # scipy's way to say 26 and 6 neighbours


def an_image(seed: int = 0, shape: tuple[int, ...] = (40, 32)) -> np.ndarray:
    smooth = gaussian_filter(np.random.default_rng(seed).random(shape), 2)
    return (smooth - smooth.min()) / np.ptp(smooth)


def noise(seed: int, shape: tuple[int, ...], levels: int = 2**40) -> np.ndarray:
    """Few levels: nearly all costs are tied. Many: none is."""
    return np.random.default_rng(seed).integers(0, levels, shape) / (levels - 1)


def assert_same_partition(ours: np.ndarray, theirs: np.ndarray) -> None:
    """One-to-one but for the names: the adapted Rand error is 0."""
    pairs = {(a, b) for a, b in zip(ours.ravel().tolist(), theirs.ravel().tolist(), strict=True)}
    assert len(pairs) == len(np.unique(ours)) == len(np.unique(theirs))


def assert_skimages(image: np.ndarray, **options: float) -> None:
    values = image.astype(np.float64)
    assert_same_partition(ad.felzenszwalb(image, **options), skimage_felzenszwalb(values, channel_axis=None, **options))


@given(
    st.integers(0, 10**6),
    st.tuples(st.integers(1, 40), st.integers(1, 40)),
    st.sampled_from([2, 3, 8, 256, 2**40]),
    st.floats(1e-3, 1e4),
    st.sampled_from([0.0, 0.3, 0.8, 3.0]),
    st.integers(1, 60),
)
@settings(max_examples=150, deadline=None)
def test_a_slice_is_cut_as_scikit_image_cuts_it(seed, shape, levels, scale, sigma, min_size):
    assert is_compiled()
    assert_skimages(noise(seed, shape, levels), scale=scale, sigma=sigma, min_size=min_size)


@given(st.floats(20, 75), st.integers(1, 100), st.sampled_from([1, 2]))
@settings(max_examples=60, deadline=None)
def test_at_the_very_limit_it_decides_as_scikit_image_does(scale, small, size):
    """A pixel beside one other, or beside two that differ a little, with a step of just what still merges."""
    step = small / 4096 if size == 2 else 0.0
    limit = step + scale / 255 / size
    for last in (limit, float(np.float32(limit)), np.nextafter(np.float32(limit), 0), np.nextafter(np.float32(limit), 1)):
        row = [0.0, last] if size == 1 else [0.0, step, step + float(last)]
        assert_skimages(np.array([row], float), scale=scale, sigma=0, min_size=1)


@pytest.mark.parametrize("sigma", [0, 0.8, 2])
@pytest.mark.parametrize("index", [20, 30])
def test_slices_of_a_phantom_are_cut_as_scikit_image_cuts_them(a_phantom, index, sigma):
    image = a_phantom.scan.array[index].astype(np.float32)
    for scale, min_size in ((10, 1), (75, 20), (400, 100)):
        assert_skimages(image / image.max(), scale=scale, sigma=sigma, min_size=min_size)


@pytest.mark.parametrize("pattern", ["brats18_tcia/*/*_t1.nii.gz", "ixi_2mm/brain/*.nii.gz"])
def test_real_slices_are_cut_as_scikit_image_cuts_them(pattern):
    scans = sorted(DATA.glob(pattern))[:2]
    if not scans:
        pytest.skip(f"no real scans: {DATA / pattern} is not there")
    for path in scans:
        scan = ad.read_scan(path).array.astype(np.float32)
        scan = np.clip(scan / np.percentile(scan[scan > 0], 99.5), 0, 1)
        for index in (len(scan) // 3, len(scan) // 2):
            for scale, sigma, min_size in ((75, 0.8, 20), (5, 0, 1), (20, 2, 50), (1000, 0.8, 200)):
                assert_skimages(scan[index], scale=scale, sigma=sigma, min_size=min_size)


def slow_felzenszwalb(image, *, neighbours, scale, sigma, min_size, spacing, mask):
    """The published algorithm, word for word, with sets of voxels. Distances and sigma are in the smallest spacing."""
    size = np.array(spacing) / min(spacing)
    smooth = gaussian_filter(image * mask, sigma / size)
    edges = []
    for one, two in combinations(map(tuple, np.argwhere(mask)), 2):
        step = np.subtract(one, two)
        if np.abs(step).max() == 1 and (neighbours == 26 or np.abs(step).sum() == 1):
            steepness = abs(smooth[one] - smooth[two]) * np.sqrt((step**2).sum() / ((step * size) ** 2).sum())
            edges.append((steepness, one, two))
    edges.sort()
    region = {tuple(voxel): {tuple(voxel)} for voxel in np.argwhere(mask)}
    internal = {tuple(voxel): 0.0 for voxel in np.argwhere(mask)}

    def join(one, two, cost):
        region[one] |= region[two]
        for voxel in region[one]:
            region[voxel], internal[voxel] = region[one], cost

    for cost, one, two in edges:
        if region[one] is not region[two] and cost < min(internal[v] + scale / 255 / len(region[v]) for v in (one, two)):
            join(one, two, cost)
    for cost, one, two in edges:
        if region[one] is not region[two] and min(len(region[one]), len(region[two])) < min_size:
            join(one, two, cost)
    labels, names = np.zeros(image.shape, int), {}
    for voxel in map(tuple, np.argwhere(mask)):
        labels[voxel] = names.setdefault(id(region[voxel]), len(names) + 1)
    return labels


@given(
    st.integers(0, 10**6),
    st.tuples(st.integers(1, 5), st.integers(1, 5), st.integers(1, 5)),
    st.sampled_from([6, 26]),
    st.floats(1, 300),
    st.sampled_from([0.0, 0.8]),
    st.integers(1, 8),
    st.sampled_from([(1.0, 1.0, 1.0), (5.0, 1.0, 1.0), (0.9, 1.3, 2.0)]),
    st.sampled_from([0.0, 0.3, 0.8]),
)
@settings(max_examples=80, deadline=None)
def test_a_volume_is_cut_as_the_paper_says(seed, shape, neighbours, scale, sigma, min_size, spacing, missing):
    image, mask = noise(seed, shape), noise(seed + 1, shape) >= missing
    options = {"neighbours": neighbours, "scale": scale, "sigma": sigma, "min_size": min_size, "spacing": spacing, "mask": mask}
    np.testing.assert_array_equal(ad.felzenszwalb(image, **options), slow_felzenszwalb(image, **options))


@given(st.integers(0, 10**6), st.sampled_from([3, 2**40]), st.floats(1, 1000))
@settings(max_examples=25, deadline=None)
def test_a_volume_of_one_slice_with_26_neighbours_is_cut_as_the_slice(seed, levels, scale):
    image = noise(seed, (23, 17), levels)
    volume = ad.felzenszwalb(image[None], scale=scale, neighbours=26)
    np.testing.assert_array_equal(volume[0], ad.felzenszwalb(image, scale=scale))


@pytest.mark.parametrize(("neighbours", "structure"), [(6, FACES), (26, FULL)])
def test_regions_hang_together_cover_the_mask_and_are_not_below_min_size(neighbours, structure):
    image, mask = an_image(2, (12, 20, 18)), np.zeros((12, 20, 18), bool)
    mask[2:10, 3:17, 2:15] = True
    labels = ad.felzenszwalb(image, scale=20, min_size=15, mask=mask, neighbours=neighbours)
    np.testing.assert_array_equal(labels > 0, mask)
    assert labels.max() > 3
    for region in range(1, labels.max() + 1):
        assert (labels == region).sum() >= 15
        assert label(labels == region, structure)[1] == 1


def test_6_and_26_neighbours_are_different_cuts():
    image = an_image(4, (12, 20, 18))
    assert ad.felzenszwalb(image, scale=20, neighbours=26).max() != ad.felzenszwalb(image, scale=20).max()
    np.testing.assert_array_equal(ad.felzenszwalb(image, scale=20), ad.felzenszwalb(image, scale=20, neighbours=6))


def test_equal_spacing_changes_nothing_and_thick_slices_do():
    image = an_image(5, (10, 16, 14))
    plain = ad.felzenszwalb(image, scale=20)
    np.testing.assert_array_equal(ad.felzenszwalb(image, scale=20, spacing=(0.7, 0.7, 0.7)), plain)
    thick = ad.felzenszwalb(image, scale=20, spacing=(3.0, 1.0, 1.0))
    assert not np.array_equal(thick, plain)
    np.testing.assert_array_equal(ad.felzenszwalb(image, scale=20, spacing=(6.0, 2.0, 2.0)), thick)


def test_turning_the_volume_and_its_spacing_turns_the_regions():
    image, spacing = noise(6, (7, 9, 8)), (3.0, 1.0, 1.5)
    turned = ad.felzenszwalb(image.transpose(2, 0, 1), scale=100, spacing=(1.5, 3.0, 1.0))
    assert_same_partition(turned.transpose(1, 2, 0), ad.felzenszwalb(image, scale=100, spacing=spacing))


@pytest.mark.parametrize("shape", [(30, 26), (8, 14, 12)])
def test_what_lies_outside_the_mask_changes_nothing(shape):
    image, mask = an_image(7, shape), np.zeros(shape, bool)
    mask[tuple(slice(2, size - 3) for size in shape)] = True
    other = np.where(mask, image, np.random.default_rng(0).random(shape))
    np.testing.assert_array_equal(ad.felzenszwalb(other, mask=mask), ad.felzenszwalb(image, mask=mask))
    assert not ad.felzenszwalb(image, mask=np.zeros(shape, bool)).any()
    np.testing.assert_array_equal(ad.felzenszwalb(image, mask=np.ones(shape, bool)), ad.felzenszwalb(image))


def test_labels_count_from_one_in_raster_order_of_their_first_pixel():
    for image in (an_image(3), an_image(3, (6, 20, 20))):
        labels = ad.felzenszwalb(image, scale=20, min_size=5)
        first_seen = list(dict.fromkeys(labels.ravel().tolist()))
        assert first_seen == list(range(1, labels.max() + 1))


def test_a_larger_scale_gives_fewer_regions():
    for image in (an_image(5, (80, 80)), an_image(5, (20, 30, 30))):
        counts = [ad.felzenszwalb(image, scale=scale, min_size=1).max() for scale in (5, 50, 500)]
        assert counts[0] > counts[1] > counts[2]


@pytest.mark.parametrize(
    "bad", [an_image() * 255, an_image() - 1, np.full((8, 8), np.nan), np.zeros(8), np.zeros((0, 8)), np.zeros((2, 2, 2, 2))]
)
def test_an_image_outside_zero_to_one_or_neither_slice_nor_volume_is_refused(bad):
    with pytest.raises(ad.InputError, match="felzenszwalb takes"):
        ad.felzenszwalb(bad)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"scale": 0}, "scale from 1e-30"),
        ({"scale": 1e-31}, "scale from 1e-30"),
        ({"scale": np.inf}, "scale from 1e-30"),
        ({"sigma": -1}, "sigma from 0 to 100"),
        ({"sigma": 1e9}, "sigma from 0 to 100"),
        ({"min_size": 0}, "min_size from 1"),
        ({"neighbours": 6}, "neighbours must be 8"),
        ({"spacing": (1.0, 1.0, 1.0)}, "spacing must be 2 lengths"),
        ({"spacing": (1.0, 0.0)}, "spacing must be 2 lengths"),
        ({"spacing": 2.0}, "spacing must be 2 lengths"),
    ],
)
def test_impossible_options_are_refused(options, sentence):
    with pytest.raises(ad.SettingsError, match=sentence):
        ad.felzenszwalb(an_image(), **options)


def test_a_min_size_above_all_there_is_leaves_one_region():
    assert set(ad.felzenszwalb(an_image(), min_size=10**20).ravel()) == {1}


def test_a_mask_of_another_shape_is_refused():
    with pytest.raises(ad.InputError, match="takes a mask of the image's shape"):
        ad.felzenszwalb(an_image(), mask=np.ones((3, 3), bool))


@pytest.fixture
def without_numba(monkeypatch):
    monkeypatch.delattr(segmentation, "kernel", raising=False)
    monkeypatch.delitem(sys.modules, "brain_inpaint_ad.segmentation.kernel", raising=False)
    monkeypatch.setitem(sys.modules, "numba", None)


def test_without_numba_slices_are_cut_all_the_same(request):
    image = an_image(8)
    before = ad.felzenszwalb(image, scale=30)
    request.getfixturevalue("without_numba")
    assert not is_compiled()
    np.testing.assert_array_equal(ad.felzenszwalb(image, scale=30), before)
    assert set(ad.felzenszwalb(image, min_size=10**20).ravel()) == {1}


@pytest.mark.usefixtures("without_numba")
@pytest.mark.parametrize("options", [{"mask": np.ones((40, 32), bool)}, {"spacing": (1.0, 2.0)}])
def test_without_numba_what_scikit_image_cannot_do_is_refused_with_the_way_out(options):
    for image, more in ((an_image(), options), (an_image(0, (4, 9, 9)), {})):
        with pytest.raises(ad.SettingsError, match=r"need numba.*pip install numba"):
            ad.felzenszwalb(image, **more)


@pytest.mark.usefixtures("without_numba")
def test_without_numba_detect_refuses_the_volume_before_the_work(a_phantom, a_tiny_model):
    stages = []
    with pytest.raises(ad.SettingsError, match=r"pip install numba.*--segmentation slices"):
        ad.detect(
            a_phantom.scan,
            model=str(a_tiny_model),
            rule="paper",
            segmentation="volume",
            progress=lambda _, stage: stages.append(stage),
        )
    assert stages == []


def test_the_kernel_runs_where_nothing_can_be_written(tmp_path):
    """Neither beside the source nor in the user's cache can numba keep what it compiled."""
    package = tmp_path / "brain_inpaint_ad"
    shutil.copytree(Path(ad.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__"))
    (package / "segmentation" / "__pycache__").write_text("a file, no folder")
    nowhere = str(tmp_path / "nowhere" / "file")
    Path(nowhere).parent.mkdir()
    Path(nowhere).write_text("a file, no folder")
    probe = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "import numpy as np, brain_inpaint_ad as ad\n"
        f"assert ad.__file__.startswith({str(tmp_path)!r}), ad.__file__\n"
        "assert ad.felzenszwalb(np.eye(6)[None], min_size=1).max() > 0\n"
        "from brain_inpaint_ad.segmentation import kernel\n"
        "assert type(kernel.merge._cache).__name__ == 'NullCache', kernel.merge._cache\n"
    )
    homes = dict.fromkeys(("HOME", "XDG_CACHE_HOME", "NUMBA_CACHE_DIR"), nowhere)
    command = [sys.executable, "-W", "error", "-c", probe]
    done = subprocess.run(command, env={**os.environ, **homes}, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
