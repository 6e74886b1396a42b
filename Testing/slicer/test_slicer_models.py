"""What models there are, which windows they have, and whether a volume fits: from cards and real MRML volumes."""

import json
import re
import subprocess
import sys

import numpy as np
import pytest

CARD = {
    "description": "Inpaints.",
    "method": "inpainting",
    "modality": "T1",
    "window_mm": 32.0,
    "spacing_mm": 2.0,
    "rows": 128,
    "columns": 96,
    "sha256": "00",
}


@pytest.fixture
def models(mrml_lib):
    return mrml_lib("Models")


@pytest.fixture
def fit_text(mrml_lib):
    return mrml_lib("ScanFit").fitText


@pytest.fixture
def write_card(tmp_path):
    """Writes a card into a folder under `tmp_path` and gives the folder back."""

    def write(name, folder="shipped", **changes):
        path = tmp_path / folder / f"{name}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(CARD | {"name": name} | changes), encoding="utf-8")
        return path.parent

    return write


def a_sphere_of_brain(size=24):
    """float (size, size, size): bright inside, dark outside."""
    z, y, x = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j, -1 : 1 : size * 1j]
    return (x**2 + y**2 + z**2 < 0.8).astype(np.float32)


@pytest.fixture
def a_head(add_volume):
    """120 mm along every axis."""
    return lambda name="T1 axial", matrix=None: add_volume(
        a_sphere_of_brain(), np.diag([5, 5, 5, 1.0]) if matrix is None else matrix, name
    )


def test_the_default_comes_first_and_has_no_windows(models):
    first = models.listModels()[0]
    assert (first.name, first.modality, first.method) == ("t1-evidence", "T1", "evidence")
    assert (first.windowsMm, first.hasWindows, first.previewsMm) == ((0,), False, frozenset())
    assert first.canReconstruct
    assert first.tellsRarity
    assert (first.card().argument, first.nearestMm(), first.nearestMm(64)) == ("t1-evidence", 0, 0)
    assert first.card().path.is_file()


def test_the_published_model_has_windows_and_a_preview_and_no_rarity(models):
    published = models.findModel("t1-inpaint")
    assert published.hasWindows
    assert published.nearestMm() == 32
    assert 32 in published.previewsMm
    assert published.canReconstruct
    assert not published.tellsRarity
    assert published.card(32).argument == "t1-inpaint-32mm"
    assert published.card(32).path.is_file()


def test_defaults_are_those_of_the_core(models, mrml_lib):
    from brain_inpaint_ad.weights import store

    settings = mrml_lib("Settings")
    assert settings.DEFAULT_MODEL == store.DEFAULT_MODEL
    assert models.findModel(store.WINDOW_MODEL).name == settings.WINDOW_MODEL
    assert models.findModel(store.WINDOW_MODEL).nearestMm() == settings.WINDOW_MM


def test_predictors_that_ship_rebuild_nothing(models):
    assert {model.name: model.canReconstruct for model in models.listModels()}["t1-loss-dense"] is False


def test_names_that_differ_in_the_window_only_are_one_model(models, write_card):
    write_card("t1-inpaint-32mm")
    write_card("t1-inpaint-16mm", window_mm=16.0)
    folder = write_card("t1-inpaint-16mm-fast", window_mm=16.0)
    found = {model.name: model.windowsMm for model in models.listModels(folder)}
    assert found == {"t1-inpaint": (16, 32), "t1-inpaint-fast": (16,)}


def test_one_network_may_have_several_windows(models, write_card):
    folder = write_card("several", "mine", other_windows={"8": {}, "64": {}})
    [model] = models.listModels(folder / "none", folder)
    assert model.windowsMm == (8, 32, 64)
    path = folder / "several.safetensors"
    assert {model.card(size).argument for size in model.windowsMm} == {str(path)}
    assert models.findModel(str(path)).windowsMm == (8, 32, 64)


def test_the_users_models_are_given_to_the_core_by_path(models, write_card):
    shipped = write_card("t1-inpaint-32mm")
    mine = write_card("t1-inpaint-64mm", "mine", window_mm=64.0)
    [model] = models.listModels(shipped, mine)
    assert [model.card(size).argument for size in model.windowsMm] == [
        "t1-inpaint-32mm",
        str(mine / "t1-inpaint-64mm.safetensors"),
    ]


def test_an_old_copy_does_not_hide_the_model_that_ships(models, write_card):
    shipped = write_card("t1-inpaint-32mm", description="new")
    old = write_card("t1-inpaint-32mm", "mine", description="old")
    [model] = models.listModels(shipped, old)
    assert model.description == "new"


@pytest.mark.parametrize("content", ["", "[1]", '{"name": "x"}', json.dumps(CARD | {"name": "x", "method": "magic"})])
def test_a_damaged_card_is_left_out_and_the_rest_can_be_used(models, write_card, content):
    folder = write_card("t1-inpaint-32mm")
    (folder / "x.json").write_text(content, encoding="utf-8")
    assert [model.name for model in models.listModels(folder)] == ["t1-inpaint"]


def test_the_methods_are_those_of_the_core(models):
    from brain_inpaint_ad.weights.card import METHODS

    assert set(models._METHODS) == set(METHODS)


def test_a_card_tells_which_cut_suits_its_model_and_without_a_word_slices_do(models, write_card):
    write_card("a")
    folder = write_card("b", segmentation="scales")
    assert {model.name: model.card(32).segmentation for model in models.listModels(folder)} == {"a": "slices", "b": "scales"}
    assert models.findModel().card(0).segmentation == "scales"  # the default, as it ships


def test_cuts_that_a_card_may_name_are_those_of_the_core(models, write_card):
    from brain_inpaint_ad.segmentation.select import SEGMENTATIONS

    assert set(models._SEGMENTATIONS) == set(SEGMENTATIONS)
    folder = write_card("future", segmentation="cubes")
    with pytest.raises(models.ModelsError, match=r"newer version.*'cubes'"):
        models.readCard(folder / "future.json")


def test_models_come_in_the_order_of_their_methods_after_the_default(models, write_card):
    for name, method in (("a", "inpainting"), ("b", "surprise"), ("c", "evidence"), ("d", "autoencoder")):
        write_card(name, method=method)
    folder = write_card("t1-evidence", method="evidence", window_mm=0.0)
    listed = models.listModels(folder)
    assert [model.name for model in listed] == ["t1-evidence", "c", "b", "a", "d"]
    assert [model.tellsRarity for model in listed] == [True, True, False, False, False]
    assert all(model.canReconstruct for model in listed)


@pytest.mark.parametrize("method", ["evidence", "anogan", "autoencoder", "fanogan"])
def test_a_model_without_windows_is_listed_and_named_to_the_core(models, mrml_lib, write_card, monkeypatch, tmp_path, method):
    write_card("t1-inpaint-32mm")
    folder = write_card("t1-whole", method=method, window_mm=0.0, network={"width": 2})
    listed = models.listModels(folder)
    assert {model.name for model in listed} == {"t1-inpaint", "t1-whole"}
    whole = models.findModel("t1-whole", listed)
    assert (whole.windowsMm, whole.canReconstruct, whole.previewsMm) == ((0,), True, frozenset())
    assert whole.text == "Inpaints. For T1 scans; no windows."
    monkeypatch.setattr(models, "listModels", lambda: listed)
    chosen = mrml_lib("Settings").Settings(model="t1-whole", windowMm=0)
    command = mrml_lib("Core").detectCommand(tmp_path / "s.nrrd", tmp_path / "o", chosen)
    at = command.index("--model")
    assert command[at : at + 2] == ["--model", "t1-whole"]
    assert not {"--window-mm", "--stride-mm", "--preview"} & set(command)
    assert "--reconstruction" in command


def test_folders_that_are_not_there_hold_nothing(models, tmp_path):
    assert models.listModels(tmp_path / "none", tmp_path / "nowhere") == []


@pytest.mark.parametrize(
    ("dense", "previews"),
    [({}, {32}), ({"window_mm": 16.0}, set()), ({"spacing_mm": 1.0}, set()), ({"modality": "T2"}, set())],
)
def test_a_preview_needs_a_dense_predictor_for_the_same_window_and_grid(models, write_card, dense, previews):
    write_card("t1-inpaint-16mm-b")
    folder = write_card("t1-loss-32mm-dense", **({"method": "dense-loss-prediction"} | dense))
    found = {model.name: model for model in models.listModels(folder)}
    assert found["t1-inpaint-b"].previewsMm == previews
    assert not found["t1-loss-dense"].previewsMm


def test_a_predictor_in_another_folder_than_the_model_gives_no_preview(models, write_card):
    shipped = write_card("t1-inpaint-32mm")
    mine = write_card("dense", "mine", method="dense-loss-prediction")
    assert not models.findModel("t1-inpaint", models.listModels(shipped, mine)).previewsMm


@pytest.mark.parametrize(
    ("name", "found"), [("", "t1-evidence"), ("t1-inpaint", "t1-inpaint"), ("t1-inpaint-32mm", "t1-inpaint")]
)
def test_a_model_is_found_by_its_short_its_full_and_no_name(models, name, found):
    assert models.findModel(name).name == found


def test_a_model_is_found_by_the_path_of_its_weights(models, write_card):
    path = str(write_card("my-own") / "my-own.safetensors")
    model = models.findModel(path)
    assert (model.name, model.card(32).argument) == (path, path)
    assert model.previewsMm == {32}  # the dense predictor that ships fits it


def test_an_unknown_model_is_refused_with_those_there_are(models):
    with pytest.raises(models.ModelsError, match=r"'gan'.*t1-inpaint, t1-inpaint-fast"):
        models.findModel("gan")


def test_an_unknown_window_is_refused_with_those_there_are(models):
    with pytest.raises(models.ModelsError, match=r"no window of 48 mm.*8, 16, 32, 64 mm"):
        models.findModel("t1-inpaint").card(48)


def test_a_window_for_a_model_without_is_refused_with_the_model_that_has_them(models):
    with pytest.raises(models.ModelsError, match=r"'t1-evidence' has no windows.*'t1-inpaint'"):
        models.findModel().card(32)


def test_a_whole_head_of_the_right_kind_fits(models, fit_text, a_head):
    assert fit_text(models.findModel(), a_head()) == ""


def test_nothing_chosen_is_no_misfit(models, fit_text, a_head):
    assert fit_text(None, a_head()) == fit_text(models.findModel(), None) == ""


@pytest.mark.parametrize("name", ["sub-01_T1w", "3: MPRAGE sag", "MRHead", "t1n in T2 space", "T10 protocol", "a FACTOR"])
def test_names_of_t1_scans_and_names_that_tell_nothing_raise_no_doubt(models, fit_text, a_head, name):
    assert fit_text(models.findModel(), a_head(name)) == ""


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("sub-01_FLAIR", "FLAIR"),
        ("AX T2 TSE", "T2"),
        ("MRBrainT2", "T2"),
        ("CT-brain", "CT"),
        ("CTACardio", "CT"),
        ("4 ep2d_dwi_b1000", "DWI"),
        ("PDw", "PD"),
        ("T1_CE", "contrast agent"),
        ("MRBrainTumor1", "contrast agent"),
        ("BraTS_t1c", "contrast agent"),
        ("T1 post Gd", "contrast agent"),
    ],
)
def test_names_that_tell_of_another_kind_of_scan_are_doubted(models, fit_text, a_head, name, kind):
    text = fit_text(models.findModel(), a_head(name))
    assert text.startswith(f"'{name}'")
    assert kind in text
    assert "\n" not in text


def test_thick_slices_are_doubted_with_both_numbers(models, fit_text, a_head):
    text = fit_text(models.findModel(), a_head(matrix=np.diag([5, 5, 8, 1.0])))
    assert re.search(r"8\.0 mm.*6 mm", text)


def test_a_small_slab_is_doubted(models, fit_text, a_head):
    assert "48 mm" in fit_text(models.findModel(), a_head(matrix=np.diag([5, 5, 2, 1.0])))


@pytest.mark.parametrize(
    ("array", "kind", "reason"),
    [
        (np.zeros((24, 24, 24), np.float32), "vtkMRMLScalarVolumeNode", "no brain"),
        (np.ones((1, 24, 24), np.float32), "vtkMRMLScalarVolumeNode", "several slices"),
        (np.ones((24, 24, 24), np.int16), "vtkMRMLLabelMapVolumeNode", "labelmap"),
        (np.ones((24, 24, 24, 3), np.uint8), "vtkMRMLVectorVolumeNode", "several values"),
    ],
)
def test_what_is_no_scan_at_all_is_told(models, fit_text, add_volume, array, kind, reason):
    node = add_volume(array, np.diag([5, 5, 5, 1.0]), "T1", kind)
    assert reason in fit_text(models.findModel(), node)


def test_listing_models_loads_neither_torch_nor_the_core(a_module_path, tmp_path):
    pytest.importorskip("slicer")
    program = (
        "import sys, types; i18n = types.ModuleType('slicer.i18n'); i18n.tr = str; sys.modules['slicer.i18n'] = i18n;"
        "from BrainInpaintADLib import Models, Install, Core; Models.listModels(); Install.torchIsPresent();"
        "sys.exit(', '.join({'torch', 'brain_inpaint_ad', 'skimage'} & set(sys.modules)) or None)"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=a_module_path, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("chosen", ["", "~/elsewhere", "/data/models"])
def test_the_module_and_the_core_look_for_added_models_in_one_folder(models, chosen, monkeypatch):
    from brain_inpaint_ad.weights.folders import user_folder

    monkeypatch.setenv("BRAIN_INPAINT_AD_MODELS", chosen)
    assert models.userFolder() == user_folder()
