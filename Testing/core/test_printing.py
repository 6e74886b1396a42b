"""What is printed: where it cannot be written, and names that can be copied from any terminal."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from brain_inpaint_ad.weights.folders import installed_models

COMMANDS = {
    "list": ("models", "list"),
    "card": ("models", "show", "t1-evidence"),
    "help": ("detect", "--help"),
    "progress": ("detect", "{scan}", "--out", "{place}/out", "--model", "{model}", "--progress", "jsonl"),
}


@pytest.fixture
def words_of(a_coarse_scan, a_tiny_model, tmp_path):
    def words(name: str) -> list[str]:
        return [word.format(place=tmp_path, scan=a_coarse_scan, model=a_tiny_model) for word in COMMANDS[name]]

    return words


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device here that is always full")
@pytest.mark.parametrize("name", COMMANDS)
def test_a_full_disk_behind_standard_output_is_told_in_one_sentence(name, words_of, run_cli_in_a_process):
    with Path("/dev/full").open("w") as full:
        answer = run_cli_in_a_process(*words_of(name), stdout=full)
    assert answer.code == 1
    assert re.fullmatch(r"Error: [^\n]* could not be written \(No space left on device\)[^\n]*\.\n", answer.err)


@pytest.mark.parametrize("name", ["list", "progress"])
def test_a_reader_that_went_ends_a_command_without_a_word(name, words_of, run_cli_in_a_process):
    reading, writing = os.pipe()
    os.close(reading)
    answer = run_cli_in_a_process(*words_of(name), stdout=writing)
    os.close(writing)
    assert (answer.code, answer.err) == (1, "")


def test_progress_may_have_no_place_to_go(run_cli_in_a_process, tmp_path):
    words = ("detect", tmp_path / "none.nii", "--out", tmp_path / "out", "--progress", "jsonl")
    answer = run_cli_in_a_process(*words, preexec_fn=lambda: os.close(1))
    assert (answer.code, answer.err) == (1, f"Error: {tmp_path / 'none.nii'} does not exist; check the path.\n")


def test_names_in_the_list_of_models_are_whole_in_any_terminal(run_cli, monkeypatch):
    monkeypatch.setenv("COLUMNS", "30")
    listed = run_cli("models", "list").out
    for model in installed_models():
        assert f" {model.name} " in listed
        assert model.card.sha256[:12] in listed
