"""Does a volume fit a model: doubts in one line, from its grid, its values and its name."""

from __future__ import annotations

import re
from collections.abc import Sequence

import slicer
from slicer.i18n import tr as _

from .Models import Model

MOST_SPACING_MM = 6.0  # thicker slices leave too little of a 32 mm window's surroundings
LEAST_EXTENT_MM = 90.0  # a whole brain measures 110 mm or more along every axis

# What names of series and files tell; letters around would make it another word ("FACTOR" is no CT).
_T1 = re.compile(r"(?<![a-z])(?:t1(?!\d)|mp2?rage|spgr|bravo|tfe)", re.IGNORECASE)
_OTHER = (
    ("FLAIR", re.compile(r"flair", re.IGNORECASE)),
    ("T2", re.compile(r"t2(?!\d)", re.IGNORECASE)),
    ("PD", re.compile(r"(?<![a-z])pd(?:w|(?![a-z]))", re.IGNORECASE)),
    ("DWI", re.compile(r"(?<![a-z])(?:dwi|dti|adc|trace)(?![a-z])", re.IGNORECASE)),
    ("SWI", re.compile(r"(?<![a-z])swi(?![a-z])", re.IGNORECASE)),
    ("fMRI", re.compile(r"(?<![a-z])(?:bold|fmri|epi)(?![a-z])", re.IGNORECASE)),
    ("CT", re.compile(r"(?<![A-Za-z])(?:CTA?|ct)(?![a-z])")),
    ("PET", re.compile(r"(?<![A-Za-z])(?:PET|pet)(?![a-z])")),
)
_CONTRAST = re.compile(  # MRBrainTumor1 and 2 are Slicer's own samples
    r"(?<![a-z])(?:t1[-_ ]?(?:ce|c|gd|km|post)(?![a-z])|gad|contrast|post[-_ ]?(?:gd|con)|MRBrainTumor)", re.IGNORECASE
)


def fitText(model: Model | None, volumeNode: slicer.vtkMRMLVolumeNode | None) -> str:
    """Why the volume does not fit the model, in one line for the user; "" when it does or when nothing is chosen.

    A doubt, not a refusal, for names can mislead; what cannot work at all is refused by Scene.checkScan at the start.
    """
    if model is None or volumeNode is None:
        return ""
    name = volumeNode.GetName()
    image = volumeNode.GetImageData()
    if volumeNode.IsA("vtkMRMLLabelMapVolumeNode"):
        return _("'{name}' is a labelmap; choose the scan itself.").format(name=name)
    if image is None or min(image.GetDimensions()) < 2:
        return _("'{name}' holds no 3-D image; choose a volume with several slices.").format(name=name)
    if image.GetNumberOfScalarComponents() != 1:
        return _("'{name}' has several values per voxel; choose a scalar {modality} volume.").format(
            name=name, modality=model.modality
        )
    low, high = image.GetScalarRange()
    if not low < high:
        return _("'{name}' has the same value everywhere: no brain to be seen.").format(name=name)
    return _gridText(name, volumeNode.GetSpacing(), image.GetDimensions()) or _nameText(name, model.modality)


def _gridText(name: str, spacingMm: Sequence[float], size: Sequence[int]) -> str:
    if max(spacingMm) > MOST_SPACING_MM:
        text = _("The voxels of '{name}' measure up to {spacing:.1f} mm; the models need {most:g} mm or less.")
        return text.format(name=name, spacing=max(spacingMm), most=MOST_SPACING_MM)
    extent = min(step * count for step, count in zip(spacingMm, size, strict=True))
    if extent < LEAST_EXTENT_MM:
        text = _("'{name}' covers only {extent:.0f} mm in one direction; the models know whole brains.")
        return text.format(name=name, extent=extent)
    return ""


def _nameText(name: str, modality: str) -> str:
    if modality != "T1":
        return ""  # what other names would mean for another model is not known
    if _CONTRAST.search(name):
        text = _("'{name}' sounds like T1 with contrast agent; the model knows T1 without, and vessels may be marked.")
        return text.format(name=name)
    others = [other for other, words in _OTHER if words.search(name)]
    if others and not _T1.search(name):
        text = _("'{name}' sounds like {other}; the model knows {modality} only.")
        return text.format(name=name, other=others[0], modality=modality)
    return ""
