"""The cut of a result follows the sliders: one slice while they move, the whole volume when they rest."""

from __future__ import annotations

import base64
from threading import Thread
from typing import Any

import numpy as np
import slicer
from slicer.i18n import tr as _

from . import Core, CutKinds, Results, Scene, Segments, Views
from .Findings import Finding
from .Packages import hasNumba
from .Results import ResultNodes
from .Settings import Settings

_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
_PREVIEW_NAME = "BrainInpaintAD live cut"


class RecutError(RuntimeError):
    """This result cannot be cut anew; the message names the remedy."""


class Recut:
    """Cuts one result anew, in this process. Use from the main thread; make a new one for another result.

    settings: of Settings, only scale, sigma, minSize, minVolumeMl, rule and segmentation are read.
    """

    def __init__(self, result: ResultNodes) -> None:
        """Quick; the heavy part is loaded at the first use or by `warm`."""
        self._result = result
        self._loader: _Loader | None = None
        self._preview: slicer.vtkMRMLSegmentationNode | None = None
        self._wasVisible = False

    @property
    def canRecut(self) -> bool:
        """Whether the result brought what a re-cut needs."""
        node = self._result.recutNode
        return node is not None and node.GetScene() is not None and bool(node.GetText())

    def warm(self) -> None:
        """Load in the background, which takes a second or two; call it when the result is shown."""
        if self.canRecut:
            self._load()

    @property
    def isLoading(self) -> bool:
        """Whether `warm` is still at work: in a thread, which gets time only while the main thread sleeps now and then."""
        return self._loader is not None and self._loader.isAtWork

    def showSlice(self, settings: Settings, pointRasMm: tuple[float, float, float] | None = None) -> int:
        """Live preview of the axial model slice at this point (world; None: where the axial slice view is).

        Shows a temporary segmentation instead of the result's own. Returns how many regions the slice has, -1 when the
        point lies above or below what was examined. Raises RecutError.
        """
        core = self._core()
        point = pointRasMm or Views.axialPoint(self._scene)
        toWorld = self._modelToHeatmap(core)
        index = -1 if point is None else self._sliceAt(toWorld, point)
        if not 0 <= index < core.model_grid.shape[0]:
            self._show(np.zeros((1, 1, 1), np.uint8), toWorld)
            return -1
        labels = _told(core.cut_slice, index, **_changes(settings, core))
        place = toWorld.copy()
        place[:3, 3] += toWorld[:3, 2] * index
        self._show((labels[None] > 0).astype(np.uint8), place)
        return int(labels.max(initial=0))

    def apply(self, settings: Settings, *, withSurfaces: bool = True) -> ResultNodes:
        """Cut the whole volume: segments, table and summary are replaced, the preview ends. Raises RecutError.

        withSurfaces: whether 3-D surfaces that were shown are made anew at once, a third of a second or more; else they
        are gone, and Views.show3D brings them back.
        """
        core = self._core()
        cut = _told(core.resegment, **_changes(settings, core))
        node = self._result.segmentationNode
        matrix = Scene.gridIn(node, self._result.heatmapNode)
        labels = cut.labelmap.array
        was3DShown = Views.is3DShown(node)
        discarded = Segments.discardedIn(node, labels, matrix)
        Segments.setLabels(node, labels, matrix, discarded)
        Results.setFindings(self._result, [_finding(row, row.label not in discarded) for row in cut.findings])
        if was3DShown and withSurfaces:
            Views.show3D(node, True)
        self.endPreview()
        return self._result

    def endPreview(self) -> None:
        """Take the temporary segmentation away and show the result's own again; does nothing without a preview."""
        if self._preview is None:
            return
        preview, self._preview = self._preview, None
        scene = preview.GetScene()
        if scene is None:
            return  # the scene was closed meanwhile
        for node in (preview, preview.GetDisplayNode()):
            if node is not None:
                scene.RemoveNode(node)
        if self._result.segmentationNode.GetScene() is scene:
            self._result.segmentationNode.SetDisplayVisibility(self._wasVisible)

    def close(self) -> None:
        """End the preview and let go of what was loaded."""
        self.endPreview()
        self._loader = None

    @property
    def _scene(self) -> slicer.vtkMRMLScene:
        return self._result.heatmapNode.GetScene()

    def _load(self) -> _Loader:
        if self._loader is None or self._loader.hasFailed:  # what was missing may have been installed since
            self._loader = _Loader(self._result.recutNode.GetText())
        return self._loader

    def _core(self):
        """The core's Result, loaded now if need be; its labelmap is on the grid of the heatmap."""
        if not self.canRecut:
            raise RecutError(_("This result came without the data that a new cut needs; run the detection again."))
        core = self._load().result()
        if core.heatmap.array.shape != slicer.util.arrayFromVolume(self._result.heatmapNode).shape:
            raise RecutError(_("The heatmap was resampled since the detection; run the detection again."))
        return core

    def _modelToHeatmap(self, core) -> np.ndarray:
        """Model voxel (i, j, k, 1) → RAS below the heatmap's parent transform."""
        toIndex = np.linalg.inv(_LPS_TO_RAS @ core.heatmap.grid.affine)  # the world at the detection → scan voxels
        return Scene.localMatrix(self._result.heatmapNode) @ toIndex @ _LPS_TO_RAS @ core.model_grid.affine

    def _sliceAt(self, toLocal: np.ndarray, pointRasMm: tuple[float, float, float]) -> int:
        local = [0.0, 0.0, 0.0]
        self._result.heatmapNode.TransformPointFromWorld(list(pointRasMm), local)
        return int(np.floor(np.linalg.solve(toLocal, [*local, 1.0])[2] + 0.5))

    def _show(self, labels: np.ndarray, toLocal: np.ndarray) -> None:
        """Put one slice, (1, rows, columns) of 0 and 1, into the preview; makes it when there is none."""
        if self._preview is None or self._preview.GetScene() is None:
            self._preview = self._addPreview()
            display = self._result.segmentationNode.GetDisplayNode()
            self._wasVisible = display is not None and bool(display.GetVisibility())
            self._result.segmentationNode.SetDisplayVisibility(False)
        Segments.setLabels(self._preview, labels, toLocal)

    def _addPreview(self) -> slicer.vtkMRMLSegmentationNode:
        """A segmentation that is neither listed nor saved."""
        node = slicer.vtkMRMLSegmentationNode()
        node.SetName(self._scene.GenerateUniqueName(_PREVIEW_NAME))
        node.SetHideFromEditors(True)
        node.SetSaveWithScene(False)
        node = self._scene.AddNode(node)
        node.CreateDefaultDisplayNodes()
        node.GetDisplayNode().SetSaveWithScene(False)
        node.GetDisplayNode().SetVisibility3D(False)
        node.SetAndObserveTransformNodeID(self._result.heatmapNode.GetTransformNodeID())
        return node


class _Loader:
    """Reads the recut data in a thread of its own, which touches nothing of the scene."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._result, self._error = None, ""
        self._thread = Thread(target=self._load, name="BrainInpaintAD recut", daemon=True)
        self._thread.start()

    @property
    def isAtWork(self) -> bool:
        return self._thread.is_alive()

    @property
    def hasFailed(self) -> bool:
        return not self.isAtWork and self._result is None

    def result(self):
        """The core's Result; waits for it. Raises RecutError."""
        self._thread.join()
        if self._result is None:
            raise RecutError(self._error)
        return self._result

    def _load(self) -> None:
        try:
            self._result = Core.importCore().load_recut(base64.b64decode(self._text))
        except Exception as error:  # it is told where the result is asked for
            self._error = str(error)
        self._text = ""


def _changes(settings: Settings, core) -> dict[str, Any]:
    """The fields of the core's SegmentSettings. What suits the model, its report tells; older ones were cut as they say."""
    suits = core.report.get("model", {}).get("segmentation", core.settings.segmentation)
    return {
        "scale": settings.scale,
        "sigma": settings.sigma,
        "min_size": settings.minSize,
        "min_volume_ml": settings.minVolumeMl,
        "rule": settings.rule,
        "segmentation": CutKinds.kindOf(settings.segmentation, settings.rule, suits, hasNumba=hasNumba()),
    }


def _told(cut, *arguments, **changes):
    """What the core raises on purpose is a sentence for the user."""
    try:
        return cut(*arguments, **changes)
    except Core.importCore().BrainInpaintError as error:
        raise RecutError(str(error)) from error


def _finding(row, isKept: bool) -> Finding:
    return Finding(
        label=row.label,
        volumeMl=row.volume_ml,
        meanHeat=row.mean_heat,
        peakHeat=row.peak_heat,
        centreRasMm=(row.r_mm, row.a_mm, row.s_mm),
        name=Segments.nameOf(row.label),
        keep=isKept,
        peakRasMm=(row.peak_r_mm, row.peak_a_mm, row.peak_s_mm),
        rightShare=row.right_share,
        darkShare=row.dark_share,
    )
