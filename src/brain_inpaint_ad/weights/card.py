"""The card of a model: everything a reader or the program must know that is not a tensor."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import MISSING, Field, asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from ..errors import SettingsError, WeightsError
from ..heatmap.losses import MINMAX
from ..heatmap.windows import WindowSettings
from ..prepare import GridSettings
from ..prepare.intensity import Standard
from ..segmentation.select import SEGMENTATIONS

_OF_A_SIZE = {"thresholds", "healthy_validation"}
METHODS = (
    "evidence",
    "surprise",
    "inpainting",
    "loss-prediction",
    "dense-loss-prediction",
    "anogan",
    "autoencoder",
    "fanogan",
    "fanogan-3d",
)


@dataclass(frozen=True, kw_only=True)
class Card:
    """One model. All of it is plain JSON.

    method: one of METHODS, says which detector reads it; modality: what scans it knows; window_mm: side γ, 0 for methods
    without windows; width, depth, max_width: of a U-Net, channels of the first level, poolings, most channels of any level
    (None: doubled each time), 0 for other networks; network: settings of those, as their own dataclass names them;
    spacing_mm, rows, columns: the model grid; minmax: how window losses are normalised (heatmap.losses);
    thresholds: least heat of an anomalous region, by the share of healthy brain it lets through (see evaluation.thresholds),
    or segmentation.residual.TRAINING_RESIDUALS;
    training: data, licence, split, iterations, command; healthy_validation: figures on scans never trained on;
    sha256: of the safetensors file; other_windows: by side in mm, further sizes this very network was trained for, each with
    `thresholds` and `healthy_validation`, as those beside them are of window_mm; segmentation: the one that suits its heat
    best, one of segmentation.select.SEGMENTATIONS, taken where none is asked for; intensity: percentiles and targets that were
    learned on the training set (prepare.intensity.Standard), empty for the usual three.
    """

    name: str
    description: str
    method: str
    modality: str
    window_mm: float
    width: int
    depth: int
    max_width: int | None
    spacing_mm: float
    rows: int
    columns: int
    minmax: str
    preprocessing: str
    training: dict[str, Any]
    thresholds: dict[str, float]
    healthy_validation: dict[str, Any]
    sha256: str
    network: dict[str, Any] = field(default_factory=dict)
    other_windows: dict[str, dict[str, Any]] = field(default_factory=dict)
    segmentation: str = SEGMENTATIONS[0]
    intensity: dict[str, list[float]] = field(default_factory=dict)

    @property
    def grid(self) -> GridSettings:
        """The grid scans must be prepared on."""
        standard = Standard(**{name: tuple(marks) for name, marks in self.intensity.items()})
        return GridSettings(spacing_mm=self.spacing_mm, rows=self.rows, columns=self.columns, standard=standard)

    @property
    def sizes_mm(self) -> list[float]:
        """Sides of all windows the network was trained for, that of the card first."""
        return [self.window_mm, *map(float, self.other_windows)]

    def at(self, window_mm: float) -> Card:
        """The same card for another of its sizes, which changes places with window_mm. Raises SettingsError."""
        if window_mm not in self.sizes_mm:
            raise SettingsError(f"the model {self.name} was not trained for windows of {window_mm:g} mm.")
        if window_mm == self.window_mm:
            return self
        own = {"thresholds": self.thresholds, "healthy_validation": self.healthy_validation}
        others = {**self.other_windows, f"{self.window_mm:g}": own}
        told = others.pop(f"{window_mm:g}")
        ordered = {size: others[size] for size in sorted(others, key=float)}
        return replace(self, window_mm=window_mm, other_windows=ordered, **told)

    def windows(self, stride_mm: float) -> WindowSettings:
        """Window and stride in pixels of the model grid. Raises SettingsError when the stride is no whole number of them."""
        stride = stride_mm / self.spacing_mm
        if not (math.isfinite(stride) and stride >= 1 and stride == round(stride)):
            raise SettingsError(
                f"the stride must be a multiple of the model's voxels ({self.spacing_mm:g} mm), got {stride_mm:g} mm"
            )
        return WindowSettings(size=round(self.window_mm / self.spacing_mm), stride=round(stride))

    def to_json(self) -> str:
        """Readable JSON."""
        content = asdict(self)
        for entry in fields(self):
            if not _is_needed(entry) and content[entry.name] in ({}, SEGMENTATIONS[0]):
                del content[entry.name]
        return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def read_card(path: Path) -> Card:
    """Raises WeightsError when the card is missing or not one of ours."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        if not path.exists():
            raise WeightsError(
                f"the model card {path} is missing; it must lie beside the weights, under the same name."
            ) from error
        kind = type(error).__name__
        raise WeightsError(f"the model card {path} cannot be read ({kind}); install the model again.") from error
    names = {entry.name for entry in fields(Card)}
    needed = {entry.name for entry in fields(Card) if _is_needed(entry)}
    if not isinstance(content, dict) or not needed <= set(content) <= names:
        odd = sorted((needed - set(content)) | (set(content) - names)) if isinstance(content, dict) else ["no object"]
        raise WeightsError(f"{path} is no model card of this version (differing: {', '.join(odd)}); update the model.")
    card = Card(**content)
    _check_windows(card, path)
    try:
        _ = card.grid
    except (SettingsError, TypeError, AttributeError) as error:
        raise WeightsError(
            f"{path} describes its intensities in a way this version does not know; update the model."
        ) from error
    if card.segmentation not in SEGMENTATIONS:
        raise WeightsError(f"{path} asks for the segmentation {card.segmentation!r}; update the program.")
    if card.method not in METHODS or card.minmax not in MINMAX:
        raise WeightsError(f"{path} asks for the method {card.method!r} with minmax {card.minmax!r}; update the program.")
    return card


def _is_needed(entry: Field[Any]) -> bool:
    """Whether a card must say it."""
    return entry.default is MISSING and entry.default_factory is MISSING


def _check_windows(card: Card, path: Path) -> None:
    try:
        alike = all(set(told) == _OF_A_SIZE for told in card.other_windows.values())
        sizes = [f"{float(size):g}" for size in card.other_windows]
    except (AttributeError, TypeError, ValueError):
        alike, sizes = False, []
    if not alike or sizes != list(card.other_windows) or card.window_mm in map(float, sizes):
        raise WeightsError(f"{path} describes its other windows in a way this version does not know; update the model.")


def sha256_of(path: Path) -> str:
    """Hexadecimal digest of a file. Raises WeightsError when it cannot be read."""
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise WeightsError(f"the weights {path} cannot be read ({error.strerror}); install the model again.") from error
