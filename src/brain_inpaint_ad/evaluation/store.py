"""What took long is kept in a folder, named after everything it depends on."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from ..errors import OutputError
from ..files import write_atomically
from ..volume import Array


@dataclass(frozen=True, slots=True)
class Store:
    """Arrays in `folder`, one .npz each; anybody may delete it at any time."""

    folder: Path

    def path(self, name: str, made_from: dict[str, Any]) -> Path:
        """Where arrays made from `made_from` (plain JSON) are kept; name: for the reader."""
        what = json.dumps(made_from, sort_keys=True)
        readable = re.sub(r"[^\w.-]+", "-", name)
        return self.folder / f"{readable}-{hashlib.sha256(what.encode()).hexdigest()[:16]}.npz"

    def read(self, name: str, made_from: dict[str, Any]) -> dict[str, Array] | None:
        """None when they are not there, or damaged."""
        try:
            with np.load(self.path(name, made_from), allow_pickle=False) as arrays:
                return dict(arrays)
        except (OSError, ValueError, BadZipFile):
            return None

    def write(self, name: str, made_from: dict[str, Any], arrays: dict[str, Array]) -> None:
        """Replaces what was there."""
        path = self.path(name, made_from)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"{self.folder} cannot be made ({error.strerror}); choose another --cache folder.") from error
        with write_atomically(path) as temporary, temporary.open("wb") as stream:
            np.savez_compressed(stream, allow_pickle=False, **arrays)

    def keep(self, name: str, made_from: dict[str, Any], make: Callable[[], dict[str, Array]]) -> dict[str, Array]:
        """What is kept under this name, or what `make` makes."""
        arrays = self.read(name, made_from)
        if arrays is None:
            arrays = make()
            self.write(name, made_from, arrays)
        return arrays
