"""How well a predictor stands in for the generator whose loss it learned: one table, made on scans neither was trained on."""

from __future__ import annotations

import json
import platform
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .. import __version__
from ..detectors import WindowDetector
from ..detectors.load import load_detector
from ..errors import InputError, OutputError, SettingsError, WeightsError
from ..extras import check_installed
from ..files import write_atomically
from ..heatmap.accumulate import heat_in
from ..heatmap.losses import rank_correlation
from ..io import read_labels, read_scan, resample
from ..prepare import Prepared
from ..prepare.kinds import prepare_as
from ..progress import Progress, part_of, silent
from ..segmentation.recut import cut_regions
from ..segmentation.select import SegmentSettings
from ..volume import Array, Volume
from ..weights.card import Card
from .cases import Case
from .datasets import DATASETS
from .report import check_names


@dataclass(frozen=True, slots=True)
class Agreement:
    """One predictor on one scan beside the generator.

    mean_difference, window_correlation: of the window losses, absolute and Spearman's ρ; heat_correlation: ρ of the heatmaps
    over brain voxels; same_hottest: share of slices in which both find the same superpixel hottest, among those of at least
    100 voxels (4 cm² at 2 mm), and `chance` of that; both None when no slice has two. auroc, auroc_generator: of the
    heatmaps against the truth, None for a healthy scan; seconds, seconds_generator: for the window losses.
    """

    mean_difference: float
    window_correlation: float
    heat_correlation: float
    same_hottest: float | None
    chance: float | None
    auroc: float | None
    auroc_generator: float | None
    seconds: float
    seconds_generator: float


def compare(
    dataset: str,
    data: Path,
    out: Path,
    *,
    generator: str,
    predictors: list[str],
    split: str = "validation",
    every: int = 1,
    device: str = "auto",
    command: str = "",
    progress: Progress = silent,
) -> str:
    """Run generator and predictors on the scans of one split; write comparison.json into `out`; return the table (Markdown).

    every: look at each n-th slice only, for predictors that take minutes.
    """
    if every < 1:
        raise SettingsError(f"every must be 1 or more, got {every}")
    if dataset not in DATASETS:
        raise SettingsError(f"there is no data set {dataset!r}; known are {', '.join(sorted(DATASETS))}.")
    check_installed("sklearn", "scikit-learn", purpose="evaluation")
    teacher = _load(generator, device)
    pupils = [_load(name, device) for name in predictors]
    check_names([*pupils])
    _check_alike(teacher.card, [pupil.card for pupil in pupils])
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{out} cannot be made ({error.strerror}); choose another --out folder.") from error
    cases = DATASETS[dataset](data, split)
    rows: list[dict[str, Any]] = []
    for done, case in enumerate(cases):
        part = part_of(progress, done / len(cases), (done + 1) / len(cases))
        for pupil, agreement in zip(pupils, _compare_case(case, teacher, pupils, every, progress=part), strict=True):
            own = pupil.card.training.get("generator", {}).get("sha256") == teacher.card.sha256
            model = {"predictor": pupil.card.name, "sha256": pupil.card.sha256, "parameters": _parameters(pupil)}
            model |= {"learned_from_this_generator": own}
            rows.append({"dataset": dataset, "split": split, "case": case.name, **model, **asdict(agreement)})
    made_by = {"command": command, "version": __version__, "machine": platform.machine(), "every": every}
    made_by |= {
        "generator": teacher.card.name,
        "generator_sha256": teacher.card.sha256,
        "generator_parameters": _parameters(teacher),
    }
    with write_atomically(out / "comparison.json") as temporary:
        temporary.write_text(json.dumps({**made_by, "rows": rows}, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    return table(rows, generator_parameters=_parameters(teacher))


def table(rows: list[dict[str, Any]], *, generator_parameters: int) -> str:
    """Markdown: one line per predictor, and one for the generator; means over scans ± standard deviation."""
    lines = [
        "| data (split, n) | network | parameters | loss: mean difference | loss: ρ | heatmap: ρ "
        "| same hottest superpixel | AUROC | seconds |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name in dict.fromkeys(row["predictor"] for row in rows):
        group = [row for row in rows if row["predictor"] == name]
        place = f"{group[0]['dataset']} ({group[0]['split']}, {len(group)})"
        cells = [
            place,
            name,
            f"{group[0]['parameters']:,}",
            *(
                _mean(group, key, 4 if key == "mean_difference" else 3)
                for key in ("mean_difference", "window_correlation", "heat_correlation")
            ),
            f"{_mean(group, 'same_hottest', 2)} (chance {_mean(group, 'chance', 2)})",
            _mean(group, "auroc", 3),
            _mean(group, "seconds", 1),
        ]
        lines.append("| " + " | ".join(cells) + " |")
    first = [row for row in rows if row["predictor"] == rows[0]["predictor"]]
    cells = [place, "generator itself", f"{generator_parameters:,}", "0", "1", "1", "1", _mean(first, "auroc_generator", 3)]
    lines.append("| " + " | ".join([*cells, _mean(first, "seconds_generator", 1)]) + " |")
    return "\n".join(lines) + "\n"


def _compare_case(
    case: Case, teacher: WindowDetector, pupils: list[WindowDetector], every: int, *, progress: Progress
) -> list[Agreement]:
    prepared = _thinned(prepare_as(teacher.card.modality, read_scan(case.scan), settings=teacher.card.grid), every)
    if not prepared.brain.any():
        raise InputError(f"{case.name}: no slice is left that shows brain; choose a smaller --every.")
    truth = None if case.truth is None else _truth_on_model_grid(case.truth, prepared)
    size = teacher.card.windows(teacher.stride_mm).size
    corners, losses, seconds = _timed_losses(teacher, prepared, part_of(progress, 0, 0.5))
    heat = heat_in(prepared.brain, losses, corners, size=size)
    agreements = []
    for number, pupil in enumerate(pupils):
        part = part_of(progress, 0.5 + 0.5 * number / len(pupils), 0.5 + 0.5 * (number + 1) / len(pupils))
        _, guesses, seconds_of_pupil = _timed_losses(pupil, prepared, part)
        guessed_heat = heat_in(prepared.brain, guesses, corners, size=size)
        same, chance = _same_hottest(prepared, heat, guessed_heat)
        agreements.append(
            Agreement(
                mean_difference=round(float((losses - guesses).abs().mean()), 5),
                window_correlation=round(rank_correlation(losses, guesses), 4),
                heat_correlation=round(rank_correlation(heat[prepared.brain], guessed_heat[prepared.brain]), 4),
                same_hottest=same,
                chance=chance,
                auroc=_auroc(truth, guessed_heat, prepared.brain),
                auroc_generator=_auroc(truth, heat, prepared.brain),
                seconds=seconds_of_pupil,
                seconds_generator=seconds,
            )
        )
    return agreements


def _check_alike(teacher: Card, pupils: list[Card]) -> None:
    """Raises WeightsError when the losses cannot be compared."""
    if teacher.method != "inpainting":
        raise WeightsError(f"{teacher.name} is no generator (its method is {teacher.method}); name an inpainting model.")
    for pupil in pupils:
        if (pupil.grid, pupil.window_mm, pupil.minmax) != (teacher.grid, teacher.window_mm, teacher.minmax):
            raise WeightsError(f"{pupil.name} has another grid, window or minmax than {teacher.name}; they cannot be compared.")


def _thinned(prepared: Prepared, every: int) -> Prepared:
    """Each n-th slice, as a volume of its own."""
    image = prepared.image
    columns, rows, slices = image.grid.spacing
    kept = image.array[::every]
    grid = replace(image.grid, size=(*image.grid.size[:2], len(kept)), spacing=(columns, rows, slices * every))
    return replace(prepared, image=Volume(np.ascontiguousarray(kept), grid, image.name), brain=prepared.brain[::every].copy())


def _load(model: str, device: str) -> WindowDetector:
    detector = load_detector(model, device=device)
    if not isinstance(detector, WindowDetector):
        raise SettingsError(f"{detector.card.name} looks at whole slices, not at windows; it cannot be compared here.")
    return detector


def _timed_losses(detector: WindowDetector, prepared: Prepared, progress: Progress) -> tuple[torch.Tensor, torch.Tensor, float]:
    started = time.perf_counter()
    corners, losses = detector.losses(prepared, progress=progress)
    losses = losses.cpu()  # waits for the device
    return corners.cpu(), losses, round(time.perf_counter() - started, 2)


def _truth_on_model_grid(path: Path, prepared: Prepared) -> Array:
    truth = read_labels(path)
    abnormal = truth.with_array((truth.array > 0).astype(np.float32))
    inside: Array = resample(abnormal, prepared.image.grid) > 0.5
    return inside


def _same_hottest(
    prepared: Prepared, heat: Array, guessed_heat: Array, least_voxels: int = 100
) -> tuple[float | None, float | None]:
    """Share of slices with the same hottest superpixel, and how often chance would give that."""
    cut = cut_regions(prepared.image.array, prepared.brain, heat, SegmentSettings())
    sizes = np.bincount(cut.labels.ravel(), minlength=len(cut.heat))
    guessed = np.bincount(cut.labels.ravel(), weights=guessed_heat.ravel(), minlength=len(cut.heat)) / np.maximum(sizes, 1)
    same, chances = [], []
    for index in np.unique(cut.slices[1:]):
        members = np.flatnonzero((cut.slices == index) & (sizes >= least_voxels))
        members = members[members > 0]
        if len(members) > 1:
            same.append(cut.heat[members].argmax() == guessed[members].argmax())
            chances.append(1 / len(members))
    if not same:
        return None, None
    return round(float(np.mean(same)), 4), round(float(np.mean(chances)), 4)


def _auroc(truth: Array | None, heat: Array, brain: Array) -> float | None:
    from sklearn.metrics import roc_auc_score

    if truth is None or not truth[brain].any():
        return None
    return round(float(roc_auc_score(truth[brain], heat[brain])), 4)


def _parameters(detector: WindowDetector) -> int:
    return sum(parameter.numel() for parameter in detector.network.parameters())


def _mean(rows: list[dict[str, Any]], key: str, digits: int) -> str:
    values = [row[key] for row in rows if row[key] is not None]
    return f"{np.mean(values):.{digits}f} ± {np.std(values):.{digits}f}" if values else "–"
