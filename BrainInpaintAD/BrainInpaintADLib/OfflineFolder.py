"""A folder with wheels and models, for computers without a network: what of it can be used here."""

from __future__ import annotations

import hashlib
from pathlib import Path

from slicer.i18n import tr as _

from . import Models
from .Packages import InstallError


def fittingWheels(folder: Path) -> dict[str, Path]:
    """The folder's wheels that this Python can use, by canonical name."""
    from packaging.tags import sys_tags  # third-party, but slicer.packaging needs it too
    from packaging.utils import InvalidWheelFilename, parse_wheel_filename

    here = set(sys_tags())
    found = {}
    for path in sorted(folder.glob("*.whl")):
        try:
            name, _version, _build, tags = parse_wheel_filename(path.name)
        except InvalidWheelFilename:
            continue
        if tags & here:
            found[str(name)] = path
    return found


def wholeModels(folder: Path) -> dict[str, Path]:
    """The folder's models, name of the files → weights. InstallError when one lacks its card or is not what it says."""
    models = {}
    for weights in sorted(folder.glob(f"*{Models.SUFFIX}")):
        try:
            card = Models.readCard(weights.with_suffix(".json"))
        except Models.ModelsError as error:
            text = _("'{name}' has no usable card beside it: {error}")
            raise InstallError(text.format(name=weights.name, error=error)) from error
        if _sha256(weights) != card.sha256:
            text = _("'{name}' is damaged: its SHA-256 is not the one of its card; copy both files again.")
            raise InstallError(text.format(name=weights.name))
        models[weights.stem] = weights
    return models


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def filesOf(folder: Path, model: str) -> tuple[Path, Path]:
    """Weights and card of a model, by the name of its files."""
    return folder / f"{model}{Models.SUFFIX}", folder / f"{model}.json"
