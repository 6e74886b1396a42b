"""score: scans in, one line each out: is this scan as a whole like those of healthy brains?"""

from __future__ import annotations

import csv
import io
import os
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from .detectors.retreat import within_memory
from .detectors.whole_scan import ScanNorm, Verdict, WholeScanDetector
from .devices import pick_device
from .dicom import open_scan
from .errors import InputError, OutputError, SettingsError, WeightsError
from .files import write_atomically
from .io import read_labels
from .memory import memory_bound
from .nets.volume_gan import VolumeGan
from .prepare.kinds import prepare_as
from .prepare.modality import check_t1
from .progress import Progress, part_of, silent
from .volume import Volume
from .weights.store import SCORE_MODEL, load_model

COLUMNS = ("scan", "score", "percentile", "abnormal", "quality")


@dataclass(frozen=True, slots=True)
class ScanScore:
    """One scan. verdict: None when it could not be judged, and then `refusal` says why."""

    scan: str
    verdict: Verdict | None
    refusal: str = ""


def load_whole_scan(model: str | os.PathLike[str] = SCORE_MODEL, *, device: str = "auto") -> WholeScanDetector:
    """A detector that scores scans. Raises WeightsError when the model is another."""
    network, card = load_model(os.fspath(model))
    if not isinstance(network, VolumeGan):
        raise WeightsError(f"{card.name} judges no whole scans (its method is {card.method}); name a fanogan-3d model.")
    return WholeScanDetector(network, card, pick_device(device))


def score(
    scans: Sequence[str | os.PathLike[str] | Volume],
    *,
    model: str | os.PathLike[str] = SCORE_MODEL,
    mask: str | os.PathLike[str] | Volume | None = None,
    series: str | None = None,
    device: str = "auto",
    progress: Progress = silent,
) -> list[ScanScore]:
    """How far each scan as a whole is from what the model knows of healthy brains (Simarro 2020, equation 6).

    scans: as for `detect`; mask, series: brain mask and DICOM series, for a single scan. A single scan that cannot be used
    raises as `detect` does; of several, each that cannot is named in its row. Raises WeightsError when the model is missing
    or not calibrated.
    """
    if mask is not None and len(scans) != 1:
        raise InputError("a brain mask belongs to one scan; score scans with masks one by one.")
    if series is not None and len(scans) != 1:
        raise InputError("a series belongs to one DICOM folder; score such folders one by one.")
    given = read_labels(mask) if isinstance(mask, (str, os.PathLike)) else mask
    detector = load_whole_scan(model, device=device)
    ScanNorm.from_card(detector.card)  # refused before the work starts
    rows = []
    for done, scan in enumerate(scans):
        part = part_of(progress, done / len(scans), (done + 1) / len(scans))
        name = scan.name if isinstance(scan, Volume) else str(scan)
        try:
            rows.append(ScanScore(name, _judged(detector, scan, given, series, part)))
        except (InputError, SettingsError) as error:
            if len(scans) == 1:
                raise
            rows.append(ScanScore(name, None, str(error)))
        except MemoryError:
            if len(scans) == 1:
                raise
            rows.append(ScanScore(name, None, f"{name} needs more memory than there is."))
    return rows


def scores_csv(rows: Iterable[ScanScore]) -> str:
    """The table of COLUMNS; a scan that could not be judged has quality "unusable" and no numbers."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in rows:
        verdict = row.verdict
        if verdict is None:
            writer.writerow((row.scan, "", "", "", "unusable"))
        else:
            abnormal = "yes" if verdict.abnormal else "no"
            writer.writerow((row.scan, f"{verdict.score:.6g}", f"{verdict.percentile:.1f}", abnormal, verdict.quality))
    return stream.getvalue()


def write_scores(rows: Iterable[ScanScore], path: Path) -> None:
    """Write `scores_csv`, whole or not at all."""
    with write_atomically(path) as temporary:
        temporary.write_text(scores_csv(rows), encoding="utf-8")


def _judged(
    detector: WholeScanDetector,
    scan: str | os.PathLike[str] | Volume,
    mask: Volume | None,
    series: str | None,
    progress: Progress,
) -> Verdict:
    volume = scan if isinstance(scan, Volume) else open_scan(scan, series=series, bound=memory_bound(None))
    card = detector.card
    use_gpu = detector.device.type == "cuda"
    prepared = prepare_as(
        card.modality, volume, mask=mask, settings=card.grid, use_gpu=use_gpu, progress=part_of(progress, 0, 0.6)
    )
    if card.modality == "T1":
        check_t1(prepared.image.array, prepared.brain, spacing_mm=card.spacing_mm, name=volume.name)
    judging = part_of(progress, 0.6, 1)
    judgement, used = within_memory(detector, lambda whole: whole.judge(prepared, progress=judging))
    return used.verdict(judgement)


def check_table(path: Path | None, *, overwrite: bool) -> None:
    """Raises OutputError when the table could not or must not go to `path`; called before the work starts."""
    if path is None:
        return
    if path.is_dir() or not path.parent.is_dir():
        raise OutputError(f"{path} cannot be written; give the path of a file in a folder that exists.")
    if path.exists() and not overwrite:
        raise OutputError(f"{path} is there already; add --overwrite or choose another file.")
    try:
        tempfile.TemporaryFile(dir=path.parent).close()  # whether it can be written: only trying tells
    except OSError as error:
        raise OutputError(f"{path} cannot be written ({error.strerror}); choose another folder.") from error
