"""The rows of heatmaps, from a scene."""

from __future__ import annotations

from functools import partial
from typing import cast

import torch
from torch import Tensor

from ..devices import is_fast_in_bfloat16
from ..heatmap.direct import rebuild_direct
from ..heatmap.incremental import Incremental
from ..heatmap.losses import losses_of
from ..heatmap.predicted import predict_losses, predict_losses_direct
from ..nets.predictor import LossPredictor
from ..nets.unet import UNet
from ..progress import Progress
from .by_place import ByPlace, split_in_turns
from .one_by_one import Batched, Naive
from .predictors import Dense, find_predictor
from .race import Contender
from .scene import Judged, Scene, judged_windows

WIDE_MM, NARROW_MM = 32.0, 16.0
_CPU_BATCH = 16  # of the naive loop: larger ones leave the cache and are slower
_GPU_BATCH = 256


def heat_rows(scene: Scene) -> list[Contender]:
    """All ways to a heatmap. The naive loop of each window size comes first: it makes the losses that others are judged by."""
    wide, narrow = judged_windows(scene, WIDE_MM), judged_windows(scene, NARROW_MM)
    rows: list[Contender] = [_naive(scene, wide), _batched(scene, wide), _naive(scene, narrow)]
    rows += _incremental(scene, wide, narrow, torch.float32)
    if is_fast_in_bfloat16(scene.device):
        rows += _incremental(scene, wide, narrow, torch.bfloat16)
    return [*rows, *_predictors(scene, wide)]


def _reference(window_mm: float) -> str:
    return f"direct-{window_mm:g}mm"


def _naive(scene: Scene, judged: Judged) -> Naive:
    whole = len(scene.corners(judged.window_mm, skipping=False))
    return Naive(_reference(judged.window_mm), scene.generator, judged, whole, scene.plan)


def _batched(scene: Scene, judged: Judged) -> Batched:
    batch = _CPU_BATCH if scene.device.type == "cpu" else _GPU_BATCH

    def losses(corners: Tensor) -> Tensor:
        rebuilt = rebuild_direct(scene.generator, judged.image, corners, size=judged.size, batch=batch)
        return losses_of(rebuilt, judged.image, corners, size=judged.size, minmax=judged.minmax)

    whole = len(scene.corners(judged.window_mm, skipping=False))
    return Batched(f"direct-batched-{judged.window_mm:g}mm", _reference(judged.window_mm), losses, judged, whole, batch)


def _incremental(scene: Scene, wide: Judged, narrow: Judged, dtype: torch.dtype) -> list[ByPlace]:
    """Without skipping, bfloat16 and 16 mm are for the complete table only."""
    engine = Incremental(scene.generator, dtype=dtype)
    in_bf16, complete = dtype == torch.bfloat16, scene.plan.complete
    wanted = [(wide, False, complete or not in_bf16), (wide, True, True)]
    wanted += [(narrow, False, not in_bf16), (narrow, True, complete)]
    return [_row(scene, judged, engine, skipping) for judged, skipping, is_wanted in wanted if is_wanted]


def _row(scene: Scene, judged: Judged, engine: Incremental, skipping: bool) -> ByPlace:
    def losses(image: Tensor, corners: Tensor, progress: Progress) -> Tensor:
        rebuilt = engine.rebuild(image, corners, size=judged.size, progress=progress)
        return losses_of(rebuilt, image, corners, size=judged.size, minmax=judged.minmax)

    in_bf16 = engine.dtype == torch.bfloat16
    name = f"incremental{'-skip' * skipping}{'-bf16' * in_bf16}-{judged.window_mm:g}mm"
    corners = scene.corners(judged.window_mm, skipping=skipping)
    drawn = split_in_turns(corners, scene.plan)
    return ByPlace(name, _reference(judged.window_mm), losses, scene.image, judged, len(corners), drawn)


def _predictors(scene: Scene, judged: Judged) -> list[Contender]:
    """R and R′ as their detectors run them; R once per window in the complete table."""
    network, r_comparable = find_predictor("loss-prediction", scene.card)
    dense, dense_comparable = find_predictor("dense-loss-prediction", scene.card)
    for each in (network, dense):
        each.to(scene.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    r = cast(LossPredictor, network)
    corners, against = scene.corners(judged.window_mm, skipping=True), _reference(judged.window_mm)
    dtype = torch.bfloat16 if is_fast_in_bfloat16(scene.device) else torch.float32

    def losses(image: Tensor, corners: Tensor, progress: Progress) -> Tensor:
        return predict_losses(r, image, corners, size=judged.size, dtype=dtype, progress=progress)

    drawn, whole = split_in_turns(corners, scene.plan), len(corners)
    rows: list[Contender] = [ByPlace("predictor", against, losses, scene.image, judged, whole, drawn, r_comparable)]
    if scene.plan.complete:
        direct = partial(predict_losses_direct, r, judged.image, size=judged.size, batch=_GPU_BATCH // 4)
        rows.insert(0, Batched("predictor-direct", against, direct, judged, whole, _GPU_BATCH // 4, r_comparable))
    return [*rows, Dense(scene, cast(UNet, dense), judged, corners, dense_comparable, against)]
