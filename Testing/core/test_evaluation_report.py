"""`evaluate` with healthy scans: every baseline and control, one page, nothing computed twice."""

import json
import shutil
from pathlib import Path

import pytest

from brain_inpaint_ad.evaluation.contenders import BASELINES
from brain_inpaint_ad.evaluation.controls import CONTROLS
from brain_inpaint_ad.io import write_volume
from brain_inpaint_ad.phantom import Lesion, PhantomSettings, make_phantom


@pytest.fixture(scope="module")
def an_ill_folder(tmp_path_factory):
    """Two BraTS-like cases."""
    folder = tmp_path_factory.mktemp("ill")
    for seed, name in enumerate(("A", "B")):
        lesion = Lesion(centre_mm=(30.0, 10.0, 20.0), radius_mm=18.0)
        phantom = make_phantom(PhantomSettings(spacing_mm=4.0, seed=seed, lesions=(lesion,)))
        (folder / name).mkdir()
        write_volume(phantom.scan, folder / name / f"{name}_t1.nii.gz")
        write_volume(phantom.truth, folder / name / f"{name}_seg.nii.gz")
    (folder / "subjects.csv").write_text("case,split\nA,validation\nB,validation\n")
    return folder


def _with_a_cut_and_a_curve(model, folder):
    """A copy of the model whose card names the cut that suits it and how its training went."""
    copy = Path(shutil.copy(model, folder / "tiny.safetensors"))
    card = json.loads(Path(model).with_suffix(".json").read_text())
    card["training"]["curve"] = {"iteration": [1.0, 2.0], "l1": [0.2, 0.1]}
    copy.with_suffix(".json").write_text(json.dumps({**card, "segmentation": "volume"}))
    return copy


def test_one_command_gives_every_row_and_a_page_that_stands_alone(
    an_ill_folder, a_healthy_folder, a_tiny_model, tmp_path, run_cli
):
    out, model = tmp_path / "report", _with_a_cut_and_a_curve(a_tiny_model, tmp_path)
    asked = ("evaluate", "--dataset", "brats", "--data", an_ill_folder, "--models", model, "--out", out)
    asked += ("--healthy", a_healthy_folder, "--stride-mm", "16")
    answer = run_cli(*asked)
    assert answer.code == 0, answer.err
    rows = json.loads((out / "rows.json").read_text())["rows"]
    named = {row["detector"].removesuffix(", volume").removesuffix(", residual").removesuffix(", scales") for row in rows}
    assert named == {"tiny", *BASELINES, *CONTROLS}
    for row in rows:
        if "rules" in row["scores"]:
            rules = row["scores"]["rules"]
            assert {"regions 1 %", "regions 5 %", "voxels 1 %", "voxels 5 %"} <= set(rules)
            assert rules["voxels 1 %"]["found_ml"] <= rules["voxels 5 %"]["found_ml"]
            assert all(rule["dice"] <= row["scores"]["dice_ceiling"] + 1e-4 for name, rule in rules.items() if "voxels" in name)
            assert all(rule["false_ml"] <= rule["found_ml"] for rule in rules.values())
    picks = {name: pick for row in rows if row["case"] == "A" for name, pick in row["scores"]["picks"].items()}
    assert picks["oracle segment"]["slice_dice"] == max(pick["slice_dice"] for pick in picks.values())

    page = (out / "report.html").read_text()
    assert page.count("data:image/png;base64,") == 3  # curves, Dice against scale, training
    assert "tiny, volume, brats (validation)" in page  # the cut that its card names is shown
    assert "tiny, brats (validation)" not in page
    assert page.count("data:image/jpeg;base64,") == 2 * (1 + len(BASELINES))  # best and worst of each
    assert 'src="http' not in page and "href" not in page  # noqa: PT018
    assert all(
        name in page for name in (*named, "Paper protocol", "At healthy thresholds", "Dice against scale", "95 % bootstrap")
    )
    assert "voxels 1 %" in (out / "table.md").read_text()

    before = {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.suffix in (".json", ".npz")}
    assert run_cli(*asked).code == 0
    assert (out / "pictures" / "best-tiny-volume-brats-validation.jpeg").stat().st_size > 1000
    after = {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.suffix in (".json", ".npz")}
    assert after == before  # nothing was computed again


def test_healthy_scans_have_false_alarms_and_no_dice(a_healthy_folder, a_tiny_model, tmp_path, run_cli):
    data = tmp_path / "ixi"
    (data / "brain").mkdir(parents=True)
    for path in a_healthy_folder.glob("*.nii.gz"):
        (data / "brain" / path.name).symlink_to(path)
    (data / "subjects.csv").write_text((a_healthy_folder / "subjects.csv").read_text().replace("a1,train", "a1,validation"))
    words = ("--models", "none", "--baselines", "intensity only", "--cache", tmp_path / "cache", "--out", tmp_path / "report")
    answer = run_cli("evaluate", "--dataset", "ixi", "--data", data, "--healthy", data, *words)
    assert answer.code == 0, answer.err
    rows = json.loads((tmp_path / "report" / "rows.json").read_text())["rows"]
    assert {row["case"] for row in rows} == {"a1", "c3"}
    assert all(row["scores"]["dice"] is None and row["scores"]["rules"]["voxels 1 %"]["false_ml"] >= 0 for row in rows)
    own = [row["thresholds"] for row in rows if row["detector"] == "intensity only"]
    assert own[0] != own[1]  # each is judged by the other
    assert "False-positive volume" in (tmp_path / "report" / "report.html").read_text()
    assert not (tmp_path / "report" / "cache").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--baselines", "PCA"), "the baseline PCA compares with healthy scans; name their folder with --healthy"),
        (("--baselines", "luck"), "there is no baseline 'luck'"),
        (("--models", "none", "--baselines", "none"), "there is nothing to evaluate"),
        (("--models", "none"), "intensity only is not calibrated"),
        (("--split", "train"), "lists no scan of the split 'train'"),
        (("--dataset", "moon"), "there is no data set 'moon'; known are brats, ct-ich, edinburgh, ixi, ixi-heads, ms, nfbs"),
    ],
)
def test_what_cannot_be_evaluated_is_refused_before_any_work(words, said, an_ill_folder, a_tiny_model, tmp_path, run_cli):
    asked = ("--dataset", "brats", "--data", an_ill_folder, "--models", a_tiny_model, "--out", tmp_path / "report")
    answer = run_cli("evaluate", *asked, *words)
    assert answer.code == 1
    assert said in answer.err


def test_a_missing_package_is_named_before_the_work(an_ill_folder, a_tiny_model, tmp_path, run_cli, monkeypatch):
    monkeypatch.setattr("brain_inpaint_ad.extras.find_spec", lambda module: None)
    words = ("--data", an_ill_folder, "--models", a_tiny_model, "--out", tmp_path / "out")
    answer = run_cli("evaluate", "--dataset", "brats", *words)
    assert answer.code == 1
    assert answer.err.endswith("evaluation needs scikit-learn, which is missing; run: pip install scikit-learn.\n")
    assert not (tmp_path / "out").exists()
