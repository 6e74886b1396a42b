"""The temporary files of one run of the core: what goes there, where its results come, and whose names it may speak in."""

from __future__ import annotations

import re
from pathlib import Path
from tempfile import TemporaryDirectory

import slicer
from slicer.i18n import tr as _

from .Scene import writeVolume


class RunFiles:
    """Scan, brain mask (None without one) and results in a temporary folder; nothing is there before `write`."""

    def __init__(
        self,
        folder: TemporaryDirectory,
        volumeNode: slicer.vtkMRMLScalarVolumeNode,
        maskNode: slicer.vtkMRMLLabelMapVolumeNode | None,
    ) -> None:
        self._folder = folder
        path = Path(folder.name)
        self.volumeNode = volumeNode
        self.scan = path / "scan.nrrd"
        self.mask = path / "mask.nrrd" if maskNode is not None else None
        self.out = path / "result"
        self._nodes = {self.scan: volumeNode} | ({self.mask: maskNode} if self.mask else {})  # what each file holds

    def write(self) -> None:
        """Write what the core reads. Raises SceneError."""
        for path, node in self._nodes.items():
            writeVolume(node, path)

    def inTheUsersNames(self, text: str) -> str:
        """The core speaks of our temporary files, by path or by name; the user knows nodes."""
        words = {
            str(Path(self._folder.name).resolve()): _("the temporary folder"),
            self._folder.name: _("the temporary folder"),
        }
        for path, node in self._nodes.items():
            words |= dict.fromkeys((str(path.resolve()), str(path), path.name), f"'{node.GetName()}'")
        longestFirst = sorted(words, key=len, reverse=True)
        spoken = re.compile(f"'?({'|'.join(map(re.escape, longestFirst))})'?")
        return spoken.sub(lambda found: words[found[1]], text)  # all in one go: a node may be called like our files

    def delete(self) -> None:
        """The folder with all that is in it."""
        self._folder.cleanup()
