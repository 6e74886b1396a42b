"""How the heatmap lies over the scan."""

from __future__ import annotations

import math

from slicer.i18n import tr as _

from . import Heatmap, Results, SliceLayers
from .Parameters import Parameters
from .Results import ResultNodes
from .Situation import Situation


class DisplaySection:
    """Brings the view settings of the parameter node to the nodes of the result that is shown."""

    def __init__(self, ui) -> None:
        self._ui = ui
        self._situation: Situation | None = None
        self._root = ""  # id of the heatmap node these settings were brought to
        self._told: dict[str, object] = {}  # what its nodes were last told
        ui.thresholdSlider.connect("valueChanged(double)", self._onThreshold)

    def show(self, situation: Situation) -> None:
        """Every widget of the section, enabled or not, with the reason in its tooltip; the nodes follow."""
        self._situation = situation
        ui, result, parameters = self._ui, situation.result, situation.parameters
        hasResult = result is not None and parameters is not None
        for widget in (ui.opacitySlider, ui.thresholdSlider, ui.colourComboBox, ui.colourBarCheckBox):
            widget.enabled = hasResult
        canRebuild = hasResult and result.reconstructionNode is not None
        ui.reconstructionCheckBox.enabled = canRebuild
        ui.reconstructionCheckBox.toolTip = _reconstructionToolTip(hasResult, canRebuild)
        ui.heatLabel.text = heatText(result.isRarity) if hasResult else ""
        ui.heatLabel.visible = hasResult
        if not hasResult:
            self._root, self._told = "", {}
            return
        if not self._root:
            ui.displaySection.collapsed = False  # there is something to see
        if result.heatmapNode.GetID() != self._root:
            self._takeOver(result, parameters)
        self._bring(result, parameters)
        self._showThreshold(Heatmap.threshold(result.heatmapNode), isRarity=result.isRarity)

    def _takeOver(self, result: ResultNodes, parameters: Parameters) -> None:
        """Another heatmap: the range and the threshold are its own, the rest is as the user has it."""
        self._root, self._told = result.heatmapNode.GetID(), {}
        slider = self._ui.thresholdSlider
        low, high = Heatmap.thresholdRange(result.heatmapNode)
        wasBlocked = slider.blockSignals(True)
        slider.decimals, slider.singleStep = (1, 0.1) if result.isRarity else (3, 0.005)
        slider.minimum, slider.maximum = low, math.ceil(high * 1000) / 1000  # as many decimals as the box shows
        slider.blockSignals(wasBlocked)
        if not result.isPreview:  # a preview comes and goes and leaves no trace in the parameters
            parameters.heatmapThreshold = Heatmap.threshold(result.heatmapNode)

    def _bring(self, result: ResultNodes, parameters: Parameters) -> None:
        node = result.heatmapNode
        self._tell("show", parameters.showReconstruction, lambda isShown: _show(result, parameters, isShown))
        self._tell("opacity", parameters.heatmapOpacity, lambda opacity: SliceLayers.setOpacity(node, opacity))
        self._tell("colours", parameters.colourMap, lambda name: Heatmap.setColourMap(node, name))
        self._tell("bar", parameters.showColourBar, lambda isShown: Heatmap.setColourBar(node, isShown))
        if not result.isPreview:
            self._tell("threshold", parameters.heatmapThreshold, lambda least: Heatmap.setThreshold(node, least))

    def _tell(self, name: str, value: object, tell) -> None:
        if self._told.get(name) != value:
            self._told[name] = value  # first: what is told may come back here as another change
            tell(value)

    def _showThreshold(self, least: float, *, isRarity: bool) -> None:
        slider = self._ui.thresholdSlider
        for widget in (slider, self._ui.thresholdLabel):
            widget.toolTip = _thresholdToolTip(least, isRarity)
        wasBlocked = slider.blockSignals(True)
        slider.value = least
        slider.blockSignals(wasBlocked)

    def _onThreshold(self, least: float) -> None:
        situation = self._situation
        if situation is None or situation.result is None or situation.parameters is None:
            return
        if situation.result.isPreview:
            Heatmap.setThreshold(situation.result.heatmapNode, least)
        else:
            situation.parameters.heatmapThreshold = least


def _show(result: ResultNodes, parameters: Parameters, isReconstructionShown: bool) -> None:
    isShown = isReconstructionShown and result.reconstructionNode is not None
    Results.show(result, opacity=parameters.heatmapOpacity, showReconstruction=isShown)


def heatText(isRarity: bool) -> str:
    """What the colours mean."""
    if isRarity:
        return _("Heat 3 means: {share} look at least as changed (2: 1 in 100; 4: 1 in 10,000).").format(
            share=Heatmap.rarityText(3)
        )
    return _("Heat says how far a place is from what the model expected; it has no unit.")


def _thresholdToolTip(least: float, isRarity: bool) -> str:
    if isRarity:
        text = _("Heat below this value is transparent (no unit); at {least:.1f}, {share} look at least as changed.")
        return text.format(least=least, share=Heatmap.rarityText(least))
    return _("Heat below this value is transparent (no unit).")


def _reconstructionToolTip(hasResult: bool, canRebuild: bool) -> str:
    if not hasResult:
        return _("There is no heatmap yet; press 'Detect anomalies' first.")
    if not canRebuild:
        return _("This model predicts heat directly and rebuilds nothing; choose a model that rebuilds.")
    return _(
        "What the model expected to see in this head, instead of the scan behind the heatmap, in the intensity unit of "
        "the scan. Compare the two to judge why a place is hot."
    )
