"""How the heatmap is shown: colours over the scan, nothing where there is little heat.

Heat is of two kinds. Rarity, as the default model gives it, is −log10 of the share of healthy voxels that look at least as
changed: 3 is 1 in 1,000, in every scan. All other heat is a distance from what was expected, without a unit, and is shown
relative to the scan.
"""

from __future__ import annotations

import numpy as np
import slicer
from slicer.i18n import tr as _

COLOUR_MAPS = ("Inferno", "Iron", "Hot", "Viridis")  # the first is the default

_SLICERS_OWN = {  # ids of the tables Slicer ships; a scene without them gets ours
    "Inferno": "vtkMRMLColorTableNodeFileInferno.txt",
    "Iron": "vtkMRMLColorTableNodeIron",
    "Viridis": "vtkMRMLColorTableNodeFileViridis.txt",
}
_STOPS = {  # equally spaced colours, 0 to 255, between which ours are interpolated
    "Inferno": [(0, 0, 4), (50, 10, 94), (120, 28, 109), (188, 55, 84), (237, 105, 37), (251, 180, 26), (252, 255, 164)],
    "Iron": [(0, 0, 0), (40, 0, 140), (140, 0, 155), (215, 50, 60), (245, 130, 0), (255, 210, 40), (255, 255, 255)],
    "Hot": [(0, 0, 0), (255, 0, 0), (255, 255, 0), (255, 255, 255)],
    "Viridis": [(68, 1, 84), (70, 50, 126), (54, 92, 141), (39, 127, 142), (31, 161, 135), (110, 206, 88), (253, 231, 37)],
}
_OWN_PREFIX = "BrainInpaintAD "
_TOP_PERCENTILE = 99.9  # a single outlying voxel must not darken the rest
_TRANSPARENT_BELOW = 1 / 3  # of the way from typical to top: no brain is rebuilt without any loss
RAREST = 6.0  # heat of rarity at which colours and sliders end
_COUNTED = 5.0  # up to here healthy voxels were counted; beyond, the core goes on in a straight line
_HEAT = "BrainInpaintAD.heat"  # attribute of the heatmap node: "rarity", or absent
_NO_LIMIT = float(np.finfo(np.float32).max)


class HeatmapError(ValueError):
    """There is no such way to show a heatmap."""


def prepare(heatmapNode: slicer.vtkMRMLScalarVolumeNode, *, isRarity: bool = False) -> None:
    """A display node of its own, with range and threshold made for this heat. The node must be in the scene."""
    heatmapNode.SetAttribute(_HEAT, "rarity" if isRarity else None)
    heatmapNode.CreateDefaultDisplayNodes()
    display = heatmapNode.GetDisplayNode()
    typical, top = (0.0, RAREST) if isRarity else heatRange(slicer.util.arrayFromVolume(heatmapNode))
    wasModifying = display.StartModify()
    display.AutoWindowLevelOff()
    display.SetWindowLevelMinMax(typical, top)
    display.AutoThresholdOff()
    display.SetThreshold(typical + _TRANSPARENT_BELOW * (top - typical), _NO_LIMIT)
    display.ApplyThresholdOn()
    display.EndModify(wasModifying)
    setColourMap(heatmapNode, COLOUR_MAPS[0])


def isRarity(heatmapNode: slicer.vtkMRMLScalarVolumeNode) -> bool:
    """Whether its heat is −log10 of a share of healthy voxels; results of earlier versions have no such heat."""
    return heatmapNode.GetAttribute(_HEAT) == "rarity"


def rarityText(heat: float) -> str:
    """What a heat of rarity means, two digits: "1 in 1,000 healthy voxels" for 3."""
    if heat > _COUNTED:
        return _("fewer than 1 in {number} healthy voxels").format(number=f"{10**_COUNTED:,.0f}")
    number = float(f"{10**heat:.2g}")
    return _("1 in {number} healthy voxels").format(number=f"{number:,.0f}" if number >= 10 else f"{number:g}")


def heatRange(heat: np.ndarray) -> tuple[float, float]:
    """(typical, top) in the unit of `heat`, which is 0 outside the brain and positive inside; top is above typical."""
    inside = heat[heat > 0]
    if not inside.size:
        return 0.0, 1.0
    typical, top = (float(value) for value in np.percentile(inside, (50, _TOP_PERCENTILE)))
    return (typical, top) if top > typical else (typical, 2 * typical)


def setThreshold(heatmapNode: slicer.vtkMRMLScalarVolumeNode, least: float) -> None:
    """Less heat than `least` (in the heatmap's own unit) is transparent."""
    display = heatmapNode.GetDisplayNode()
    display.AutoThresholdOff()
    display.SetThreshold(least, _NO_LIMIT)
    display.ApplyThresholdOn()


def threshold(heatmapNode: slicer.vtkMRMLScalarVolumeNode) -> float:
    """The least heat that is shown."""
    return heatmapNode.GetDisplayNode().GetLowerThreshold()


def thresholdRange(heatmapNode: slicer.vtkMRMLScalarVolumeNode) -> tuple[float, float]:
    """(0, hottest voxel): between these a threshold makes a difference; (0, RAREST) for rarity, in every scan."""
    if isRarity(heatmapNode):
        return 0.0, RAREST
    return 0.0, float(heatmapNode.GetImageData().GetScalarRange()[1]) or 1.0


def setColourMap(heatmapNode: slicer.vtkMRMLScalarVolumeNode, name: str) -> None:
    """name: one of COLOUR_MAPS; Slicer's own table where it has it."""
    if name not in COLOUR_MAPS:
        text = _("There is no colour map '{name}'; choose one of {names}.")
        raise HeatmapError(text.format(name=name, names=", ".join(COLOUR_MAPS)))
    node = _colourNode(heatmapNode.GetScene(), name)
    display = heatmapNode.GetDisplayNode()
    if display.GetColorNodeID() != node.GetID():
        display.SetAndObserveColorNodeID(node.GetID())


def colourMap(heatmapNode: slicer.vtkMRMLScalarVolumeNode) -> str:
    """Which of COLOUR_MAPS is used; "" when the user chose another one elsewhere."""
    node = heatmapNode.GetDisplayNode().GetColorNode()
    if node is None:
        return ""
    known = {identifier: name for name, identifier in _SLICERS_OWN.items()}
    own = node.GetName().removeprefix(_OWN_PREFIX)
    return known.get(node.GetID()) or (own if own in COLOUR_MAPS and own != node.GetName() else "")


def setColourBar(heatmapNode: slicer.vtkMRMLScalarVolumeNode, isShown: bool) -> None:
    """The colour bar beside the views that show the heatmap; without Slicer's Colors module nothing happens."""
    legend = _colourBar(heatmapNode)
    if legend is None and isShown and hasattr(slicer, "vtkSlicerColorLogic"):
        legend = slicer.vtkSlicerColorLogic.AddDefaultColorLegendDisplayNode(heatmapNode)
        if legend is not None:
            title = _("Heat\n(3: 1 in 1,000\nhealthy voxels)") if isRarity(heatmapNode) else _("Heat")
            legend.SetTitleText(title)
    if legend is not None:
        legend.SetVisibility(isShown)


def isColourBarShown(heatmapNode: slicer.vtkMRMLScalarVolumeNode) -> bool:
    """Whether there is a visible one."""
    legend = _colourBar(heatmapNode)
    return legend is not None and bool(legend.GetVisibility())


def _colourBar(heatmapNode) -> slicer.vtkMRMLDisplayNode | None:
    if not hasattr(slicer, "vtkSlicerColorLogic"):
        return None
    return slicer.vtkSlicerColorLogic.GetColorLegendDisplayNode(heatmapNode)


def _colourNode(scene: slicer.vtkMRMLScene, name: str) -> slicer.vtkMRMLColorNode:
    known = scene.GetNodeByID(_SLICERS_OWN[name]) if name in _SLICERS_OWN else None
    return known or scene.GetFirstNodeByName(_OWN_PREFIX + name) or _addOwnColours(scene, name)


def _addOwnColours(scene: slicer.vtkMRMLScene, name: str) -> slicer.vtkMRMLColorTableNode:
    table = slicer.vtkMRMLColorTableNode()
    table.SetTypeToUser()
    table.SetName(_OWN_PREFIX + name)
    table.SetNumberOfColors(256)
    stops = np.array(_STOPS[name]) / 255
    places = np.linspace(0, 1, len(stops))
    for index, level in enumerate(np.linspace(0, 1, 256)):
        table.SetColor(index, f"{level:.2f}", *(np.interp(level, places, channel) for channel in stops.T), 1.0)
    return scene.AddNode(table)
