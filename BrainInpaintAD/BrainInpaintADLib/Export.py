"""A result out of the scene: only findings that are kept, on the scan's grid, with their label values.

Files are written under a temporary name and moved into place. A file that is there already is replaced only with
overwrite=True; ask the user first.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable
from pathlib import Path

import slicer
from slicer.i18n import tr as _

from . import Findings, Scene, SegmentExport
from .Results import ResultNodes

LABELMAP_SUFFIXES = (".nii.gz", ".nrrd")
SEGMENTATION_SUFFIX = ".seg.nrrd"
FINDINGS_SUFFIX = ".csv"
_DICOM_UIDS = "DICOM.instanceUIDs"  # attribute of volumes that came from DICOM
_DICOM_PLUGIN = "DICOMSegmentationPlugin"


class ExportError(RuntimeError):
    """Nothing was exported; the message names the remedy."""


def fileName(result: ResultNodes, suffix: str) -> str:
    """A name to propose: the segmentation's, without what file systems refuse."""
    name = re.sub(r'[\x00-\x1f<>:"/\\|?*]+', "_", result.segmentationNode.GetName()).strip(" .")
    return (name or "anomalies") + suffix


def exportLabelmap(result: ResultNodes) -> slicer.vtkMRMLLabelMapVolumeNode:
    """A new labelmap volume on the grid and under the transform of the scan."""
    node = SegmentExport.exportLabelmap(result.segmentationNode, result.volumeNode)
    Scene.placeBeside(node, result.volumeNode)
    return node


def writeLabelmap(result: ResultNodes, path: Path, *, overwrite: bool = False) -> Path:
    """The labelmap as .nii.gz or .nrrd, on the grid the scan was loaded with. Returns the path."""
    _checkSuffix(path, LABELMAP_SUFFIXES)

    def write(temporary: Path) -> bool:
        with Scene.takenBack(result.segmentationNode.GetScene()):
            storage = slicer.vtkMRMLVolumeArchetypeStorageNode()
            storage.SetFileName(str(temporary))
            return bool(storage.WriteData(SegmentExport.exportLabelmap(result.segmentationNode, result.volumeNode)))

    return _written(path, write, overwrite=overwrite)


def writeSegmentation(result: ResultNodes, path: Path, *, overwrite: bool = False) -> Path:
    """Segments with names and colours as .seg.nrrd, which Slicer reads again. Returns the path."""
    _checkSuffix(path, (SEGMENTATION_SUFFIX,))

    def write(temporary: Path) -> bool:
        storage = slicer.vtkMRMLSegmentationStorageNode()
        storage.SetFileName(str(temporary))
        return bool(storage.WriteData(_copyOfKept(result, slicer.vtkMRMLSegmentationNode())))

    return _written(path, write, overwrite=overwrite)


def writeFindings(result: ResultNodes, path: Path, *, overwrite: bool = False) -> Path:
    """The table of the findings that are kept as .csv. Returns the path."""
    _checkSuffix(path, (FINDINGS_SUFFIX,))

    def write(temporary: Path) -> bool:
        kept = [finding for finding in result.findings if finding.keep]
        temporary.write_text(Findings.csvText(kept), encoding="utf-8", newline="")
        return True

    return _written(path, write, overwrite=overwrite)


def whyNoDicom(result: ResultNodes) -> str:
    """Why no DICOM SEG can be written, with the remedy; "" when it can. For the button's tooltip."""
    if not result.volumeNode.GetAttribute(_DICOM_UIDS):
        return _("The scan was not loaded from DICOM; export a labelmap or a .seg.nrrd file instead.")
    if _DICOM_PLUGIN not in getattr(getattr(slicer, "modules", None), "dicomPlugins", {}):
        return _("DICOM segmentations need the extension QuantitativeReporting; install it in the Extensions Manager.")
    if not SegmentExport.exportedIds(result.segmentationNode):
        return _("There is no anomaly to export.")
    return ""


def writeDicom(result: ResultNodes, folder: Path) -> list[Path]:
    """A DICOM segmentation object in `folder`, under a new name. Returns the new files."""
    reason = whyNoDicom(result)
    if reason:
        raise ExportError(reason)
    if not folder.is_dir():
        raise ExportError(_("'{folder}' is not a folder; choose one for the DICOM file.").format(folder=folder))
    scene = result.segmentationNode.GetScene()
    with Scene.takenBack(scene), tempfile.TemporaryDirectory(dir=folder, prefix=".BrainInpaintAD-") as name:
        copy = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", result.segmentationNode.GetName())
        copy.CreateDefaultDisplayNodes()
        _copyOfKept(result, copy)
        Scene.placeBeside(copy, result.volumeNode)
        _runDicomExport(copy, Path(name))
        return [_moveToFreeName(found, folder) for found in sorted(Path(name).rglob("*.dcm"))]


def _runDicomExport(segmentationNode, folder: Path) -> None:
    plugin = slicer.modules.dicomPlugins[_DICOM_PLUGIN]()
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(segmentationNode.GetScene())
    exportables = plugin.examineForExport(hierarchy.GetItemByDataNode(segmentationNode))
    for exportable in exportables:
        exportable.directory = str(folder)
    problem = plugin.export(exportables) if exportables else _("the scan's study is not in the DICOM database")
    if problem or not any(folder.rglob("*.dcm")):
        text = _("The DICOM segmentation could not be written ({reason}); export a .seg.nrrd file instead.")
        raise ExportError(text.format(reason=problem or _("no file came out")))


def _moveToFreeName(found: Path, folder: Path) -> Path:
    number = 0
    while (target := folder / (found.name if not number else f"{found.stem} {number}{found.suffix}")).exists():
        number += 1
    found.replace(target)
    return target


def _copyOfKept(result: ResultNodes, copy: slicer.vtkMRMLSegmentationNode) -> slicer.vtkMRMLSegmentationNode:
    """All segments but the discarded ones in `copy`, on the scan's grid."""
    source = result.segmentationNode.GetSegmentation()
    copy.SetName(result.segmentationNode.GetName())
    copy.SetAndObserveTransformNodeID(result.segmentationNode.GetTransformNodeID())
    target = copy.GetSegmentation()
    target.CopyConversionParameters(source)
    for identifier in SegmentExport.exportedIds(result.segmentationNode):
        target.CopySegmentFromSegmentation(source, identifier)
    if copy.GetScene() is not None:
        copy.SetReferenceImageGeometryParameterFromVolumeNode(result.volumeNode)
    return copy


def _checkSuffix(path: Path, suffixes: tuple[str, ...]) -> None:
    if not path.name.lower().endswith(suffixes):
        text = _("'{name}' must end in {suffixes}.")
        raise ExportError(text.format(name=path.name, suffixes=_(" or ").join(suffixes)))


def _written(path: Path, write: Callable[[Path], bool], *, overwrite: bool) -> Path:
    """`write` fills a temporary file on the same disk, which is then moved into place."""
    path = Path(path)
    if path.exists() and not overwrite:
        raise ExportError(_("'{path}' exists already; choose another name or allow to replace it.").format(path=path))
    try:
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=".BrainInpaintAD-") as name:
            temporary = Path(name) / path.name
            if not write(temporary) or not temporary.is_file() or not temporary.stat().st_size:
                raise ExportError(_("'{path}' could not be written; is the disk full?").format(path=path))
            temporary.replace(path)
    except OSError as error:
        text = _("'{path}' could not be written ({reason}); choose another folder.")
        raise ExportError(text.format(path=path, reason=error.strerror or error)) from error
    return path
