"""The result that is shown, kept in agreement with what others do to its nodes: the user, scripts, other modules."""

from __future__ import annotations

from collections.abc import Callable

import slicer
import vtk

from . import Findings, Results
from .FindingsSection import keyOf
from .Results import ResultNodes


class ResultWatch:
    """onChanged(): others have changed the result that is watched."""

    def __init__(self, *, onChanged: Callable[[], None]) -> None:
        self._onChanged = onChanged
        self._watched: ResultNodes | None = None
        self._tags: list[tuple[object, int]] = []  # its nodes with their observers
        self._summed: object = None  # what the summary was made from

    def sumUp(self, result: ResultNodes | None) -> None:
        """The summary is that of the segments there are, also after the user has deleted some."""
        if keyOf(result) == self._summed:  # reading the table takes too long for every event of a slider
            return
        if result is not None and result.summary != Findings.summary(result.findings):
            Results.setFindings(result, Findings.readTable(result.tableNode))
        self._summed = keyOf(result)

    def follow(self, result: ResultNodes | None) -> None:
        """Watch the result that is shown from now on; no result of another scan stays in the views."""
        before = self._watched
        if result == before:
            return
        self._letGo()
        if before is not None and (result is None or result.volumeNode is not before.volumeNode):
            left = Results.resultOf(before.heatmapNode)
            if left is not None:
                Results.hide(left)
        if result is not None:
            self._watched = result
            for node, event in (
                (result.heatmapNode, vtk.vtkCommand.ModifiedEvent),
                (result.segmentationNode, slicer.vtkSegmentation.SegmentRemoved),
            ):
                self._tags.append((node, node.AddObserver(event, lambda *_: self._onChanged())))

    def end(self) -> None:
        """Watch nothing any more."""
        self._letGo()
        self._summed = None  # what holds nodes would hold their voxels

    def _letGo(self) -> None:
        for node, tag in self._tags:
            node.RemoveObserver(tag)
        self._watched, self._tags = None, []
