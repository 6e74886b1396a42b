"""Made-up head CTs in Hounsfield units, and the small copy of PhysioNet's ct-ich that tests look at."""

import csv
from pathlib import Path

import numpy as np

import brain_inpaint_ad as ad
from brain_inpaint_ad.evaluation.datasets import ICH_TYPES
from brain_inpaint_ad.io import write_volume

BLOOD_HU = 70.0


def make_head(*, shape=(48, 56, 52), seed=0, bleeding_mm=0.0):
    """A ball of brain in a ball of bone and one of scalp, in air, 4 mm; and where it bleeds, and where the brain is: bool."""
    rng = np.random.default_rng(seed)
    z, y, x = np.indices(shape) * 4.0
    distance = np.sqrt((z - 94) ** 2 + (y - 110) ** 2 + (x - 102) ** 2)
    array = np.full(shape, -1000.0, np.float32)
    array[distance < 88] = 40.0  # scalp
    array[distance < 80] = 1000.0
    brain = distance < 70
    phase = rng.uniform(-0.3, 0.3, 3)
    ripple = 20 * np.sin(z / 18 + phase[0]) * np.sin(y / 18 + phase[1]) * np.sin(x / 18 + phase[2])
    array[brain] = (35 + ripple)[brain]
    bleeding = np.sqrt((z - 94) ** 2 + (y - 90) ** 2 + (x - 80) ** 2) < bleeding_mm
    array[bleeding] = BLOOD_HU
    grid = ad.Grid(shape[::-1], (4.0, 4.0, 4.0), (0.0, 0.0, 0.0), (1.0, 0, 0, 0, 1.0, 0, 0, 0, 1.0))
    return ad.Volume(array, grid, "head.nii"), bleeding, brain


def make_ct_ich(folder: Path, *, splits: dict[str, int], ill: int, types=("Epidural", "Subdural")) -> Path:
    """Patients from 049 on: healthy ones by split, then `ill` ones for validation, who bleed in the types in turn.

    healthy.csv lists the healthy ones alone, to train and to calibrate with.
    """
    head = ["PatientNumber", "SliceNumber", *ICH_TYPES, "No_Hemorrhage", "Fracture_Yes_No"]
    places = [split for split, count in splits.items() for _ in range(count)]
    places += ["validation"] * ill
    marks, table = [head], [["scan", "split"]]
    for n, split in enumerate(places):
        sick = n >= len(places) - ill
        kind = types[(len(places) - 1 - n) % len(types)] if sick else ""
        scan, bleeding, _ = make_head(seed=n, bleeding_mm=22.0 if sick else 0.0)
        name = f"{49 + n:03d}"
        for part, volume in (("ct_scans", scan), ("masks", scan.with_array(bleeding.astype(np.uint8) * 255))):
            (folder / part).mkdir(parents=True, exist_ok=True)
            write_volume(volume, folder / part / f"{name}.nii")
        marks.append([49 + n, 1, *(int(kind == mark) for mark in ICH_TYPES), int(not sick), 0])
        table.append([name, split])
    healthy = table[: len(table) - ill]
    for path, rows in (("hemorrhage_diagnosis_raw_ct.csv", marks), ("subjects.csv", table), ("healthy.csv", healthy)):
        with (folder / path).open("w", newline="") as stream:
            csv.writer(stream).writerows(rows)
    return folder
