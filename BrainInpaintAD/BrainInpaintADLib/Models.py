"""The models the user can choose from, as their cards tell: read with json alone, neither core nor torch is needed.

Models whose names differ only in the `-<n>mm` part are one model that was trained for several window sizes; one network may
have several, too (`other_windows` in its card).
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from slicer.i18n import tr as _

from .Settings import DEFAULT_MODEL, SEGMENTATIONS, WINDOW_MM, WINDOW_MODEL

SUFFIX = ".safetensors"
_EVIDENCE, _INPAINTING, _DENSE = "evidence", "inpainting", "dense-loss-prediction"
_REBUILDING = (_EVIDENCE, "surprise", _INPAINTING, "anogan", "autoencoder", "fanogan", "fanogan-3d")
_METHODS = (*_REBUILDING, "loss-prediction", _DENSE)  # the core's, in the order of the list
_SEGMENTATIONS = (*SEGMENTATIONS, "residual")  # the core's, one of which a card says suits its heat
_WINDOW_PART = re.compile(r"-\d+(?:\.\d+)?mm(?=-|$)")


class ModelsError(ValueError):
    """There is no such model or no such window size; the message names what there is."""


@dataclass(frozen=True)
class Card:
    """What the module needs to know of one model file, at one size of its windows."""

    name: str  # as in the card, such as "t1-inpaint-32mm"
    description: str
    method: str  # one of _METHODS
    modality: str
    windowMm: int  # side of the erased square; 0 for methods without windows
    grid: tuple[float, int, int]  # spacing in mm, rows, columns of the model's slices
    sha256: str  # of the .safetensors file
    path: Path  # of the .safetensors file; it need not be there
    isShipped: bool  # the core knows it by its name
    otherWindowsMm: tuple[int, ...] = ()  # further sizes of the same network
    segmentation: str = SEGMENTATIONS[0]  # the one that suits its heat

    @property
    def argument(self) -> str:
        """What the core's `--model` takes: the name of a shipped model, the path of any other."""
        return self.name if self.isShipped else str(self.path)


@dataclass(frozen=True)
class Model:
    """One model and the window sizes it was trained for."""

    name: str  # without the window: "t1-inpaint"
    cards: Mapping[int, Card]  # by window in mm, smallest first
    previewsMm: frozenset[int]  # windows for which a dense predictor gives a preview in seconds

    @property
    def description(self) -> str:
        """One sentence for the user; of several windows, the largest's."""
        return self._latest.description

    @property
    def modality(self) -> str:
        return self._latest.modality

    @property
    def windowsMm(self) -> tuple[int, ...]:
        """The sizes it was trained for, smallest first; 0 alone for methods without windows."""
        return tuple(self.cards)

    @property
    def hasWindows(self) -> bool:
        return self.windowsMm != (0,)

    @property
    def method(self) -> str:
        return self._latest.method

    @property
    def canReconstruct(self) -> bool:
        """Whether it says how the brain should look; predictors of the loss do not."""
        return self.method in _REBUILDING

    @property
    def tellsRarity(self) -> bool:
        """Whether its heat is −log10 of the share of healthy voxels that look at least as changed; see Heatmap."""
        return self.method == _EVIDENCE

    @property
    def text(self) -> str:
        """Name, what it does, modality and window sizes: for the panel and its tooltips."""
        if not self.hasWindows:
            text = _("{description} For {modality} scans; no windows.")
            return text.format(description=self.description, modality=self.modality)
        sizes = ", ".join(f"{size:g}" for size in self.windowsMm)
        return _("{description} For {modality} scans; windows of {sizes} mm.").format(
            description=self.description, modality=self.modality, sizes=sizes
        )

    def nearestMm(self, sizeMm: float = 0) -> int:
        """The window nearest to this size, or to 32 mm when none is given; 0 without windows."""
        return min(self.windowsMm, key=lambda size: abs(size - (sizeMm or WINDOW_MM)))

    def card(self, windowMm: float | None = None) -> Card:
        """The model file for this window; None takes the largest. ModelsError names the sizes there are."""
        if windowMm is None:
            return self._latest
        if windowMm not in self.cards and not self.hasWindows:
            text = _("The model '{name}' has no windows; leave the size away, or choose the model '{other}'.")
            raise ModelsError(text.format(name=self.name, other=WINDOW_MODEL))
        if windowMm not in self.cards:
            sizes = ", ".join(f"{size:g}" for size in self.windowsMm)
            text = _("The model '{name}' has no window of {size:g} mm; choose one of {sizes} mm.")
            raise ModelsError(text.format(name=self.name, size=windowMm, sizes=sizes))
        return self.cards[int(windowMm)]

    @property
    def _latest(self) -> Card:
        return self.cards[self.windowsMm[-1]]


def userFolder() -> Path:
    """Where models that were added by hand or from a folder live: outside Slicer, so that they outlive an upgrade.

    The same folder as the core's `models add` uses (a test compares them).
    """
    chosen = os.environ.get("BRAIN_INPAINT_AD_MODELS", "")
    return Path(chosen).expanduser() if chosen else homeFolder() / "models"


def homeFolder() -> Path:
    """What the module and the core keep of this user."""
    return Path.home() / ".brain_inpaint_ad"


def listModels(*folders: Path) -> list[Model]:
    """All models, the default first, then those that rebuild, then predictors.

    folders: where cards (`*.json` beside `*.safetensors`) lie, the core's own first; none given: the core's and the
    user's. Of two cards for the same model and window the first counts. A damaged card is left out.
    """
    shipped, *others = folders or (_shippedFolder(), userFolder())
    cards = [*readCards(shipped, isShipped=True), *(card for folder in others for card in readCards(folder))]
    previewers = [card for card in cards if card.method == _DENSE]
    families: dict[str, dict[int, Card]] = {}
    for card in _atEverySize(cards):
        families.setdefault(_family(card.name), {}).setdefault(card.windowMm, card)
    models = [_model(name, tuple(family.values()), previewers) for name, family in families.items()]
    return sorted(models, key=lambda model: (model.name != DEFAULT_MODEL, _METHODS.index(model.method), model.name))


def findModel(name: str = "", models: Iterable[Model] | None = None) -> Model:
    """The model of that name, of all there are unless `models` are given. Raises ModelsError with what there is.

    name: "" is the default; "t1-inpaint-32mm" finds "t1-inpaint"; the path of a .safetensors file is a model of its own.
    """
    if name.endswith(SUFFIX):
        card = readCard(Path(name).with_suffix(".json"))
        nearby = readCards(Path(name).parent) + readCards(_shippedFolder(), isShipped=True)
        return _model(name, _atEverySize([card]), [other for other in nearby if other.method == _DENSE])
    known = list(listModels() if models is None else models)
    wanted = _family(name or DEFAULT_MODEL)
    for model in known:
        if model.name == wanted:
            return model
    names = ", ".join(model.name for model in known) or _("none")
    raise ModelsError(_("There is no model '{name}'; choose one of: {names}.").format(name=name or DEFAULT_MODEL, names=names))


def readCards(folder: Path, *, isShipped: bool = False) -> list[Card]:
    """The cards of a folder by name, those of this version only; none when there is no folder."""
    cards = []
    for path in sorted(folder.glob("*.json")):
        try:
            cards.append(readCard(path, isShipped=isShipped))
        except ModelsError:
            continue  # somebody else's JSON, or a newer model: the rest can still be used
    return cards


def readCard(path: Path, *, isShipped: bool = False) -> Card:
    """What a model's JSON tells. Raises ModelsError when it is none of ours."""
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        card = Card(
            name=str(told["name"]),
            description=str(told["description"]),
            method=told["method"],
            modality=str(told["modality"]),
            windowMm=round(told["window_mm"]),
            grid=(float(told["spacing_mm"]), int(told["rows"]), int(told["columns"])),
            sha256=str(told["sha256"]),
            path=path.with_suffix(SUFFIX),
            isShipped=isShipped,
            otherWindowsMm=tuple(round(float(size)) for size in told.get("other_windows", {})),
            segmentation=str(told.get("segmentation", SEGMENTATIONS[0])),
        )
    except (OSError, ValueError, TypeError, KeyError) as error:
        text = _("'{name}' is no model card ({error}); copy the model's two files again.")
        raise ModelsError(text.format(name=path.name, error=type(error).__name__)) from error
    if card.method not in _METHODS:
        text = _("'{name}' needs a newer version of this extension (its method is '{method}').")
        raise ModelsError(text.format(name=path.name, method=card.method))
    if card.segmentation not in _SEGMENTATIONS:
        text = _("'{name}' needs a newer version of this extension (it is cut with '{segmentation}').")
        raise ModelsError(text.format(name=path.name, segmentation=card.segmentation))
    return card


def _atEverySize(cards: Iterable[Card]) -> list[Card]:
    """One card for each window of each network."""
    return [replace(card, windowMm=size) for card in cards for size in (card.windowMm, *card.otherWindowsMm)]


def _family(name: str) -> str:
    return _WINDOW_PART.sub("", name)


def _model(name: str, cards: Sequence[Card], previewers: Sequence[Card]) -> Model:
    byWindow = {card.windowMm: card for card in sorted(cards, key=lambda card: card.windowMm)}
    return Model(
        name, byWindow, frozenset(card.windowMm for card in cards if any(_previews(other, card) for other in previewers))
    )


def _previews(dense: Card, card: Card) -> bool:
    """Whether the core takes this predictor for a preview of that model: it looks beside the model and among its own."""
    isNear = dense.isShipped or dense.path.parent == card.path.parent
    isAlike = (dense.windowMm, dense.modality, dense.grid) == (card.windowMm, card.modality, card.grid)
    return card.method == _INPAINTING and isNear and isAlike


def _shippedFolder() -> Path:
    from .Core import shippedModelsFolder  # here, because Core needs this module

    return shippedModelsFolder()
