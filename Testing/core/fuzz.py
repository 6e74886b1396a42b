"""Files nobody meant to write, and the law for every reader of them; also a program that tries as many as one likes.

    python Testing/core/fuzz.py --cases 1000000 --seed 1 --out fuzz.json

A case is known by its seed and number alone; the program tells those that break the law and goes on.
"""

from __future__ import annotations

import argparse
import gzip
import json
import logging
import os
import resource
import signal
import struct
import sys
import tempfile
import time
import traceback
import warnings
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from brain_inpaint_ad.dicom import open_scan
from brain_inpaint_ad.errors import BrainInpaintError
from brain_inpaint_ad.io import from_image
from brain_inpaint_ad.weights.card import read_card

PATIENCE_S = 5.0  # of this process's own time, for a file of some kilobytes
SUFFIXES = (".nii", ".nii.gz", ".nrrd", ".mha", ".dcm")
KINDS = (*SUFFIXES, "voxels.nii", "voxels.nrrd", "voxels.mha", "card.json")
HEAD = {".nii": 348, ".nii.gz": 348, ".nrrd": 400, ".mha": 400, ".dcm": 3000}  # bytes in which most numbers stand
SHAPE = (8, 9, 10)
WAYS = ("cut", "put in head", "put anywhere", "insert in head", "drop in head")
# What breaks parsers: by the number of bytes.
ODD_NUMBERS = [
    struct.pack(order + kind, value)
    for order in "<>"
    for kind, values in {
        "h": (-1, 0, 1, 7, 8, 32767, -32768),
        "i": (-1, 0, 2**31 - 1, -(2**31)),
        "f": (np.nan, np.inf, -np.inf, 0.0, -0.0, 1e38, 1e-38),
    }.items()
    for value in values
]
ODD_WORDS = [
    b"",
    b"0",
    b"-1",
    b"nan",
    b"1e999",
    b"99999999999999999999",
    b"../../etc/passwd",
    b"LIST",
    b"%d",
    b"\x00",
    b"\xff" * 9,
]
Damage = list[tuple[str, float, bytes]]


def make_seeds(folder: Path) -> dict[str, bytes]:
    """One small whole file of each suffix."""
    import dicom_files

    image = sitk.GetImageFromArray(np.arange(np.prod(SHAPE), dtype=np.float32).reshape(SHAPE))
    image.SetSpacing((1.5, 2.0, 3.0))
    image.SetOrigin((-7.0, 8.0, 9.0))
    found = {}
    for suffix in SUFFIXES[:-1]:
        sitk.WriteImage(image, str(folder / f"seed{suffix}"))
        found[suffix] = (folder / f"seed{suffix}").read_bytes()
    found[".dcm"] = dicom_files.save_enhanced(from_image(image), folder / "IM1").read_bytes()
    for path in folder.iterdir():
        path.unlink()
    return found


def damaged(content: bytes, list_of: Damage, head: int) -> bytes:
    """Each damage: what, where (share of the file or of its head), with what."""
    for what, where, value in list_of:
        at = int(where * (len(content) if what in ("cut", "put anywhere") else min(head, len(content))))
        content = {
            "cut": lambda c, at, v: c[:at],
            "put in head": lambda c, at, v: c[:at] + v + c[at + len(v) :],
            "put anywhere": lambda c, at, v: c[:at] + v + c[at + len(v) :],
            "insert in head": lambda c, at, v: c[:at] + v + c[at:],
            "drop in head": lambda c, at, v: c[:at] + c[at + len(v) :],
        }[what](content, at, value)
    return content


def outcome_of(action):
    """What it gives, or the sentence with which it refuses; any other exception is a finding."""
    try:
        return action(), ""
    except BrainInpaintError as refusal:
        return None, str(refusal)


def check(path: Path) -> None:
    """The law for every file."""
    started = time.process_time()
    volume, refusal = outcome_of(lambda: open_scan(path))
    assert "\n" not in refusal
    assert "sitk::" not in refusal
    if volume is not None:
        assert volume.array.shape == volume.grid.shape
        assert min(volume.grid.spacing) > 0
        assert np.isfinite(volume.grid.affine).all()
        assert np.isfinite(volume.array).all()
        axes = np.reshape(volume.grid.direction, (3, 3))
        np.testing.assert_allclose(axes.T @ axes, np.eye(3), atol=2e-3)
    assert time.process_time() - started < PATIENCE_S


def check_voxels(path: Path, grid) -> None:
    """The law where only voxels were damaged: the grid does not move."""
    volume, refusal = outcome_of(lambda: open_scan(path))
    assert (volume is not None and volume.grid == grid) or "NaN or infinite" in refusal


def check_card(path: Path) -> None:
    """The law for model cards."""
    read, refusal = outcome_of(lambda: read_card(path))
    assert bool(read) != bool(refusal)
    assert "\n" not in refusal


class Fuzzer:
    """Draws cases; files live in `folder`, best in memory."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "scan"
        self.seeds = make_seeds(folder)
        self.card = (Path(read_card.__code__.co_filename).parent / "shipped" / "t1-inpaint-32mm.json").read_bytes()
        self.plain = gzip.decompress(self.seeds[".nii.gz"])
        self.grids = {}
        for suffix in (".nii", ".nrrd", ".mha"):
            self.grids[suffix] = open_scan(self._written(suffix, self.seeds[suffix])).grid

    def run(self, kind: str, seed: int, number: int) -> None:
        """One case; AssertionError or any other exception is a finding."""
        rng = np.random.default_rng((KINDS.index(kind), seed, number))
        if kind == "card.json":
            check_card(self._written(".json", damaged(self.card, draw_damage(rng), len(self.card))))
        elif kind.startswith("voxels"):
            suffix = kind.removeprefix("voxels")
            content, value = self.seeds[suffix], rng.bytes(int(rng.integers(1, 9)))
            at = len(content) - int(rng.integers(8, int(np.prod(SHAPE)) * 4))
            check_voxels(self._written(suffix, content[:at] + value + content[at + len(value) :]), self.grids[suffix])
        elif kind == ".nii.gz" and rng.random() < 0.5:
            check(self._written(kind, damaged(self.seeds[kind], draw_damage(rng), 20)))  # the stream itself
        else:
            content = damaged(self.plain if kind == ".nii.gz" else self.seeds[kind], draw_damage(rng), HEAD[kind])
            check(self._written(kind, gzip.compress(content, 1) if kind == ".nii.gz" else content))

    def _written(self, suffix: str, content: bytes) -> Path:
        path = self.path.with_suffix(suffix)
        path.write_bytes(content)
        return path


def draw_damage(rng: np.random.Generator) -> Damage:
    """One to four."""
    return [(WAYS[rng.integers(len(WAYS))], float(rng.random()), _value(rng)) for _ in range(rng.integers(1, 5))]


def _value(rng: np.random.Generator) -> bytes:
    kind = rng.integers(3)
    if kind == 0:
        return ODD_NUMBERS[rng.integers(len(ODD_NUMBERS))]
    return ODD_WORDS[rng.integers(len(ODD_WORDS))] if kind == 1 else rng.bytes(int(rng.integers(1, 9)))


def in_memory() -> str | None:
    """A folder in memory, where there is one: the disk is not what is tested."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


def main() -> int:
    """Try them in child processes of up to 5,000 cases, so that one that dies is a finding, too; tell how far it is."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, required=True)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--first", type=int, default=0, help="number of the first case: to go on with a run")
    parser.add_argument("--out", type=Path, required=True)
    words = parser.parse_args()
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    findings: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory(dir=in_memory()) as name:
        fuzzer, number = Fuzzer(Path(name)), words.first
        while number < words.cases:
            number = _some(fuzzer, words.seed, number, min(words.cases, number + 5000), findings)
            done = {"cases": number - words.first, "seed": words.seed, "first": words.first, "findings": findings}
            used = resource.getrusage(resource.RUSAGE_CHILDREN)
            done["cpu_seconds"] = round(used.ru_utime + used.ru_stime, 1)
            words.out.write_text(json.dumps(done, indent=1) + "\n")
    return 1 if findings else 0


def _some(fuzzer: Fuzzer, seed: int, first: int, stop: int, findings: list[dict[str, object]]) -> int:
    """Cases `first` to `stop` in a child; returns the number of the next case."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        for number in range(first, stop):
            signal.alarm(120)  # of a hang the process dies
            os.write(write, f"{number}\n".encode())
            try:
                fuzzer.run(KINDS[number % len(KINDS)], seed, number)
            except Exception as error:
                what = " ".join(traceback.format_exc().splitlines()[-1].split())[:300]
                os.write(write, f"{number} {type(error).__name__}: {what}\n".encode())
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as stream:
        lines = [line.split(maxsplit=1) for line in stream]
    _, status = os.waitpid(child, 0)
    told = [(int(line[0]), line[1].strip()) for line in lines if line[1:]]
    last = int(lines[-1][0])
    if os.WIFSIGNALED(status):
        told.append((last, f"died of signal {os.WTERMSIG(status)}"))
    findings += [{"number": number, "kind": KINDS[number % len(KINDS)], "what": what} for number, what in told]
    return last + 1


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    sys.exit(main())
