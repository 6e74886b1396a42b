"""Scores of whole scans: where a scan is put, what its numbers mean among healthy ones, the table, doubts about quality."""

import csv
import io
import json
from dataclasses import asdict, replace

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from ct_files import BLOOD_HU, make_head

import brain_inpaint_ad as ad
from brain_inpaint_ad.detectors.cube import cube_grid, from_cube, to_cube
from brain_inpaint_ad.detectors.quality import MEANING, OK, QualityNorm, image_measures
from brain_inpaint_ad.detectors.register import carry
from brain_inpaint_ad.detectors.whole_scan import WHOLE_SCAN, ScanNorm
from brain_inpaint_ad.io import read_scan
from brain_inpaint_ad.nets.volume_gan import VolumeGan, VolumeGanSettings
from brain_inpaint_ad.phantom import PhantomSettings, make_phantom
from brain_inpaint_ad.pipeline import load_detector
from brain_inpaint_ad.prepare import GridSettings, prepare
from brain_inpaint_ad.prepare.ct import WINDOW_HU, prepare_ct
from brain_inpaint_ad.scan_score import ScanScore, scores_csv
from brain_inpaint_ad.weights.card import Card
from brain_inpaint_ad.weights.store import save_model

SETTINGS = VolumeGanSettings(size=32, width=2, latent=3, field_mm=(160.0, 192.0, 160.0))
QUALITY = QualityNorm(dict.fromkeys(MEANING, -1.0), dict.fromkeys(MEANING, 0.1))
NORM = {"scores": [0.1, 0.2, 0.3, 0.4], "abnormal_from": 0.35, "quality": QUALITY.to_json()}
SCORED = ["scan", "score", "percentile", "abnormal", "quality"]


@pytest.fixture(scope="module")
def a_brain():
    """A prepared phantom on a grid that is centred on it."""
    return prepare(
        make_phantom(PhantomSettings(spacing_mm=4.0)).scan, settings=GridSettings(spacing_mm=4.0, rows=64, columns=48)
    )


@pytest.fixture(scope="module")
def a_template(a_brain):
    """The phantom itself, where its middle is put on 0."""
    grid = cube_grid(SETTINGS.size, SETTINGS.field_mm)
    image = a_brain.image
    return ad.Volume(carry(image, grid, _to_middle_of(a_brain)), grid, "template")


@pytest.fixture(scope="module")
def a_scan_model(a_template, tmp_path_factory):
    """Untrained, but calibrated, so to speak."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        gan = VolumeGan(SETTINGS)
    gan.template.copy_(torch.from_numpy(a_template.array))
    path = tmp_path_factory.mktemp("models") / "whole.safetensors"

    def make_card(digest):
        return Card(
            name="whole",
            description="Untrained, for tests.",
            method="fanogan-3d",
            modality="T1",
            window_mm=0.0,
            width=0,
            depth=0,
            max_width=None,
            spacing_mm=4.0,
            rows=64,
            columns=48,
            minmax="slice",
            preprocessing="",
            training={},
            thresholds={"healthy_voxels_1_percent": 0.2},
            healthy_validation={WHOLE_SCAN: NORM},
            sha256=digest,
            network=asdict(SETTINGS),
        )

    save_model(gan, path, make_card)
    return path


def test_a_brain_on_its_template_matches_it_and_fills_it(a_brain, a_template):
    cube = to_cube(a_brain.image, a_brain.brain, a_template)
    assert cube.match > 0.97
    assert cube.cover > 0.97
    assert cube.stretch == pytest.approx(1, abs=0.1)
    assert cube.values.min() == -1
    assert cube.values.max() <= 1
    assert (cube.values[~cube.brain] < cube.values[cube.brain].mean()).all()


def test_a_turned_and_stretched_brain_is_brought_back_to_the_template(a_brain, a_template):
    turned = sitk.AffineTransform(3)
    turned.Rotate(0, 1, 0.15)
    turned.Scale((1.1, 0.95, 1.05))
    turned.SetCenter(_to_middle_of(a_brain).GetOffset())
    image, brain = (
        a_brain.image.with_array(carry(a_brain.image.with_array(values), a_brain.image.grid, turned))
        for values in (a_brain.image.array, a_brain.brain)
    )
    before = to_cube(image, brain.array > 0.5, a_template, transform=_to_middle_of(a_brain))
    after = to_cube(image, brain.array > 0.5, a_template)
    assert after.match > 0.95 > before.match
    assert after.stretch == pytest.approx(1 / (1.1 * 0.95 * 1.05), rel=0.1)


def test_a_map_comes_back_from_the_cube_to_where_it_was_seen(a_brain, a_template):
    cube = to_cube(a_brain.image, a_brain.brain, a_template)
    back = from_cube((cube.values + 1) / 2, cube, a_template, a_brain)
    inside = a_brain.brain
    assert np.corrcoef(back[inside], a_brain.image.array[inside])[0, 1] > 0.8
    assert (back[~inside] == 0).all()


def test_the_verdict_stands_among_the_healthy_scores():
    norm = ScanNorm((0.1, 0.2, 0.3, 0.4), 0.35, QUALITY)
    assert [norm.percentile(score) for score in (0.05, 0.25, 0.4, 1.0)] == [0, 50, 75, 100]


def test_a_measure_beyond_its_limit_is_named_by_what_it_means():
    healthy = dict.fromkeys(MEANING, 0.1)
    assert QUALITY.words(healthy) == OK
    assert QUALITY.doubt(healthy) == pytest.approx(0, abs=1e-9)
    for name, complaint in MEANING.items():
        for text, way in ((complaint.large, 1), (complaint.small, -1)):
            spoilt, nearly = (healthy | {name: 10 ** (-1 + way * 0.1 * complaint.limit * share)} for share in (1.01, 0.99))
            assert QUALITY.words(spoilt) == (text or OK)
            assert QUALITY.words(nearly) == OK
            assert QUALITY.doubt(spoilt) == pytest.approx(1.01 if text else 0, abs=1e-9)
    assert QUALITY.deviations({"noise": 1.0}) == {"noise": pytest.approx(10)}


def test_causes_speak_before_their_consequences():
    gaps = dict.fromkeys(MEANING, 0.1) | {"misfit": 10.0, "steps": 1.0}
    assert QUALITY.words(gaps) == MEANING["steps"].large


def test_what_spoils_a_brain_moves_its_own_measure(a_brain):
    clean = image_measures(a_brain)
    image, brain = a_brain.image.array, a_brain.brain
    rng = np.random.default_rng(0)
    noisy = np.where(brain, image + 0.1 * rng.normal(size=image.shape), 0).astype(np.float32)
    gap = image.copy()
    gap[image.shape[0] // 2] *= 0.3
    doubled = (image + np.roll(image, 4, axis=1)) / 2
    ghosts = image + 0.3 * np.roll(image, 8, axis=2)
    spoilt = {
        name: image_measures(replace(a_brain, image=a_brain.image.with_array(np.where(brain, array, 0).astype(np.float32))))
        for name, array in (("noise", noisy), ("steps", gap), ("edges", doubled), ("repeats", ghosts))
    }
    assert spoilt["noise"]["noise"] > 1.5 * clean["noise"]
    assert spoilt["steps"]["steps"] > 2 * clean["steps"]
    assert spoilt["repeats"]["repeats"] > 2 * clean["repeats"]
    assert spoilt["edges"]["edges"] < 0.92 * clean["edges"]
    assert spoilt["noise"]["edges"] < 0.9 * clean["edges"]


def test_score_prints_and_writes_one_line_per_scan(run_cli, a_phantom_scan, a_coarse_scan, a_scan_model, tmp_path):
    out = tmp_path / "scores.csv"
    answer = run_cli("score", a_phantom_scan, a_coarse_scan, "--model", a_scan_model, "--out", out)
    assert answer.code == 0, answer.err
    assert answer.out == out.read_text()
    rows = list(csv.DictReader(io.StringIO(answer.out)))
    assert list(rows[0]) == SCORED
    assert [row["scan"] for row in rows] == [str(a_phantom_scan), str(a_coarse_scan)]
    for row in rows:
        assert float(row["score"]) > 0
        assert 0 <= float(row["percentile"]) <= 100
        assert row["abnormal"] == ("yes" if float(row["score"]) >= NORM["abnormal_from"] else "no")
    again = run_cli("score", a_coarse_scan, "--model", a_scan_model, "--out", out)
    assert again.code == 1
    assert "--overwrite" in again.err


def test_progress_in_lines_and_the_table_never_share_a_stream(run_cli, a_coarse_scan, a_scan_model, tmp_path):
    words = ["score", a_coarse_scan, "--model", a_scan_model, "--progress", "jsonl"]
    printed = run_cli(*words)
    assert printed.code == 0, printed.err
    assert next(iter(csv.DictReader(io.StringIO(printed.out)))).keys() == set(SCORED)
    assert {"stage", "fraction", "seconds_left"} == json.loads(printed.err.splitlines()[0]).keys()
    written = run_cli(*words, "--out", tmp_path / "scores.csv")
    assert [json.loads(line).keys() for line in written.out.splitlines()]
    assert (tmp_path / "scores.csv").read_text() == printed.out.replace("\r\n", "\n")


def test_a_folder_of_which_a_series_must_be_chosen_does_not_end_the_others(run_cli, a_coarse_scan, a_scan_model, tmp_path):
    pytest.importorskip("highdicom")
    from dicom_files import save_classic

    scan = read_scan(a_coarse_scan)
    for number, name in ((3, "first"), (4, "second")):
        save_classic(scan, tmp_path / "study" / name, number=number)
    answer = run_cli("score", tmp_path / "study", a_coarse_scan, "--model", a_scan_model)
    assert answer.code == 1
    assert "choose one with --series" in answer.err
    rows = list(csv.DictReader(io.StringIO(answer.out)))
    assert [row["quality"] == "unusable" for row in rows] == [True, False]
    chosen = run_cli("score", tmp_path / "study", "--series", "4", "--model", a_scan_model)
    assert chosen.code == 0, chosen.err


def test_of_several_scans_the_one_that_cannot_be_read_is_named_and_the_others_are_judged(
    run_cli, a_coarse_scan, a_scan_model, tmp_path
):
    broken = tmp_path / "broken.nii.gz"
    broken.write_bytes(b"")
    answer = run_cli("score", broken, a_coarse_scan, "--model", a_scan_model)
    assert answer.code == 1
    rows = list(csv.reader(io.StringIO(answer.out)))
    assert rows[1] == [str(broken), "", "", "", "unusable"]
    assert rows[2][4] != "unusable"
    assert "is empty" in answer.err


def test_a_model_of_another_kind_or_without_healthy_scores_is_refused(
    run_cli, a_coarse_scan, a_tiny_model, a_scan_model, tmp_path
):
    answer = run_cli("score", a_coarse_scan, "--model", a_tiny_model)
    assert answer.code == 1
    assert "judges no whole scans" in answer.err
    bare = tmp_path / "bare.safetensors"
    bare.write_bytes(a_scan_model.read_bytes())
    card = json.loads(a_scan_model.with_suffix(".json").read_text())
    bare.with_suffix(".json").write_text(json.dumps({**card, "healthy_validation": {}}))
    answer = run_cli("score", a_coarse_scan, "--model", bare)
    assert answer.code == 1
    assert "--calibrate" in answer.err


def test_detect_reports_the_score_and_warns_of_a_scan_in_doubt(a_phantom_scan, a_scan_model, tmp_path, caplog):
    result = ad.detect(a_phantom_scan, model=str(a_scan_model))
    told = result.report["scan_score"]
    assert told["score"] == pytest.approx(load_detector(str(a_scan_model)).judge(result.prepared).score, rel=1e-4)
    assert told["healthy_scores"] == tuple(NORM["scores"])
    assert f"score {told['score']:.3g}, above {told['percentile']:.0f} % of healthy scans" in result.headline
    assert result.model_heatmap[result.prepared.brain].max() > 0
    assert (result.model_heatmap[~result.prepared.brain] == 0).all()
    assert ("quality problem" in caplog.text) == (told["quality"] != OK)


def test_a_reconstruction_of_the_whole_scan_lies_on_its_grid(a_phantom_scan, a_scan_model):
    result = ad.detect(a_phantom_scan, model=str(a_scan_model), reconstruct=True)
    assert result.reconstruction is not None
    assert result.reconstruction.grid == result.heatmap.grid


def test_a_table_of_refused_and_judged_scans_is_exactly_this():
    assert scores_csv([ScanScore("a.nii", None, "why")]) == "scan,score,percentile,abnormal,quality\na.nii,,,,unusable\n"


def test_ct_is_windowed_to_soft_tissue_and_its_brain_found_inside_the_skull():
    head, bleeding, brain = make_head(bleeding_mm=14.0)
    prepared = prepare_ct(head, settings=GridSettings(spacing_mm=4.0, rows=64, columns=48))
    found = prepared.scan_brain
    assert 2 * (found & brain).sum() / (found.sum() + brain.sum()) > 0.95
    low, high = WINDOW_HU
    heat = prepared.to_scan(prepared.image.array)
    assert heat.array[bleeding].mean() == pytest.approx((BLOOD_HU - low) / (high - low), abs=0.03)
    assert (prepared.image.array[~prepared.brain] == 0).all()
    assert prepared.image.array.max() <= 1


def test_a_scan_that_is_no_ct_is_refused_as_one(a_phantom):
    with pytest.raises(ad.InputError, match="Hounsfield"):
        prepare_ct(a_phantom.scan)


def _to_middle_of(brain):
    middle = brain.image.grid.to_world((np.asarray(brain.image.grid.shape)[None] - 1) / 2)[0]
    return sitk.TranslationTransform(3, middle.tolist())
