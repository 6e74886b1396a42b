"""Which program draws the brain mask of a whole head."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from ..errors import SettingsError
from ..volume import Array
from . import deepbet, hd_bet, synthstrip

AUTO = "auto"  # a scan that shows nothing but brain is taken as it is; else deepbet
Extractor = Callable[..., Array]  # (scan, *, use_gpu, progress) -> bool of the scan's shape; raises NoBrainError


def check_choice(choice: str) -> None:
    """Raises SettingsError or WeightsError when a brain extraction is not there, before work starts."""
    extractor_of(choice)
    if choice == "hd-bet":
        hd_bet.program()
    if _is_file(choice):
        synthstrip.load_network(Path(choice))


def extractor_of(choice: str) -> tuple[str, Extractor]:
    """Its name for the report, and what extracts.

    choice: "auto", "deepbet", "hd-bet" or the path of a SynthStrip weights file. Raises SettingsError.
    """
    if choice in (AUTO, "deepbet"):
        return "deepbet", deepbet.extract
    if choice == "hd-bet":
        return "hd-bet", hd_bet.extract
    if _is_file(choice):
        return "synthstrip", partial(synthstrip.extract, weights=Path(choice))
    raise SettingsError(f"--brain is auto, deepbet, hd-bet or a SynthStrip weights file (.pt), got {choice}.")


def _is_file(choice: str) -> bool:
    return choice.lower().endswith(".pt")
