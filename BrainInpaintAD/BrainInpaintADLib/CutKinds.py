"""What regions are cut in: as suits the model, in slices, in the volume, at several scales; and the panel's words for it."""

from __future__ import annotations

from slicer.i18n import tr as _

from .Settings import SEGMENTATIONS, SUITED

PUBLISHED_KIND = SEGMENTATIONS[0]
_IN_3D = ("volume", "scales")  # these need numba, see Install.hasNumba


def kindOf(segmentation: str, rule: str, suits: str, *, hasNumba: bool) -> str:
    """Which of the core's segmentations a setting means; SUITED is resolved as the core's `detect` does.

    suits: what the model's card names. Without numba, or with the paper's rule, slices are cut.
    """
    if segmentation != SUITED:
        return segmentation
    return PUBLISHED_KIND if rule != "calibrated" or (needsNumba(suits) and not hasNumba) else suits


def needsNumba(kind: str) -> bool:
    """Whether it cannot be cut without the package numba."""
    return kind in _IN_3D


def choiceTexts(suited: str) -> tuple[str, ...]:
    """The box's words, in the order of SUITED and SEGMENTATIONS. suited: what SUITED means now, see `kindOf`."""
    short = {
        "slices": _("axial slices"),
        "volume": _("the volume"),
        "scales": _("several scales"),
        "residual": _("single voxels"),  # of models that are not ours
    }
    names = {"slices": _("Axial slices"), "volume": _("The whole volume"), "scales": _("Several scales together")}
    first = _("As suits the model ({kind})").format(kind=short[suited])
    return (first, *(names[kind] for kind in SEGMENTATIONS))


def choiceToolTip(*, hasNumba: bool) -> str:
    """What the choices mean, and what they need."""
    if not hasNumba:
        return _("Regions are cut in each axial slice; all else needs the package 'numba', see Installation below.")
    return _(
        "As suits the model: what its makers found best, taken anew for each model. Axial slices: each slice by itself, as "
        "published. The whole volume: one cut in 3-D, so that outlines do not flicker between slices. Several scales together: "
        "the volume is cut at the scale that is set and at 1/2, 1/4 and 1/8 of it, a place is as hot as its regions are on "
        "average, and an anomaly ends where it is cooler than a third of its hottest place."
    )


def sizeUnit(kind: str) -> str:
    """What the smallest region is counted in, as a suffix."""
    return _(" voxels") if needsNumba(kind) else _(" px")
