"""What we installed, written down, so that the user can have it removed again."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from slicer.i18n import tr as _

from .Packages import InstallError


class Ledger:
    """What we installed: packages per Python (each Slicer has its own), and models, which all share."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @property
    def packages(self) -> set[str]:
        return set(self._read()["packages"].get(sys.prefix, ()))

    @property
    def models(self) -> set[str]:
        return set(self._read()["models"])

    def write(self, *, packages: set[str] | None = None, models: set[str] | None = None) -> None:
        """Change one or both. InstallError when the folder cannot be written."""
        content = self._read()
        if packages is not None:
            content["packages"][sys.prefix] = sorted(packages)
        if models is not None:
            content["models"] = sorted(models)
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            unfinished = self._path.with_suffix(".part")
            unfinished.write_text(json.dumps(content, indent=2), encoding="utf-8")
            unfinished.replace(self._path)
        except OSError as error:
            text = _("{path} cannot be written ({error}), so that 'Remove' would not know what to remove; make room there.")
            raise InstallError(text.format(path=self._path, error=error.strerror)) from error

    def _read(self) -> dict:
        try:
            content = json.loads(self._path.read_text(encoding="utf-8"))
            return {"packages": dict(content["packages"]), "models": list(content["models"])}
        except (OSError, ValueError, TypeError, KeyError):
            return {"packages": {}, "models": []}
