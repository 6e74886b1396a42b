"""Settings, the command line they become, and where the core lies."""

import os
import re
import subprocess
import sys

import pytest


@pytest.fixture
def settings(mrml_lib):
    """Makes settings."""
    return lambda **choices: mrml_lib("Settings").Settings(**choices)


@pytest.fixture
def core(mrml_lib):
    return mrml_lib("Core")


def test_settings_become_the_options_of_the_command_line(settings):
    chosen = settings(
        windowMm=32,
        strideMm=8,
        scale=150.0,
        sigma=1.2,
        minSize=35,
        minVolumeMl=0.5,
        rule="paper",
        segmentation="volume",
        device="cpu",
    )
    assert chosen.arguments() == [
        *("--stride-mm", "8", "--scale", "150", "--sigma", "1.2", "--min-size", "35", "--min-volume-ml", "0.5"),
        *("--rule", "paper", "--segmentation", "volume", "--device", "cpu"),
    ]


@pytest.mark.parametrize(
    "wrong",
    [
        {"rule": "hottest"},
        {"segmentation": "lines"},
        {"scale": 5},
        {"scale": float("nan")},
        {"sigma": -1},
        {"minSize": 0},
        {"minVolumeMl": -2},
        {"windowMm": -1},
        {"strideMm": 33, "windowMm": 32},
    ],
)
def test_settings_outside_their_range_are_refused(mrml_lib, wrong):
    module = mrml_lib("Settings")
    with pytest.raises(module.SettingsError, match=re.escape(str(next(iter(wrong.values()))))):
        module.Settings(**wrong)


def test_what_suits_the_model_is_left_to_the_core(settings):
    assert settings().segmentation == "suited"
    assert "--segmentation" not in settings().arguments()
    assert settings(segmentation="scales").arguments()[-4:-2] == ["--segmentation", "scales"]


@pytest.mark.parametrize("has_numba", [True, False])
@pytest.mark.parametrize("rule", ["calibrated", "paper"])
@pytest.mark.parametrize("suits", ["slices", "volume", "scales", "residual"])
def test_what_suits_a_model_is_what_the_core_takes_by_itself(mrml_lib, monkeypatch, suits, rule, has_numba):
    from types import SimpleNamespace

    from brain_inpaint_ad.plan import suited
    from brain_inpaint_ad.segmentation import regions, select

    kinds = mrml_lib("CutKinds")
    monkeypatch.setattr(regions, "is_compiled", lambda: has_numba)
    taken = suited(select.SegmentSettings(rule=rule), SimpleNamespace(segmentation=suits)).segmentation
    assert kinds.kindOf("suited", rule, suits, hasNumba=has_numba) == taken
    assert kinds.kindOf("volume", rule, suits, hasNumba=has_numba) == "volume"  # chosen is chosen


def test_without_windows_there_is_no_stride(settings):
    assert settings().windowMm == 0
    assert "--stride-mm" not in settings(strideMm=33).arguments()


def test_the_published_values_are_settings(mrml_lib):
    module = mrml_lib("Settings")
    published = module.Settings(**module.PUBLISHED)
    assert (published.scale, published.sigma, published.minSize, published.rule) == (75.0, 0.8, 20, "paper")
    assert published.segmentation == "slices"


def test_our_defaults_and_ranges_are_the_cores(mrml_lib):
    from brain_inpaint_ad.segmentation import select

    ours, cores = mrml_lib("Settings"), select.SegmentSettings()
    names = {"scale": "scale", "sigma": "sigma", "minSize": "min_size", "minVolumeMl": "min_volume_ml", "rule": "rule"}
    assert {name: getattr(ours.Settings(), name) for name in names} == {name: getattr(cores, names[name]) for name in names}
    assert ours.RULES == select.RULES
    assert set(ours.SEGMENTATIONS) == set(select.SEGMENTATIONS) - {"residual"}  # that is for the command line
    assert ours.SEGMENTATIONS[0] == select.SEGMENTATIONS[0] == mrml_lib("CutKinds").PUBLISHED_KIND
    assert ours.SUITED not in select.SEGMENTATIONS


def test_the_command_names_scan_output_mask_model_and_jsonl_progress(core, settings, tmp_path):
    command = core.detectCommand(tmp_path / "s.nrrd", tmp_path / "out", settings(), mask=tmp_path / "m.nrrd")
    assert command[1:6] == ["-m", "brain_inpaint_ad", "detect", str(tmp_path / "s.nrrd"), "--out"]
    assert command[6:9] == [str(tmp_path / "out"), "--mask", str(tmp_path / "m.nrrd")]
    assert command[9:12] == ["--model", "t1-evidence", "--scale"]
    assert not {"--window-mm", "--stride-mm", "--preview"} & set(command)
    assert command[-4:] == ["--reconstruction", "--recut", "--progress", "jsonl"]


def test_a_model_with_windows_is_named_with_window_and_stride(core, settings, tmp_path):
    command = core.detectCommand(tmp_path / "s.nrrd", tmp_path / "out", settings(model="t1-inpaint", windowMm=32, strideMm=8))
    assert command[7:13] == ["--model", "t1-inpaint-32mm", "--window-mm", "32", "--stride-mm", "8"]
    assert command[-3:] == ["--recut", "--progress", "jsonl"]


def test_without_a_mask_the_command_has_no_mask_option(core, settings, tmp_path):
    assert "--mask" not in core.detectCommand(tmp_path / "s.nrrd", tmp_path / "out", settings())


def test_a_model_that_rebuilds_is_asked_for_reconstruction_and_preview(core, settings, tmp_path):
    command = core.detectCommand(tmp_path / "s.nrrd", tmp_path / "out", settings(model="t1-inpaint-fast", windowMm=32))
    assert "--reconstruction" in command
    preview = command[command.index("--preview") + 1]
    assert preview == str(core.previewFolder(tmp_path / "out")) != str(tmp_path / "out")


def test_a_predictor_is_asked_for_neither(core, settings, tmp_path):
    command = core.detectCommand(tmp_path / "s.nrrd", tmp_path / "out", settings(model="t1-loss-dense", windowMm=32))
    assert not {"--reconstruction", "--preview"} & set(command)
    assert "--recut" in command


def test_a_window_the_model_does_not_have_is_refused_before_anything_runs(mrml_lib, core, settings, tmp_path):
    with pytest.raises(mrml_lib("Models").ModelsError, match="32, 64 mm"):
        core.detectCommand(tmp_path / "s.nrrd", tmp_path / "out", settings(model="t1-inpaint", windowMm=24))
    with pytest.raises(mrml_lib("Models").ModelsError, match="no windows"):
        core.detectCommand(tmp_path / "s.nrrd", tmp_path / "out", settings(windowMm=32))


def test_the_core_that_travels_with_the_extension_understands_our_options(core, settings, tmp_path):
    """The contract between the two: every option we pass is one the core's command line has."""
    chosen = settings(model="t1-inpaint", windowMm=32)
    command = core.detectCommand(tmp_path / "s.nrrd", tmp_path / "o", chosen, mask=tmp_path)
    assert {"--window-mm", "--stride-mm", "--preview", "--reconstruction"} < set(command)
    help_command = [*command[: command.index("detect") + 1], "--help"]
    environment = core.environment(core.coreFolder()) | {"COLUMNS": "200", "NO_COLOR": "1"}
    told = subprocess.run(help_command, capture_output=True, encoding="utf-8", env=environment, timeout=120)
    if "No module named" in told.stderr:
        pytest.skip(f"the core's command line cannot be started here: {told.stderr.splitlines()[-1]}")
    missing = [word for word in command if word.startswith("--") and word not in told.stdout]
    assert (told.returncode, missing) == (0, [])


def test_the_core_says_preview_ready_as_we_expect_it(core):
    from brain_inpaint_ad.preview import PREVIEW_READY

    assert core.PREVIEW_READY == PREVIEW_READY


def test_an_installed_core_beside_the_module_wins_over_a_checkout(core, tmp_path):
    module = tmp_path / "qt-scripted-modules"
    for folder in (module / "BrainInpaintADCore", tmp_path / "src"):
        (folder / "brain_inpaint_ad").mkdir(parents=True)
        (folder / "brain_inpaint_ad" / "__init__.py").touch()
    assert core.coreFolder(module) == module / "BrainInpaintADCore"


def test_a_checkout_uses_its_own_sources_and_models(core):
    assert core.coreFolder() == core.MODULE_FOLDER.parent / "src"
    for name in ("t1-evidence", "t1-inpaint-32mm"):
        assert (core.shippedModelsFolder() / f"{name}.safetensors").is_file()


def test_a_missing_core_is_named_with_the_places_looked_at(core, tmp_path):
    with pytest.raises(core.CoreMissingError, match=re.escape(str(tmp_path / "module" / "BrainInpaintADCore"))):
        core.coreFolder(tmp_path / "module")


def test_the_core_comes_first_on_the_workers_path_and_nothing_is_lost(core, tmp_path):
    environment = core.environment(tmp_path, {"PYTHONPATH": "/a", "HOME": "/h"})
    assert environment["PYTHONPATH"] == f"{tmp_path}{os.pathsep}/a"
    assert environment["HOME"] == "/h"
    assert core.environment(tmp_path, {})["PYTHONPATH"] == str(tmp_path)  # no empty entry: it would be the cwd


def test_slicers_process_keeps_its_own_environment(core, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "/mine")
    core.environment(tmp_path)
    assert os.environ["PYTHONPATH"] == "/mine"


def test_the_core_can_be_imported_for_the_recut_without_torch(a_module_path, a_scene):
    program = (
        "import sys, types; i18n = types.ModuleType('slicer.i18n'); i18n.tr = str; sys.modules['slicer.i18n'] = i18n;"
        "from BrainInpaintADLib import Core; core = Core.importCore(); core.load_recut;"
        "print(core.__file__); sys.exit('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=a_module_path, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.strip() == str(a_module_path.parent / "src" / "brain_inpaint_ad" / "__init__.py")


def test_a_slicer_without_scikit_image_is_told_what_to_press(core, monkeypatch):
    monkeypatch.setattr(core, "find_spec", lambda name: None)
    monkeypatch.delitem(sys.modules, "skimage", raising=False)
    with pytest.raises(core.CoreMissingError, match=r"'scikit-image' is missing; press 'Install'"):
        core.importCore()
