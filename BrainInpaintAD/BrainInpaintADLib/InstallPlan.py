"""What would be installed, from where and how large: the text of the dialogue."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from slicer.i18n import tr as _

_TORCH_CPU_MB, _TORCH_CUDA_MB = 200, 2500
DOWNLOAD_MB = {  # about, with what they bring along; others count as 1
    "deepbet": 25,  # pandas, nibabel
    "matplotlib": 20,
    "numba": 60,  # llvmlite
    "scikit-image": 25,
}


@dataclass(frozen=True)
class InstallItem:
    """One thing that would be installed."""

    name: str
    source: str  # who brings it
    megabytes: int  # about how much is downloaded
    isOptional: bool = False


@dataclass(frozen=True)
class InstallPlan:
    """What would be installed, and where."""

    items: tuple[InstallItem, ...]  # empty: everything is there
    folder: Path  # of Slicer's Python packages

    @property
    def isEmpty(self) -> bool:
        return not self.items

    @property
    def megabytes(self) -> int:
        return sum(item.megabytes for item in self.items)

    @property
    def text(self) -> str:
        """The whole dialogue: what, from where, about how large, into which folder."""
        if self.isEmpty:
            return _("Everything the detection needs is installed.")
        return "\n".join(
            [
                _("The detection needs Python packages that Slicer does not have yet:"),
                "",
                *(_itemText(item) for item in self.items),
                "",
                _("Together about {megabytes} MB to download, into {folder}.").format(
                    megabytes=self.megabytes, folder=self.folder
                ),
                _("The detection's own code and models came with the extension."),
                _("Everything can be removed again with the button 'Remove' in the module."),
            ]
        )


def torchItem() -> InstallItem:
    """What the PyTorch extension would bring to this computer."""
    hasGpu = shutil.which("nvidia-smi") is not None
    name = _("PyTorch for NVIDIA GPUs") if hasGpu else _("PyTorch")
    return InstallItem(name, _("by the PyTorch extension"), _TORCH_CUDA_MB if hasGpu else _TORCH_CPU_MB)


def _itemText(item: InstallItem) -> str:
    optional = _(", optional") if item.isOptional else ""
    return f"• {item.name} ({item.source}, {item.megabytes} MB{optional})"
