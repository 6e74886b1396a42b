"""Packages that only some commands need: said before the work starts, not in the middle of it."""

from __future__ import annotations

from importlib.util import find_spec

from .errors import SettingsError


def check_installed(module: str, package: str, *, purpose: str) -> None:
    """Raises SettingsError when `module` cannot be imported. package: what pip calls it; purpose: what needs it, a noun."""
    if find_spec(module) is None:
        raise SettingsError(f"{purpose} needs {package}, which is missing; run: pip install {package}")
