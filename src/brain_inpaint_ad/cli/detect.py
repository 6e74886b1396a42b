"""`brain-inpaint-ad detect`."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from ..errors import SettingsError
from ..files import only_run_in
from ..progress import Progress, part_of
from .run import ProgressStyle, run

if TYPE_CHECKING:
    from ..result import Result


class Rule(StrEnum):
    """How anomalies are chosen among the superpixels."""

    calibrated = "calibrated"
    paper = "paper"


class Engine(StrEnum):
    """How windows are rebuilt."""

    incremental = "incremental"
    direct = "direct"
    paper_strict = "paper-strict"


class Segmentation(StrEnum):
    """What anomalies are made of."""

    slices = "slices"
    volume = "volume"
    scales = "scales"
    residual = "residual"


def _scale(text: str) -> float | Literal["auto"]:
    try:
        return "auto" if text == "auto" else float(text)
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} is neither a number nor auto.") from error


def detect(
    # readable=False: typer does not look into files; the core says what is wrong with them.
    scan: Annotated[
        Path, typer.Argument(help="Brain scan: NIfTI, NRRD, MHA or a DICOM folder; whole head or brain only.", readable=False)
    ],
    out: Annotated[Path, typer.Option(help="Folder for the results.", readable=False)],
    model: Annotated[
        str | None,
        typer.Option(
            help="A model's name (see: models) or the path of a .safetensors file.",
            show_default="t1-evidence; t1-inpaint-32mm where a window, stride or engine is asked for",
        ),
    ] = None,
    series: Annotated[
        str | None, typer.Option(help="Number or UID of the series, where a DICOM folder holds several (see: series).")
    ] = None,
    mask: Annotated[Path | None, typer.Option(help="Brain mask on the scan's grid, > 0 inside.", readable=False)] = None,
    brain: Annotated[
        str,
        typer.Option(
            help="What finds the brain where no --mask is given: auto (brain-only scans as they are, else deepbet), deepbet, "
            "hd-bet (a program of its own) or the path of SynthStrip's weights (.pt)."
        ),
    ] = "auto",
    window_mm: Annotated[
        float | None, typer.Option(help="Side of the erased window in mm; a size the model has.", show_default="the model's")
    ] = None,
    stride_mm: Annotated[float | None, typer.Option(help="Step between windows in mm.", show_default="4")] = None,
    scale: Annotated[
        Any,
        typer.Option(
            parser=_scale,
            metavar="FLOAT|auto",
            help="Felzenszwalb scale; larger gives larger superpixels; auto: by the heatmap.",
        ),
    ] = 75.0,
    sigma: Annotated[float, typer.Option(help="Smoothing before superpixels are cut, in pixels of the model.")] = 0.8,
    min_size: Annotated[int, typer.Option(help="Least size of a superpixel, in pixels of the model.")] = 20,
    min_volume_ml: Annotated[float, typer.Option(help="Smaller anomalies are left out, in ml; rule calibrated only.")] = 5.0,
    rule: Annotated[
        Rule,
        typer.Option(help="calibrated: hotter than healthy scans get, may find nothing; paper: the hottest of every slice."),
    ] = Rule.calibrated,
    segmentation: Annotated[
        Segmentation | None,
        typer.Option(
            help="slices: superpixels of each slice by itself; volume: of the whole brain in 3-D, needs numba; scales: "
            "those of several scales together, --scale the coarsest; residual: single "
            "voxels after a median, at the threshold of training scans with --rule paper (Baur 2018).",
            show_default="the model's",
        ),
    ] = None,
    median: Annotated[int, typer.Option(help="Side of the median's cube in voxels; residual only, 1: none.")] = 5,
    erosion: Annotated[int, typer.Option(help="Layers of voxels taken off the brain; residual only, 0: none.")] = 1,
    min_voxels: Annotated[int, typer.Option(help="Smaller anomalies are left out, in voxels; residual only, 0: none.")] = 6,
    engine: Annotated[
        Engine | None,
        typer.Option(
            help="incremental: exact and fast; direct: one network run per window, hours; paper-strict: as direct, with the "
            "minmax over the whole reconstructed slice (needs --rule paper).",
            show_default="incremental",
        ),
    ] = None,
    max_memory: Annotated[
        float | None,
        typer.Option(help="MB the run may take; a larger scan is refused before the work.", show_default="what is free"),
    ] = None,
    latent_steps: Annotated[
        int | None, typer.Option(help="AnoGAN only: steps of the search for the nearest healthy slice.", show_default="500")
    ] = None,
    reconstruction: Annotated[
        bool, typer.Option("--reconstruction", help="Also write reconstruction.nii.gz: what the model expected to see.")
    ] = False,
    recut: Annotated[
        bool, typer.Option("--recut", help="Also write recut.npz, with which superpixels are cut anew without a network.")
    ] = False,
    dicom_seg: Annotated[
        bool,
        typer.Option("--dicom-seg", help="Also write anomalies.dcm, a DICOM SEG in the scan's study; it names the patient."),
    ] = False,
    preview: Annotated[
        Path | None,
        typer.Option(help="Folder for a first result within seconds, where a predictor ships for the model.", readable=False),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
    progress: Annotated[ProgressStyle, typer.Option(help="bar; jsonl: one JSON object per line; none.")] = ProgressStyle.bar,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace results that are already in the folder.")] = False,
) -> None:
    """Find what a model of healthy brains cannot explain in SCAN; write heatmap, labelmap, table and picture."""

    def work(report: Progress) -> list[str]:
        from ..pipeline import detect as find

        report(0.0, "starting")
        _check_folders(out, preview, overwrite=overwrite, seg_of=scan if dicom_seg else None)
        with only_run_in(out):
            result = find(
                scan,
                model=model,
                series=series,
                mask=mask,
                brain=brain,
                window_mm=window_mm,
                stride_mm=stride_mm,
                scale=scale,
                sigma=sigma,
                min_size=min_size,
                min_volume_ml=min_volume_ml,
                rule=rule.value,
                segmentation=segmentation.value if segmentation else None,
                median=median,
                erosion=erosion,
                min_voxels=min_voxels,
                engine=None if engine is None else engine.value,
                max_memory_mb=max_memory,
                latent_steps=latent_steps,
                reconstruct=reconstruction,
                on_preview=_saver(preview, overwrite=overwrite, recut=recut),
                device=device,
                progress=part_of(report, 0.0, 0.97),
            )
            report(0.97, "writing results")
            result.save(out, overwrite=overwrite, recut=recut, dicom_seg=dicom_seg)
            report(1.0, "done")
            return [f"{result.headline}. Results are in {out}.", *result.details]

    told = run(work, progress)
    if progress is not ProgressStyle.jsonl:
        typer.echo("\n".join(told))


def _check_folders(out: Path, preview: Path | None, *, overwrite: bool, seg_of: Path | None) -> None:
    """Before the work starts. seg_of: the scan that a DICOM SEG is wanted of."""
    from ..dicom import check_seg_is_possible
    from ..result_files import check_output

    check_output(out, overwrite=overwrite)
    if seg_of is not None:
        check_seg_is_possible(seg_of)
    if preview is not None:
        if preview.resolve() == out.resolve():
            raise SettingsError("the preview needs a folder of its own, other than that of --out.")
        check_output(preview, overwrite=overwrite)


def _saver(folder: Path | None, *, overwrite: bool, recut: bool) -> Callable[[Result], None] | None:
    """What saves a preview; None where none is wanted."""
    if folder is None:
        return None

    def save(result: Result) -> None:
        result.save(folder, overwrite=overwrite, recut=recut)

    return save
