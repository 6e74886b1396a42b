"""Correlation against mutual information: how well healthy brains are laid over validation scans, and from where.

    python docs/results/registration/compare.py --data ../shared/data

Writes rows.json and table.md beside this file; scans that are in rows.json are not run again. Test subjects are not opened.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import SimpleITK as sitk

import brain_inpaint_ad as ad
from brain_inpaint_ad.detectors.healthy import HealthyGroup
from brain_inpaint_ad.detectors.register import carry, is_plausible, register
from brain_inpaint_ad.evaluation.datasets import DATASETS
from brain_inpaint_ad.io import read_scan
from brain_inpaint_ad.prepare import Prepared, prepare
from brain_inpaint_ad.prepare.ct import prepare_ct
from brain_inpaint_ad.volume import Array, Grid, Volume
from brain_inpaint_ad.weights.store import load_model

HERE = Path(__file__).parent
METRICS = ("correlation", "mutual information")
BRAIN = 0.3  # of the mean brain's intensity
MISFIT_MM = 10.0
STARTS = {  # how the scan lies against the mean brain when registration begins: shift in mm (LPS), degrees about x, y, z
    "moved 30 mm": ((0.0, 20.0, 22.0), (0.0, 0.0, 0.0)),
    "turned 15°": ((0.0, 0.0, 0.0), (15.0, 0.0, 0.0)),
    "turned 30°": ((0.0, 0.0, 0.0), (30.0, 0.0, 0.0)),
    "turned 45°": ((0.0, 0.0, 0.0), (45.0, 0.0, 0.0)),
    "turned 30° sideways, moved 30 mm": ((20.0, 0.0, 22.0), (0.0, 30.0, 0.0)),
}
# How the CT template stores Hounsfield units: those of the brain spread out (Rorden 2012).
STRETCHED = ([0.0, 900.0, 3100.0, 4000.0], [-1000.0, -100.0, 100.0, 1000.0])
NOTE = (
    "The mean healthy brain of `t1-evidence` laid over prepared scans, affine, 8 then 4 mm, by either metric; two threads "
    "of a busy machine, so seconds are rough. agreement: correlation of the scan with the mean brain; overlap: Dice of the "
    "two brains; apart: mean distance over the brain between where the two places are put: for a started scan by the same "
    "metric without that start, for another contrast by the same patient's T1 (correlation). misfit: refused as "
    f"implausible, failed, or more than {MISFIT_MM:g} mm apart. *inverted*: the prepared T1 with dark and bright exchanged "
    "inside the brain, an artificial other contrast. The CT is a template (Rorden 2012) in the space of the MNI T1 "
    "template, which stands for its T1. Only correlation looks again where a head seems turned. Mean ± SD."
)


def turned(prepared: Volume, shift_mm: tuple[float, ...], degrees: tuple[float, ...]) -> tuple[Volume, sitk.Transform]:
    """The image moved on a larger grid, and the way from its new points to the old ones."""
    grid, margin = prepared.grid, 24
    x, y, z = (start - margin * mm for start, mm in zip(grid.origin, grid.spacing, strict=True))
    columns, rows, slices = (size + 2 * margin for size in grid.size)
    larger = Grid((columns, rows, slices), grid.spacing, (x, y, z), grid.direction)
    middle = larger.to_world((np.array(larger.shape) - 1)[None] / 2)[0].tolist()
    way = sitk.Euler3DTransform(middle, *np.radians(degrees).tolist(), shift_mm)
    return Volume(carry(prepared, larger, way), larger, prepared.name), way


def points_of(template: Volume) -> Array:
    return template.grid.to_world(np.argwhere(template.array > BRAIN)[::97])


def apart_mm(one: list[tuple[float, ...]], other: list[tuple[float, ...]]) -> float:
    return float(np.linalg.norm(np.subtract(one, other), axis=1).mean())


class Study:
    def __init__(self, template: Volume, rows: list[dict]) -> None:
        self.template, self.points, self.rows = template, points_of(template), rows

    def try_all(self, kind: str, name: str, image: Volume, reference: list | dict | None, back: sitk.Transform | None = None):
        """Both metrics; reference: places of self.points, one list or one for each metric. Returns the places found."""
        found = {}
        for metric in METRICS:
            began = time.perf_counter()
            row = {"kind": kind, "scan": name, "metric": metric}
            self.rows.append(row)
            try:
                there = register(self.template, image, metric=metric)
            except RuntimeError as error:  # ITK's only kind
                row |= {"failed": str(error).splitlines()[-1][:100], "misfit": True}
                continue
            row["seconds"] = round(time.perf_counter() - began, 2)
            seen = carry(image, self.template.grid, there)
            either = (seen > 0.05) | (self.template.array > 0.05)
            row["agreement"] = float(np.corrcoef(seen[either], self.template.array[either])[0, 1])
            ours, theirs = self.template.array > BRAIN, seen > 0.05
            row["overlap"] = float(2 * (ours & theirs).sum() / (ours.sum() + theirs.sum()))
            places = [there.TransformPoint(point) for point in self.points.tolist()]
            found[metric] = [back.TransformPoint(point) for point in places] if back else places
            wanted = reference.get(metric) if isinstance(reference, dict) else reference
            if wanted is not None:
                row["apart_mm"] = apart_mm(found[metric], wanted)
            row["misfit"] = not is_plausible(there) or row.get("apart_mm", 0) > MISFIT_MM
        return found


def inverted(prepared: Prepared) -> Volume:
    return prepared.image.with_array(np.where(prepared.brain, np.float32(1.05) - prepared.image.array, np.float32(0)))


def run(data: Path, keep: Path, most: int) -> list[dict]:
    rows = json.loads(keep.read_text())["rows"] if keep.exists() else []
    done = {row["scan"] for row in rows}
    network, _ = load_model("t1-evidence")
    study = Study(HealthyGroup.from_arrays(network.group_arrays()).template, rows)
    if "scct" not in done:
        mni = prepare(read_scan(data / "templates" / "mni_icbm152_t1_2009a_sym_1mm_brain.nii.gz"))
        truth = study.try_all("MNI template, T1", "mni_icbm152", mni.image, None)["correlation"]
        stretched = read_scan(data / "templates" / "scct.nii")
        ct = stretched.with_array(np.interp(stretched.array, *STRETCHED).astype(np.float32))
        study.try_all("CT template", "scct", prepare_ct(ct).image, truth)
    for dataset, folder in (("ms", "open_ms_mni"), ("brats", "brats18_tcia"), ("ixi", "ixi_2mm")):
        for place, case in enumerate(DATASETS[dataset](data / folder, "validation")[:most]):
            if case.name in done:
                continue
            prepared = prepare(read_scan(case.scan))
            found = study.try_all(f"{dataset}, T1", case.name, prepared.image, None)
            truth = found["correlation"]
            study.try_all(f"{dataset}, T1 inverted", case.name, inverted(prepared), truth)
            if dataset == "ms":
                flair = next(case.scan.parent.glob("FLAIR_*.nii.gz"))
                mask = prepared.scan.with_array(prepared.scan_brain.astype(np.int16))
                study.try_all("ms, FLAIR", case.name, prepare(read_scan(flair), mask=mask).image, truth)
            if dataset == "brats" or (dataset == "ixi" and place < 2):
                for start, (shift, degrees) in STARTS.items():
                    image, way = turned(prepared.image, shift, degrees)
                    study.try_all(f"T1, {start}", case.name, image, found, back=way)
            keep.write_text(json.dumps({"version": ad.__version__, "rows": study.rows}, indent=1) + "\n")
    return study.rows


def cell(rows: list[dict], key: str, form: str) -> str:
    values = [row[key] for row in rows if key in row]
    if not values:
        return "–"
    spread = f" ± {np.std(values):{form}}" if len(values) > 1 else ""
    return f"{np.mean(values):{form}}{spread}"


def table(rows: list[dict]) -> str:
    header = ["scans", "n", "metric", "agreement", "overlap", "apart, mm", "misfits", "s"]
    lines = [header, ["---"] * len(header)]
    for kind in dict.fromkeys(row["kind"] for row in rows):
        for metric in METRICS:
            own = [row for row in rows if (row["kind"], row["metric"]) == (kind, metric)]
            forms = (("agreement", ".3f"), ("overlap", ".3f"), ("apart_mm", ".1f"))
            misfits = str(sum(row["misfit"] for row in own))
            lines.append(
                [kind, str(len(own)), metric, *(cell(own, *form) for form in forms), misfits, cell(own, "seconds", ".1f")]
            )
    return NOTE + "\n\n" + "".join("| " + " | ".join(line) + " |\n" for line in lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--out", type=Path, default=HERE)
    parser.add_argument("--most", type=int, default=20, help="scans of each set")
    words = parser.parse_args()
    rows = run(words.data, words.out / "rows.json", words.most)
    (words.out / "table.md").write_text(table(rows))


if __name__ == "__main__":
    main()
