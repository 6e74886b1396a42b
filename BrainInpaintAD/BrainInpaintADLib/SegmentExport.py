"""Segments as a labelmap volume: all but the discarded ones, each with a value of its own."""

from __future__ import annotations

import slicer
import vtk
from slicer.i18n import tr as _

from .Segments import SegmentsError, isDiscarded, labelOf


def exportedIds(segmentationNode: slicer.vtkMRMLSegmentationNode) -> list[str]:
    """All segments, the user's too, but for discarded ones; in the order of the segmentation."""
    segmentation = segmentationNode.GetSegmentation()
    return [identifier for identifier in segmentation.GetSegmentIDs() if not isDiscarded(segmentation.GetSegment(identifier))]


def exportLabelmap(
    segmentationNode: slicer.vtkMRMLSegmentationNode, volumeNode: slicer.vtkMRMLScalarVolumeNode
) -> slicer.vtkMRMLLabelMapVolumeNode:
    """A new labelmap volume on the grid of `volumeNode`; anomalies keep their values, added segments get free ones."""
    scene = segmentationNode.GetScene()
    values = labelValues(segmentationNode)
    name = scene.GenerateUniqueName(_("{name} labelmap").format(name=segmentationNode.GetName()))
    labelmapNode = scene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", name)
    if not values:
        return _emptyLike(volumeNode, labelmapNode)
    colours = _addColourTable(segmentationNode, values, f"{name} colors")
    exported = slicer.vtkSlicerSegmentationsModuleLogic.ExportSegmentsToLabelmapNode(
        segmentationNode,
        _stringArray(values),
        labelmapNode,
        volumeNode,
        slicer.vtkSegmentation.EXTENT_REFERENCE_GEOMETRY,
        colours,
    )
    if not exported:
        scene.RemoveNode(labelmapNode)
        scene.RemoveNode(colours)
        raise SegmentsError(_("'{name}' could not be exported.").format(name=segmentationNode.GetName()))
    return labelmapNode


def labelValues(segmentationNode: slicer.vtkMRMLSegmentationNode) -> dict[str, int]:
    """Segment id → label value in exports, 1 or above and without repetition; discarded ones are left out.

    SegmentsError when two segments share a name.
    """
    segmentation = segmentationNode.GetSegmentation()
    identifiers = exportedIds(segmentationNode)
    names = [segmentation.GetSegment(identifier).GetName() for identifier in identifiers]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:  # the export finds label values by name
        text = _("Several segments are called '{name}'; give each its own name, then export.")
        raise SegmentsError(text.format(name=repeated[0]))
    taken = {labelOf(segmentation.GetSegment(identifier)) for identifier in segmentation.GetSegmentIDs()}  # discarded too
    values: dict[str, int] = {}
    for identifier in identifiers:
        wished = labelOf(segmentation.GetSegment(identifier))
        if wished and wished not in values.values():
            values[identifier] = wished
    for identifier in identifiers:
        values.setdefault(identifier, max({*taken, *values.values()}, default=0) + 1)
    return values


def _addColourTable(segmentationNode, values: dict[str, int], name: str) -> slicer.vtkMRMLColorTableNode:
    table = slicer.vtkMRMLColorTableNode()
    table.SetTypeToUser()
    table.SetName(name)
    table.SetNumberOfColors(max(values.values()) + 1)
    table.SetColor(0, "Background", 0, 0, 0, 0)
    for identifier, value in values.items():
        segment = segmentationNode.GetSegmentation().GetSegment(identifier)
        table.SetColor(value, segment.GetName(), *segment.GetColor(), 1.0)
    return segmentationNode.GetScene().AddNode(table)


def _emptyLike(volumeNode, labelmapNode) -> slicer.vtkMRMLLabelMapVolumeNode:
    image = vtk.vtkImageData()
    image.SetDimensions(volumeNode.GetImageData().GetDimensions())
    image.AllocateScalars(vtk.VTK_SHORT, 1)
    image.GetPointData().GetScalars().Fill(0)
    labelmapNode.SetAndObserveImageData(image)
    labelmapNode.CopyOrientation(volumeNode)
    labelmapNode.SetAndObserveTransformNodeID(volumeNode.GetTransformNodeID())
    labelmapNode.CreateDefaultDisplayNodes()
    return labelmapNode


def _stringArray(texts) -> vtk.vtkStringArray:
    array = vtk.vtkStringArray()
    for text in texts:
        array.InsertNextValue(text)
    return array
