"""benchmark(): one brain, all rows, one table."""

from __future__ import annotations

import shlex
import sys
import tempfile
from pathlib import Path

import torch

from .. import __version__
from ..devices import pick_device
from ..errors import OutputError, SettingsError
from ..files import write_atomically
from ..hardware import describe, is_busy
from ..io import read_scan
from ..phantom import PhantomSettings, make_phantom
from ..prepare import Prepared, prepare
from ..progress import Progress, part_of, silent
from ..volume import Volume
from ..weights.card import Card
from ..weights.store import FAST_MODEL, load_generator
from .plot import draw_plot
from .race import Row, race
from .report import Report
from .rows import NARROW_MM, WIDE_MM, heat_rows
from .scene import FULL, QUICK, Scene
from .superpixels import cuttings
from .whole_slices import PUBLISHED_STEPS, SEARCH, slice_rows

_PHANTOM_MM = 3.0


def benchmark(
    scan: Path | None = None,
    *,
    model: str = FAST_MODEL,
    quick: bool = False,
    device: str = "auto",
    progress: Progress = silent,
) -> Report:
    """Time every way to a heatmap and to superpixels, each against the naive loop in the same run.

    scan: a file; a made-up brain when there is none. model: the generator; windows of 16 mm run through it as well, since
    no time depends on weights. quick: smaller samples, fewer rows. device: auto, cpu, cuda or mps.
    """
    where = pick_device(device)
    hardware = describe(where)
    generator, card = load_generator(model)
    progress(0.0, "preparing")
    volume = make_phantom(PhantomSettings(spacing_mm=_PHANTOM_MM)).scan if scan is None else read_scan(scan)
    prepared = _prepared(volume, card, where, part_of(progress, 0.01, 0.1))
    plan = QUICK if quick else FULL
    image, brain = torch.from_numpy(prepared.image.array).to(where), torch.from_numpy(prepared.brain).to(where)
    scene = Scene(generator.to(where), card, image, brain, plan)
    heat = [*heat_rows(scene), *slice_rows(scene)]
    made_by = {
        "command": shlex.join(["brain-inpaint-ad", *sys.argv[1:]]),
        "version": __version__,
        "quick": quick,
        "scan": "phantom" if scan is None else scan.name,
        "grid": list(prepared.brain.shape),
        "model": {"name": card.name, "width": card.width, "depth": card.depth, "sha256": card.sha256},
    }
    threads = sorted({1, torch.get_num_threads()}) if where.type == "cpu" else [torch.get_num_threads()]
    rows = race(heat, turns=plan.turns, device=where, threads=threads, progress=part_of(progress, 0.1, 0.9))
    cpu = torch.device("cpu")
    rows += race(cuttings(prepared), turns=plan.turns, device=cpu, threads=[1], progress=part_of(progress, 0.9, 1.0))
    references = [row.against for row in rows]
    rows.sort(key=lambda row: references.index(row.against))  # each reference, then what is compared with it
    notes = _notes(card, rows, is_rushed=is_busy(hardware))
    return Report(hardware=hardware, made_by=made_by, notes=notes, rows=rows)


def check_json(path: Path) -> None:
    """Raises SettingsError or OutputError when a report cannot go there; called before the work starts."""
    if path.suffix != ".json":
        raise SettingsError(f"--json takes a file that ends in .json, got {path}; the plot goes beside it as .png.")
    try:
        if path.is_dir():
            raise OutputError(f"{path} is a folder; give the name of a file for the figures.")
        ground = next(folder for folder in path.absolute().parents if folder.exists())
        tempfile.TemporaryFile(dir=ground).close()  # whether it can be written: only trying tells
    except OutputError:
        raise
    except OSError as error:
        raise OutputError(f"{path} cannot be written ({error.strerror}); choose another file.") from error


def save_report(report: Report, path: Path) -> None:
    """The JSON, and the plot beside it. Raises OutputError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{path.parent} cannot be made ({error.strerror}); choose another folder.") from error
    with write_atomically(path) as temporary:
        temporary.write_text(report.to_json(), encoding="utf-8")
    with write_atomically(path.with_suffix(".png")) as temporary:
        draw_plot(temporary, report)


def _prepared(volume: Volume, card: Card, device: torch.device, progress: Progress) -> Prepared:
    return prepare(volume, settings=card.grid, use_gpu=device.type == "cuda", progress=progress)


def _notes(card: Card, rows: list[Row], *, is_rushed: bool) -> list[str]:
    notes = ["Seconds are of the whole volume, scaled up from the units that were timed."]
    if card.window_mm != WIDE_MM:
        notes.append(f"Rows of {WIDE_MM:g} mm use the generator for {card.window_mm:g} mm: speed does not depend on weights.")
    if card.window_mm != NARROW_MM:
        notes.append(f"Rows of {NARROW_MM:g} mm use the generator for {card.window_mm:g} mm: speed does not depend on weights.")
    for row in rows:
        if row.max_difference is None and row.name != row.against and row.unit != "cuts" and row.against != SEARCH:
            notes.append(f"The row {row.name} has no difference: no network trained for these windows is shipped.")
    notes.append(
        f"{SEARCH} takes {PUBLISHED_STEPS} steps a slice (Schlegl 2017); with the 100 of Baur 2018, ratios to it are a fifth."
    )
    if is_rushed:
        notes.append(
            "Other programs were at work when this began: times are longer than on a machine of its own, ratios less certain."
        )
    return notes
