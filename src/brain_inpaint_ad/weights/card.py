"""The card of a model: everything a reader or the program must know that is not a tensor."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from ..errors import WeightsError


@dataclass(frozen=True, kw_only=True)
class Card:
    """One model. All of it is plain JSON.

    method: which detector reads it; modality: what scans it knows; window_mm: side γ; width and depth: of the U-Net;
    spacing_mm, rows, columns: the model grid; minmax: how window losses are normalised (heatmap.accumulate);
    thresholds: least heat of an anomalous region, by the share of healthy brain it lets through (see evaluation.thresholds);
    training: data, licence, split, iterations, command; healthy_validation: figures on scans never trained on;
    sha256: of the safetensors file.
    """

    name: str
    description: str
    method: str
    modality: str
    window_mm: float
    width: int
    depth: int
    spacing_mm: float
    rows: int
    columns: int
    minmax: str
    preprocessing: str
    training: dict[str, Any]
    thresholds: dict[str, float]
    healthy_validation: dict[str, Any]
    sha256: str

    def to_json(self) -> str:
        """Readable JSON."""
        return json.dumps(asdict(self), indent=2, ensure_ascii=False) + "\n"


def read_card(path: Path) -> Card:
    """Raises WeightsError when the card is missing or not one of ours."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        kind = type(error).__name__
        raise WeightsError(f"the model card {path} cannot be read ({kind}); install the model again.") from error
    names = {field.name for field in fields(Card)}
    if not isinstance(content, dict) or set(content) != names:
        odd = sorted(names ^ set(content)) if isinstance(content, dict) else ["no object"]
        raise WeightsError(f"{path} is no model card of this version (differing: {', '.join(odd)}); update the model.")
    return Card(**content)


def sha256_of(path: Path) -> str:
    """Hexadecimal digest of a file. Raises WeightsError when it cannot be read."""
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise WeightsError(f"the weights {path} cannot be read ({error.strerror}); install the model again.") from error
