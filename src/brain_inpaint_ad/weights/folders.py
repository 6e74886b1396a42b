"""Where models lie: those that shipped, and those the user added to a folder that outlives every upgrade."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ..errors import WeightsError
from .card import Card, read_card, sha256_of

SUFFIX = ".safetensors"
SHIPPED = Path(__file__).parent / "shipped"
FOLDER_VARIABLE = "BRAIN_INPAINT_AD_MODELS"
_NAME = re.compile(r"[^\W_][\w.+-]{0,99}")  # what may be a file's name everywhere; no path


@dataclass(frozen=True, slots=True)
class Installed:
    """A model that is found by its name. path: of the weights; problem: why it cannot be used, "" when it can."""

    name: str
    path: Path
    card: Card | None
    is_shipped: bool
    problem: str = ""


def user_folder() -> Path:
    """Where added models live: BRAIN_INPAINT_AD_MODELS, or the folder that Slicer's module uses, too."""
    chosen = os.environ.get(FOLDER_VARIABLE, "")
    return Path(chosen).expanduser() if chosen else Path.home() / ".brain_inpaint_ad" / "models"


def find_model(name: str) -> Path:
    """The weights of a model that shipped or was added, or of a path. Raises WeightsError with what there is.

    A model that shipped wins over an added one of its name.
    """
    if name.endswith(SUFFIX):
        places = [Path(name)]
    else:
        places = [folder / (name + SUFFIX) for folder in (SHIPPED, user_folder()) if is_name(name)]
    for path in places:
        if path.is_file():
            return path
    known = ", ".join(dict.fromkeys(path.stem for path in _weights())) or "none"
    raise WeightsError(f"there is no model {name}; there are: {known}; or give the path of a {SUFFIX} file.")


def is_name(name: str) -> bool:
    """Whether a model may be called so."""
    return bool(_NAME.fullmatch(name))


def installed_models() -> list[Installed]:
    """Every model that is found by its name, by name; those that are changed or incomplete, too, with their problem."""
    found: dict[str, Installed] = {}
    for path in _weights():
        found.setdefault(path.stem, _examined(path))
    return [found[name] for name in sorted(found)]


def check_whole(path: Path) -> Card:
    """The card of a model. Raises WeightsError when there is none or when it describes another file."""
    card = read_card(path.with_suffix(".json"))
    if sha256_of(path) != card.sha256:
        raise WeightsError(f"{path} is not the file its card describes (SHA-256 differs); install the model again.")
    return card


def cards_in(folder: Path) -> Iterator[tuple[Card, Path]]:
    """Cards and weights in a folder; what is no model or is just being written is passed over."""
    for path in sorted(folder.glob("*" + SUFFIX)):
        with suppress(WeightsError):
            yield read_card(path.with_suffix(".json")), path


def cards_by_name() -> Iterator[tuple[Card, Path]]:
    """As `cards_in`, for every model that is found by its name."""
    for folder in (SHIPPED, user_folder()):
        yield from ((card, path) for card, path in cards_in(folder) if is_name(path.stem))


def _weights() -> list[Path]:
    """Of all folders, shipped ones first."""
    return [path for folder in (SHIPPED, user_folder()) for path in sorted(folder.glob("*" + SUFFIX)) if is_name(path.stem)]


def _examined(path: Path) -> Installed:
    try:
        return Installed(path.stem, path, check_whole(path), path.parent == SHIPPED)
    except WeightsError as error:
        return Installed(path.stem, path, None, path.parent == SHIPPED, str(error))
