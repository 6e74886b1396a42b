"""Anomalies as segments; SegmentExport makes a labelmap of them.

All our segments look at one labelmap, which is replaced in place when they change: one event instead of one per segment.
Segments without our label tag are the user's; nothing here touches them.
"""

from __future__ import annotations

import colorsys

import numpy as np
import slicer
import vtk
from slicer.i18n import tr as _
from vtk.util.numpy_support import numpy_to_vtk, vtk_to_numpy

from . import Scene

LABEL_TAG = "BrainInpaintAD.label"  # the anomaly's value in the labelmap; survives saving and editing
DISCARDED_TAG = "BrainInpaintAD.discarded"  # there: the user does not believe in it
_GOLDEN_TURN = 0.61803398875  # successive hues this far apart never come close to each other
_LABELMAP = slicer.vtkSegmentationConverter.GetSegmentationBinaryLabelmapRepresentationName()


class SegmentsError(ValueError):
    """Segments cannot be exported as they are."""


def addToScene(
    labels: np.ndarray, likeNode: slicer.vtkMRMLScalarVolumeNode, name: str, scanNode: slicer.vtkMRMLScalarVolumeNode
) -> slicer.vtkMRMLSegmentationNode:
    """A new segmentation with one segment per label, in one shared layer, with the scan as its reference geometry.

    labels: integer (slices, rows, columns) on the grid of `likeNode`, whose parent transform it shares.
    """
    segmentationNode = likeNode.GetScene().AddNewNodeByClass("vtkMRMLSegmentationNode", name)
    segmentationNode.CreateDefaultDisplayNodes()
    segmentationNode.SetAndObserveTransformNodeID(likeNode.GetTransformNodeID())
    setLabels(segmentationNode, labels, Scene.gridIn(segmentationNode, likeNode))
    segmentationNode.SetReferenceImageGeometryParameterFromVolumeNode(scanNode)  # sets the reference role as well
    return segmentationNode


def setLabels(
    segmentationNode: slicer.vtkMRMLSegmentationNode,
    labels: np.ndarray,
    matrix: np.ndarray,
    discarded: frozenset[int] | set[int] = frozenset(),
) -> None:
    """Replace our segments by one per label 1…N, and say which of them are discarded. The user's stay as they are.

    labels: integer (slices, rows, columns); matrix: voxel (i, j, k, 1) → RAS below the segmentation's parent transform.
    Surfaces are dropped; Views.show3D makes them anew.
    """
    count = int(labels.max(initial=0))
    segmentation = segmentationNode.GetSegmentation()
    wasModifying = segmentationNode.StartModify()
    try:
        shared = _sharedLabelmap(segmentationNode)
        shared.ShallowCopy(_imageOf(labels, matrix))  # one event for all of them; surfaces are dropped with it
        known = segmentIds(segmentationNode)
        for label in sorted(set(known) - set(range(1, count + 1))):
            segmentation.GetSegment(known[label]).RemoveRepresentation(_LABELMAP)  # else it is cut out of the layer first
            segmentation.RemoveSegment(known.pop(label))
        for label in range(1, count + 1):
            if label not in known:
                known[label] = _addSegment(segmentation, label, shared)
            _reset(segmentationNode, known[label], label, shared, isDiscarded=label in discarded)
    finally:
        segmentationNode.EndModify(wasModifying)


def segmentIds(segmentationNode: slicer.vtkMRMLSegmentationNode) -> dict[int, str]:
    """Label → id of our segments, by label; of copies that share a label the first counts."""
    segmentation = segmentationNode.GetSegmentation()
    found: dict[int, str] = {}
    for identifier in segmentation.GetSegmentIDs():
        label = labelOf(segmentation.GetSegment(identifier))
        if label:
            found.setdefault(label, identifier)
    return dict(sorted(found.items()))


def isDiscarded(segment: slicer.vtkSegment) -> bool:
    """Whether the user does not believe in it."""
    return segment.HasTag(DISCARDED_TAG)


def labelOf(segment: slicer.vtkSegment) -> int:
    """Which anomaly it is; 0 for the user's segments."""
    text = vtk.reference("")
    return int(text.get()) if segment.GetTag(LABEL_TAG, text) and text.get().isdigit() else 0


def setDiscarded(segmentationNode: slicer.vtkMRMLSegmentationNode, label: int, discarded: bool) -> None:
    """Discarded: hidden and left out of exports. Does nothing when the segment was deleted."""
    identifier = segmentIds(segmentationNode).get(label)
    if identifier is not None:
        _markDiscarded(segmentationNode, identifier, discarded)


def discardedIn(segmentationNode: slicer.vtkMRMLSegmentationNode, labels: np.ndarray, matrix: np.ndarray) -> set[int]:
    """Which of new labels have most of their voxels in a segment that is discarded now. Arguments as for `setLabels`."""
    segmentation = segmentationNode.GetSegmentation()
    out = [
        identifier for identifier in segmentIds(segmentationNode).values() if isDiscarded(segmentation.GetSegment(identifier))
    ]
    if not out:
        return set()
    places = np.flatnonzero(labels)
    values = labels.ravel()[places]
    hit = np.zeros(len(places), bool)
    for identifier in out:
        hit |= _maskOf(segmentation, identifier, labels.shape, matrix).ravel()[places]
    total = np.bincount(values)
    inside = np.bincount(values[hit], minlength=len(total))
    return {int(label) for label in np.flatnonzero(2 * inside > total)}


def nameOf(label: int) -> str:
    """What a new anomaly's segment is called."""
    return _("Anomaly {number}").format(number=label)


def _sharedLabelmap(segmentationNode) -> slicer.vtkOrientedImageData:
    """The labelmap of our segments, used by no segment of the user's; a new one when we have no segments yet."""
    segmentation = segmentationNode.GetSegmentation()
    ours = segmentIds(segmentationNode).values()
    for identifier in ours:
        shared = segmentation.GetSegment(identifier).GetRepresentation(_LABELMAP)
        if shared is not None:
            break
    else:
        return slicer.vtkOrientedImageData()
    for identifier in segmentation.GetSegmentIDs():
        isTheUsers = identifier not in ours
        if isTheUsers and segmentation.GetSegment(identifier).GetRepresentation(_LABELMAP) is shared:
            segmentation.SeparateSegmentLabelmap(identifier)
    return shared


def _addSegment(segmentation, label: int, shared) -> str:
    segment = slicer.vtkSegment()
    segment.SetName(nameOf(label))
    segment.SetLabelValue(label)
    segment.SetTag(LABEL_TAG, str(label))
    segment.AddRepresentation(_LABELMAP, shared)
    identifier = segmentation.GenerateUniqueSegmentID(f"Anomaly_{label}")
    if not segmentation.AddSegment(segment, identifier):
        raise SegmentsError(_("The anomalies could not be made into segments; run the detection again."))
    return identifier


def _reset(segmentationNode, identifier: str, label: int, shared, *, isDiscarded: bool) -> None:
    """Name, colour and place as of a new anomaly; what already is so raises no event."""
    segment = segmentationNode.GetSegmentation().GetSegment(identifier)
    if segment.GetRepresentation(_LABELMAP) is not shared:
        segment.AddRepresentation(_LABELMAP, shared)
    if segment.GetLabelValue() != label:
        segment.SetLabelValue(label)
    if segment.GetName() != nameOf(label):
        segment.SetName(nameOf(label))
    colour = colorsys.hsv_to_rgb((label - 1) * _GOLDEN_TURN % 1, 0.75, 1.0)
    if not np.allclose(segment.GetColor(), colour):
        segment.SetColor(*colour)
    _markDiscarded(segmentationNode, identifier, isDiscarded)


def _markDiscarded(segmentationNode, identifier: str, isOut: bool) -> None:
    segment = segmentationNode.GetSegmentation().GetSegment(identifier)
    if isOut and not isDiscarded(segment):
        segment.SetTag(DISCARDED_TAG, "1")
    elif not isOut and isDiscarded(segment):
        segment.RemoveTag(DISCARDED_TAG)
    display = segmentationNode.GetDisplayNode()
    if display is not None and display.GetSegmentVisibility(identifier) == isOut:
        display.SetSegmentVisibility(identifier, not isOut)


def _imageOf(labels: np.ndarray, matrix: np.ndarray) -> slicer.vtkOrientedImageData:
    """The box around the labels, as Slicer wants it: geometry apart from extent."""
    box = _boxOf(labels)
    values = np.ascontiguousarray(labels[box])
    if values.dtype not in (np.uint8, np.int16):
        values = values.astype(np.int16)
    image = slicer.vtkOrientedImageData()
    image.SetExtent([edge for part in reversed(box) for edge in (part.start, part.stop - 1)])
    image.GetPointData().SetScalars(numpy_to_vtk(values.ravel(), deep=True))
    image.SetImageToWorldMatrix(slicer.util.vtkMatrixFromArray(matrix))
    return image


def _boxOf(labels: np.ndarray) -> tuple[slice, slice, slice]:
    """Around everything that is not 0; one voxel when there is nothing."""
    slices = np.flatnonzero(labels.any(axis=(1, 2)))
    if not slices.size:
        return (slice(0, 1),) * 3
    part = labels[slices[0] : slices[-1] + 1].any(axis=0)
    rows, columns = np.flatnonzero(part.any(axis=1)), np.flatnonzero(part.any(axis=0))
    return tuple(slice(int(found[0]), int(found[-1]) + 1) for found in (slices, rows, columns))


def _maskOf(segmentation, identifier: str, shape: tuple[int, int, int], matrix: np.ndarray) -> np.ndarray:
    """bool of `shape`, on the grid that `matrix` describes; resampled only when the user edited on another grid."""
    segment = segmentation.GetSegment(identifier)
    mask = np.zeros(shape, bool)
    image = segment.GetRepresentation(_LABELMAP)
    if image is None or image.GetPointData().GetScalars() is None:
        return mask
    found = vtk.vtkMatrix4x4()
    image.GetImageToWorldMatrix(found)
    if not np.allclose(slicer.util.arrayFromVTKMatrix(found), matrix, atol=1e-4):
        image = _resampled(image, shape, matrix)
    extent = np.reshape(image.GetExtent(), (3, 2))[::-1]  # first and last, of slices, rows, columns
    first, behind = extent[:, 0], extent[:, 1] + 1
    if (behind <= first).any():
        return mask
    low, high = np.maximum(first, 0), np.minimum(behind, shape)  # an edited segment may reach beyond the scan
    values = vtk_to_numpy(image.GetPointData().GetScalars()).reshape(behind - first)
    box = tuple(map(slice, low, high))
    mask[box] = values[tuple(map(slice, low - first, high - first))] == segment.GetLabelValue()
    return mask


def _resampled(image, shape: tuple[int, int, int], matrix: np.ndarray) -> slicer.vtkOrientedImageData:
    like = slicer.vtkOrientedImageData()
    like.SetExtent([edge for size in reversed(shape) for edge in (0, size - 1)])
    like.AllocateScalars(vtk.VTK_UNSIGNED_CHAR, 1)
    like.SetImageToWorldMatrix(slicer.util.vtkMatrixFromArray(matrix))
    out = slicer.vtkOrientedImageData()
    slicer.vtkOrientedImageDataResample.ResampleOrientedImageToReferenceOrientedImage(image, like, out)
    return out
