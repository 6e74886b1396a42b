"""Three percentiles with fixed targets against landmarks learned on the training set (Nyúl 2000), on validation scans.

    python docs/results/standardisation/compare.py --data ../shared/data --cache /tmp/prepared --every 4 --most 8

Writes rows.json and table.md beside this file. Test subjects are not opened.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from scipy.stats import wasserstein_distance

import brain_inpaint_ad as ad
from brain_inpaint_ad.detectors.healthy import HealthyGroup
from brain_inpaint_ad.detectors.register import carry, register
from brain_inpaint_ad.evaluation.cases import Case
from brain_inpaint_ad.evaluation.datasets import DATASETS
from brain_inpaint_ad.io import read_labels, read_scan, resample
from brain_inpaint_ad.prepare import PREPARATION, prepare
from brain_inpaint_ad.prepare.intensity import Standard, learn_standard, normalise
from brain_inpaint_ad.training.data import kept
from brain_inpaint_ad.volume import Array, Volume
from brain_inpaint_ad.weights.store import load_model

HERE = Path(__file__).parent
SETS = {"ixi": "ixi_2mm", "brats": "brats18_tcia", "ms": "open_ms_mni"}
TISSUES = ("dark", "grey", "white")
BRAIN = 0.3  # of the mean healthy brain's intensity
NOTE = (
    "Intensities in [0, 1] after either standardisation; smaller is better but for the contrast of lesions. Tissues: three "
    "classes of each scan's own histogram (Otsu), found before standardisation; their medians, ± SD over scans. CV: that SD"
    " by the mean, mean of the three. distance: Wasserstein's, of a scan's intensities to those of all training scans after"
    " the same standardisation (landmarks are fitted to just that). at a place: after registration to the mean brain, |scan"
    " − mean of the IXI validation scans| of the smoothed intensity (4 mm), mean over the brain. Lesions are left out of "
    "all of it. lesion contrast: white matter's median minus the lesion's. All IXI scans at hand come from one scanner "
    "(HH): another site is not among them; BraTS and MS are other scanners and other preparation. Mean ± SD over scans."
)


@dataclass(frozen=True)
class Scan:
    """In the scan's own units without its bias field. image, brain, lesion: on the model grid; volume: the image's grid."""

    dataset: str
    name: str
    image: Array
    brain: Array
    lesion: Array
    volume: Volume


def opened(dataset: str, case: Case, cache: Path) -> Scan:
    """Prepared once; values beyond the outer landmarks are clipped, which moves no percentile from 1 to 99."""

    def make() -> dict[str, Array]:
        prepared = prepare(read_scan(case.scan))
        lesion = np.zeros(prepared.brain.shape, bool)
        if case.truth is not None:
            labels = read_labels(case.truth)
            lesion = resample(labels.with_array((labels.array > 0).astype(np.float32)), prepared.image.grid) > 0.1
        grid = prepared.image.grid
        place = {"origin": np.array(grid.origin), "spacing": np.array(grid.spacing)}
        return {"image": prepared.in_scan_units(prepared.image.array), "brain": prepared.brain, "lesion": lesion, **place}

    arrays = kept(cache, case.name, ["standardisation", str(case.scan), PREPARATION], make)
    shape = arrays["image"].shape
    axes = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)
    grid = ad.Grid(shape[::-1], tuple(arrays["spacing"].tolist()), tuple(arrays["origin"].tolist()), axes)
    return Scan(
        dataset, case.name, arrays["image"], arrays["brain"], arrays["lesion"], Volume(arrays["image"], grid, case.name)
    )


def tissues_of(scan: Scan) -> Array:
    """1, 2, 3 inside the brain without lesions: dark, grey, white."""
    inside = scan.brain & ~scan.lesion
    values = sitk.GetImageFromArray(scan.image[inside][None, None].astype(np.float32))
    classes = np.zeros(scan.brain.shape, np.uint8)
    found = sitk.OtsuMultipleThresholds(values, numberOfThresholds=2, numberOfHistogramBins=256)
    classes[inside] = sitk.GetArrayFromImage(found).ravel() + 1
    return classes


def measure(
    scans: list[Scan], standard: Standard, training: Array, template: Volume, ways: dict[str, sitk.Transform]
) -> list[dict]:
    """A row for each scan."""
    images = {scan.name: normalise(scan.image, scan.brain, standard=standard) for scan in scans}
    maps = {}
    for scan in scans:
        seen, known = images[scan.name], scan.brain & ~scan.lesion
        values, share = (
            carry(scan.volume.with_array(part.astype(np.float32)), template.grid, ways[scan.name])
            for part in (np.where(known, seen, 0), known)
        )
        smooth, weight = (
            sitk.GetArrayFromImage(sitk.SmoothingRecursiveGaussian(sitk.GetImageFromArray(part), 2.0))
            for part in (values, share)
        )
        maps[scan.name] = np.where(weight > 0.5, smooth / np.maximum(weight, 1e-3), np.nan)
    healthy = np.nanmean([maps[scan.name] for scan in scans if scan.dataset == "ixi"], axis=0)
    where = template.array > BRAIN
    rows = []
    for scan in scans:
        classes, seen = tissues_of(scan), images[scan.name]
        medians = [float(np.median(seen[classes == tissue])) for tissue in (1, 2, 3)]
        row = {"dataset": scan.dataset, "scan": scan.name, **dict(zip(TISSUES, medians, strict=True))}
        row["distance"] = float(wasserstein_distance(seen[classes > 0][::7], training))
        row["at_a_place"] = float(np.nanmean(np.abs(maps[scan.name] - healthy)[where]))
        if scan.lesion[scan.brain].any():
            row["contrast"] = medians[2] - float(np.median(seen[scan.lesion & scan.brain]))
        rows.append(row)
    return rows


def cell(rows: list[dict], key: str) -> str:
    values = [row[key] for row in rows if key in row]
    return f"{np.mean(values):.3f} ± {np.std(values):.3f}" if values else "–"


def table(rows: list[dict], standards: dict[str, Standard], subjects: int) -> str:
    header = ["scans", "n", "standardisation", *TISSUES, "CV", "distance", "at a place", "lesion contrast"]
    lines = [header, ["---"] * len(header)]
    for title, members in (("ixi", ("ixi",)), ("brats", ("brats",)), ("ms", ("ms",)), ("all together", tuple(SETS))):
        for name in standards:
            own = [row for row in rows if row["dataset"] in members and row["standard"] == name]
            spread = np.mean([np.std([row[key] for row in own]) / np.mean([row[key] for row in own]) for key in TISSUES])
            figures = [cell(own, key) for key in (*TISSUES, "distance", "at_a_place", "contrast")]
            lines.append([title, str(len(own)), name, *figures[:3], f"{spread:.3f}", *figures[3:]])
    learned = standards["landmarks"]
    taught = ", ".join(f"{share:g} → {place:.3f}" for share, place in zip(learned.percentiles, learned.targets, strict=True))
    text = "".join("| " + " | ".join(line) + " |\n" for line in lines)
    return f"{NOTE}\n\n{text}\nLandmarks learned on {subjects} IXI training scans (percentile → target): {taught}.\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--every", type=int, default=1, help="learn from every n-th training scan")
    parser.add_argument("--most", type=int, default=20, help="validation scans of each set")
    parser.add_argument("--out", type=Path, default=HERE)
    words = parser.parse_args()
    network, _ = load_model("t1-evidence")
    template = HealthyGroup.from_arrays(network.group_arrays()).template
    cases = DATASETS["ixi"](words.data / SETS["ixi"], "train")[:: words.every]
    training = [opened("ixi", case, words.cache) for case in cases]
    standards = {"percentiles": Standard(), "landmarks": learn_standard((scan.image, scan.brain) for scan in training)}
    scans = [
        opened(name, case, words.cache)
        for name in SETS
        for case in DATASETS[name](words.data / SETS[name], "validation")[: words.most]
    ]
    three = {scan.name: scan.volume.with_array(normalise(scan.image, scan.brain)) for scan in scans}
    ways = {name: register(template, image) for name, image in three.items()}  # one registration for both
    rows = []
    for name, standard in standards.items():
        seen = [normalise(scan.image, scan.brain, standard=standard)[scan.brain][::101] for scan in training]
        for row in measure(scans, standard, np.concatenate(seen), template, ways):
            rows.append({"standard": name, **row})
    content = {"version": ad.__version__, "landmarks": asdict(standards["landmarks"]), "subjects": len(training), "rows": rows}
    (words.out / "rows.json").write_text(json.dumps(content, indent=1) + "\n")
    (words.out / "table.md").write_text(table(rows, standards, len(training)))


if __name__ == "__main__":
    main()
