"""Brain extraction by deepbet (Fisch 2024): T1 only; its weights come inside its package."""

from __future__ import annotations

import warnings

import numpy as np

from ..errors import NoBrainError
from ..memory import full_memory_told
from ..progress import Progress
from ..volume import Array, Volume

_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])  # LPS to RAS


def extract(scan: Volume, *, use_gpu: bool, progress: Progress) -> Array:
    """Brain mask of a whole head, bool of the scan's shape. Raises NoBrainError."""
    import nibabel
    from deepbet import BrainExtraction

    affine = _RAS @ scan.grid.affine
    columns_first = np.ascontiguousarray(scan.array.transpose(2, 1, 0), dtype=np.float32)
    try:
        with full_memory_told(), warnings.catch_warnings():
            # deepbet's nets are TorchScript, whose reader torch calls deprecated: nothing a user can do about.
            warnings.filterwarnings("ignore", message=".*torch.jit.load", category=DeprecationWarning)
            _, found, _ = BrainExtraction(no_gpu=not use_gpu).run(nibabel.Nifti1Image(columns_first, affine))
    except (AssertionError, ValueError, RuntimeError, IndexError) as error:  # how deepbet says "no brain"
        raise NoBrainError(
            f"no brain was found in {scan.name}: brain extraction (T1 only) failed; "
            "if it does show a brain, give its mask with --mask."
        ) from error
    return np.asarray(np.asarray(found.dataobj).astype(bool).transpose(2, 1, 0))
