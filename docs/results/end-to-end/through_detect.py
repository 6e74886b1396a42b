"""Every whole head of IXI and every BraTS validation case through `brain-inpaint-ad detect`, with no option but --out.

    python docs/results/end-to-end/through_detect.py --data ../shared/data

Writes rows.json and table.md beside this file after every scan; scans that are in rows.json are not run again.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import brain_inpaint_ad as ad

HERE = Path(__file__).parent
NOTE = (
    "`brain-inpaint-ad detect SCAN --out FOLDER`, each in a process of its own, one thread; no mask, no other option. CPU s: "
    "seconds of processor time, starting Python included (wall time says little here: the machine was busy with trainings). "
    "mask: Dice of brain_mask.nii.gz with the reference (heads only). The heads are healthy: what is found there is false. "
    "Eight of the heads are test subjects: nothing was chosen by this table."
)
HEADER = ["scan", "brain", "mask", "CPU s", "model", "anomalies", "found, ml", "warnings"]


def scans(data: Path) -> list[tuple[str, Path, Path | None]]:
    """Name, file and reference mask."""
    found = []
    heads = data / "ixi_2mm"
    for row in csv.DictReader((heads / "subjects.csv").read_text().splitlines()):
        if row["whole_head"] == "1":
            name = row["scan"]
            found.append((name, heads / "head" / f"{name}.nii.gz", heads / "brainmask" / f"{name}_brainmask.nii.gz"))
    brats = data / "brats18_tcia"
    for row in csv.DictReader((brats / "subjects.csv").read_text().splitlines()):
        if row["split"] == "validation":
            name = row["case"]
            found.append((name, brats / name / f"{name}_t1.nii.gz", None))
    return found


def run(name: str, scan: Path, reference: Path | None) -> dict[str, object]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS": "1"}
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out"
        before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        command = [sys.executable, "-m", "brain_inpaint_ad", "detect", str(scan), "--out", str(out), "--progress", "none"]
        done = subprocess.run(command, text=True, capture_output=True, check=False, env=environment)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        row: dict[str, object] = {
            "scan": name,
            "code": done.returncode,
            "cpu_seconds": round(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, 1),
            "wall_seconds": round(time.perf_counter() - began, 1),
            "warnings": [line for line in done.stderr.splitlines() if line.strip()],
        }
        if done.returncode != 0:
            return row
        report = json.loads((out / "report.json").read_text())
        volumes = [float(line["volume_ml"]) for line in csv.DictReader((out / "findings.csv").read_text().splitlines())]
        row |= {"brain": report["brain"], "model": report["model"]["name"], "volumes_ml": volumes, "seconds": report["seconds"]}
        if reference is not None:
            mask, truth = (ad.read_labels(path).array > 0 for path in (out / "brain_mask.nii.gz", reference))
            row["mask_dice"] = round(float(2 * (mask & truth).sum() / (mask.sum() + truth.sum())), 4)
        return row


def cells(row: dict) -> list[str]:
    if row["code"] != 0:
        told = f"ended with {row['code']}: " + "; ".join(row["warnings"])
        return [row["scan"], "–", "–", f"{row['cpu_seconds']:.0f}", "–", "–", "–", told]
    dice = f"{row['mask_dice']:.3f}" if "mask_dice" in row else "–"
    brain = f"{row['brain']['source']}, {row['brain']['volume_ml']:.0f} ml"
    found = [str(len(row["volumes_ml"])), f"{sum(row['volumes_ml']):.1f}"]
    told = "; ".join(row["warnings"]) or "none"
    return [row["scan"], brain, dice, f"{row['cpu_seconds']:.0f}", row["model"], *found, told]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--out", type=Path, default=HERE)
    words = parser.parse_args()
    kept = words.out / "rows.json"
    rows = json.loads(kept.read_text())["rows"] if kept.exists() else []
    for name, scan, reference in scans(words.data):
        if name in {row["scan"] for row in rows}:
            continue
        rows.append(run(name, scan, reference))
        kept.write_text(json.dumps({"version": ad.__version__, "rows": rows}, indent=1) + "\n")
        lines = [HEADER, ["---"] * len(HEADER), *map(cells, rows)]
        (words.out / "table.md").write_text(NOTE + "\n\n" + "".join("| " + " | ".join(line) + " |\n" for line in lines))


if __name__ == "__main__":
    main()
