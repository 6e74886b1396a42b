"""A result in the scene: one heatmap node that knows everything that belongs to it, so that it survives saving."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import slicer

from . import Findings, Heatmap, Scene, Segments, SliceLayers
from .Findings import Finding
from .ScanScore import ScanReport

SCAN, SEGMENTATION, RECONSTRUCTION, FINDINGS, RECUT = (  # roles of the references on the heatmap node
    f"BrainInpaintAD.{role}" for role in ("scan", "segmentation", "reconstruction", "findings", "recut")
)
MODEL, WINDOW, PREVIEW, _SUMMARY, KEY, PLACE, REPORT = (  # attributes of the heatmap node
    f"BrainInpaintAD.{name}" for name in ("model", "windowMm", "isPreview", "summary", "key", "place", "scanReport")
)
_EVERY = 7  # voxels: of these a scan's fingerprint is made, in a millisecond


@dataclass(frozen=True)
class ResultNodes:
    """The nodes of one result, read back from the references on the heatmap node, which is the root."""

    heatmapNode: slicer.vtkMRMLScalarVolumeNode
    volumeNode: slicer.vtkMRMLScalarVolumeNode  # the scan
    segmentationNode: slicer.vtkMRMLSegmentationNode
    tableNode: slicer.vtkMRMLTableNode  # findings, see Findings; centres as the world was at the detection
    reconstructionNode: slicer.vtkMRMLScalarVolumeNode | None = None  # what the model expected to see
    recutNode: slicer.vtkMRMLTextNode | None = None  # what Recut needs

    @property
    def model(self) -> str:
        """As in the settings of the detection."""
        return self.heatmapNode.GetAttribute(MODEL) or ""

    @property
    def windowMm(self) -> int:
        return int(self.heatmapNode.GetAttribute(WINDOW) or 0)

    @property
    def isRarity(self) -> bool:
        """What kind of heat it is, see Heatmap."""
        return Heatmap.isRarity(self.heatmapNode)

    @property
    def isPreview(self) -> bool:
        return self.heatmapNode.GetAttribute(PREVIEW) == "1"

    @property
    def summary(self) -> str:
        """The status line: of the findings that are kept."""
        return self.heatmapNode.GetAttribute(_SUMMARY) or ""

    @property
    def scanReport(self) -> ScanReport:
        """What was said of the scan as a whole."""
        return ScanReport.fromText(self.heatmapNode.GetAttribute(REPORT))

    @property
    def findings(self) -> Sequence[Finding]:
        """The table's rows as things are now: centres in the world, names of the segments, deleted segments left out."""
        segmentation = self.segmentationNode.GetSegmentation()
        identifiers = Segments.segmentIds(self.segmentationNode)
        return [
            replace(
                finding,
                name=segmentation.GetSegment(identifiers[finding.label]).GetName(),
                centreRasMm=_placeNow(self.heatmapNode, finding.centreRasMm),
                peakRasMm=_placeNow(self.heatmapNode, finding.peakRasMm),
            )
            for finding in Findings.readTable(self.tableNode)
            if finding.label in identifiers
        ]


def resultOf(heatmapNode: slicer.vtkMRMLScalarVolumeNode | None) -> ResultNodes | None:
    """The result whose root this is; None for no node, another volume, or when the user deleted a part of it.

    Only the reconstruction and the recut data may be missing.
    """
    if heatmapNode is None or heatmapNode.GetScene() is None:
        return None
    nodes = [heatmapNode.GetNodeReference(role) for role in (SCAN, SEGMENTATION, FINDINGS, RECONSTRUCTION, RECUT)]
    if heatmapNode.GetAttribute(KEY) is None or None in nodes[:3] or heatmapNode.GetImageData() is None:
        return None
    return ResultNodes(heatmapNode, *nodes)


def findResult(volumeNode: slicer.vtkMRMLScalarVolumeNode | None, *, model: str, windowMm: float) -> ResultNodes | None:
    """The newest exact result (no preview) of these voxels with this model (as in Settings.model) and window."""
    fitting = [
        result
        for result in resultsOf(volumeNode)
        if (result.model, result.windowMm, result.isPreview) == (model, windowMm, False)
    ]
    if not fitting:
        return None
    key = fingerprint(volumeNode)
    return next((result for result in reversed(fitting) if result.heatmapNode.GetAttribute(KEY) == key), None)


def resultsOf(volumeNode: slicer.vtkMRMLScalarVolumeNode | None) -> list[ResultNodes]:
    """All complete results of this scan in the scene, oldest first, previews included."""
    if volumeNode is None or volumeNode.GetScene() is None:
        return []
    found = map(resultOf, roots(volumeNode.GetScene()))
    return [result for result in found if result is not None and result.volumeNode is volumeNode]


def roots(scene: slicer.vtkMRMLScene) -> list[slicer.vtkMRMLScalarVolumeNode]:
    """The heatmap nodes of all results, oldest first, also of those the user deleted parts of."""
    count = scene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode")
    nodes = (scene.GetNthNodeByClass(number, "vtkMRMLScalarVolumeNode") for number in range(count))
    return [node for node in nodes if node.GetAttribute(KEY) is not None]


def show(result: ResultNodes, *, opacity: float, showReconstruction: bool = False) -> None:
    """Scan (or reconstruction) behind, heatmap in front, segments visible; all other results in the scene are hidden.

    Views are refitted only when another scan comes in. Threshold, colours and colour bar: see Heatmap.
    """
    follow(result)
    for root in roots(result.heatmapNode.GetScene()):
        if root is not result.heatmapNode:
            _hide(root)
    behind = result.reconstructionNode if showReconstruction else None
    SliceLayers.showOverlay(result.volumeNode, result.heatmapNode, opacity=opacity, backgroundNode=behind)
    result.segmentationNode.SetDisplayVisibility(True)


def follow(result: ResultNodes) -> None:
    """Put the result under the scan's parent transform, when the scan was given another one since.

    Where scan or result was hardened meanwhile, nothing is moved.
    """
    before, now = result.heatmapNode.GetTransformNodeID(), result.volumeNode.GetTransformNodeID()
    if before == now or not np.allclose(Scene.localMatrix(result.heatmapNode), Scene.localMatrix(result.volumeNode)):
        return
    for node in filter(None, (result.heatmapNode, result.segmentationNode, result.reconstructionNode)):
        if node.GetTransformNodeID() == before:
            node.SetAndObserveTransformNodeID(now)


def hide(result: ResultNodes) -> None:
    """Take heatmap, colour bar, reconstruction and segments out of the views; the scan stays."""
    _hide(result.heatmapNode)


def remove(result: ResultNodes) -> None:
    """Delete the result's nodes with their displays; the scan stays, and so do nodes that the user made from them.

    Parts that the user has deleted already are passed over.
    """
    own = [node for role, node in [*parts(result), ("", result.heatmapNode)] if role != SCAN and node is not None]
    left = [node for node in own if node.GetScene() is not None]
    if result.heatmapNode in left:
        hide(result)
    for node in left:
        _removeWithCompanions(node.GetScene(), node)


def setKept(result: ResultNodes, label: int, isKept: bool) -> None:
    """Keep or discard one finding: its row, its segment and the summary follow."""
    rows = Findings.readTable(result.tableNode)
    setFindings(result, [replace(row, keep=isKept) if row.label == label else row for row in rows])
    Segments.setDiscarded(result.segmentationNode, label, not isKept)


def setFindings(result: ResultNodes, findings: Iterable[Finding]) -> None:
    """Replace the table; centres as the world was at the detection. The summary follows."""
    Findings.fillTable(result.tableNode, findings)
    sumUp(result)


def sumUp(result: ResultNodes) -> None:
    """Write the status line anew, from the findings that are kept."""
    result.heatmapNode.SetAttribute(_SUMMARY, Findings.summary(result.findings))


def parts(result: ResultNodes) -> list[tuple[str, slicer.vtkMRMLNode | None]]:
    """Roles on the heatmap node, and the nodes that have them."""
    return [
        (SCAN, result.volumeNode),
        (SEGMENTATION, result.segmentationNode),
        (FINDINGS, result.tableNode),
        (RECONSTRUCTION, result.reconstructionNode),
        (RECUT, result.recutNode),
    ]


def fingerprint(volumeNode: slicer.vtkMRMLScalarVolumeNode) -> str:
    """Tells whether voxels were changed since; looks at a few thousand of them."""
    voxels = slicer.util.arrayFromVolume(volumeNode)
    return f"{'x'.join(map(str, voxels.shape))} {zlib.crc32(np.ascontiguousarray(voxels[::_EVERY, ::_EVERY, ::_EVERY])):08x}"


def _hide(heatmapNode: slicer.vtkMRMLScalarVolumeNode) -> None:
    """As `hide`; parts that the user has deleted are passed over."""
    scan, segmentation, rebuilt = (heatmapNode.GetNodeReference(role) for role in (SCAN, SEGMENTATION, RECONSTRUCTION))
    SliceLayers.takeOut(heatmapNode, scan, rebuilt)
    Heatmap.setColourBar(heatmapNode, False)
    if segmentation is not None:
        segmentation.SetDisplayVisibility(False)


def _removeWithCompanions(scene, node) -> None:
    """A displayable takes its display and storage nodes along; Slicer would leave them behind."""
    companions = []
    if node.IsA("vtkMRMLDisplayableNode"):
        companions += [node.GetNthDisplayNode(number) for number in range(node.GetNumberOfDisplayNodes())]
    if node.IsA("vtkMRMLStorableNode"):
        companions += [node.GetNthStorageNode(number) for number in range(node.GetNumberOfStorageNodes())]
    scene.RemoveNode(node)
    for companion in companions:
        if companion is not None and companion.GetScene() is scene:
            scene.RemoveNode(companion)


def _placeNow(heatmapNode, rasMm: tuple[float, float, float] | None) -> tuple[float, float, float] | None:
    """Where a point of the detection's world lies now; the heatmap may have been moved or hardened meanwhile."""
    text = heatmapNode.GetAttribute(PLACE)
    if rasMm is None or text is None:
        return rasMm
    then = np.array([float(number) for number in text.split()]).reshape(4, 4)
    local = Scene.localMatrix(heatmapNode) @ np.linalg.solve(then, [*rasMm, 1.0])
    now = [0.0, 0.0, 0.0]
    heatmapNode.TransformPointToWorld(list(local[:3]), now)
    return rasMm if np.allclose(now, rasMm, atol=1e-6, rtol=0) else tuple(float(value) for value in now)
