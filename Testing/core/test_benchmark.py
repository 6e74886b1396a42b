"""The benchmark's files: rows as promised, ratios that are ratios, exact rows that are exact. No speed is asserted."""

import json

import numpy as np
import pytest
import torch
from scipy import ndimage
from skimage.io import imread

from brain_inpaint_ad.benchmark.by_place import ByPlace
from brain_inpaint_ad.benchmark.race import Agreement, Sample, race
from brain_inpaint_ad.benchmark.report import duration, times
from brain_inpaint_ad.benchmark.scene import Judged
from brain_inpaint_ad.benchmark.superpixels import rand_error

FIELDS = ["name", "seconds", "ratio", "against", "max_difference", "rank_correlation", "peak_mb", "timed", "whole", "unit"]
HEAT_32 = ["direct-32mm", "direct-batched-32mm", "incremental-32mm", "incremental-skip-32mm", "predictor", "dense"]
HEAT_16 = ["direct-16mm", "incremental-16mm"]
WHOLE = ["anogan-search", "anovaegan"]
SLICE = ["felzenszwalb-slice-scikit-image", "felzenszwalb-slice-cold", "felzenszwalb-slice-recut"]
BRAIN = ["felzenszwalb-brain-cold", "felzenszwalb-brain-recut", "felzenszwalb-cached"]
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def a_run(a_coarse_scan, a_tiny_model, tmp_path_factory, run_cli_in_a_process):
    """What the command said, and its JSON file."""
    path = tmp_path_factory.mktemp("benchmark") / "new folder" / "größe.json"
    answer = run_cli_in_a_process("benchmark", "--quick", "--json", path, "--scan", a_coarse_scan, "--model", a_tiny_model)
    assert answer.code == 0, answer.err
    return answer, path


@pytest.fixture(scope="module")
def content(a_run):
    return json.loads(a_run[1].read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def rows(content):
    return {row["name"]: row for row in content["rows"]}


def test_the_file_has_the_rows_and_fields_that_were_promised(content, rows):
    expected = [*HEAT_32, *HEAT_16, *WHOLE, *SLICE, *BRAIN]
    assert [name for name in rows if "-bf16-" not in name] == expected
    assert {"incremental-skip-bf16-32mm"} >= set(rows) - set(expected)  # where bfloat16 is fast
    for row in content["rows"]:
        assert list(row) == [*FIELDS, "threads"]
        assert row["timed"] > 0
        assert row["seconds"] > 0
    assert rows["direct-32mm"]["whole"] == 57 * 41 * rows["dense"]["whole"]  # 8 pixels, at each of 64 × 48
    assert rows["incremental-32mm"]["whole"] == rows["direct-32mm"]["whole"] > rows["incremental-skip-32mm"]["whole"]


def test_the_hardware_is_named(content):
    hardware = content["hardware"]
    assert hardware["torch"] == torch.__version__
    assert hardware["gpu"] is None or isinstance(hardware["gpu"], str)
    assert hardware["cores"] >= 1
    assert hardware["cpu"]
    assert len(hardware["date"]) == len("2025-01-31")


def test_every_ratio_is_that_of_the_row_it_names(rows):
    for name, row in rows.items():
        reference = rows[row["against"]]
        assert row["ratio"] == pytest.approx(reference["seconds"] / row["seconds"], rel=1e-3)  # four digits are kept
        assert reference["ratio"] == 1
        against = next(names[0] for names in (HEAT_16, WHOLE, SLICE, BRAIN, [*HEAT_32, name]) if name in names)
        assert row["against"] == against


def test_exact_rows_are_exact_and_what_is_no_comparison_has_none(rows):
    for name in ("direct-batched-32mm", "incremental-32mm", "incremental-skip-32mm", "incremental-16mm"):
        # An untrained network fills windows nearly flat, and the minmax stretches rounding with them; windows themselves are
        # held to 1e-5 in test_heatmap.
        assert rows[name]["max_difference"] <= 5e-3
        assert rows[name]["rank_correlation"] >= 0.999  # ties at rounding may swap
    for name in ("felzenszwalb-slice-cold", "felzenszwalb-slice-recut"):
        assert rows[name]["max_difference"] == 0
    for name in ("direct-32mm", "direct-16mm", "predictor", "dense", *WHOLE, SLICE[0], *BRAIN):  # this model has no predictor
        assert rows[name]["max_difference"] is None


def test_the_table_shows_every_row_and_says_what_was_not_compared(a_run, content):
    out = a_run[0].out
    for row in content["rows"]:
        line = next(line for line in out.splitlines() if line.startswith(row["name"] + " "))
        assert duration(row["seconds"]) in line
        assert times(row["ratio"]) in line
    for note in content["notes"]:
        assert note in out
    assert sum("has no difference" in note for note in content["notes"]) == 2


def test_the_plot_beside_it_has_a_bar_for_every_row(a_run, content):
    picture = imread(a_run[1].with_suffix(".png"))[..., :3]
    ours, reference = np.array([0x2A, 0x6F, 0x97]), np.array([153, 153, 153])
    bars = 0
    for colour in (ours, reference):
        parts, _ = ndimage.label(np.abs(picture.astype(int) - colour).max(axis=2) <= 2)
        bars += (np.bincount(parts.ravel())[1:] > 500).sum()  # lines and letters have fewer pixels
    assert bars == len(content["rows"])


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("results.txt", "--json takes a file that ends in .json, got"),
        ("folder.json", "folder.json is a folder; give the name of a file"),
        ("file/results.json", "cannot be written (Not a directory); choose another file."),
    ],
)
def test_a_place_that_cannot_be_written_is_refused_before_the_work(name, sentence, tmp_path, run_cli):
    (tmp_path / "folder.json").mkdir()
    (tmp_path / "file").touch()
    answer = run_cli("benchmark", "--json", tmp_path / name)
    assert answer.code == 1
    assert answer.out == ""
    assert answer.err.startswith("Error: ")
    assert sentence in answer.err
    assert answer.err.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder.json"]


class Runner:
    """A contender of known times."""

    unit, whole = "laps", 10

    def __init__(self, name, against, seconds):
        self.name, self.against, self.seconds = name, against, seconds

    def warm_up(self):
        pass

    def measure(self, turn):
        return Sample(self.seconds[turn], len(self.seconds[turn]))

    def agreement(self):
        return Agreement(0.25)


def test_the_median_over_all_turns_counts():
    threads = torch.get_num_threads()
    slow = Runner("slow", "slow", [[90.0, 10.0], [12.0], [11.0, 1.0]])
    quick = Runner("quick", "slow", [[2.0], [100.0], [1.0]])
    rows = race([slow, quick], turns=3, device=CPU, threads=[1, threads])
    assert [(row.name, row.seconds, row.ratio, row.timed) for row in rows] == [("slow", 11, 1, 5), ("quick", 2, 5.5, 3)]
    assert rows[1].max_difference == 0.25
    assert torch.get_num_threads() == threads


def test_the_pass_over_the_slices_is_counted_once_however_many_windows_there_are(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr("brain_inpaint_ad.benchmark.by_place.now", lambda device: clock[0])
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)

    def losses(image, corners, progress):
        clock[0] += 7.0
        for start in range(0, len(corners), 10):
            clock[0] += 0.5 * 10
            progress(start / len(corners), "")
        return torch.zeros(len(corners))

    corners = torch.zeros((40, 3), dtype=torch.int64)
    image = torch.zeros((1, 4, 4))
    judged = Judged(32.0, 2, "window", image, image > 0, corners)
    sample = ByPlace("fast", "slow", losses, image, judged, 1000, [corners]).measure(0)
    assert sample.seconds == [pytest.approx(7.0 + 0.5 * 1000)]
    assert sample.timed == 40


def test_judged_windows_are_compared_where_the_naive_loop_came():
    image = torch.zeros((1, 4, 4))
    judged = Judged(32.0, 2, "window", image, image > 0, torch.zeros((5, 3), dtype=torch.int64))
    assert judged.compare(torch.ones(5)) == Agreement()
    judged.losses[:4] = torch.tensor([0.1, 0.2, 0.3, 0.4])
    found = judged.compare(torch.tensor([0.1, 0.3, 0.2, 0.4, 9.0]))
    assert found.max_difference == pytest.approx(0.1)
    assert found.rank_correlation == pytest.approx(0.8)  # 1 − 6·2/(4·15)


def test_the_rand_error_knows_partitions_not_labels():
    cut = np.array([0, 0, 0, 1, 1, 2])
    assert rand_error(cut, np.array([5, 5, 5, 0, 0, 3])) == 0
    assert rand_error(cut, np.zeros(6, int)) > 0.3


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (7560, "2.10 h"),
        (3600, "1.00 h"),
        (3599, "60.0 min"),
        (204, "3.40 min"),
        (12.34, "12.3 s"),
        (0.0041, "4.10 ms"),
        (2e-7, "0.20 µs"),
    ],
)
def test_durations_are_written_in_the_unit_that_fits(seconds, text):
    assert duration(seconds) == text


def test_a_ratio_is_written_with_three_digits():
    assert [times(value) for value in (0.914, 12.345, 9.999, 99.96, 3296.4)] == ["0.91×", "12.3×", "10.0×", "100×", "3296×"]
