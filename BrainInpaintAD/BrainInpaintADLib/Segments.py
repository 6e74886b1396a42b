"""Anomalies as segments, and segments back as a labelmap."""

from __future__ import annotations

import colorsys

import slicer
import vtk

LABEL_TAG = "BrainInpaintAD.label"  # the anomaly's value in the labelmap; survives saving and editing
_GOLDEN_TURN = 0.61803398875  # successive hues this far apart never come close to each other


class SegmentsError(ValueError):
    """Segments cannot be exported as they are."""


def addToScene(
    labelmapNode: slicer.vtkMRMLLabelMapVolumeNode, volumeNode: slicer.vtkMRMLScalarVolumeNode
) -> slicer.vtkMRMLSegmentationNode:
    """One new segmentation with one segment per label, all in one shared layer, referring to the scan."""
    scene = volumeNode.GetScene()
    name = scene.GenerateUniqueName(f"{volumeNode.GetName()} anomalies")
    segmentationNode = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", name)
    segmentationNode.CreateDefaultDisplayNodes()
    # Imported before the parent transform is set: the import is wrong under nested transforms.
    logic = slicer.vtkSlicerSegmentationsModuleLogic
    if not logic.ImportLabelmapToSegmentationNode(labelmapNode, segmentationNode):
        raise SegmentsError("The anomalies could not be made into segments; run the detection again.")
    _nameSegments(segmentationNode)
    segmentationNode.SetAndObserveTransformNodeID(volumeNode.GetTransformNodeID())
    segmentationNode.SetReferenceImageGeometryParameterFromVolumeNode(volumeNode)  # sets the reference role as well
    _placeInSubjectHierarchy(segmentationNode, volumeNode)
    return segmentationNode


def exportLabelmap(
    segmentationNode: slicer.vtkMRMLSegmentationNode, volumeNode: slicer.vtkMRMLScalarVolumeNode
) -> slicer.vtkMRMLLabelMapVolumeNode:
    """A new labelmap volume on the grid of `volumeNode`; anomalies keep their values, added segments get free ones."""
    scene = segmentationNode.GetScene()
    values = labelValues(segmentationNode)
    name = scene.GenerateUniqueName(f"{segmentationNode.GetName()} labelmap")
    labelmapNode = scene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", name)
    if not values:
        return _emptyLike(volumeNode, labelmapNode)
    exported = slicer.vtkSlicerSegmentationsModuleLogic.ExportSegmentsToLabelmapNode(
        segmentationNode,
        _stringArray(values),
        labelmapNode,
        volumeNode,
        slicer.vtkSegmentation.EXTENT_REFERENCE_GEOMETRY,
        _addColourTable(segmentationNode, values, f"{name} colors"),
    )
    if not exported:
        raise SegmentsError(f"'{segmentationNode.GetName()}' could not be exported.")
    return labelmapNode


def labelValues(segmentationNode: slicer.vtkMRMLSegmentationNode) -> dict[str, int]:
    """Segment id → label value, 1 or above and without repetition. SegmentsError when two segments share a name."""
    segmentation = segmentationNode.GetSegmentation()
    identifiers = list(segmentation.GetSegmentIDs())
    names = [segmentation.GetSegment(identifier).GetName() for identifier in identifiers]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:  # the export finds label values by name
        raise SegmentsError(f"Several segments are called '{repeated[0]}'; give each its own name, then export.")
    values: dict[str, int] = {}
    for identifier in identifiers:
        wished = _tag(segmentation.GetSegment(identifier))
        if wished and wished not in values.values():
            values[identifier] = wished
    for identifier in identifiers:
        values.setdefault(identifier, max(values.values(), default=0) + 1)
    return values


def _nameSegments(segmentationNode: slicer.vtkMRMLSegmentationNode) -> None:
    segmentation = segmentationNode.GetSegmentation()
    for identifier in segmentation.GetSegmentIDs():
        segment = segmentation.GetSegment(identifier)
        label = segment.GetLabelValue()
        segment.SetName(f"Anomaly {label}")
        segment.SetColor(*colorsys.hsv_to_rgb((label - 1) * _GOLDEN_TURN % 1, 0.75, 1.0))
        segment.SetTag(LABEL_TAG, str(label))


def _placeInSubjectHierarchy(segmentationNode, volumeNode) -> None:
    """Beside its scan, in the same study: DICOM export looks for the scan there."""
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(volumeNode.GetScene())
    scan = hierarchy.GetItemByDataNode(volumeNode)
    if not scan:
        return  # the scan is not in the tree, so there is no study to join
    parent = hierarchy.GetItemParent(scan)
    item = hierarchy.GetItemByDataNode(segmentationNode)
    if item:
        hierarchy.SetItemParent(item, parent)
    else:
        hierarchy.CreateItem(parent, segmentationNode)


def _tag(segment: slicer.vtkSegment) -> int:
    text = vtk.reference("")
    return int(text.get()) if segment.GetTag(LABEL_TAG, text) and text.get().isdigit() else 0


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
