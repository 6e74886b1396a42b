"""What training runs of every method share: their folder, their data, their records."""

from __future__ import annotations

import json
import shlex
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
import torch

from .. import __version__
from ..devices import pick_device
from ..errors import OutputError, SettingsError, TrainingError
from ..files import write_atomically
from ..prepare import GridSettings
from ..progress import Progress, part_of, silent
from ..volume import Array
from . import loop
from .data import Slices, Subject, find_subjects, load_slices


class Options(TypedDict, total=False):
    """What every `train` takes beside data, folder, settings and iterations; see `plan_run`."""

    max_minutes: float | None
    resume: bool
    subjects: Path | None
    device: str
    name: str | None
    data_note: str
    progress: Progress


@dataclass(frozen=True, slots=True)
class Run:
    """A training run as it was asked for. out: its folder; listed: its subjects; name: of the model."""

    out: Path
    listed: list[Subject]
    device: torch.device
    limits: loop.LoopSettings
    resume: bool
    name: str
    data_note: str
    progress: Progress

    def make_folder(self) -> None:
        """See `run_folder`. Made when the networks are: a refused setting leaves no folder behind."""
        run_folder(self.out, resume=self.resume)

    def state(
        self,
        nets: dict[str, torch.nn.Module],
        optimisers: dict[str, torch.optim.Optimizer],
        settings: dict[str, Any],
    ) -> tuple[loop.State, int]:
        """Networks and optimisers, filled from the checkpoint when the run is resumed, and the iterations they have seen.

        settings: what the checkpoint must have been made with, besides the subjects. Called before scans are prepared, which
        takes long: another run's checkpoint is refused at once.
        """
        state = loop.State(nets, optimisers, {**settings, "subjects": {subject.name: subject.split for subject in self.listed}})
        return state, loop.load(state, self.out / loop.CHECKPOINT) if self.resume else 0

    def slices(self, grid: GridSettings, settings: Any) -> tuple[Slices, Slices]:
        """Of both splits, prepared in the first tenth of the run; who they are is recorded. settings: the method's."""
        found = load_splits(self.listed, self.out / "prepared", grid, progress=part_of(self.progress, 0, 0.1))
        write_record(self.out, asdict(settings), self.listed)
        return found

    def facts(self, settings: Any, iterations: int) -> dict[str, Any]:
        """What the card says of the training. settings: the method's; iterations: done."""
        return training_facts(asdict(settings), self.listed, iterations=iterations, note=self.data_note)


def plan_run(
    data: Path,
    out: Path,
    *,
    seed: int,
    iterations: int,
    max_minutes: float | None = None,
    resume: bool = False,
    subjects: Path | None = None,
    device: str = "auto",
    name: str | None = None,
    data_note: str = "",
    progress: Progress = silent,
) -> Run:
    """What is asked for, looked up; nothing is written yet.

    data: folder of healthy scans; out: folder of the run; max_minutes: of this call; resume: go on from the folder's
    checkpoint; subjects: CSV of scans and their split; name: of the model, default the folder's; data_note: source and licence
    of the data, for the model's card. Raises TrainingError, InputError or SettingsError with what to do.
    """
    limits = loop.LoopSettings(iterations=iterations, seed=seed, max_minutes=max_minutes)
    where = pick_device(device)
    return Run(out, find_subjects(data, subjects), where, limits, resume, name or out.name, data_note, progress)


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
