"""How well generators inpaint healthy brains they have not seen: the first columns of table 1 in Nguyen 2020, and sharpness."""

from __future__ import annotations

import json
import platform
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .. import __version__
from ..devices import pick_device
from ..errors import InputError, OutputError, SettingsError
from ..files import write_atomically
from ..io import read_scan
from ..nets.unet import UNet
from ..prepare import PREPARATION, Prepared, prepare
from ..progress import Progress, part_of, silent
from ..training.inspection import rebuild_windows
from ..weights.card import Card
from ..weights.store import load_generator
from .cases import Case
from .datasets import DATASETS
from .inpainted import Scene, draw_scene, interpolated, measure
from .pictures import draw_windows
from .report import read_rows
from .tables import SPREAD, Row, Table, summary_of

WITHOUT_NETWORK = "no network: biharmonic"
EXAMPLES = 2  # scans in the picture
_FIGURES = {
    "PSNR window, dB": ("psnr_window_db", 2),
    "SSIM window": ("ssim_window", 3),
    "PSNR slice, dB": ("psnr_slice_db", 2),
    "SSIM slice": ("ssim_slice", 4),
    "L1 window": ("l1_window", 4),
    "sharpness": ("sharpness", 3),
}
_NOTE = (
    f"{SPREAD} One square is erased from a slice, its centre on a random voxel of the brain, and filled in; equal centres for "
    "all sizes and models. window: the square alone, which is what a heatmap is made from (SSIM: the mean of the slice's map "
    "there). slice: the whole slice of 256 × 192 mm, untouched but for the square, black background included. The paper does "
    "not say which it means; its figures (PSNR 38.61, 37.94, 35.63, 31.66 and SSIM 0.99, 0.98, 0.97, 0.96 for 8, 16, 32, "
    "64 mm; 100 slices of NFBS, 1 mm) are of the slice's order. Intensities span 0 to 1. sharpness: steps between neighbours "
    "in window and brain, rebuilt over true: 1 is as sharp as the truth, less is blurred. "
    f"{WITHOUT_NETWORK}: smooth interpolation from the surroundings."
)


@dataclass(frozen=True, slots=True)
class Painter:
    """A generator, and its card at one of its sizes."""

    generator: UNet
    card: Card


def evaluate_inpainting(
    dataset: str,
    data: Path,
    out: Path,
    *,
    models: list[str],
    split: str = "validation",
    windows: int = 32,
    device: str = "auto",
    command: str = "",
    progress: Progress = silent,
) -> str:
    """Inpaint `windows` windows of each healthy scan of one split with each model, at each size the model has.

    Writes rows.json, table.md and a picture named after data set and split into `out`, where rows of other splits and models
    stay; returns the table (Markdown). Raises InputError for scans that are not healthy or were trained on.
    """
    if dataset not in DATASETS:
        raise InputError(f"there is no data set {dataset!r}; known are {', '.join(sorted(DATASETS))}.")
    if windows < 1:
        raise SettingsError(f"at least 1 window of each scan is needed, got {windows}")
    painters = _painters(models, pick_device(device))
    cases = DATASETS[dataset](data, split)
    _check_unseen(cases, painters)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{out} cannot be made ({error.strerror}); choose another --out folder.") from error
    kept = read_rows(out)
    examples: list[list[tuple[str, Tensor]]] = []
    for done, case in enumerate(cases):
        progress(done / len(cases), f"inpainting {case.name}")
        prepared = prepare(
            read_scan(case.scan),
            settings=painters[0].card.grid,
            progress=part_of(progress, done / len(cases), (done + 0.3) / len(cases)),
        )
        for scene, size, rebuilt in _rebuilt(case, prepared, painters, windows):
            if done < EXAMPLES:
                examples.append(_example(scene, f"{case.name.partition('-')[0]}, {size:g} mm", rebuilt))
            for (name, digest), pasted in rebuilt.items():
                place = {"dataset": dataset, "split": split, "case": case.name, "detector": f"{size:g} mm/{name}"}
                key = "/".join(place.values())
                made_from = {"model": name, "model_sha256": digest, "window_mm": size, "preparation": PREPARATION}
                kept[key] = {**place, "key": key, "subject": case.person, **made_from, "scores": asdict(measure(scene, pasted))}
    made_by = {"command": command, "version": __version__, "machine": platform.machine()}
    rows = sorted(kept.values(), key=lambda row: (row["dataset"], row["split"], row["window_mm"], row["model"], row["case"]))
    made = table(rows)
    with write_atomically(out / "rows.json") as temporary:
        temporary.write_text(json.dumps({**made_by, "rows": rows}, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    with write_atomically(out / "table.md") as temporary:
        temporary.write_text(f"### {made.title}\n{made.note}\n\n{made.markdown()}", encoding="utf-8")
    with write_atomically(out / f"{dataset}-{split}.png") as temporary:
        temporary.write_bytes(draw_windows([[(label, image.numpy()) for label, image in row] for row in examples]))
    return made.markdown()


def table(rows: list[Row]) -> Table:
    """One line per data set, split, size of the window and model. rows: of rows.json."""
    lines = []
    for group in dict.fromkeys((row["dataset"], row["split"], row["window_mm"], row["model"]) for row in rows):
        members = [row for row in rows if (row["dataset"], row["split"], row["window_mm"], row["model"]) == group]
        cells = [summary_of(members, _figure(key)).text(digits) for key, digits in _FIGURES.values()]
        subjects = len({row["subject"] for row in members})
        windows = sum(row["scores"]["windows"] for row in members)
        digest = ", ".join(sorted({row["model_sha256"][:12] for row in members})) or "–"
        lines.append([f"{group[0]} ({group[1]}, {subjects})", f"{group[2]:g} mm", group[3], digest, str(windows), *cells])
    header = ["data (split, n)", "window", "model", "SHA-256", "windows", *_FIGURES]
    return Table("Inpainting healthy brains", _NOTE, header, lines)


def _painters(models: list[str], device: torch.device) -> list[Painter]:
    painters = []
    for model in models:
        generator, card = load_generator(model)
        generator.to(device)
        painters += [Painter(generator, card.at(size)) for size in sorted(card.sizes_mm)]
    named = [(painter.card.name, painter.card.window_mm) for painter in painters]
    if twice := [name for name, size in named if named.count((name, size)) > 1]:
        raise SettingsError(f"two models are called {twice[0]}; change the name in the card of one of them.")
    if any(painter.card.grid != painters[0].card.grid for painter in painters):
        raise SettingsError("the models must work on one grid; evaluate them one by one.")
    return painters


def _check_unseen(cases: list[Case], painters: list[Painter]) -> None:
    for case in cases:
        if case.truth is not None:
            raise InputError(f"{case.name} has lesions; inpainting is measured on healthy scans.")
        for painter in painters:
            if case.name in painter.card.training.get("subjects", {}).get("train", []):
                raise InputError(f"{painter.card.name} was trained on {case.name}; choose scans it has never seen.")


def _rebuilt(
    case: Case, prepared: Prepared, painters: list[Painter], windows: int
) -> Iterator[tuple[Scene, float, dict[tuple[str, str], Tensor]]]:
    """For each size, what each model (name, SHA-256) makes of the same windows."""
    for size in sorted({painter.card.window_mm for painter in painters}):
        scene = draw_scene(case.name, prepared, round(size / prepared.image.grid.spacing[0]), windows)
        rebuilt = {(WITHOUT_NETWORK, ""): interpolated(scene)}
        for painter in painters:
            if painter.card.window_mm == size:
                rebuilt[painter.card.name, painter.card.sha256] = rebuild_windows(painter.generator, scene.image, scene.window)
        yield scene, size, rebuilt


def _example(scene: Scene, title: str, rebuilt: dict[tuple[str, str], Tensor]) -> list[tuple[str, Tensor]]:
    """Labelled squares around one window: erased, each model, truth. Of all windows the one that holds most brain."""
    window = scene.window
    fullest = int((window * scene.brain).sum(dim=(1, 2, 3)).argmax())
    rows, columns = (torch.nonzero(window[fullest, 0].amax(dim=axis))[:, 0] for axis in (1, 0))
    reach = max(len(rows) // 2, 12)
    around = (
        slice(max(0, int(rows[0]) - reach), int(rows[-1]) + reach + 1),
        slice(max(0, int(columns[0]) - reach), int(columns[-1]) + reach + 1),
    )
    erased = scene.image * (1 - window)
    shown = [(title, erased), *((name, pasted) for (name, _), pasted in rebuilt.items()), ("truth", scene.image)]
    return [(label, image[fullest, 0][around]) for label, image in shown]


def _figure(key: str) -> Any:
    return lambda scores: scores[key]
