"""The core's files as a result in the scene."""

from __future__ import annotations

import base64
from dataclasses import replace
from pathlib import Path

import slicer
from slicer.i18n import tr as _

from . import Findings, Heatmap, Models, Scene, Segments
from .Core import CoreMissingError
from .Results import KEY, MODEL, PLACE, PREVIEW, REPORT, SCAN, WINDOW, ResultNodes, fingerprint, parts, sumUp
from .ScanScore import readReport
from .Settings import Settings

_NOT_IN_TREE = slicer.vtkMRMLSubjectHierarchyConstants.GetSubjectHierarchyExcludeFromTreeAttributeName()


def importResult(
    folder: Path, volumeNode: slicer.vtkMRMLScalarVolumeNode, *, settings: Settings, isPreview: bool = False
) -> ResultNodes:
    """The core's files as new nodes: all of it or nothing. SceneError, FindingsError or SegmentsError say why.

    Files that are optional: reconstruction.nii.gz and recut.npz. Nothing is seen of it in any view, see `show`.
    """
    heatmapNode = Scene.readLike(volumeNode, folder / "heatmap.nii.gz", slicer.vtkMRMLScalarVolumeNode())
    labelmapNode = Scene.readLike(volumeNode, folder / "anomalies.nii.gz", slicer.vtkMRMLLabelMapVolumeNode())
    reconstructionNode = None
    if (folder / "reconstruction.nii.gz").is_file():
        reconstructionNode = Scene.readLike(volumeNode, folder / "reconstruction.nii.gz", slicer.vtkMRMLScalarVolumeNode())
    findings = [replace(row, name=Segments.nameOf(row.label)) for row in Findings.readFindings(folder / "findings.csv")]
    recut = folder / "recut.npz"
    place = " ".join(repr(float(number)) for number in Scene.worldMatrix(volumeNode).ravel())
    scene = volumeNode.GetScene()
    with Scene.takenBack(scene, onlyOnFailure=True):
        name = _Names(volumeNode, settings.windowMm, isPreview)
        _addVolume(heatmapNode, volumeNode, name(_("heatmap")))
        Heatmap.prepare(heatmapNode, isRarity=_tellsRarity(settings.model))
        labels = slicer.util.arrayFromVolume(labelmapNode)
        segmentationNode = Segments.addToScene(labels, heatmapNode, name(_("anomalies")), volumeNode)
        segmentationNode.SetDisplayVisibility(False)
        tableNode = scene.AddNewNodeByClass("vtkMRMLTableNode", name(_("findings")))
        Findings.fillTable(tableNode, findings)
        if reconstructionNode is not None:
            _addVolume(reconstructionNode, volumeNode, name(_("reconstruction")))
            reconstructionNode.SetNodeReferenceID(SCAN, volumeNode.GetID())
            _showLike(reconstructionNode, volumeNode)
        recutNode = _addText(scene, name(_("recut data")), recut.read_bytes()) if recut.is_file() else None
        for node in filter(None, (heatmapNode, segmentationNode, tableNode, reconstructionNode)):
            Scene.placeBeside(node, volumeNode)
        result = ResultNodes(heatmapNode, volumeNode, segmentationNode, tableNode, reconstructionNode, recutNode)
        for role, node in parts(result):
            heatmapNode.SetNodeReferenceID(role, node.GetID() if node is not None else None)
        for attribute, text in (
            (MODEL, settings.model),
            (WINDOW, f"{settings.windowMm:g}"),
            (PREVIEW, "1" if isPreview else "0"),
            (KEY, fingerprint(volumeNode)),
            (PLACE, place),
            (REPORT, readReport(folder / "report.json").toText()),
        ):
            heatmapNode.SetAttribute(attribute, text)
        sumUp(result)
    return result


def _tellsRarity(model: str) -> bool:
    """Of a model that cannot be found any more, nothing is known."""
    try:
        return Models.findModel(model).tellsRarity
    except (Models.ModelsError, CoreMissingError):
        return False


class _Names:
    """Names for new nodes, such as "t1 heatmap 32 mm", each unique in the scene."""

    def __init__(self, volumeNode, windowMm: float, isPreview: bool) -> None:
        self._scan, self._scene = volumeNode.GetName(), volumeNode.GetScene()
        self._tail = _("{size:g} mm preview") if isPreview else _("{size:g} mm")
        self._tail = self._tail.format(size=windowMm) if windowMm else ""

    def __call__(self, what: str) -> str:
        return self._scene.GenerateUniqueName(f"{self._scan} {what} {self._tail}".strip())


def _addVolume(node, volumeNode, name: str) -> None:
    """Under the transform of the scan."""
    node.SetName(name)
    volumeNode.GetScene().AddNode(node)
    node.SetAndObserveTransformNodeID(volumeNode.GetTransformNodeID())


def _showLike(node, volumeNode) -> None:
    """The scan's own window and level, so that the two can be compared."""
    node.CreateDefaultDisplayNodes()
    display, scans = node.GetDisplayNode(), volumeNode.GetDisplayNode()
    if scans is not None:
        display.AutoWindowLevelOff()
        display.SetWindowLevel(scans.GetWindow(), scans.GetLevel())
        if scans.GetColorNodeID():
            display.SetAndObserveColorNodeID(scans.GetColorNodeID())


def _addText(scene, name: str, content: bytes) -> slicer.vtkMRMLTextNode:
    """Bytes as text. Not hidden from editors, for Slicer's save dialog passes over what is; it is kept out of the tree."""
    node = slicer.vtkMRMLTextNode()
    node.SetName(name)
    node.SetAttribute(_NOT_IN_TREE, "1")
    node.SetText(base64.b64encode(content).decode())
    return scene.AddNode(node)
