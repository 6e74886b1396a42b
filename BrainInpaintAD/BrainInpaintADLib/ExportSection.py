"""The kept anomalies out of Slicer: nodes, files, DICOM."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import qt
import slicer
from slicer.i18n import tr as _

from . import Export
from .Results import ResultNodes
from .Situation import Situation


class ExportSection:
    """onDone(text): something was exported; the text says what and where."""

    def __init__(self, ui, *, onDone: Callable[[str], None]) -> None:
        self._ui = ui
        self._onDone = onDone
        self._result: ResultNodes | None = None
        for button, export in (
            (ui.exportNodeButton, self._exportNode),
            (ui.exportLabelmapButton, self._exportLabelmap),
            (ui.exportSegmentationButton, self._exportSegmentation),
            (ui.exportDicomButton, self._exportDicom),
            (ui.exportTableButton, self._exportTable),
        ):
            button.connect("clicked(bool)", export)

    def show(self, situation: Situation) -> None:
        """Every button, enabled or not, with the reason or what it does in its tooltip."""
        self._result = situation.result if situation.hasWholeResult else None
        noDicom = Export.whyNoDicom(self._result) if self._result is not None else ""
        ui = self._ui
        for button, does, why in (
            (ui.exportNodeButton, _("Make a labelmap volume on the grid of the scan; label values are kept."), ""),
            (
                ui.exportLabelmapButton,
                _("Save a labelmap on the grid of the scan as NIfTI or NRRD; label values are kept."),
                "",
            ),
            (
                ui.exportSegmentationButton,
                _("Save the segments with names and colours as .seg.nrrd, which Slicer reads again."),
                "",
            ),
            (ui.exportDicomButton, _("Save a DICOM segmentation object that refers to the scan's series."), noDicom),
            (ui.exportTableButton, _("Save the table of the kept findings (ml, heat, mm) as .csv."), ""),
        ):
            reason = situation.whyNotYet or why
            button.enabled = not reason
            button.toolTip = reason or does

    def _exportNode(self, _checked: bool = False) -> None:
        with slicer.util.tryWithErrorDisplay(_("The labelmap could not be made."), waitCursor=True):
            node = Export.exportLabelmap(self._result)
            self._onDone(_("Exported as '{name}'").format(name=node.GetName()))

    def _exportLabelmap(self, _checked: bool = False) -> None:
        filters = _("NIfTI labelmap (*.nii.gz);;NRRD labelmap (*.nrrd)")
        self._write(Export.writeLabelmap, _("Save the labelmap"), filters, Export.LABELMAP_SUFFIXES)

    def _exportSegmentation(self, _checked: bool = False) -> None:
        self._write(
            Export.writeSegmentation, _("Save the segmentation"), _("Segmentation (*.seg.nrrd)"), (Export.SEGMENTATION_SUFFIX,)
        )

    def _exportTable(self, _checked: bool = False) -> None:
        self._write(Export.writeFindings, _("Save the findings"), _("Table (*.csv)"), (Export.FINDINGS_SUFFIX,))

    def _exportDicom(self, _checked: bool = False) -> None:
        chosen = qt.QFileDialog.getExistingDirectory(self._ui.exportSection, _("Folder for the DICOM segmentation"))
        if not chosen:
            return
        with slicer.util.tryWithErrorDisplay(_("The DICOM segmentation could not be saved."), waitCursor=True):
            files = Export.writeDicom(self._result, Path(chosen))
            self._onDone(_("Saved {count} DICOM file(s) in {folder}").format(count=len(files), folder=chosen))

    def _write(self, write, caption: str, filters: str, suffixes: tuple[str, ...]) -> None:
        """Ask for a name (the dialogue asks before overwriting) and write."""
        proposed = Export.fileName(self._result, suffixes[0])
        chosen = qt.QFileDialog.getSaveFileName(self._ui.exportSection, caption, proposed, filters)
        if not chosen:
            return
        path = withSuffix(Path(chosen), suffixes)
        if str(path) != chosen and path.exists():  # a name the dialogue could not ask about
            question = _("'{name}' is there already. Replace it?").format(name=path.name)
            if not slicer.util.confirmYesNoDisplay(question, windowTitle=caption):
                return
        with slicer.util.tryWithErrorDisplay(_("The file could not be saved."), waitCursor=True):
            written = write(self._result, path, overwrite=True)
            self._onDone(_("Saved as {path}").format(path=written))


def withSuffix(path: Path, suffixes: tuple[str, ...]) -> Path:
    """The path, with the first suffix where the user gave none of them."""
    if path.name.lower().endswith(suffixes):
        return path
    return path.with_name(path.name + suffixes[0])
