"""A made-up scan with a result whose truth is known: for the test inside the application, without the core."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import slicer

from . import ResultImport, Scene
from .Results import ResultNodes
from .Settings import Settings


def importResult() -> tuple[slicer.vtkMRMLScalarVolumeNode, np.ndarray, ResultNodes]:
    """An oblique scan and what the core could have written about it, brought into the scene.

    Returns the scan's node, its anomalies as int16 (slices, rows, columns) with the labels 1 and 2, and the result.
    """
    rng = np.random.default_rng(0)
    anomalies = np.zeros((12, 20, 16), np.int16)
    anomalies[2:4, 3:6, 5:8], anomalies[7:9, 10:15, 5:8] = 1, 2
    matrix = np.array([[-0.9, 0.3, 0, 7], [-0.3, -0.9, 0, -11], [0, 0, 5, 3], [0, 0, 0, 1.0]])
    scan = slicer.util.addVolumeFromArray(rng.random(anomalies.shape, np.float32), matrix, "a scan")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for array, file in ((anomalies, "anomalies.nii.gz"), (anomalies * np.float32(0.4), "heatmap.nii.gz")):
            node = slicer.util.addVolumeFromArray(array, matrix, file)
            Scene.writeVolume(node, folder / file)
            slicer.mrmlScene.RemoveNode(node)
        (folder / "findings.csv").write_text("label,volume_ml\n1,0.1\n2,0.2\n", encoding="utf-8")
        return scan, anomalies, ResultImport.importResult(folder, scan, settings=Settings())
