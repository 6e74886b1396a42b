"""Settings, the command line they become, and the table that comes back: all without Slicer."""

import os
import re

import pytest


def test_settings_become_the_options_of_the_command_line(lib):
    settings = lib("Settings").Settings(scale=150.0, rule="paper", strideMm=8, device="cpu", model="inpaint-t1-32")
    assert settings.arguments() == [
        *("--model", "inpaint-t1-32", "--window-mm", "32", "--stride-mm", "8"),
        *("--scale", "150", "--rule", "paper", "--device", "cpu"),
    ]


def test_no_model_option_is_given_unless_one_is_chosen(lib):
    assert "--model" not in lib("Settings").Settings().arguments()


@pytest.mark.parametrize("wrong", [{"rule": "hottest"}, {"scale": 5}, {"scale": float("nan")}, {"strideMm": 33}])
def test_settings_outside_their_range_are_refused(lib, wrong):
    module = lib("Settings")
    with pytest.raises(module.SettingsError, match=re.escape(str(next(iter(wrong.values()))))):
        module.Settings(**wrong)


def test_the_command_names_scan_output_mask_and_jsonl_progress(lib, tmp_path):
    core, settings = lib("Core"), lib("Settings").Settings()
    command = core.detectCommand(tmp_path / "s.nrrd", tmp_path / "out", settings, mask=tmp_path / "m.nrrd")
    assert command[1:6] == ["-m", "brain_inpaint_ad", "detect", str(tmp_path / "s.nrrd"), "--out"]
    assert command[6:9] == [str(tmp_path / "out"), "--mask", str(tmp_path / "m.nrrd")]
    assert command[-2:] == ["--progress", "jsonl"]


def test_without_a_mask_the_command_has_no_mask_option(lib, tmp_path):
    command = lib("Core").detectCommand(tmp_path / "s.nrrd", tmp_path / "out", lib("Settings").Settings())
    assert "--mask" not in command


def test_an_installed_core_beside_the_module_wins_over_a_checkout(lib, tmp_path):
    module = tmp_path / "qt-scripted-modules"
    for folder in (module / "BrainInpaintADCore", tmp_path / "src"):
        (folder / "brain_inpaint_ad").mkdir(parents=True)
        (folder / "brain_inpaint_ad" / "__init__.py").touch()
    assert lib("Core").coreFolder(module) == module / "BrainInpaintADCore"


def test_a_checkout_uses_its_own_sources(lib):
    core = lib("Core")
    assert core.coreFolder() == core.MODULE_FOLDER.parent / "src"


def test_a_missing_core_is_named_with_the_places_looked_at(lib, tmp_path):
    core = lib("Core")
    with pytest.raises(core.CoreMissingError, match=re.escape(str(tmp_path / "module" / "BrainInpaintADCore"))):
        core.coreFolder(tmp_path / "module")


def test_the_core_comes_first_on_the_workers_path_and_nothing_is_lost(lib, tmp_path):
    environment = lib("Core").environment(tmp_path, {"PYTHONPATH": "/a", "HOME": "/h"})
    assert environment["PYTHONPATH"] == f"{tmp_path}{os.pathsep}/a"
    assert environment["HOME"] == "/h"
    assert lib("Core").environment(tmp_path, {})["PYTHONPATH"] == str(tmp_path)  # no empty entry: it would be the cwd


def test_slicers_process_keeps_its_own_path(lib, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "/mine")
    lib("Core").environment(tmp_path)
    assert os.environ["PYTHONPATH"] == "/mine"


def a_table(folder, *lines):
    path = folder / "findings.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_findings_keep_labels_volumes_and_centres(lib, tmp_path):
    head = "label,slices,volume_ml,mean_heat,peak_heat,r_mm,a_mm,s_mm"
    [first, second] = lib("Findings").readFindings(
        a_table(tmp_path, head, "1,3-5,40.0,0.2,0.5,31,-12,44", "2,7-7,2.1,0.1,0.2,,,")
    )
    assert (first.label, first.volumeMl, first.peakHeat, first.centreRasMm) == (1, 40.0, 0.5, (31.0, -12.0, 44.0))
    assert second.centreRasMm is None


@pytest.mark.parametrize("row", ["x,1.0", "1,", "1"])
def test_a_damaged_table_is_refused_by_its_name(lib, tmp_path, row):
    module = lib("Findings")
    with pytest.raises(module.FindingsError, match=r"findings\.csv"):
        module.readFindings(a_table(tmp_path, "label,volume_ml", row))


@pytest.mark.parametrize(
    ("rows", "text"),
    [
        ([], "Nothing found"),
        (["1,0.84,0.1,0.2,-3,4,-5"], "1 anomaly, 0.8 ml; hottest at L 3 A 4 I 5"),
        (["1,40,0.1,0.2,0,0,0", "2,2.1,0.1,0.9,31,-12,44"], "2 anomalies, 42.1 ml; hottest at R 31 P 12 S 44"),
        (["1,40,,,,,", "2,2.1,,,,,"], "2 anomalies, 42.1 ml"),
    ],
)
def test_the_summary_says_how_many_how_much_and_where(lib, tmp_path, rows, text):
    module = lib("Findings")
    path = a_table(tmp_path, "label,volume_ml,mean_heat,peak_heat,r_mm,a_mm,s_mm", *rows)
    assert module.summary(module.readFindings(path)) == text
