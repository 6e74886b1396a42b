"""Whether a scan is of the kind a model was trained on."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import distance_transform_edt

from ..errors import InputError
from ..volume import Array

CORTEX_MM, DEEP_MM = (2.0, 6.0), (10.0, 24.0)  # depths below the brain's surface
# Median of the depth minus median of the cortex, after normalisation. Measured on ten T1 scans of IXI, BraTS and
# an MS set: 0.12 to 0.23, tumours and atrophy included; FLAIR of the MS set −0.02 to 0.02, inverted T1 −0.12 to −0.10.
LEAST_T1_CONTRAST = 0.06


def check_t1(image: Array, brain: Array, *, spacing_mm: float, name: str) -> None:
    """Raises InputError unless white matter is brighter than the cortex, as on T1.

    image: prepared, (slices, rows, columns) in [0, 1]; brain: bool; spacing_mm: of the cubic voxels.
    """
    contrast = depth_contrast(image, brain, spacing_mm=spacing_mm)
    if contrast < LEAST_T1_CONTRAST:
        raise InputError(
            f"{name} does not look like a T1-weighted scan: its white matter is not brighter than its cortex (contrast "
            f"{contrast:.2f}, T1 has 0.12 or more); give a T1 scan, since the model knows no other."
        )


def depth_contrast(image: Array, brain: Array, *, spacing_mm: float) -> float:
    """Median intensity 10 to 24 mm below the surface of the brain minus that at 2 to 6 mm."""
    depth = distance_transform_edt(brain) * spacing_mm
    shells = [image[(depth > low) & (depth <= high)] for low, high in (DEEP_MM, CORTEX_MM)]
    if min(shell.size for shell in shells) == 0:
        return 0.0
    return float(np.median(shells[0]) - np.median(shells[1]))
