"""What the panel says of the scan as a whole: read from the core's report, kept in the scene, told and drawn."""

import json

import pytest

HEALTHY = [0.04, 0.05, 0.05, 0.06]
SCORED = {"score": 0.1, "percentile": 100.0, "abnormal": True, "healthy_scores": HEALTHY, "abnormal_from": 0.07}
NOISY = {"quality": "noisy", "scan_score": SCORED}


@pytest.fixture
def report_lib(mrml_lib):
    return mrml_lib("ScanScore")


@pytest.fixture
def read(report_lib, tmp_path):
    """What is read from a report with this content."""

    def read_it(told):
        path = tmp_path / "report.json"
        path.write_text(told if isinstance(told, str) else json.dumps(told), encoding="utf-8")
        return report_lib.readReport(path)

    return read_it


def test_score_and_quality_are_those_of_the_report(report_lib, read):
    report = read(NOISY)
    assert (report.quality, report.score.score, report.score.abnormalFrom) == ("noisy", 0.1, 0.07)
    assert list(report.score.healthyScores) == HEALTHY
    assert report_lib.ScanReport.fromText(report.toText()) == report


@pytest.mark.parametrize(
    "told", ["", "{", "[]", {}, {"scan_score": {"score": 1}}, {"scan_score": {**SCORED, "healthy_scores": []}}]
)
def test_a_report_that_tells_nothing_of_it_is_no_reason_to_lose_a_result(read, told):
    report = read(told)
    assert (report.score, report.warning) == (None, "")


def test_a_scene_from_elsewhere_or_before_says_nothing(report_lib):
    for text in (None, "", "nonsense", "[1]", '{"score": {"other": 1}}'):
        assert report_lib.ScanReport.fromText(text) == report_lib.ScanReport()


def test_only_a_scan_in_doubt_is_warned_of(read):
    assert [read({"quality": quality}).warning for quality in ("ok", "not judged")] == ["", ""]
    assert "quality problem rather than a lesion: noisy." in read(NOISY).warning


def test_the_sentence_tells_score_limit_and_place(report_lib, read):
    assert report_lib.scoreText(read(NOISY).score) == (
        "Scan score 0.1: abnormal (from 0.07 on); 100 % of 4 healthy scans score lower."
    )
    fine = read({"scan_score": {**SCORED, "score": 0.05, "percentile": 25.0, "abnormal": False}}).score
    assert report_lib.scoreText(fine).startswith("Scan score 0.05: not abnormal (below 0.07); 25 % of 4")


@pytest.mark.parametrize("score", [0.0001, 0.041, 0.05, 0.06, 0.08, 0.3, 5.0])
def test_the_plot_puts_scan_limit_and_healthy_scans_in_order(report_lib, read, score):
    bars, scale, numbers = report_lib.plotLines(read({"scan_score": {**SCORED, "score": score}}).score)
    assert len(bars) == len(scale) == len(numbers)
    limit, own = scale.find("┆"), next(place for place, mark in enumerate(scale) if mark in "▲◀▶")
    heights = [place for place, bar in enumerate(bars) if bar != " "]
    assert bars[heights[0]] != "█"
    assert bars.count("█") == 1
    assert max(heights) < limit
    assert (own > limit) == (score > 0.07)
    assert (own > max(heights)) == (score > 0.06)
    assert {"◀": score < 0.01, "▶": score > 1, "▲": 0.01 < score < 1}[scale[own]]
    told = numbers.split()
    assert f"{score:.3g}" in told
    assert told == sorted(told, key=float)


def test_a_scan_exactly_at_the_limit_is_marked_there(report_lib, read):
    _bars, scale, numbers = report_lib.plotLines(read({"scan_score": {**SCORED, "score": 0.07}}).score)
    assert (scale.count("▲"), scale.count("┆")) == (1, 0)
    assert "0.07" in numbers


def test_the_panel_shows_score_plot_and_warning_of_the_result(a_scan, some_anomalies, write_result, ui, run):
    def answer(folder):
        write_result(folder, some_anomalies, like=a_scan)
        (folder / "report.json").write_text(json.dumps(NOISY), encoding="utf-8")

    ui.scanSelector.setCurrentNode(a_scan)
    assert ui.scoreLabel.isHidden()
    assert ui.qualityLabel.isHidden()
    run()(answer=answer)
    assert not ui.scoreLabel.isHidden()
    assert not ui.qualityLabel.isHidden()
    assert "Scan score 0.1: abnormal" in ui.scoreLabel.text
    assert "█" in ui.scoreLabel.text
    assert "noisy" in ui.qualityLabel.text


def test_without_a_score_the_panel_is_as_it_was(ui, a_result):
    assert ui.scoreLabel.isHidden()
    assert ui.qualityLabel.isHidden()
