"""From images in any order to slices on one grid; what does not make a grid is refused by its name."""

from __future__ import annotations

import numpy as np

from ..errors import InputError
from ..volume import Array, Grid
from .frames import Frame

_AXES = 1e-3  # how much two slices' axes may differ, and how far their places may wander off the normal, per mm
_UNEVEN = 0.05  # steps between slices may differ by this share: positions are rounded in files
_ROUNDED_MM = 0.02  # and by this


def stacked(frames: list[Frame], name: str) -> tuple[list[Frame], Grid]:
    """The images as slices, along the direction in which rows × columns point, and their grid.

    name: what to call the series in messages. Raises InputError: images of several sizes or directions, several images at one
    place, missing or uneven slices, a tilted gantry.
    """
    first = frames[0]
    _check_alike(frames, name)
    normal = np.cross(first.axes[0], first.axes[1])
    along = np.array([frame.place @ normal for frame in frames])
    order = np.argsort(along, kind="stable")
    ordered, along = [frames[index] for index in order], along[order]
    step_mm = _step(along, name)
    _check_straight(ordered, normal, name)
    rows, columns = first.shape
    direction = np.stack([first.axes[0], first.axes[1], normal], axis=1)
    x, y, z = (float(mm) for mm in ordered[0].place)
    grid = Grid(
        (columns, rows, len(ordered)),
        (first.spacing[1], first.spacing[0], step_mm),
        (x, y, z),
        tuple(float(cosine) for cosine in direction.ravel()),
    )
    return ordered, grid


def _check_alike(frames: list[Frame], name: str) -> None:
    first = frames[0]
    for frame in frames:
        if frame.shape != first.shape or not np.allclose(frame.spacing, first.spacing, rtol=1e-3):
            raise InputError(f"{name} mixes images of several sizes; export the scan as a series of its own.")
        if np.abs(frame.axes - first.axes).max() > _AXES:
            raise InputError(f"{name} mixes images of several directions, as a localiser does; give the series of the scan.")
    lengths, across = np.linalg.norm(first.axes, axis=1), abs(float(first.axes[0] @ first.axes[1]))
    if np.abs(lengths - 1).max() > _AXES or across > _AXES:
        raise InputError(f"{name} has axes that are not at right angles; give the original series.")


def _step(along: Array, name: str) -> float:
    """Mean distance of the slices in mm, once it is known to be one."""
    if len(along) == 1:
        return 1.0  # too few slices, as will be said
    steps = np.diff(along)
    if (same := int((steps <= _ROUNDED_MM).sum())) > 0:
        raise InputError(
            f"{name} holds {same} images at places where there is one already (echoes, time points, diffusion directions or "
            "copies); export one of them as a series of its own."
        )
    usual = float(np.median(steps))
    times = np.round(steps / usual)
    uneven = np.abs(steps - times * usual) > _UNEVEN * usual + _ROUNDED_MM
    if (times > 1).any() and not uneven.any():
        after = int(np.flatnonzero(times > 1)[0])
        raise InputError(
            f"{name} lacks {int((times - 1).sum())} slices (the first gap is behind slice {after + 1} of {len(along)}, where "
            f"{steps[after]:.2f} mm lie between slices instead of {usual:.2f} mm); copy or export the series again."
        )
    if uneven.any():
        raise InputError(
            f"{name} has slices {steps.min():.2f} to {steps.max():.2f} mm apart; resample it to even distances first."
        )
    return float((along[-1] - along[0]) / (len(along) - 1))


def _check_straight(ordered: list[Frame], normal: Array, name: str) -> None:
    places = np.stack([frame.place for frame in ordered]) - ordered[0].place
    depth = places @ normal
    aside = places - depth[:, None] * normal
    if np.abs(aside).max() <= _AXES * max(float(depth[-1]), 1.0) + _ROUNDED_MM:
        return
    last = float(np.linalg.norm(aside[-1]))
    wanders = np.abs(aside - np.outer(depth / depth[-1], aside[-1])).max() > 0.1
    if wanders:
        raise InputError(f"{name} has slices that are moved against each other; export the series again.")
    degrees = np.degrees(np.arctan2(last, depth[-1]))
    raise InputError(
        f"{name} was taken with a tilted gantry ({degrees:.1f}°: its slices are sheared, not stacked); straighten it with "
        "a converter that corrects the tilt, such as dcm2niix, and give the NIfTI file."
    )
