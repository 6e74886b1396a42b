"""3-D f-AnoGAN's judgement of a scan (Simarro 2020): one score, what it means among healthy scans, and where the error lies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ..devices import autocast
from ..errors import WeightsError
from ..nets.volume_gan import VolumeGan, encoder_losses
from ..prepare import Prepared
from ..progress import Progress, silent
from ..volume import Array, Volume
from ..weights.card import Card, read_card
from ..weights.folders import SHIPPED
from ..weights.store import SCORE_MODEL
from .cube import Cube, cube_grid, from_cube, to_cube
from .networks import OnePassDetector
from .quality import QualityNorm, image_measures
from .register import REGISTRATION

WHOLE_SCAN = "whole_scan"  # of Card.healthy_validation: what `ScanNorm.from_card` reads


@dataclass(frozen=True, slots=True)
class Judgement:
    """score: L_img + κ L_feat (equation 6), of the parts image and features; expected: what the model would have expected,
    float32 (size, size, size) in [−1, 1]; measures: of the scan's quality, see `quality.MEANING`.
    """

    cube: Cube
    score: float
    image: float
    features: float
    expected: Array
    measures: Mapping[str, float]

    @property
    def error(self) -> Array:
        """|x − x̂| / 2, in [0, 1]: on the scale of the prepared image."""
        return np.asarray(np.abs(self.cube.values - self.expected) / 2)


@dataclass(frozen=True, slots=True)
class ScanNorm:
    """What healthy validation scans show. scores: of them, ascending; abnormal_from: the Youden point."""

    scores: tuple[float, ...]
    abnormal_from: float
    quality: QualityNorm

    @classmethod
    def from_card(cls, card: Card) -> ScanNorm:
        """Raises WeightsError when the model was not calibrated for scores."""
        try:
            stored: dict[str, Any] = card.healthy_validation[WHOLE_SCAN]
            scores = tuple(sorted(float(score) for score in stored["scores"]))
            return cls(scores, float(stored["abnormal_from"]), QualityNorm.from_json(stored["quality"]))
        except (KeyError, TypeError, ValueError, WeightsError) as error:
            raise WeightsError(
                f"{card.name} has no healthy scores to compare with; run brain-inpaint-ad evaluate-scans --calibrate."
            ) from error

    def to_json(self) -> dict[str, Any]:
        """Plain JSON, for the card."""
        return {"scores": list(self.scores), "abnormal_from": self.abnormal_from, "quality": self.quality.to_json()}

    def percentile(self, score: float) -> float:
        """Share of the healthy scans with a lower score, 0 to 100."""
        return 100 * float(np.mean(np.asarray(self.scores) < score))


def shipped_quality(card: Card) -> QualityNorm | None:
    """Of scans prepared as this model's are, from the card of the shipped whole-scan model; None without one."""
    path = SHIPPED / f"{SCORE_MODEL}.json"
    if not path.is_file():
        return None
    shipped = read_card(path)
    if (shipped.modality, shipped.grid) != (card.modality, card.grid) or WHOLE_SCAN not in shipped.healthy_validation:
        return None
    return ScanNorm.from_card(shipped).quality


@dataclass(frozen=True, slots=True)
class Verdict:
    """A row of `brain-inpaint-ad score`; abnormal: at or above the Youden point."""

    score: float
    percentile: float
    abnormal: bool
    quality: str


@dataclass(frozen=True, slots=True)
class WholeScanDetector(OnePassDetector):
    """The network on its device."""

    network: VolumeGan
    card: Card
    device: torch.device

    def __post_init__(self) -> None:
        self.network.to(self.device, memory_format=torch.channels_last_3d)  # type: ignore[call-overload]

    @property
    def engine(self) -> str:
        """One pass over the cube."""
        return f"one pass; registration {REGISTRATION}"

    @property
    def template(self) -> Volume:
        """What scans are registered to."""
        settings = self.network.settings
        values = self.network.template.cpu().numpy()
        return Volume(values, cube_grid(settings.size, settings.field_mm), "template")

    def judge(self, prepared: Prepared, *, progress: Progress = silent) -> Judgement:
        """Register the scan to the template and compare it with what the model makes of it."""
        progress(0.0, "registering the brain")
        cube = to_cube(prepared.image, prepared.brain, self.template)
        progress(0.8, "rebuilding the brain")
        return self.judge_cube(cube, prepared)

    def judge_cube(self, cube: Cube, prepared: Prepared) -> Judgement:
        """Of a scan that is registered already."""
        volume = torch.from_numpy(cube.values)[None, None].to(self.device)
        with torch.inference_mode(), autocast(self.device):
            rebuilt = self.network(volume)
            image, features = (float(loss[0]) for loss in encoder_losses(self.network, volume, rebuilt))
        expected = rebuilt[0, 0].float().cpu().numpy()
        error = np.abs(cube.values - expected) / 2
        measures = {
            "misfit": 1 - cube.match,
            "uncovered": 1 - cube.cover,
            **image_measures(prepared),
            # the median of the error, which no lesion moves much
            "error": float(np.median(error[cube.brain])) if cube.brain.any() else 1.0,
        }
        score = image + self.network.settings.feature_weight * features
        return Judgement(cube, score, image, features, expected, measures)

    def verdict(self, judgement: Judgement) -> Verdict:
        """Among healthy scans. Raises WeightsError when the model was not calibrated for scores."""
        norm = ScanNorm.from_card(self.card)
        score = judgement.score
        return Verdict(score, norm.percentile(score), score >= norm.abnormal_from, norm.quality.words(judgement.measures))

    def explained(self, prepared: Prepared, *, progress: Progress = silent) -> tuple[Array, Array]:
        """The heatmap, and what was expected in [0, 1], as the prepared image: both float32, 0 outside the brain.

        Heat: |x − x̂| of the cube, carried back to the model grid, on the scale of the prepared image.
        """
        return self.maps(self.judge(prepared, progress=progress), prepared)

    def maps(self, judgement: Judgement, prepared: Prepared) -> tuple[Array, Array]:
        """`explained`, of a judgement that was passed."""
        error, expected = (
            from_cube(values, judgement.cube, self.template, prepared)
            for values in (judgement.error, (judgement.expected + 1) / 2)
        )
        return error, expected
