"""The store of models: what ships and what the user added, found by name, checked, never downloaded."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from brain_inpaint_ad.phantom import PhantomSettings, make_phantom, save_phantom
from brain_inpaint_ad.weights.folders import SHIPPED, user_folder
from brain_inpaint_ad.weights.store import DEFAULT_MODEL, windows_of

SHIPPED_NAMES = sorted(path.stem for path in SHIPPED.glob("*.safetensors"))


@pytest.fixture
def a_store(tmp_path, monkeypatch) -> Path:
    """The user's folder, not made yet."""
    folder = tmp_path / "my models"
    monkeypatch.setenv("BRAIN_INPAINT_AD_MODELS", str(folder))
    monkeypatch.setenv("COLUMNS", "200")
    return folder


@pytest.fixture
def a_model(a_tiny_model, tmp_path) -> Path:
    """A copy of the tiny model as it would come on a stick, called as training calls it."""
    return renamed(a_tiny_model, tmp_path / "stick", "tiny")


def renamed(model: Path, folder: Path, name: str, **changes: object) -> Path:
    folder.mkdir(exist_ok=True)
    copy = folder / "generator.safetensors"
    copy.write_bytes(model.read_bytes())
    card = json.loads(model.with_suffix(".json").read_text(encoding="utf-8"))
    copy.with_suffix(".json").write_text(json.dumps(card | {"name": name} | changes), encoding="utf-8")
    return copy


def refused(answer) -> str:
    """The one sentence of a refusal."""
    assert answer.code == 1
    found = re.fullmatch(r"Error: ([^\n]+\.)\n", answer.err)
    assert found, answer.err
    return found[1]


def test_without_a_word_from_the_user_models_live_in_a_folder_at_home(monkeypatch, tmp_path):
    monkeypatch.delenv("BRAIN_INPAINT_AD_MODELS", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert user_folder() == tmp_path / ".brain_inpaint_ad" / "models"
    monkeypatch.setenv("BRAIN_INPAINT_AD_MODELS", "~/elsewhere")
    assert user_folder() == tmp_path / "elsewhere"


def test_a_model_that_was_added_is_listed_shown_used_by_name_and_removed(
    a_store, a_model, a_coarse_scan, a_tiny_model, tmp_path, run_cli
):
    answer = run_cli("models", "add", a_model)
    assert (answer.code, answer.err) == (0, "")
    assert "--model tiny" in answer.out
    assert sorted(path.name for path in a_store.iterdir()) == ["tiny.json", "tiny.safetensors"]
    for words in (("models",), ("models", "list")):
        listed = run_cli(*words).out
        assert all(name in listed for name in (*SHIPPED_NAMES, "tiny"))
    shown = json.loads(run_cli("models", "show", "tiny", "--json").out)
    assert shown == json.loads(a_tiny_model.with_suffix(".json").read_text(encoding="utf-8"))
    where = Path(run_cli("models", "path", "tiny").out.strip())
    assert where.read_bytes() == a_tiny_model.read_bytes()
    assert run_cli("detect", a_coarse_scan, "--out", tmp_path / "out", "--model", "tiny").code == 0
    used = json.loads((tmp_path / "out" / "report.json").read_text())["model"]
    assert used == {"name": "tiny", "sha256": shown["sha256"], "segmentation": "slices"}
    assert f"{where} and its card are removed." in run_cli("models", "remove", "tiny").out
    assert list(a_store.iterdir()) == []
    assert "no model tiny; there are: t1" in refused(
        run_cli("detect", a_coarse_scan, "--out", tmp_path / "c", "--model", "tiny")
    )


@pytest.mark.parametrize("name", [*SHIPPED_NAMES, "tiny"])
def test_a_model_is_shown_in_a_screenful(name, a_store, a_model, run_cli):
    run_cli("models", "add", a_model)
    shown = run_cli("models", "show", name).out
    card = json.loads(run_cli("models", "show", name, "--json").out)
    assert shown.startswith(f"{name} ({'added' if name == 'tiny' else 'shipped'}{', default' * (name == DEFAULT_MODEL)})\n")
    assert len(shown.splitlines()) <= 24
    words = " ".join(shown.split())
    assert all(wanted in words for wanted in (card["description"], card["sha256"], card["training"].get("data", "")))
    assert all(f"{heat:.3g}" in words for heat in card["thresholds"].values())


def test_a_model_is_shown_by_its_path_too(a_store, a_model, run_cli, monkeypatch):
    shown = run_cli("models", "show", a_model).out
    assert shown.startswith("tiny (a file, not added)\n")
    assert str(a_model) in shown
    run_cli("models", "add", a_model)
    monkeypatch.chdir(a_store)
    assert run_cli("models", "show", "tiny.safetensors").out.startswith("tiny (added)\n")
    assert "default" not in run_cli("models", "show", renamed(a_model, a_model.parent, DEFAULT_MODEL)).out.splitlines()[0]
    assert "no model gone.safetensors" in refused(run_cli("models", "show", "gone.safetensors"))


def test_a_model_that_is_not_calibrated_is_told_when_it_is_added(a_store, a_model, run_cli):
    assert "not calibrated" not in run_cli("models", "add", a_model).out
    for thresholds in ({}, {"training_residuals_98_percent": 0.3}):  # as training leaves cards
        renamed(a_model, a_model.parent, "tiny", thresholds=thresholds)
        assert "brain-inpaint-ad calibrate tiny --data FOLDER" in run_cli("models", "add", a_model, "--overwrite").out


def test_the_list_says_which_model_is_taken_by_default(run_cli):
    listed = [line for line in run_cli("models", "list").out.splitlines() if "Default" in line]
    assert len(listed) == 1
    assert DEFAULT_MODEL in listed[0]


def test_an_added_model_is_replaced_only_when_asked(a_store, a_model, run_cli):
    run_cli("models", "add", a_model)
    before = (a_store / "tiny.json").read_bytes()
    other = renamed(a_model, a_model.parent, "tiny", description="Another.")
    assert "already holds a model tiny" in refused(run_cli("models", "add", other))
    assert (a_store / "tiny.json").read_bytes() == before
    assert run_cli("models", "add", other, "--overwrite").code == 0
    assert "Another." in run_cli("models", "show", "tiny").out


def test_an_added_model_is_another_window_of_the_one_that_ships(a_store, a_tiny_model, tmp_path, run_cli):
    model = renamed(a_tiny_model, tmp_path / "stick", "t1-inpaint-24mm", window_mm=24.0)
    assert run_cli("models", "add", model).code == 0
    assert windows_of("t1-inpaint-32mm")[24.0] == "t1-inpaint-24mm"


DAMAGED = {
    "truncated": lambda weights: weights.write_bytes(weights.read_bytes()[:-8]),
    "changed": lambda weights: weights.write_bytes(bytes([weights.read_bytes()[0] ^ 1]) + weights.read_bytes()[1:]),
}


@pytest.mark.parametrize("how", DAMAGED)
def test_a_damaged_model_is_neither_added_nor_used_but_listed_with_its_damage(how, a_store, a_model, a_coarse_scan, run_cli):
    assert run_cli("models", "add", a_model).code == 0
    DAMAGED[how](a_store / "tiny.safetensors")
    listed = run_cli("models", "list")
    assert listed.code == 0
    assert "cannot be used" in listed.out
    assert "SHA-256 differs" in refused(run_cli("models", "show", "tiny"))
    assert "SHA-256 differs" in refused(run_cli("detect", a_coarse_scan, "--out", a_store / "out", "--model", "tiny"))
    DAMAGED[how](a_model)
    assert "SHA-256 differs" in refused(run_cli("models", "add", a_model, "--overwrite"))
    assert run_cli("models", "remove", "tiny").code == 0


def a_pickle(folder: Path, name: str) -> Path:
    """torch's own format: opening it can run code."""
    torch.save({"weight": torch.zeros(3)}, folder / name)
    return folder / name


def test_pickles_are_refused_under_any_name(a_store, a_model, run_cli):
    assert "can run code" in refused(run_cli("models", "add", a_pickle(a_model.parent, "model.pt")))
    assert "no .safetensors file" in refused(run_cli("models", "add", a_pickle(a_model.parent, "model.xyz")))
    disguised = a_pickle(a_model.parent, "generator.safetensors")
    card = json.loads(disguised.with_suffix(".json").read_text(encoding="utf-8"))
    card["sha256"] = hashlib.sha256(disguised.read_bytes()).hexdigest()
    disguised.with_suffix(".json").write_text(json.dumps(card), encoding="utf-8")
    assert "does not hold" in refused(run_cli("models", "add", disguised))
    assert not a_store.exists()


@pytest.mark.parametrize("name", ["../outside", "a/b", "..", ".hidden", "", "a\\b", "x" * 200])
def test_no_name_leads_out_of_the_folder(name, a_store, a_model, tmp_path, run_cli):
    model = renamed(a_model, tmp_path / "stick", name)
    assert "cannot be a file's name" in refused(run_cli("models", "add", model))
    assert {path.name for path in tmp_path.iterdir()} == {"stick"}
    (tmp_path / "outside.safetensors").write_bytes(model.read_bytes())
    assert "there is no model" in refused(run_cli("detect", "none.nii", "--out", tmp_path / "out", "--model", name))
    assert "there is no model" in refused(run_cli("models", "remove", name))


def test_what_ships_is_neither_replaced_nor_removed(a_store, a_model, tmp_path, run_cli):
    model = renamed(a_model, tmp_path / "stick", "t1-inpaint-32mm")
    assert "name of a model that ships" in refused(run_cli("models", "add", model, "--overwrite"))
    assert "came with the program" in refused(run_cli("models", "remove", "t1-inpaint-32mm"))
    assert sorted(path.stem for path in SHIPPED.glob("*.safetensors")) == SHIPPED_NAMES


# What reaches for the network ends at once, with a code of its own.
WITHOUT_SOCKETS = """
import os, sys

def refuse(event, details):
    if event.startswith("socket."):
        os.write(2, f"{event} {details}".encode())
        os._exit(66)

sys.addaudithook(refuse)
if sys.argv[1] == "detect":
    from brain_inpaint_ad.cli.app import app
    app()
else:
    import urllib.request
    urllib.request.urlopen("http://127.0.0.1:9")
"""


def in_a_process_without_sockets(*words: object) -> subprocess.CompletedProcess[str]:
    few = {"OMP_NUM_THREADS": "1", "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS": "1"}
    command = [sys.executable, "-c", WITHOUT_SOCKETS, *map(str, words)]
    return subprocess.run(command, text=True, capture_output=True, timeout=600, check=False, env={**os.environ, **few})


def test_detect_opens_no_socket_brain_extraction_included(tmp_path):
    """A whole head, so that every network runs: deepbet's, the generator's and the preview's."""
    head = make_phantom(PhantomSettings(spacing_mm=4.0, whole_head=True))
    scan = save_phantom(head, tmp_path / "scan")[0]
    words = (
        "--out",
        tmp_path / "out",
        "--preview",
        tmp_path / "first",
        "--stride-mm",
        16,
        "--rule",
        "paper",
        "--progress",
        "none",
    )
    words += ("--model", "t1-inpaint-32mm-fast", "--progress", "none")
    done = in_a_process_without_sockets("detect", scan, *words)
    warned = [line for line in done.stderr.splitlines() if "quality problem" not in line]  # it is a made-up head
    assert (done.returncode, warned) == (0, [])
    assert json.loads((tmp_path / "out" / "report.json").read_text())["brain"]["source"] == "deepbet"
    assert (tmp_path / "first" / "report.json").exists()


def test_a_socket_would_have_been_noticed():
    assert in_a_process_without_sockets("reach out").returncode == 66
