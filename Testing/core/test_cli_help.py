"""What `--help` shows."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import typer.main

from brain_inpaint_ad.cli.app import app


def commands(command=None, words: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The words of every command that does something."""
    command = command or typer.main.get_command(app)
    for name, below in getattr(command, "commands", {}).items():
        yield from commands(below, (*words, name))
    if not hasattr(command, "commands"):
        yield words


@pytest.mark.parametrize("words", list(commands()), ids=" ".join)
def test_the_help_of_a_command_shows_every_word_of_its_options(words, run_cli, monkeypatch):
    monkeypatch.setenv("COLUMNS", "400")  # nothing is wrapped
    command = typer.main.get_command(app)
    for word in words:
        command = command.commands[word]
    shown = " ".join(run_cli(*words, "--help").out.split())
    for option in command.params:
        assert " ".join(option.help.split()) in shown, option.name
        if isinstance(option.show_default, str):
            assert f"[default: ({option.show_default})]" in shown, option.name


def test_what_an_option_does_by_itself_is_told(run_cli, monkeypatch):
    monkeypatch.setenv("COLUMNS", "400")
    shown = run_cli("detect", "--help").out
    assert "[default: (what is free)]" in shown
    assert "[default: 75.0]" in shown
