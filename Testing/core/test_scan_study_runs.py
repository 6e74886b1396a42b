"""`evaluate-scans` from end to end on phantoms: what it is judged by, what is left out, patients, slices, CT."""

import json
import shutil

import pytest
from ct_files import make_ct_ich

from brain_inpaint_ad.evaluation.cases import SHARES, split_of
from brain_inpaint_ad.evaluation.scan_trials import CLEAN, IN_MIDDLE, MEASURES, SLICES
from brain_inpaint_ad.nets.volume_gan import VolumeGanSettings
from brain_inpaint_ad.training.volume_fanogan import train
from brain_inpaint_ad.training.volume_gan import VolumeGanTraining

TINY = {"network": VolumeGanSettings(size=16, width=2, latent=3), "spacing_mm": 4.0, "batch_gan": 2, "batch_encoder": 2}
ONCE = {"gan": 1, "encoder": 1, "refine": 1}
SIZES_ML = (40.0,)
KINDS = ["dark lesion", "failed registration"]


@pytest.fixture(scope="module", autouse=True)
def quick():
    """Neither the bias field nor the number of lesions is what this is about."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("brain_inpaint_ad.evaluation.scan_judge.SIZES_ML", SIZES_ML)
        patch.setattr("brain_inpaint_ad.prepare.bias.ITERATIONS", (1, 1, 1))
        yield


def make_folder(folder, a_healthy_folder, splits):
    (folder / "brain").mkdir(parents=True)
    for n, name in enumerate(splits):
        shutil.copy(a_healthy_folder / f"{'abc'[n % 3]}{n % 3 + 1}_brain.nii.gz", folder / "brain" / f"{name}_brain.nii.gz")
    lines = ["scan,split", *(f"{name},{split}" for name, split in splits.items())]
    (folder / "subjects.csv").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture(scope="module")
def a_data_folder(a_healthy_folder, tmp_path_factory):
    splits = {"s0": "train", "s1": "train", "s2": "validation", "s3": "validation", "s4": "validation"}
    return make_folder(tmp_path_factory.mktemp("data") / "ixi", a_healthy_folder, splits)


@pytest.fixture(scope="module")
def a_fresh_model(a_data_folder, tmp_path_factory):
    run = tmp_path_factory.mktemp("runs") / "run"
    train(a_data_folder, run, settings=VolumeGanTraining(**TINY), iterations=ONCE, device="cpu")
    return run / "fanogan.safetensors"


@pytest.fixture
def a_model(a_fresh_model, tmp_path):
    """A copy, not calibrated."""
    for path in (a_fresh_model, a_fresh_model.with_suffix(".json")):
        shutil.copy(path, tmp_path / path.name)
    return tmp_path / a_fresh_model.name


@pytest.fixture
def study(run_cli, a_model, a_data_folder, tmp_path, tmp_path_factory):
    """The command with a few of the lesions and corruptions; what was judged is kept from one test to the next."""
    cache = tmp_path_factory.getbasetemp() / "scan-study-cache"

    def run(*more, data=a_data_folder, kinds=KINDS):
        words = ["--data", data, "--out", tmp_path / "out", "--model", a_model, "--cache", cache]
        return run_cli("evaluate-scans", *words, "--scans", 2, "--kinds", ",".join(kinds), *more)

    return run


def test_one_command_gives_tables_rows_and_pictures_and_calibrates_the_card(study, a_model, tmp_path):
    refused = study()
    assert refused.code == 1
    assert "--calibrate" in refused.err
    answer = study("--calibrate")
    assert answer.code == 0, answer.err
    record = json.loads((tmp_path / "out" / "rows.json").read_text())
    found = [(trial["kind"], trial["size_ml"]) for trial in record["trials"]]
    lesions = [("dark lesion", size_ml) for size_ml in SIZES_ML]
    assert found == [(CLEAN, None)] * 3 + 2 * [*lesions, (KINDS[1], None)]
    card = json.loads(a_model.with_suffix(".json").read_text())["healthy_validation"]["whole_scan"]
    clean = sorted(trial["measures"]["score"] for trial in record["trials"] if trial["kind"] == CLEAN)
    assert card["scores"] == pytest.approx(clean)
    assert card["scans"] == ["s2", "s3", "s4"]
    groups = ["all lesions", "dark lesion", *(f"dark lesion, {size_ml:g} ml" for size_ml in SIZES_ML), KINDS[1]]
    assert [row["kind"] for row in record["operations"]] == groups
    for row in record["operations"]:
        assert {"auroc", "average_precision", "prevalence", "accuracy", "recall", "specificity"} < row.keys()
        assert f"| {row['kind']} | {row['scans']} | {row['healthy']} clean | {row['auroc']:.2f} |" in answer.out
    for name in ("scores.png", "roc.png", "examples.png"):
        assert (tmp_path / "out" / name).stat().st_size > 1000


def test_scans_the_card_was_calibrated_on_are_judged_by_each_other_and_strangers_by_the_card(
    study, a_model, a_healthy_folder, tmp_path
):
    assert study("--calibrate").code == 0
    path = a_model.with_suffix(".json")
    card = json.loads(path.read_text())
    card["healthy_validation"]["whole_scan"]["abnormal_from"] = 1e9  # what no scan here would give
    path.write_text(json.dumps(card))
    again = study()
    assert "come from these 3 clean scans" in again.out
    assert "1e+09" not in again.out
    assert json.loads(path.read_text()) == card
    own = make_folder(
        tmp_path / "mine", a_healthy_folder, {"m0": "train", "m1": "train", "m2": "validation", "m3": "validation"}
    )
    mine = study(data=own)
    assert mine.code == 0, mine.err
    assert "stored in the model's card, from 3 other healthy scans" in mine.out
    too_few = study("--calibrate", data=own)
    assert too_few.code == 1
    assert "holds 2 healthy scans of the split 'validation'" in too_few.err
    record = json.loads((tmp_path / "out" / "rows.json").read_text())
    assert record["norm"] == {key: card["healthy_validation"]["whole_scan"][key] for key in record["norm"]}
    assert {(row["recall"], row["specificity"]) for row in record["operations"]} == {(0.0, 1.0)}


def test_healthy_scans_of_others_that_set_the_cards_norm_are_left_out_and_named(study, a_healthy_folder, tmp_path, caplog):
    assert study("--calibrate").code == 0
    own = make_folder(tmp_path / "mine", a_healthy_folder, {"m0": "train", "m1": "train", "m2": "validation"})
    other = make_folder(tmp_path / "other", a_healthy_folder, {"s2": "validation", "x": "validation"})
    answer = study("--against", f"ixi={other}", data=own, kinds=["dark lesion"])
    assert answer.code == 0, answer.err
    assert "stored in the model's card" in answer.out
    assert "Left out: s2, healthy of ixi (the model's card was calibrated on it)." in answer.out
    assert "s2 (healthy of ixi) was left out" in caplog.text
    record = json.loads((tmp_path / "out" / "rows.json").read_text())
    assert [trial["scan"] for trial in record["trials"] if trial["kind"] == "healthy of ixi"] == ["x"]
    assert record["left_out"] == ["s2, healthy of ixi (the model's card was calibrated on it)"]


def test_ixi_as_downloaded_needs_no_table(study, a_healthy_folder, tmp_path):
    left = {"train": 2, "validation": 3}
    for number in range(100):
        person = f"IXI{number:03d}"
        split = split_of(person, SHARES)
        if left.get(split, 0) > 0:
            left[split] -= 1
            source = a_healthy_folder / f"{('a1', 'b2', 'c3')[left[split]]}_brain.nii.gz"
            (tmp_path / "ixi").mkdir(exist_ok=True)
            shutil.copy(source, tmp_path / "ixi" / f"{person}-Guys-{number:04d}-T1.nii.gz")
    answer = study("--calibrate", data=tmp_path / "ixi", kinds=["dark lesion"])
    assert answer.code == 0, answer.err
    assert "come from these 3 clean scans" in answer.out


def test_a_patient_that_cannot_be_judged_is_left_out_and_named_and_ends_nothing(study, a_healthy_folder, tmp_path, caplog):
    brats = tmp_path / "brats"
    for number, content in enumerate((a_healthy_folder / "a1_brain.nii.gz", None)):
        case = brats / f"case{number}"
        case.mkdir(parents=True)
        if content is not None:
            shutil.copy(content, case / f"case{number}_t1.nii.gz")
        else:
            (case / f"case{number}_t1.nii.gz").write_bytes(b"no scan at all")
        shutil.copy(a_healthy_folder / "a1_brain.nii.gz", case / f"case{number}_seg.nii.gz")
    (brats / "subjects.csv").write_text("case,split\ncase0,validation\ncase1,validation\n")
    answer = study("--calibrate", "--against", f"brats={brats}")
    assert answer.code == 0, answer.err
    assert "case1 (brats) was left out" in caplog.text
    assert "Left out: case1, brats (" in answer.out
    trials = json.loads((tmp_path / "out" / "rows.json").read_text())["trials"]
    assert {trial["scan"]: bool(trial["refused"]) for trial in trials if trial["kind"] == "brats"} == {
        "case0": False,
        "case1": True,
    }
    assert sum(trial["kind"] == "healthy, intensities of brats" for trial in trials) == 2
    for path in brats.glob("case0/*_t1.nii.gz"):
        path.write_bytes(b"no scan either")
    none_left = study("--calibrate", "--against", f"brats={brats}")
    assert none_left.code == 0, none_left.err
    assert "Left out: case0, brats (" in none_left.out
    assert "intensities of brats" not in none_left.out


def test_a_2d_model_is_compared_on_lesions_that_its_slices_show(study, run_cli, a_data_folder, tmp_path):
    """The 2-D model is one of `train fanogan`, after a step of each of its two parts."""
    from brain_inpaint_ad.training import fanogan

    settings = fanogan.FastGanSettings(spacing_mm=4.0, batch=2, gan_iterations=1, latent=3, width=2)
    fanogan.train(a_data_folder / "brain", tmp_path / "flat", settings=settings, iterations=2, device="cpu")
    flat = next((tmp_path / "flat").glob("*.safetensors"))
    answer = study("--calibrate", "--slices-model", flat, kinds=["dark lesion"])
    assert answer.code == 0, answer.err
    assert "2-D, middle slices" in answer.out
    trials = json.loads((tmp_path / "out" / "rows.json").read_text())["trials"]
    assert all(SLICES in trial["measures"] for trial in trials)
    assert {IN_MIDDLE in trial["measures"] for trial in trials if trial["kind"] != CLEAN} == {True}
    shown = [trial for trial in trials if trial["measures"].get(IN_MIDDLE, 0) >= 0.5]
    assert (f"| all lesions | {len(shown)} of 2 |" in answer.out) == bool(shown)
    assert set(MEASURES) < trials[0]["measures"].keys()
    wrong = study("--slices-model", "t1-evidence", "--calibrate")
    assert wrong.code == 1
    assert "rebuilds no slices of this grid" in wrong.err


@pytest.fixture(scope="module")
def a_ct_model(tmp_path_factory):
    """The made-up ct-ich and a model of it, hardly trained; (folder, model)."""
    data = make_ct_ich(tmp_path_factory.mktemp("ct"), splits={"train": 2, "validation": 3}, ill=3)
    run = tmp_path_factory.mktemp("ct-run") / "ct"
    settings = VolumeGanTraining(**TINY, modality="CT")
    train(data / "ct_scans", run, settings=settings, iterations=ONCE, subjects=data / "healthy.csv", device="cpu")
    return data, run / "fanogan.safetensors"


def test_cts_are_judged_beside_the_healthy_of_their_own_data_set_by_type_of_bleeding(run_cli, a_ct_model, tmp_path):
    data, model = a_ct_model
    words = ["--dataset", "ct-ich", "--data", data, "--against", f"ct-ich={data}", "--model", model, "--out", tmp_path / "out"]
    answer = run_cli("evaluate-scans", *words, "--scans", 2, "--kinds", "bright lesion,noise", "--calibrate")
    assert answer.code == 0, answer.err
    record = json.loads((tmp_path / "out" / "rows.json").read_text())
    assert not [trial["refused"] for trial in record["trials"] if trial["refused"]]
    counts = {row["kind"]: (row["scans"], row["healthy"]) for row in record["operations"]}
    assert {kind: count for kind, count in counts.items() if kind.startswith("ct-ich")} == {
        "ct-ich": (3, 3),
        "ct-ich: Epidural": (2, 3),
        "ct-ich: Subdural": (1, 3),
    }
    assert "| ct-ich: Epidural | 2 | 3 clean |" in answer.out


def test_evaluate_prepares_cts_as_cts_and_refuses_a_model_of_t1(run_cli, a_ct_model, tmp_path):
    data, model = a_ct_model
    calibrated = run_cli("calibrate", model, "--data", data / "ct_scans", "--subjects", data / "healthy.csv")
    assert calibrated.code == 0, calibrated.err
    out = tmp_path / "report"
    words = ["--dataset", "ct-ich", "--data", data, "--out", out, "--baselines", "none"]
    answer = run_cli("evaluate", *words, "--models", model)
    assert answer.code == 0, answer.err
    rows = json.loads((out / "rows.json").read_text())["rows"]
    assert {row["made_from"].get("modality") for row in rows} == {"CT"}
    assert {row["case"]: row["healthy"] for row in rows} == {f"{n:03d}": n < 54 for n in range(51, 57)}
    refused = run_cli("evaluate", *words, "--models", "t1-evidence")
    assert refused.code == 1
    assert "reads T1 and ct-ich holds CT" in refused.err
