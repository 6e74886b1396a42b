"""`brain-inpaint-ad phantom`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .run import ProgressStyle, run


def phantom(
    out: Annotated[Path, typer.Option(help="Folder for t1.nii.gz, brain_mask.nii.gz and truth.nii.gz.")],
    spacing_mm: Annotated[float, typer.Option(help="Voxel size in mm.")] = 1.0,
    lesion_radius_mm: Annotated[float, typer.Option(help="Radius of the lesion in mm; 0 for a healthy head.")] = 15.0,
    contrast: Annotated[float, typer.Option(help="Lesion against its surroundings, in units of white matter.")] = -0.35,
    whole_head: Annotated[bool, typer.Option("--whole-head", help="With skull and scalp.")] = False,
    seed: Annotated[int, typer.Option(help="Equal seeds make equal heads.")] = 0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files that are already in the folder.")] = False,
) -> None:
    """Make up a T1 scan with a lesion of known place, for trying things without data."""

    def work(_: object) -> list[Path]:
        from ..phantom import Lesion, PhantomSettings, make_phantom, save_phantom

        lesion = (
            Lesion(centre_mm=(30.0, 10.0, 20.0), radius_mm=lesion_radius_mm, contrast=contrast)
            if lesion_radius_mm > 0
            else None
        )
        settings = PhantomSettings(spacing_mm=spacing_mm, whole_head=whole_head, seed=seed, lesions=(lesion,) if lesion else ())
        return save_phantom(make_phantom(settings), out, overwrite=overwrite)

    for path in run(work, ProgressStyle.none):
        typer.echo(str(path))
