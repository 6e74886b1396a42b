"""Fixtures of the tests through the command line: a model that takes no time, a scan of known truth, ways to run."""

from __future__ import annotations

import csv
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from typer.testing import CliRunner

from brain_inpaint_ad.cli.app import app
from brain_inpaint_ad.io import write_volume
from brain_inpaint_ad.nets.unet import UNet, UNetSettings
from brain_inpaint_ad.phantom import Lesion, Phantom, PhantomSettings, make_phantom, save_phantom
from brain_inpaint_ad.weights.card import Card
from brain_inpaint_ad.weights.store import save_model

sys.path[:0] = [str(Path(__file__).parent)]  # dicom_files, whatever pytest's import mode


@dataclass(frozen=True)
class Answer:
    """What a command left behind. err: everything on standard error, C libraries' chatter included."""

    code: int
    out: str
    err: str


def save_untrained_model(path: Path, *, width: int) -> Path:
    """A generator of random weights with voxels of 4 mm, and its card."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        generator = UNet(UNetSettings(width=width, depth=2))

    def make_card(digest: str) -> Card:
        return Card(
            name=path.stem,
            description="Untrained, for tests.",
            method="inpainting",
            modality="T1",
            window_mm=32.0,
            width=width,
            depth=2,
            max_width=None,
            spacing_mm=4.0,
            rows=64,
            columns=48,
            minmax="window",
            preprocessing="",
            training={"data": "none"},
            thresholds={"healthy_voxels_1_percent": 0.2, "healthy_voxels_5_percent": 0.15},
            healthy_validation={},
            sha256=digest,
        )

    save_model(generator, path, make_card)
    return path


@pytest.fixture(scope="session")
def a_tiny_model(tmp_path_factory) -> Path:
    """A whole brain takes it less than a second."""
    return save_untrained_model(tmp_path_factory.mktemp("models") / "tiny.safetensors", width=2)


@pytest.fixture(scope="session")
def a_slow_model(tmp_path_factory) -> Path:
    """Slow enough to be cancelled while it works."""
    return save_untrained_model(tmp_path_factory.mktemp("models") / "slow.safetensors", width=48)


@pytest.fixture(scope="session")
def a_phantom() -> Phantom:
    """A brain without a head, 3 mm, with a lesion."""
    lesion = Lesion(centre_mm=(30.0, 10.0, 20.0), radius_mm=15.0)
    return make_phantom(PhantomSettings(spacing_mm=3.0, lesions=(lesion,)))


@pytest.fixture(scope="session")
def a_phantom_scan(a_phantom, tmp_path_factory) -> Path:
    """Its file; brain_mask.nii.gz lies beside it."""
    return save_phantom(a_phantom, tmp_path_factory.mktemp("phantom"))[0]


@pytest.fixture(scope="session")
def a_coarse_scan(tmp_path_factory) -> Path:
    """5 mm: prepared in a second."""
    return save_phantom(make_phantom(PhantomSettings(spacing_mm=5.0)), tmp_path_factory.mktemp("coarse"))[0]


@pytest.fixture(scope="session")
def a_hot_brain() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Image, brain and heat, (9, 30, 26); the first and last slices show no brain."""
    brain = np.zeros((9, 30, 26), bool)
    brain[1:8, 4:27, 3:24] = True
    smooth = gaussian_filter(np.random.default_rng(0).random(brain.shape), 1.5)
    image = (smooth - smooth.min()) / np.ptp(smooth) * brain
    heat = gaussian_filter(np.random.default_rng(1).random(brain.shape), 2) * brain
    return image.astype(np.float32), brain, heat.astype(np.float32)


@pytest.fixture(scope="session")
def a_healthy_folder(tmp_path_factory) -> Path:
    """Three phantoms, two to train on and one to validate with."""
    folder = tmp_path_factory.mktemp("healthy")
    rows = [("a1", "train"), ("b2", "train"), ("c3", "validation"), ("d4", "test")]
    for seed, (name, _) in enumerate(rows[:3]):
        write_volume(make_phantom(PhantomSettings(spacing_mm=4.0, seed=seed)).scan, folder / f"{name}_brain.nii.gz")
    with (folder / "subjects.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([("scan", "split"), *rows])
    return folder


@pytest.fixture
def run_cli(capfd) -> Callable[..., Answer]:
    """Runs the command line in this process."""

    def run(*words: object) -> Answer:
        capfd.readouterr()
        result = CliRunner().invoke(app, [str(word) for word in words])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Answer(result.exit_code, result.stdout, result.stderr + capfd.readouterr().err)

    return run


@pytest.fixture(scope="session")
def start_cli() -> Callable[..., subprocess.Popen[str]]:
    """Starts the command line in a process of its own; `options` are Popen's."""

    def start(*words: object, **options: object) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "brain_inpaint_ad", *map(str, words)]
        # One thread: on few cores more of them only get into each other's way.
        few = {"OMP_NUM_THREADS": "1", "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS": "1"}
        environment = {**os.environ, **few, **options.pop("env", {})}
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return subprocess.Popen(command, text=True, env=environment, **{**pipes, **options})

    return start


@pytest.fixture(scope="session")
def run_cli_in_a_process(start_cli) -> Callable[..., Answer]:
    """Runs the command line as a user would, to its end."""

    def run(*words: object, timeout: float = 600, **options: object) -> Answer:
        with start_cli(*words, **options) as process:
            out, err = process.communicate(timeout=timeout)
        return Answer(process.returncode, out, err)

    return run


@pytest.fixture(scope="session")
def a_finished_run(a_phantom_scan, a_tiny_model, tmp_path_factory, run_cli_in_a_process) -> tuple[Answer, Path]:
    """What detect said of the phantom, with progress as JSON lines, and the folder of its results.

    Every name in it has spaces and letters that are not ASCII.
    """
    place = tmp_path_factory.mktemp("Åsa Müller 脳 – T1")
    scan = shutil.copy(a_phantom_scan, place / "крупный план.nii.gz")
    model = Path(shutil.copy(a_tiny_model, place / "modèle 1.safetensors"))
    shutil.copy(a_tiny_model.with_suffix(".json"), model.with_suffix(".json"))
    out = place / "new" / "résultats 1"
    return run_cli_in_a_process("detect", scan, "--out", out, "--model", model, "--progress", "jsonl"), out
