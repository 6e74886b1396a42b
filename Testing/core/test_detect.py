"""detect() in Python: options change the result, a re-cut runs no network, findings are what the volumes say."""

import copy
import csv
import io
import json
import pickle
import re
from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

import brain_inpaint_ad as ad
from brain_inpaint_ad.cli.run import _plain_lines
from brain_inpaint_ad.detectors import inpainting
from brain_inpaint_ad.devices import pick_device
from brain_inpaint_ad.findings import finding_in_words, findings_csv, list_findings
from brain_inpaint_ad.heatmap.incremental import Incremental
from brain_inpaint_ad.memory import needed_mb
from brain_inpaint_ad.progress import TimeLeft, part_of
from brain_inpaint_ad.result import segment
from brain_inpaint_ad.result_files import FILES
from brain_inpaint_ad.segmentation import regions


@pytest.fixture(scope="module")
def a_result(a_phantom, a_tiny_model):
    return ad.detect(a_phantom.scan, model=a_tiny_model, rule="paper")  # a path, as of any file


def test_heat_lies_in_the_brain_and_anomalies_in_the_heat(a_result, a_phantom):
    assert (a_result.heatmap.array[a_phantom.brain.array > 0] > 0).mean() > 0.99
    assert not a_result.heatmap.array[a_phantom.brain.array == 0].any()
    assert (a_result.heatmap.array[a_result.labelmap.array > 0] > 0).all()
    assert a_result.heatmap.grid == a_result.labelmap.grid == a_phantom.scan.grid


def test_a_recut_is_what_a_new_run_gives_and_runs_no_network(a_result, a_phantom, a_tiny_model, monkeypatch):
    fresh = ad.detect(a_phantom.scan, model=str(a_tiny_model), rule="paper", scale=400)
    monkeypatch.setattr(Incremental, "rebuild", lambda *_, **__: pytest.fail("a network ran"))
    again = a_result.resegment(scale=400)
    np.testing.assert_array_equal(again.labelmap.array, fresh.labelmap.array)
    assert again.findings == fresh.findings
    assert not np.array_equal(again.labelmap.array, a_result.labelmap.array)
    assert again.report["segmentation"]["scale"] == 400
    assert a_result.report["segmentation"]["scale"] == 75


def test_a_second_recut_sorts_no_edges_again(a_result, monkeypatch):
    once = a_result.resegment(scale=200)
    monkeypatch.setattr(regions, "build_graph", lambda *_, **__: pytest.fail("edges were sorted again"))
    twice = once.resegment(scale=300).resegment(scale=200, min_size=20)
    np.testing.assert_array_equal(twice.labelmap.array, once.labelmap.array)


def test_the_volume_is_cut_in_3_d_and_its_hottest_superpixel_is_the_anomaly(
    a_result, a_phantom_scan, a_tiny_model, run_cli, tmp_path
):
    options = ("--model", a_tiny_model, "--rule", "paper", "--segmentation", "volume")
    assert run_cli("detect", a_phantom_scan, "--out", tmp_path / "out", *options).code == 0
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["segmentation"]["segmentation"] == "volume"
    solid = a_result.resegment(segmentation="volume")
    np.testing.assert_array_equal(ad.read_labels(tmp_path / "out" / "anomalies.nii.gz").array, solid.labelmap.array)
    assert not np.array_equal(solid.labelmap.array, a_result.labelmap.array)
    assert len(solid.findings) == 1
    superpixels = ad.felzenszwalb(solid.prepared.image.array, mask=solid.prepared.brain)
    heats = [solid.model_heatmap[superpixels == label].mean() for label in range(1, superpixels.max() + 1)]
    np.testing.assert_array_equal(solid.model_labelmap > 0, superpixels == np.argmax(heats) + 1)
    assert len(np.unique(superpixels)) < sum(len(np.unique(one)) - 1 for one in superpixels)  # many span slices


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda thing: pickle.loads(pickle.dumps(thing))])
def test_a_copied_result_is_cut_anew_as_the_first(a_result, copied):
    other = copied(a_result)
    assert other.recutter.is_made_from(other.prepared.image.array, other.prepared.brain, other.model_heatmap)
    again, expected = other.resegment(scale=300), a_result.resegment(scale=300)
    np.testing.assert_array_equal(again.labelmap.array, expected.labelmap.array)
    assert again.findings == expected.findings


def test_another_heatmap_in_a_result_is_what_is_cut(a_result):
    other = replace(a_result, model_heatmap=a_result.model_heatmap.max() - a_result.model_heatmap)
    again = other.resegment()
    assert again.recutter is not a_result.recutter
    assert not np.array_equal(again.model_labelmap > 0, a_result.model_labelmap > 0)
    expected = segment(other.prepared, other.model_heatmap, settings=other.settings, thresholds=other.thresholds, report={})
    np.testing.assert_array_equal(again.labelmap.array, expected.labelmap.array)
    assert again.findings == expected.findings


def test_every_segmentation_has_its_own_threshold(a_result):
    with pytest.raises(ad.WeightsError, match=r"not calibrated for .*volume; use --segmentation slices or --rule paper"):
        a_result.resegment(rule="calibrated", segmentation="volume")
    both = replace(a_result, thresholds={**a_result.thresholds, "volume_healthy_voxels_1_percent": 0.1})
    solid = both.resegment(rule="calibrated", segmentation="volume", min_volume_ml=0)
    assert solid.threshold == solid.report["segmentation"]["threshold"] == 0.1
    assert solid.resegment(segmentation="slices").threshold == 0.2
    found = solid.recutter.regions(solid.settings)
    np.testing.assert_array_equal(solid.model_labelmap > 0, (found.heat > 0.1)[found.labels])


def test_the_calibrated_rule_obeys_the_cards_threshold(a_result):
    strict = a_result.resegment(rule="calibrated")
    heat = a_result.model_heatmap
    assert strict.threshold == 0.2  # the tiny model's card
    assert strict.model_labelmap.any() == (heat.max() > 0.2 and bool(strict.findings))
    nothing = a_result.resegment(rule="calibrated", min_volume_ml=1e6)
    assert nothing.findings == []
    assert nothing.summary == "Nothing found"
    assert not nothing.labelmap.array.any()


@pytest.mark.parametrize("rule", ["paper", "calibrated"])
@pytest.mark.parametrize("segmentation", ["slices", "volume"])
def test_a_slice_cut_alone_shows_what_the_whole_recut_shows_there(a_result, rule, segmentation):
    thresholds = {"healthy_voxels_1_percent": 0.1, "volume_healthy_voxels_1_percent": 0.1}
    for scale in (20, 150):
        changes = {"scale": scale, "rule": rule, "segmentation": segmentation}
        result = replace(a_result, thresholds=thresholds)
        whole = result.resegment(**changes, min_volume_ml=0).model_labelmap
        assert whole.any()
        for index in range(len(whole)):
            alone = result.cut_slice(index, **changes)
            assert alone.dtype == np.int32
            assert alone.shape == result.model_grid.shape[1:]
            np.testing.assert_array_equal(alone > 0, whole[index] > 0)
            assert alone.max() == ndimage.label(whole[index], np.ones((3, 3)))[1]


def test_a_slice_is_cut_from_the_heatmap_the_result_has(a_result):
    other = replace(a_result, model_heatmap=a_result.model_heatmap.max() - a_result.model_heatmap)
    index = len(a_result.prepared.brain) // 2
    np.testing.assert_array_equal(other.cut_slice(index) > 0, other.resegment().model_labelmap[index] > 0)


@pytest.mark.parametrize("index", [-1, 10_000])
def test_a_slice_that_is_not_there_is_named(a_result, index):
    with pytest.raises(ad.InputError, match=rf"no slice {index}; the model's grid has slices 0 to \d+\.$"):
        a_result.cut_slice(index)


def test_a_slice_under_settings_that_cannot_be_is_refused(a_result):
    with pytest.raises(ad.SettingsError, match="scale must be above 0"):
        a_result.cut_slice(3, scale=0)
    with pytest.raises(ad.WeightsError, match="not calibrated"):
        a_result.cut_slice(3, rule="calibrated", segmentation="volume")


def test_sigma_size_and_volume_reach_the_cut(a_result, a_phantom, a_tiny_model):
    options = {"sigma": 2.0, "min_size": 3, "min_volume_ml": 7.5}
    fresh = ad.detect(a_phantom.scan, model=str(a_tiny_model), rule="paper", **options)
    assert {key: fresh.report["segmentation"][key] for key in options} == options
    np.testing.assert_array_equal(fresh.labelmap.array, a_result.resegment(**options).labelmap.array)
    assert not np.array_equal(fresh.labelmap.array, a_result.labelmap.array)


def test_the_stride_changes_the_heatmap_a_little(a_result, a_phantom, a_tiny_model):
    coarse = ad.detect(a_phantom.scan, model=str(a_tiny_model), rule="paper", stride_mm=16)
    inside = a_phantom.brain.array > 0
    assert not np.array_equal(coarse.heatmap.array, a_result.heatmap.array)
    assert np.corrcoef(coarse.heatmap.array[inside], a_result.heatmap.array[inside])[0, 1] > 0.8


@pytest.fixture
def find(a_coarse_scan, a_tiny_model, tmp_path, run_cli):
    """Runs detect with few windows; gives its answer, the heatmap and the report."""

    def run(name, *options):
        out = tmp_path / name
        answer = run_cli("detect", a_coarse_scan, "--out", out, "--model", a_tiny_model, "--stride-mm", 16, *options)
        if answer.code:
            assert not out.exists()
            return answer, None, None
        return answer, ad.read_scan(out / "heatmap.nii.gz").array, json.loads((out / "report.json").read_text())

    return run


def test_the_engines_give_one_heatmap_and_the_strict_one_another(find, monkeypatch):
    # In bfloat16 the minmax of an untrained model's nearly flat windows makes 0.04 of the rounding.
    monkeypatch.setattr(inpainting, "is_fast_in_bfloat16", lambda _: False)
    _, usual, report = find("usual", "--rule", "paper")
    assert (report["heatmap"]["engine"], report["heatmap"]["minmax"]) == ("incremental", "window")
    monkeypatch.setattr(Incremental, "rebuild", lambda *_, **__: pytest.fail("the default engine ran"))
    _, direct, report = find("direct", "--rule", "paper", "--engine", "direct")
    assert (report["heatmap"]["engine"], report["heatmap"]["minmax"]) == ("direct", "window")
    np.testing.assert_allclose(direct, usual, rtol=0, atol=1e-4)  # float32 rounding, enlarged by the minmax
    _, strict, report = find("strict", "--rule", "paper", "--engine", "paper-strict")
    assert report["heatmap"]["minmax"] == "frame"
    assert np.abs(strict - usual).max() > 0.05


def test_the_strict_engine_without_the_papers_rule_is_refused(find):
    answer, _, _ = find("strict", "--engine", "paper-strict")
    assert answer.code == 1
    assert "add --rule paper" in answer.err


@pytest.mark.parametrize("bad", ["0", "-1", "nan"])
def test_memory_that_is_none_is_refused(find, bad):
    answer, _, _ = find("none", "--max-memory", bad)
    assert answer.code == 1
    assert answer.err.startswith("Error: the memory must be above 0 MB")
    assert answer.err.count("\n") == 1


def test_endless_and_little_memory_change_nothing(find):
    _, endless, _ = find("endless", "--max-memory", "inf")
    _, little, _ = find("little", "--max-memory", f"{needed_mb((55, 64, 55)):.0f}")
    np.testing.assert_allclose(endless, little, rtol=0, atol=5e-3)  # other batches round otherwise


def test_findings_are_measured_on_the_volumes(a_result):
    voxel_ml = a_result.labelmap.grid.voxel_mm3 / 1000
    labels = a_result.labelmap.array
    assert [finding.label for finding in a_result.findings] == list(range(1, labels.max() + 1))
    for finding in a_result.findings:
        inside = labels == finding.label
        assert finding.volume_ml == pytest.approx(inside.sum() * voxel_ml, abs=1e-3)
        assert finding.mean_heat == pytest.approx(a_result.heatmap.array[inside].mean(), abs=1e-5)
        assert finding.peak_heat == pytest.approx(a_result.heatmap.array[inside].max(), abs=1e-5)
        hottest = np.argwhere(inside & (a_result.heatmap.array == a_result.heatmap.array[inside].max()))
        peak = (-finding.peak_r_mm, -finding.peak_a_mm, finding.peak_s_mm)
        assert np.abs(a_result.labelmap.grid.to_world(hottest) - peak).max(axis=1).min() < 0.01
        assert (finding.first_slice, finding.last_slice) == tuple(np.flatnonzero(inside.any(axis=(1, 2)))[[0, -1]])


def test_centres_are_in_ras_millimetres():
    grid = ad.Grid((4, 5, 6), (2.0, 3.0, 4.0), (10.0, 20.0, 30.0), (1, 0, 0, 0, 1, 0, 0, 0, 1))
    labels = np.zeros(grid.shape, np.int16)
    labels[2, 1, 3] = 1  # LPS 10 + 3·2, 20 + 1·3, 30 + 2·4
    heat = ad.Volume(np.ones(grid.shape, np.float32), grid)
    (finding,) = list_findings(ad.Volume(labels, grid), heat, heat, heat.array > 0)
    assert (finding.r_mm, finding.a_mm, finding.s_mm) == (-16.0, -23.0, 38.0)


@pytest.mark.parametrize("flips", [(1, 1, 1), (-1, 1, -1)], ids=["LPS", "RPI"])
def test_a_finding_tells_its_side_and_how_much_of_it_is_as_dark_as_fluid(flips):
    """A head of three intensities, off the file's origin, on a grid of 2 mm; labels on one of 1 mm, whichever way it runs."""
    coarse = ad.Grid((20, 20, 20), (2.0, 2.0, 2.0), (101.0, 11.0, 11.0), (1, 0, 0, 0, 1, 0, 0, 0, 1))
    image = np.full(coarse.shape, 0.9, np.float32)
    image[:, ::2], image[:10] = 0.6, 0.2  # the lower half is fluid
    start = [100.5 + 39 * (flips[0] < 0), 10.5 + 39 * (flips[1] < 0), 10.5 + 39 * (flips[2] < 0)]
    fine = ad.Grid((40, 40, 40), (1.0, 1.0, 1.0), tuple(start), tuple(np.diag(flips).ravel().astype(float)))
    world = fine.to_world(np.indices(fine.shape).reshape(3, -1).T).reshape(*fine.shape, 3)
    x, y, z = np.moveaxis(world - (100, 10, 10), -1, 0)
    labels = np.zeros(fine.shape, np.int16)
    labels[(x < 10) & (y < 10) & (z > 20) & (z < 30)] = 1
    labels[(x > 15) & (y > 20) & (y < 30) & (z > 10)] = 2
    heat = ad.Volume(np.ones(fine.shape, np.float32), fine)
    first, second = list_findings(ad.Volume(labels, fine), heat, ad.Volume(image, coarse), image > 0)
    assert (first.right_share, first.dark_share) == (1.0, 0.0)  # LPS: small x is the patient's right
    assert (second.right_share, second.dark_share) == (5 / 25, 0.333)
    assert finding_in_words(first).startswith("1: 1.0 ml, right, centre R -105 A -15 S 35, hottest at R ")
    assert ", left and right (20 % right), centre " in finding_in_words(second)
    assert finding_in_words(second).endswith(", 33 % dark")
    assert finding_in_words(replace(first, volume_ml=0.0081)).startswith("1: 0.008 ml, right")


def test_the_table_has_its_header_also_when_nothing_was_found():
    header = findings_csv([]).strip().split(",")
    assert header[:5] == ["label", "volume_ml", "r_mm", "a_mm", "s_mm"]


def test_saved_files_say_what_the_result_says(a_result, tmp_path):
    paths = a_result.save(tmp_path / "out")
    assert sorted(path.name for path in paths) == sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(FILES)
    np.testing.assert_array_equal(ad.read_labels(tmp_path / "out" / "anomalies.nii.gz").array, a_result.labelmap.array)
    np.testing.assert_array_equal(ad.read_scan(tmp_path / "out" / "heatmap.nii.gz").array, a_result.heatmap.array)
    rows = list(csv.DictReader((tmp_path / "out" / "findings.csv").read_text().splitlines()))
    assert [float(row["volume_ml"]) for row in rows] == [finding.volume_ml for finding in a_result.findings]
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["findings"] == len(rows)
    assert report["model"]["name"] == "tiny"
    assert set(report["seconds"]) == {"load", "prepare", "heatmap", "segment"}


def test_a_name_with_dollar_signs_or_foreign_letters_is_drawn_as_it_is(a_result, tmp_path):
    from brain_inpaint_ad.picture import draw_overview

    volumes = a_result.prepared.image, a_result.model_heatmap, a_result.model_labelmap
    draw_overview(tmp_path / "a.png", *volumes, title="a$b_$c 脑.nii.gz", hot=0.2)
    assert (tmp_path / "a.png").stat().st_size > 10_000


def test_the_picture_says_in_mm_of_the_scan_where_each_slice_lies(a_result, tmp_path, monkeypatch):
    """One hot slice: one of the slices shown is where the table has it."""
    from matplotlib.axes import Axes

    from brain_inpaint_ad.picture import draw_overview

    image = a_result.prepared.image
    left, posterior, superior = image.grid.origin
    moved = ad.Volume(image.array, replace(image.grid, origin=(left, posterior, superior - 40.0)), "moved")
    middle = len(image.array) // 2
    marked = np.zeros(image.array.shape, np.int32)
    marked[middle] = image.array[middle] > 0
    titles = []
    monkeypatch.setattr(Axes, "set_title", lambda axes, text, **others: titles.append(text))
    draw_overview(tmp_path / "a.png", moved, marked.astype(np.float32), marked, title="", hot=0.5)
    heat = moved.with_array(marked.astype(np.float32))
    (finding,) = list_findings(moved.with_array(marked), heat, moved, moved.array > 0)
    assert len(titles) == 6
    assert f"S {round(finding.s_mm)} mm" in titles
    places = [int(re.fullmatch(r"S (-?\d+) mm", title)[1]) for title in titles]
    assert np.abs(np.diff(places) - image.grid.spacing[2]).max() <= 1  # neighbours, in whole mm


def test_an_uncalibrated_model_is_refused_before_the_work_and_serves_the_papers_rule(a_phantom, a_tiny_model, tmp_path):
    model = tmp_path / "raw.safetensors"
    model.write_bytes(a_tiny_model.read_bytes())
    card = json.loads(a_tiny_model.with_suffix(".json").read_text())
    model.with_suffix(".json").write_text(json.dumps({**card, "thresholds": {}}))
    stages = []
    with pytest.raises(ad.WeightsError, match="not calibrated"):
        ad.detect(a_phantom.scan, model=str(model), progress=lambda _, stage: stages.append(stage))
    assert stages == []
    raw = ad.detect(a_phantom.scan, model=str(model), rule="paper")
    assert raw.findings
    with pytest.raises(ad.WeightsError, match="not calibrated"):
        raw.resegment(rule="calibrated")


def test_progress_never_goes_back(a_phantom, a_tiny_model):
    seen = []
    ad.detect(a_phantom.scan, model=str(a_tiny_model), rule="paper", progress=lambda fraction, _: seen.append(fraction))
    assert seen == sorted(seen)
    assert 0 <= seen[0] < seen[-1] <= 1


def test_a_part_of_progress_fills_its_share():
    seen = []
    part = part_of(lambda fraction, stage: seen.append((round(fraction, 6), stage)), 0.2, 0.6)
    part(0.0, "a")
    part(0.5, "b")
    part(1.0, "c")
    assert seen == [(0.2, "a"), (0.4, "b"), (0.6, "c")]


def test_time_left_counts_from_where_a_resumed_run_began():
    now = [0.0]
    left = TimeLeft(clock=lambda: now[0])
    assert left.seconds(0.8) is None
    now[0] = 10.0
    assert left.seconds(0.9) == pytest.approx(10.0)
    assert left.seconds(1.0) == 0


def test_time_left_follows_the_pace_of_the_last_half_minute():
    now = [0.0]
    left = TimeLeft(clock=lambda: now[0])
    left.seconds(0.0)
    now[0] = 1.0
    left.seconds(0.1)  # a quick first stage
    for second in range(2, 102):  # then 0.001 a second
        now[0] = float(second)
        seconds = left.seconds(0.1 + 0.001 * (second - 1))
    assert seconds == pytest.approx((0.9 - 0.1) / 0.001, rel=1e-6)


def test_unknown_and_absent_devices_are_named():
    assert pick_device("cpu").type == "cpu"
    with pytest.raises(ad.SettingsError, match="no device is called 'gpu9'"):
        pick_device("gpu9")


def test_the_core_runs_from_its_source_alone(tmp_path):
    """As inside Slicer: a folder on the path, no package metadata of ours."""
    import shutil
    import subprocess
    import sys
    from pathlib import Path

    shutil.copytree(Path(ad.__file__).parent, tmp_path / "brain_inpaint_ad", ignore=shutil.ignore_patterns("__pycache__"))
    probe = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "import importlib.metadata as m; whole = m.version\n"
        "def hidden(name):\n"
        "    if name == 'brain-inpaint-ad': raise m.PackageNotFoundError(name)\n"
        "    return whole(name)\n"
        "m.version = hidden\n"
        "import brain_inpaint_ad as ad; from brain_inpaint_ad import pipeline; from brain_inpaint_ad.cli import app\n"
        f"assert ad.__file__.startswith({str(tmp_path)!r}), ad.__file__\n"
        "from brain_inpaint_ad.weights.store import shipped_cards\n"
        "assert shipped_cards()\n"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr


def test_models_lists_what_ships_by_its_full_name(run_cli):
    answer = run_cli("models")
    assert answer.code == 0
    assert "t1-inpaint-32mm" in answer.out


def test_without_a_terminal_long_work_says_now_and_then_how_far_it_is():
    said = io.StringIO()
    report = _plain_lines(said, every_s=0.0)
    report(0.25, "preparing a")
    report(0.5, "preparing b")
    assert said.getvalue().splitlines()[0].startswith("preparing a (25%")
    assert "preparing b (50%" in said.getvalue()
    silent = io.StringIO()
    _plain_lines(silent)(0.5, "work of less than a minute")
    assert silent.getvalue() == ""
