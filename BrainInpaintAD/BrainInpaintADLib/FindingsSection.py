"""The table of findings: keep or discard, jump there, show in 3-D."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import qt
from slicer.i18n import tr as _

from . import Heatmap, Results, Views
from .Findings import Finding, placeText, sideText, volumeText
from .Results import ResultNodes
from .Situation import Situation

_KEEP, _NAME, _VOLUME, _SIDE, _PEAK, _MEAN, _DARK = range(7)  # columns


class FindingsSection:
    """onKept(): a finding was kept or discarded."""

    def __init__(self, ui, *, onKept: Callable[[], None]) -> None:
        self._ui = ui
        self._onKept = onKept
        self._result: ResultNodes | None = None
        self._key: object = None  # what the table was filled from
        self._findings: Sequence[Finding] = ()
        header = ui.findingsTable.horizontalHeader()
        for column in (_KEEP, _VOLUME, _SIDE, _PEAK, _MEAN, _DARK):
            header.setSectionResizeMode(column, qt.QHeaderView.ResizeToContents)
        header.setSectionResizeMode(_NAME, qt.QHeaderView.Stretch)
        ui.findingsTable.connect("currentCellChanged(int,int,int,int)", self._onRow)
        ui.findingsTable.connect("cellClicked(int,int)", self._onRow)  # the row that is current already, again
        ui.findingsTable.connect("itemChanged(QTableWidgetItem*)", self._onItem)

    def show(self, situation: Situation) -> None:
        """Every widget of the section, enabled or not, with the reason in its tooltip."""
        ui, result = self._ui, situation.result
        canEdit = situation.hasWholeResult
        segmentationNode = result.segmentationNode if result is not None else None
        for widget in (ui.segmentsTable, ui.show3DButton):
            if widget.segmentationNode() is not segmentationNode:
                widget.setSegmentationNode(segmentationNode)
        key = keyOf(result)
        if key != self._key:  # reading the table takes too long for every event of a slider
            self._key, self._findings = key, result.findings if result is not None else ()
            self._fill(self._findings, isRarity=result is not None and result.isRarity)
        findings = self._findings
        if result is not None and self._result is None:
            ui.findingsSection.collapsed = False  # there is something to see
        self._result = result
        ui.findingsTable.enabled = canEdit
        ui.segmentsTable.enabled = canEdit
        ui.show3DButton.enabled = canEdit and bool(findings)
        ui.show3DButton.toolTip = situation.whyNotYet or (
            _("Show the anomalies as surfaces in the 3-D view.")
            if findings
            else _("Nothing was found, so there is nothing to show.")
        )

    def _fill(self, findings: Sequence[Finding], *, isRarity: bool) -> None:
        table = self._ui.findingsTable
        row = table.currentRow()
        wasBlocked = table.blockSignals(True)
        table.setRowCount(len(findings))
        for number, finding in enumerate(findings):
            for column, item in enumerate(_items(finding, isRarity)):
                table.setItem(number, column, item)
        if 0 <= row < len(findings):
            table.setCurrentCell(row, _NAME)
        table.blockSignals(wasBlocked)

    def _onRow(self, row: int, _column: int = 0, _row: int = 0, _before: int = 0) -> None:
        if self._result is None or not 0 <= row < len(self._findings):
            return
        label = self._findings[row].label
        place = next((now.hottestRasMm for now in self._result.findings if now.label == label), None)  # it may have moved
        if place is not None:
            Views.jumpTo(self._result.volumeNode.GetScene(), place)

    def _onItem(self, item) -> None:
        if item.column() != _KEEP or self._result is None or not 0 <= item.row() < len(self._findings):
            return
        finding, isKept = self._findings[item.row()], item.checkState() == qt.Qt.Checked
        if finding.keep != isKept:
            Results.setKept(self._result, finding.label, isKept)
            self._onKept()


def keyOf(result: ResultNodes | None) -> object:
    """Something that is another whenever the table would show something else."""
    if result is None:
        return None
    segmentation = result.segmentationNode.GetSegmentation()
    names = [segmentation.GetNthSegment(number).GetName() for number in range(segmentation.GetNumberOfSegments())]
    return result.heatmapNode.GetID(), result.tableNode.GetMTime(), names


def _meaning(heat: float | None, isRarity: bool) -> str:
    return Heatmap.rarityText(heat) if isRarity and heat is not None else _("no unit")


def _shareItems(finding: Finding) -> tuple:
    """The cells of side and darkness; empty ones for results of before, which do not tell."""
    side, dark = qt.QTableWidgetItem(), qt.QTableWidgetItem()
    for item in (side, dark):
        item.setToolTip(_("This result does not tell; run the detection again to know."))
    if finding.rightShare is not None:
        side.setText(sideText(finding.rightShare))
        text = _("{right:.0f} % of it lies right of the brain's middle, {left:.0f} % left; sides are the patient's.")
        side.setToolTip(text.format(right=100 * finding.rightShare, left=100 * (1 - finding.rightShare)))
    if finding.darkShare is not None:
        dark.setText(f"{100 * finding.darkShare:.0f}")
        text = _(
            "{share:.0f} % of it is as dark as fluid, as ventricles, sulci, cysts and dead tissue are; that may be normal."
        )
        dark.setToolTip(text.format(share=100 * finding.darkShare))
    return side, dark


def _items(finding: Finding, isRarity: bool) -> list:
    """The cells of one row."""
    keep = qt.QTableWidgetItem()
    keep.setFlags(qt.Qt.ItemIsEnabled | qt.Qt.ItemIsSelectable | qt.Qt.ItemIsUserCheckable)
    keep.setCheckState(qt.Qt.Checked if finding.keep else qt.Qt.Unchecked)
    keep.setToolTip(_("A tick keeps the anomaly in segmentation and export."))
    name = qt.QTableWidgetItem(finding.name or _("Anomaly {label}").format(label=finding.label))
    volume = qt.QTableWidgetItem(volumeText(finding.volumeMl))
    volume.setToolTip(_("Volume in ml"))
    peak, mean = (
        qt.QTableWidgetItem("" if heat is None else f"{heat:.{1 if isRarity else 3}f}")
        for heat in (finding.peakHeat, finding.meanHeat)
    )
    peak.setToolTip(_("Largest heat inside: {meaning}").format(meaning=_meaning(finding.peakHeat, isRarity)))
    mean.setToolTip(_("Mean heat inside: {meaning}").format(meaning=_meaning(finding.meanHeat, isRarity)))
    side, dark = _shareItems(finding)
    if finding.hottestRasMm is not None:
        name.setToolTip(_("Lies at {place} (mm)").format(place=placeText(finding.hottestRasMm)))
    for item in (name, volume, side, peak, mean, dark):
        item.setFlags(qt.Qt.ItemIsEnabled | qt.Qt.ItemIsSelectable)
    for item in (volume, peak, mean, dark):
        item.setTextAlignment(qt.Qt.AlignRight | qt.Qt.AlignVCenter)
    return [keep, name, volume, side, peak, mean, dark]
