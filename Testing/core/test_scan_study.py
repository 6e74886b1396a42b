"""The study of scan scores: implanted lesions and corrupted scans are what they claim, and its figures are right."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import brain_inpaint_ad as ad
from brain_inpaint_ad.detectors.quality import MEANING, QualityNorm
from brain_inpaint_ad.detectors.whole_scan import ScanNorm
from brain_inpaint_ad.errors import InputError
from brain_inpaint_ad.evaluation.cases import Case
from brain_inpaint_ad.evaluation.corruptions import CORRUPTIONS, misplaced
from brain_inpaint_ad.evaluation.implants import KINDS, Lesion, implant
from brain_inpaint_ad.evaluation.middle_slices import MIDDLE_MM, middle_of, share_in_middle, slices_score
from brain_inpaint_ad.evaluation.scan_figures import draw_examples, draw_roc, draw_scores
from brain_inpaint_ad.evaluation.scan_judge import Judge, matched
from brain_inpaint_ad.evaluation.scan_metrics import Norms, auroc, groups_of, norm_of, operate, own_norms, roc, youden
from brain_inpaint_ad.evaluation.scan_report import operations_table, slices_table, table_of
from brain_inpaint_ad.evaluation.scan_trials import CLEAN, IN_MIDDLE, LESIONS, MEASURES, OF_HEALTHY, SLICES, Trial
from brain_inpaint_ad.evaluation.store import Store
from brain_inpaint_ad.prepare import GridSettings, prepare

QUALITY = QualityNorm(dict.fromkeys(MEANING, -1.0), dict.fromkeys(MEANING, 0.1))
scores = st.lists(st.integers(0, 20).map(float), min_size=1, max_size=12)


def a_trial(scan, kind, score, **others):
    return Trial(scan, kind, 2.0 if kind in LESIONS else None, dict.fromkeys(MEASURES, 0.5) | {"score": score} | others)


@pytest.fixture(scope="module")
def a_scan(a_phantom):
    return a_phantom.scan, a_phantom.scan.array > 0


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("volume_ml", [2.0, 20.0])
def test_an_implanted_lesion_has_its_volume_and_changes_little_beyond_it(a_scan, kind, volume_ml):
    scan, brain = a_scan
    struck, truth = implant(scan, brain, Lesion(kind, volume_ml), np.random.default_rng(0))
    assert truth.sum() * scan.grid.voxel_mm3 / 1000 == pytest.approx(volume_ml, rel=0.05)
    assert (struck.array[~brain] == scan.array[~brain]).all()
    change = struck.array[truth].mean() - scan.array[truth].mean()
    assert change * (1 if kind == "bright" else -1) > 0.1 * np.median(scan.array[brain])
    changed = np.abs(struck.array - scan.array) > 0.02 * scan.array.max()
    away_mm = np.linalg.norm((np.argwhere(changed & brain) - np.argwhere(truth).mean(axis=0)) * scan.grid.spacing[::-1], axis=1)
    radius_mm = (3 * volume_ml * 1000 / (4 * np.pi)) ** (1 / 3)
    assert away_mm.max() < (4.5 if kind == "pushing" else 3.5) * radius_mm
    beyond = (changed & ~truth).sum() / truth.sum()
    assert beyond > 2 if kind == "pushing" else beyond < 1.5


def test_the_same_seed_gives_the_same_lesion_and_another_another(a_scan):
    one, same, other = (implant(*a_scan, Lesion("dark", 5), np.random.default_rng(seed))[1] for seed in (1, 1, 2))
    assert (one == same).all()
    assert (one != other).any()


@pytest.mark.parametrize("kind", CORRUPTIONS)
def test_a_corruption_is_repeatable_and_changes_the_scan(a_scan, kind):
    if kind in ("motion", "ghosting", "noise"):
        pytest.importorskip("torchio")
    scan, brain = a_scan
    (one, mask), (same, _), (other, _) = (CORRUPTIONS[kind](scan, brain, np.random.default_rng(seed)) for seed in (3, 3, 4))
    assert (one.array == same.array).all()
    assert one.grid == same.grid
    assert (one.array != scan.array).any() or one.grid != scan.grid
    assert (one.array != other.array).any() or one.grid != other.grid
    assert np.isfinite(one.array).all()
    if kind == "wrong orientation":
        axes = np.reshape(one.grid.direction, (3, 3))
        assert np.linalg.det(axes) == pytest.approx(1)
        assert (one.array == scan.array).all()
    if kind == "clipped field":
        assert 0.5 * brain.sum() < mask.sum() < 0.95 * brain.sum()
    if kind == "missing slices":
        empty = [(one.array.min(axis=axes) == one.array.max(axis=axes)).sum() for axes in ((1, 2), (0, 2), (0, 1))]
        before = [(scan.array.min(axis=axes) == scan.array.max(axis=axes)).sum() for axes in ((1, 2), (0, 2), (0, 1))]
        assert max(np.array(empty) - before) >= 3


def test_a_lost_registration_lands_centimetres_beside():
    import SimpleITK as sitk

    points = np.random.default_rng(0).uniform(-60, 60, (50, 3))
    wrong = misplaced(sitk.Transform(3, sitk.sitkIdentity), np.random.default_rng(1))
    away = [np.linalg.norm(np.array(wrong.TransformPoint(point.tolist())) - point) for point in points]
    assert 5 < np.median(away) < 60


@pytest.mark.parametrize("fault", [Lesion("dark", 20.0), Lesion("bright", 20.0), "noise"])
def test_faults_are_shares_of_the_signal_where_intensities_are_shifted(fault, a_scan, tmp_path, monkeypatch):
    """The same fault in a scan and in its z-score: preparation shows the same."""
    if fault == "noise":
        pytest.importorskip("torchio")
    scan, brain = a_scan
    values = scan.array[brain]
    shifted = np.where(brain, (scan.array - values.mean()) / values.std(), 0).astype(np.float32)
    seen = []

    def look(self, prepared, **_):
        seen.append(prepared.image.array[prepared.brain])
        return {"view": np.zeros((2, 4, 4))}

    monkeypatch.setattr(Judge, "_measures", look)
    monkeypatch.setattr("brain_inpaint_ad.prepare.bias.ITERATIONS", (1, 1, 1))
    monkeypatch.setattr("brain_inpaint_ad.evaluation.scan_judge.brain_as", lambda modality, scan: brain)
    card = SimpleNamespace(modality="T1", grid=GridSettings(spacing_mm=4.0, rows=64, columns=48), sha256="")
    judge = Judge(SimpleNamespace(card=card, dtype=""), SimpleNamespace(sha256=""), Store(tmp_path / "cache"))
    for name, array in (("plain", scan.array), ("shifted", shifted)):
        path = tmp_path / name / "scan.nii.gz"
        path.parent.mkdir()
        ad.write_volume(scan.with_array(array), path)
        case = Case("scan", path, None)
        trial = judge.spoilt(case, fault) if fault == "noise" else judge.with_lesion(case, fault)
        assert not trial.refused
    assert np.abs(seen[0] - seen[1]).mean() < 0.03
    assert np.corrcoef(*seen)[0, 1] > 0.98


@settings(deadline=None)
@given(scores, scores)
def test_auroc_is_that_of_scikit_learn(clean, other):
    from sklearn.metrics import roc_auc_score

    truth = [0] * len(clean) + [1] * len(other)
    assert auroc(clean, other) == pytest.approx(roc_auc_score(truth, [*clean, *other]))


@settings(deadline=None)
@given(scores, scores)
def test_no_threshold_is_better_than_the_youden_point(clean, abnormal):
    def gain(threshold):
        return np.mean(np.asarray(abnormal) >= threshold) + np.mean(np.asarray(clean) < threshold)

    best = gain(youden(clean, abnormal))
    assert all(gain(cut) <= best + 1e-12 for cut in np.arange(-0.5, 21, 0.5) if cut > min(*clean, *abnormal) - 0.1)


def test_accuracy_counts_scans_of_both_kinds():
    clean, ill = (
        [a_trial(f"s{n}", kind, v) for n, v in enumerate(of)] for kind, of in ((CLEAN, [1, 2, 3, 9]), ("ill", [2, 8]))
    )
    operation = operate(clean, ill, Norms(ScanNorm((1.0, 2.0), 5, QUALITY)))
    assert (operation.accuracy, operation.recall, operation.specificity) == (4 / 6, 0.5, 0.75)


def test_the_norm_of_quality_is_that_of_the_clean_scans_logarithms():
    trials = [a_trial(f"s{n}", CLEAN, n, noise=10.0 ** (n - 2)) for n in range(3)]
    trials += [a_trial("s0", LESIONS[0], 10.0, noise=1000.0)]
    norm = norm_of(trials)
    assert norm.scores == (0, 1, 2)
    assert (norm.quality.mean["noise"], norm.quality.spread["noise"]) == (-1, 1)
    assert (norm.quality.mean["steps"], norm.quality.spread["steps"]) == (pytest.approx(np.log10(0.5), abs=1e-5), 0.001)
    assert 2 < norm.abnormal_from <= 10


def test_nobody_is_judged_by_a_threshold_of_their_own():
    """Two subjects whose lesions score below the other's clean scan: their own points would be right, each other's are not."""
    low, high = [(CLEAN, 1.0), (LESIONS[0], 2.0)], [(CLEAN, 11.0), (LESIONS[0], 12.0)]
    extra = [a_trial("c", CLEAN, 11.5)]
    trials = [a_trial(name, kind, value) for name, pairs in (("a", low), ("b", high)) for kind, value in pairs] + extra
    norms = own_norms(trials)
    found = operate([t for t in trials if t.kind == CLEAN], [t for t in trials if t.kind != CLEAN], norms)
    assert found.recall == 0.5
    assert found.specificity < 1
    assert norms.of(trials[0]) == norm_of([trial for trial in trials if trial.scan != "a"])
    assert norms.of(a_trial("a stranger", "brats", 1.0)) == norm_of(trials)


def test_no_norm_is_made_where_a_scan_would_be_judged_by_itself():
    clean = [a_trial(f"s{n}", CLEAN, 1.0 + n) for n in range(4)]
    struck = [a_trial(f"s{n}", LESIONS[0], 5.0 + n) for n in range(2)]
    refused = Trial("s1", LESIONS[0], 2.0, {}, "no brain was found")
    for trials in (clean[:2] + struck, clean + struck[:1], [*clean, struck[0], refused]):
        with pytest.raises(InputError, match="judged by the others"):
            own_norms(trials)
    assert set(own_norms(clean[:3] + struck).without) == {"s0", "s1", "s2"}
    lost = [Trial("s1", CLEAN, None, {}, "no brain was found") if trial.scan == "s1" else trial for trial in clean]
    assert own_norms(lost + struck).of(struck[1]) == norm_of(lost + struck[:1])


def test_table_and_picture_have_a_place_for_every_kind_and_refused_scans_are_counted():
    trials = [a_trial(f"s{n}", CLEAN, 1.0 + n) for n in range(4)]
    trials += [a_trial(f"s{n}", LESIONS[0], 3.5 + n) for n in range(2)]
    trials += [a_trial("s0", "noise", 9.0), Trial("s1", "noise", None, {}, "no brain was found")]
    norm = norm_of(trials)
    lines = table_of(trials, Norms(norm)).lines
    assert [line[:3] for line in lines] == [[CLEAN, "4", "–"], [f"{LESIONS[0]}, 2 ml", "2", "0.88"], ["noise", "2", "1.00"]]
    assert [line[-2:] for line in lines] == [["0/4", ""], ["0/2", ""], ["1/2", "unusable (1)"]]
    views = [replace(trial, view=np.full((2, 8, 8), 0.5)) for trial in trials]
    curves = {"lesions": {"score": ([1.0, 2.0], [1.5, 3.0])}, "spoilt": {"score": ([1.0], [2.0])}}
    for picture in (draw_scores(trials, norm), draw_roc(curves, 1.2), draw_examples(trials), draw_examples(views)):
        assert picture.startswith(b"\x89PNG")


def test_a_clean_scan_is_judged_by_the_quality_of_the_others():
    """Three alike and one noisy: among all four it is within the spread, against the three others far beyond."""
    trials = [a_trial(f"s{n}", CLEAN, n, noise=0.1 * (1 + 0.01 * n)) for n in range(3)]
    trials += [a_trial("noisy", CLEAN, 3, noise=0.5), a_trial("s0", LESIONS[0], 10.0)]
    trials.append(a_trial("s1", LESIONS[0], 10.0))
    clean = trials[:4]
    assert max(Norms(norm_of(trials)).doubt(trial) for trial in clean) < 1
    assert [own_norms(trials).doubt(trial) > 1 for trial in clean] == [False, False, False, True]
    line = table_of(trials, own_norms(trials)).lines[0]
    assert line[-2:] == ["1/4", "noisy (1)"]


@settings(deadline=None)
@given(scores, scores)
def test_the_area_under_the_curve_is_the_auroc(clean, other):
    false, true = roc(clean, other)
    assert (false[0], true[0], false[-1], true[-1]) == (0, 0, 1, 1)
    assert np.trapezoid(true, false) == pytest.approx(auroc(clean, other))


def test_matched_intensities_are_those_of_the_other_scans(a_coarse_scan):
    prepared = prepare(ad.read_scan(a_coarse_scan), settings=GridSettings(spacing_mm=4.0, rows=64, columns=48))
    quantiles = np.linspace(0.2, 0.6, 257)
    moved = matched(prepared, quantiles)
    inside = prepared.brain
    assert np.quantile(moved[inside], [0.1, 0.5, 0.9]) == pytest.approx([0.24, 0.4, 0.56], abs=0.01)
    order = np.argsort(prepared.image.array[inside], kind="stable")
    assert (np.diff(moved[inside][order]) >= -1e-6).all()
    assert (moved[~inside] == 0).all()


def test_patients_are_held_against_the_healthy_of_their_own_data_set_by_type_of_lesion():
    trials = [a_trial(f"s{n}", CLEAN, 1.0 + n) for n in range(4)] + [
        a_trial("s0", LESIONS[0], 2.5),
        a_trial("s1", "noise", 9.0),
    ]
    trials += [a_trial(f"h{n}", f"{OF_HEALTHY}ct-ich", 5.0 + n) for n in range(2)]
    trials += [replace(a_trial("p0", "ct-ich", 5.5), types=("Epidural",))]
    trials += [replace(a_trial("p1", "ct-ich", 9.0), types=("Epidural", "Subdural"))]
    trials += [a_trial("b", "brats", 3.5), Trial("p2", "ct-ich", None, {}, "no brain was found", ("Subdural",))]
    groups = {group.name: group for group in groups_of(trials)}
    sizes = {name: (len(group.abnormal), len(group.healthy), group.against) for name, group in groups.items()}
    assert sizes == {
        "all lesions": (1, 4, CLEAN),
        LESIONS[0]: (1, 4, CLEAN),
        f"{LESIONS[0]}, 2 ml": (1, 4, CLEAN),
        "noise": (1, 4, CLEAN),
        "ct-ich": (2, 2, f"{OF_HEALTHY}ct-ich"),
        "ct-ich: Epidural": (2, 2, f"{OF_HEALTHY}ct-ich"),
        "ct-ich: Subdural": (1, 2, f"{OF_HEALTHY}ct-ich"),
        "brats": (1, 4, CLEAN),
    }
    assert (groups["ct-ich"].auroc, groups["ct-ich: Subdural"].auroc) == (0.75, 1.0)
    assert groups["ct-ich: Subdural"].precision == 1.0
    assert groups["ct-ich"].precision == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)  # of the order ill, healthy, ill, healthy
    lines = {line[0]: line[1:] for line in operations_table(list(groups.values()), Norms(ScanNorm((1.0,), 6.0, QUALITY))).lines}
    assert lines["ct-ich"] == ["2", "2 healthy of ct-ich", "0.75", "0.83 (0.50)", "0.50", "0.50", "0.50"]
    assert lines["brats"] == ["1", "4 clean", "0.75", "0.50 (0.20)", "0.80", "0.00", "1.00"]


def test_both_tables_hold_patients_against_the_same_healthy_scans():
    trials = [a_trial(f"s{n}", CLEAN, 1.0 + n) for n in range(4)] + [a_trial("s0", LESIONS[0], 2.5)]
    trials += [a_trial(f"h{n}", f"{OF_HEALTHY}nfbs", 5.0 + n) for n in range(2)]
    trials += [a_trial("p0", "nfbs", 5.5), a_trial("p1", "nfbs", 4.6), a_trial("b", "brats", 3.5)]
    norms = Norms(ScanNorm((1.0,), 6.0, QUALITY))
    first = {line[0]: line[2] for line in table_of(trials, norms).lines}
    second = {line[0]: line[3] for line in operations_table(groups_of(trials), norms).lines}
    assert first["nfbs"] == second["nfbs"] == "0.25"
    assert first["brats"] == second["brats"] == "0.75"
    assert first[f"{OF_HEALTHY}nfbs"] == "1.00"  # the change of scanner: against the clean scans


def test_only_lesions_that_the_middle_slices_show_are_in_the_comparison_with_slices():
    trials = [a_trial(f"s{n}", CLEAN, 1.0 + n, **{SLICES: 1.0}) for n in range(2)]
    trials += [a_trial("s0", LESIONS[0], 5.0, **{SLICES: 1.0, IN_MIDDLE: 0.9})]
    trials += [a_trial("s1", LESIONS[0], 0.0, **{SLICES: 9.0, IN_MIDDLE: 0.1})]
    line = slices_table(groups_of(trials)).lines[0]
    assert line == ["all lesions", "1 of 2", "1.00", "0.50"]
    assert slices_table(groups_of([a_trial("s0", CLEAN, 1.0), a_trial("s0", LESIONS[0], 2.0)])).lines == []


def test_the_middle_slices_are_those_around_the_middle_and_tell_what_share_of_a_lesion_they_hold(a_coarse_scan):
    prepared = prepare(ad.read_scan(a_coarse_scan), settings=GridSettings(spacing_mm=4.0, rows=64, columns=48))
    shown, whole = (np.flatnonzero(one.brain.any(axis=(1, 2))) for one in (middle_of(prepared), prepared))
    assert np.ptp(shown) * 4.0 == pytest.approx(2 * MIDDLE_MM)
    assert shown.mean() == pytest.approx(whole.mean(), abs=1)
    lesion = np.zeros(prepared.brain.shape, bool)
    for place, share in ((shown[0], 1.0), (whole[0], 0.5), (whole[-1], 1 / 3)):
        lesion[place, 30, 20] = True
        assert share_in_middle(prepared.image.with_array(lesion), prepared) == pytest.approx(share)


def test_a_2d_f_anogan_is_scored_by_equation_6_on_the_middle_slices(a_coarse_scan):
    import torch

    from brain_inpaint_ad.detectors.reconstruction import ReconstructionDetector
    from brain_inpaint_ad.nets.gan import FastGan, GanSettings

    prepared = prepare(ad.read_scan(a_coarse_scan), settings=GridSettings(spacing_mm=4.0, rows=64, columns=48))
    network = FastGan(GanSettings(rows=64, columns=48, latent=3, width=2, spectral=False)).eval()
    card = SimpleNamespace(training={"settings": {"feature_weight": 2.0}}, minmax="slice")
    score = slices_score(ReconstructionDetector(network, card, torch.device("cpu")), prepared)
    scores = []
    with torch.no_grad():
        for place in np.flatnonzero(middle_of(prepared).brain.any(axis=(1, 2))):
            image = torch.from_numpy(prepared.image.array[place])[None, None]
            parts = [image - network(image), network.gan.critic.features(image) - network.gan.critic.features(network(image))]
            scores.append(float(parts[0].square().mean() + 2.0 * parts[1].square().mean()))
    assert score == pytest.approx(np.mean(scores), rel=0.02)  # bfloat16 where it is fast
