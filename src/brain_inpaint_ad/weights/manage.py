"""Add models to the user's folder and remove them: whole or not at all, safetensors only."""

from __future__ import annotations

import shutil
from pathlib import Path

from ..errors import OutputError, WeightsError
from ..files import write_atomically
from ..segmentation.select import SEGMENTATIONS
from ..segmentation.thresholds import threshold_name
from .card import read_card
from .folders import SHIPPED, SUFFIX, Installed, check_whole, find_model, installed_models, is_name, user_folder
from .store import load_model

_PICKLED = (".pt", ".pth", ".ckpt", ".bin", ".pkl", ".pickle", ".joblib", ".npy", ".h5")


def installed_model(name: str) -> Installed:
    """The model of this name. Raises WeightsError with what there is."""
    models = installed_models()
    for model in models:
        if model.name == name:
            return model
    known = ", ".join(model.name for model in models) or "none"
    raise WeightsError(f"there is no model {name}; there are: {known}.")


def examined_model(name: str) -> Installed:
    """The model of this name, or the one a path of a .safetensors file leads to. Raises WeightsError as `installed_model`."""
    if not name.endswith(SUFFIX):
        return installed_model(name)
    path = find_model(name).resolve()
    card = check_whole(path)
    is_shipped = path.parent == SHIPPED.resolve()
    is_found_by_name = is_shipped or path.parent == user_folder().resolve()
    return Installed(path.stem if is_found_by_name else card.name, path, card, is_shipped)


def is_calibrated(model: Installed) -> bool:
    """Whether `detect` has a threshold for it, in some cut."""
    return model.card is not None and any(threshold_name(cut) in model.card.thresholds for cut in SEGMENTATIONS)


def add_model(file: Path, *, overwrite: bool = False) -> Installed:
    """Copy weights and their card into the user's folder, under the name in the card, once their network could be made.

    file: a .safetensors file with its card, a .json of the same name, beside it. Raises WeightsError when it is none, was
    changed or has the name of another model, OutputError when the folder cannot be written to.
    """
    _check_kind(file)
    _, card = load_model(str(file))
    if not is_name(card.name):
        raise WeightsError(f"{file} calls itself {card.name!r}, which cannot be a file's name; change the name in its card.")
    folder = user_folder()
    weights, described = folder / (card.name + SUFFIX), folder / f"{card.name}.json"
    if (SHIPPED / weights.name).exists():
        raise WeightsError(f"{card.name} is the name of a model that ships; change the name in the card of {file}.")
    if not overwrite and (weights.exists() or described.exists()):
        raise WeightsError(f"{folder} already holds a model {card.name}; add --overwrite to replace it.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with write_atomically(described) as new_card, write_atomically(weights) as new:  # weights move first
            shutil.copyfile(file, new)
            new_card.write_text(card.to_json(), encoding="utf-8")
            described.unlink(missing_ok=True)  # whoever is killed between the two moves leaves no card of other weights
    except OutputError:
        raise
    except OSError as error:
        raise OutputError(f"{folder} cannot be written ({error.strerror}); check the folder and free space.") from error
    return Installed(card.name, weights, card, is_shipped=False)


def remove_model(name: str) -> Path:
    """Delete an added model; returns where it was. Raises WeightsError for those that ship and those that are not there."""
    model = installed_model(name)
    if model.is_shipped:
        raise WeightsError(f"{name} came with the program and cannot be removed; only added models can.")
    try:
        model.path.with_suffix(".json").unlink(missing_ok=True)
        model.path.unlink()
    except OSError as error:
        raise OutputError(f"{model.path} cannot be removed ({error.strerror}); check the permissions.") from error
    return model.path


def _check_kind(file: Path) -> None:
    if file.name.lower().endswith(_PICKLED):
        raise WeightsError(f"{file} is of a kind that can run code when it is opened; only {SUFFIX} files are added.")
    if file.suffix != SUFFIX:
        raise WeightsError(f"{file} is no {SUFFIX} file; give the weights, beside which the card (.json) lies.")
    if not file.is_file():
        raise WeightsError(f"{file} does not exist; check the path.")
    read_card(file.with_suffix(".json"))
