"""What training runs of every method share: their folder, their data, their records."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import Any

import numpy as np

from .. import __version__
from ..errors import OutputError, SettingsError, TrainingError
from ..files import write_atomically
from ..prepare import GridSettings
from ..progress import Progress, part_of
from ..volume import Array
from . import loop
from .data import Slices, Subject, load_slices


def run_folder(out: Path, *, resume: bool) -> Path:
    """`out`, made if need be. Raises TrainingError when a run is there and not resumed, or the other way round."""
    begun = (out / loop.CHECKPOINT).exists()
    if begun and not resume:
        raise TrainingError(f"{out} already holds a training run; add --resume to continue it or choose another folder.")
    if resume and not begun:
        raise TrainingError(f"{out} holds no checkpoint to resume from; leave --resume away to start.")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{out} cannot be made ({error.strerror}); choose another --out folder.") from error
    return out


def check_seed(seed: int) -> None:
    """Raises SettingsError for what NumPy takes no random numbers from."""
    if seed < 0:
        raise SettingsError(f"the seed must be 0 or more, got {seed}")


def split_members(listed: list[Subject]) -> dict[str, list[Subject]]:
    """Subjects of the splits train and validation. Raises TrainingError when one is empty."""
    chosen = {split: [s for s in listed if s.split == split] for split in ("train", "validation")}
    for split, members in chosen.items():
        if not members:
            raise TrainingError(f"the subject table has no scans in the split {split}; both train and validation are needed.")
    return chosen


def load_splits(listed: list[Subject], cache: Path, grid: GridSettings, *, progress: Progress) -> tuple[Slices, Slices]:
    """Prepared slices of the splits train and validation. Raises TrainingError when one is empty."""
    chosen = split_members(listed)
    share = len(chosen["train"]) / (len(chosen["train"]) + len(chosen["validation"]))
    return (
        load_slices(chosen["train"], cache, grid=grid, progress=part_of(progress, 0, share)),
        load_slices(chosen["validation"], cache, grid=grid, progress=part_of(progress, share, 1)),
    )


def save_picture(picture: Array, path: Path) -> None:
    """picture: (rows, columns) in [0, 1]."""
    from skimage.io import imsave

    with write_atomically(path) as temporary:
        imsave(temporary, (picture * 255).round().astype(np.uint8), check_contrast=False)


def write_record(out: Path, settings: dict[str, Any], listed: list[Subject]) -> None:
    """Who was trained on: needed for the model card and to keep test subjects out."""
    record = {"settings": settings, "subjects": {s.name: s.split for s in listed}}
    with write_atomically(out / "run.json") as temporary:
        temporary.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def training_facts(settings: dict[str, Any], listed: list[Subject], *, iterations: int, note: str) -> dict[str, Any]:
    """What the card says of the training."""
    return {
        "data": note or "not stated",
        "subjects": {split: [s.name for s in listed if s.split == split] for split in ("train", "validation")},
        "iterations": iterations,
        "settings": settings,
        "command": shlex.join(["brain-inpaint-ad", *sys.argv[1:]]),
        "version": __version__,
    }


def tensorboard(out: Path) -> Any:
    """Where the curves go. Raises TrainingError when TensorBoard is not installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        advice = "training logs to TensorBoard, which is missing; run: pip install tensorboard"
        raise TrainingError(advice) from error
    return SummaryWriter(str(out / "tensorboard"))
