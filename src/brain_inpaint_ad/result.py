"""What `detect` gives back: volumes on the scan's grid, the table, and how they came about."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from .errors import InputError, WeightsError
from .findings import Finding, findings_csv, findings_in_words, largest_in_words, list_findings
from .io import write_volume
from .prepare import Prepared
from .prepare.labels import resample_labels
from .progress import Progress, part_of, silent
from .recut_file import RecutFile, called, read_recut, write_recut
from .result_files import MASK_FILE, write_output
from .segmentation.recut import Recutter
from .segmentation.scale import choose_scale
from .segmentation.select import SegmentSettings, is_trimmed, parts_of_slice, select_anomalies, select_in_slice
from .segmentation.thresholds import check_threshold, least_heat
from .volume import Array, Grid, Volume

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Result:
    """heatmap: float32, 0 outside the brain; labelmap: int16, 0 background, 1…N anomalies; both on the scan's own grid.

    findings: one row per anomaly; report: settings, model, versions, seconds per stage, all plain JSON.
    The rest is what `resegment` needs: the prepared scan and the heat on the model grid, the thresholds of the model's card,
    and the recutter, which all results of one heatmap share.
    reconstruction: what the model expected, in the units of the bias-corrected scan, on its grid, float32, 0 outside the
    brain; None unless it was asked for.
    """

    heatmap: Volume
    labelmap: Volume
    findings: list[Finding]
    report: dict[str, Any]
    prepared: Prepared
    model_heatmap: Array
    model_labelmap: Array
    settings: SegmentSettings
    thresholds: Mapping[str, float]
    recutter: Recutter = field(repr=False, compare=False)
    reconstruction: Volume | None = None

    @property
    def model_grid(self) -> Grid:
        """The grid of `model_heatmap`, `model_labelmap` and of what `cut_slice` gives."""
        return self.prepared.image.grid

    @property
    def threshold(self) -> float | None:
        """Least heat of an anomalous region under these settings; None when the model is not calibrated for them."""
        return least_heat(self.thresholds, self.settings)

    @property
    def summary(self) -> str:
        """One sentence: how many anomalies, how large, and where the hottest voxel of them lies."""
        return findings_in_words(self.findings)

    @property
    def headline(self) -> str:
        """The summary, and the scan's score where the model gives one."""
        score = self.report.get("scan_score")
        if score is None:
            return self.summary
        word = "abnormal" if score["abnormal"] else "normal"
        place = f"above {score['percentile']:.0f} % of healthy scans"
        return f"{self.summary}; the scan as a whole is {word} (score {score['score']:.3g}, {place})"

    @property
    def details(self) -> list[str]:
        """One line for each of the largest anomalies, and where the scan came from if that was a choice."""
        lines = largest_in_words(self.findings)
        if series := self.report.get("series"):
            number = series["number"] or "without number"
            lines.append(f"Read from series {number}: {series['modality']}, {series['slices']} slices")
        return lines

    def resegment(self, **changes: Any) -> Result:
        """The same heatmap cut anew, without running a network: `result.resegment(scale=150)`.

        changes: fields of SegmentSettings (scale, sigma, min_size, rule, min_volume_ml, segmentation, median, …). A scale
        ends auto_scale.
        """
        if "scale" in changes:
            changes = {"auto_scale": False, **changes}
        return segment(
            self.prepared,
            self.model_heatmap,
            settings=replace(self.settings, **changes),
            thresholds=self.thresholds,
            report=self.report,
            heatmap=self.heatmap,
            recutter=self.recutter,
            reconstruction=self.reconstruction,
        )

    def cut_slice(self, index: int, **changes: Any) -> Array:
        """Anomalies of one slice of the model grid under changed settings, quick enough to follow a slider.

        index: 0 to slices − 1; changes: as for `resegment`. Returns int32 (rows, columns): 0 background, 1…n connected hot
        regions; small ones stay, since `min_volume_ml` is about whole anomalies. Where superpixels are those of a volume,
        it is cut, and this slice of it is taken; with "scales" and the calibrated rule, of the whole anomalies, trimmed and
        without the small ones.
        """
        if not 0 <= index < len(self.prepared.brain):
            raise InputError(f"there is no slice {index}; the model's grid has slices 0 to {len(self.prepared.brain) - 1}.")
        settings = replace(self.settings, **changes)
        check_threshold(self.thresholds, settings)
        recutter = _fitting(self.recutter, self.prepared, self.model_heatmap)
        threshold = least_heat(self.thresholds, settings) or 0.0
        if is_trimmed(settings):
            voxel_mm3 = self.model_grid.voxel_mm3
            whole = select_anomalies(recutter.regions(settings), settings, threshold=threshold, voxel_mm3=voxel_mm3)
            return parts_of_slice(whole[index] > 0)
        return select_in_slice(recutter.slice_regions(index, settings), settings, threshold=threshold)

    def save_recut(self, path: str | os.PathLike[str]) -> None:
        """Write what `load_recut` needs to cut this result anew elsewhere, without loss: one .npz of some megabytes."""
        write_recut(RecutFile(self.prepared, self.model_heatmap, self.settings, self.thresholds, self.report), Path(path))

    def save(
        self, folder: str | os.PathLike[str], *, overwrite: bool = False, recut: bool = False, dicom_seg: bool = False
    ) -> list[Path]:
        """Write the files of `result_files.FILES`, the reconstruction if there is one, and what is asked for: all or nothing.

        recut: recut.npz; dicom_seg: anomalies.dcm, for scans from DICOM, unless nothing was found; it names the patient.

        Raises OutputError, also when one exists and `overwrite` is False. With it, optional files of another result go.
        """
        return write_output(Path(folder), partial(self._write, recut=recut, dicom_seg=dicom_seg), overwrite=overwrite)

    def _write(self, folder: Path, *, recut: bool, dicom_seg: bool) -> None:
        from .picture import draw_overview

        write_volume(self.heatmap, folder / "heatmap.nii.gz")
        write_volume(self.labelmap, folder / "anomalies.nii.gz")
        write_volume(self.prepared.scan.with_array(self.prepared.scan_brain.astype(np.uint8), "brain mask"), folder / MASK_FILE)
        (folder / "findings.csv").write_text(findings_csv(self.findings), encoding="utf-8")
        (folder / "report.json").write_text(json.dumps(self.report, indent=2) + "\n", encoding="utf-8")
        if self.reconstruction is not None:
            write_volume(self.reconstruction, folder / "reconstruction.nii.gz")
        if recut:
            self.save_recut(folder / "recut.npz")
        if dicom_seg and not self.findings:
            _LOG.warning("Nothing was found, so no anomalies.dcm is written: a DICOM SEG needs a segment.")
        elif dicom_seg:
            from .dicom.seg import write_seg

            write_seg(self.labelmap, self.prepared.scan, folder / "anomalies.dcm", model=self.report["model"]["name"])
        cut = self.report["segmentation"]
        draw_overview(
            folder / "overview.png",
            self.prepared.image,
            self.model_heatmap,
            self.model_labelmap,
            title=f"{self.prepared.scan.name}: {self.summary}",
            hot=self.threshold or 0.0,
            made_by=f"{self.report['model']['name']}, cut: {cut['segmentation']}, rule: {cut['rule']}",
        )


def load_recut(source: str | os.PathLike[str] | bytes) -> Result:
    """The result whose `save_recut` wrote this file, or these bytes: same labelmap, same findings, at any settings.

    Runs no network and needs no torch. The voxels of the scan are not in the file: `prepared.scan.array` is all 0.
    Raises FormatError (missing, damaged, of another program) or InputError (its parts contradict each other).
    """
    found = read_recut(source)
    try:
        return segment(found.prepared, found.heat, settings=found.settings, thresholds=found.thresholds, report=found.report)
    except WeightsError as error:  # no detection ends with settings its model has no threshold for
        raise InputError(f"{called(source)} lacks the threshold its settings need; run the detection again.") from error


def segment(
    prepared: Prepared,
    model_heatmap: Array,
    *,
    settings: SegmentSettings,
    thresholds: Mapping[str, float],
    report: dict[str, Any],
    heatmap: Volume | None = None,
    recutter: Recutter | None = None,
    reconstruction: Volume | None = None,
    progress: Progress = silent,
) -> Result:
    """Superpixels, the choice among them, and everything measured on it. Arrays are on the model grid.

    thresholds: the card's, of which `threshold_name` is taken; heatmap and recutter: of the same heat, when there are any;
    where the recutter was made from other arrays, both are made anew.
    """
    check_threshold(thresholds, settings)
    threshold = least_heat(thresholds, settings)
    given, recutter = recutter, _fitting(recutter, prepared, model_heatmap)
    if given is not None and recutter is not given:
        heatmap = None
    if settings.auto_scale and settings.segmentation != "residual":
        scale = choose_scale(recutter, model_heatmap, settings, progress=part_of(progress, 0.0, 0.9))
        settings = replace(settings, scale=scale)
    regions = recutter.regions(settings, progress=part_of(progress, 0.9, 1.0) if settings.auto_scale else progress)
    chosen = select_anomalies(regions, settings, threshold=threshold or 0.0, voxel_mm3=prepared.image.grid.voxel_mm3)
    heatmap = heatmap or prepared.to_scan(model_heatmap)
    labelmap = labels_to_scan(prepared, chosen)
    findings = list_findings(labelmap, heatmap, prepared.image, prepared.brain)
    report = {**report, "segmentation": settings.as_json(threshold), "findings": len(findings)}
    return Result(
        heatmap,
        labelmap,
        findings,
        report,
        prepared,
        model_heatmap,
        chosen,
        settings,
        thresholds,
        recutter,
        reconstruction,
    )


def _fitting(recutter: Recutter | None, prepared: Prepared, model_heatmap: Array) -> Recutter:
    """The recutter, or a new one where it was made from other arrays."""
    if recutter is not None and recutter.is_made_from(prepared.image.array, prepared.brain, model_heatmap):
        return recutter
    return make_recutter(prepared, model_heatmap)


def make_recutter(prepared: Prepared, model_heatmap: Array) -> Recutter:
    """What cuts this scan and heat at any settings; spacing goes from SimpleITK's order to that of arrays."""
    columns, rows, slices = prepared.image.grid.spacing
    return Recutter(prepared.image.array, prepared.brain, model_heatmap, spacing=(slices, rows, columns))


def labels_to_scan(prepared: Prepared, labels: Array) -> Volume:
    """A labelmap of parts that do not touch, from the model grid to the scan's; int16, labels 1…N without gaps."""
    on_scan = resample_labels(labels, prepared.image.grid, prepared.scan.grid, within=prepared.scan_brain)
    return prepared.scan.with_array(on_scan, "anomalies")
