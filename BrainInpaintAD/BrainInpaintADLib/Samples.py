"""The sample scan: Slicer's own MRBrainTumor1, offered in the Sample Data module under our name with a warning.

SampleData is a module of the application; it is imported when used, so that the order of start-up does not matter.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

import slicer
from slicer.i18n import tr as _

CATEGORY = "BrainInpaintAD"
NODE_NAME = "MRBrainTumor1"
FILE_NAME = "RegLib_C01_1.nrrd"  # as Slicer calls it: a copy that is in its cache already serves both
SHA256 = "998cb522173839c78657f4bc0ea907cea09fd04e44601f17c82ea27927937b95"
URI = f"https://github.com/Slicer/SlicerTestingData/releases/download/SHA256/{SHA256}"
THUMBNAIL = Path(__file__).resolve().parent.parent / "Resources" / "Icons" / "MRBrainTumor1.png"


class SamplesError(RuntimeError):
    """The sample could not be loaded; the message names the remedy."""


def description() -> str:
    """The name under which the sample is listed. It says what the user must know before looking at the result."""
    return _("MRBrainTumor1 (T1 with contrast agent)")


def caution() -> str:
    """One sentence for the panel, beside the sample."""
    return _(
        "This sample is a T1 scan with contrast agent, and the models know T1 without: bright vessels and the rim of the "
        "tumour are hot for that reason, too."
    )


def register(sampleData: ModuleType | None = None) -> None:
    """Offer the sample in the Sample Data module; a second call changes nothing. Call once start-up is complete.

    sampleData: stands in for Slicer's module of that name.
    """
    logic = (sampleData or _sampleData()).SampleDataLogic
    logic.registerCustomSampleDataSource(
        category=CATEGORY,
        sampleName=description(),
        uris=URI,
        fileNames=FILE_NAME,
        nodeNames=NODE_NAME,
        checksums=f"SHA256:{SHA256}",
        thumbnailFileName=str(THUMBNAIL),
    )


def load(sampleData: ModuleType | None = None) -> slicer.vtkMRMLScalarVolumeNode:
    """Download the sample (or take it from Slicer's cache), check its SHA-256, and return the new volume.

    The node's description says what to bear in mind. Raises SamplesError; opens no windows.
    """
    try:
        loaded = (sampleData or _sampleData()).downloadFromURL(
            uris=URI, fileNames=FILE_NAME, nodeNames=NODE_NAME, checksums=f"SHA256:{SHA256}"
        )
    except Exception as error:  # SampleData raises what its download and its file handling raise
        raise SamplesError(_failureText(str(error))) from error
    # After a failed download SampleData returns nothing, or the path of what it got
    volumes = [node for node in loaded if isinstance(node, slicer.vtkMRMLScalarVolumeNode)]
    if not volumes:
        raise SamplesError(_failureText(_("its messages are in the log")))
    volumes[0].SetDescription(caution())
    return volumes[0]


def _failureText(reason: str) -> str:
    text = _("The sample could not be loaded ({reason}); check the network, or download {uri} and add it as a volume.")
    return text.format(reason=reason, uri=URI)


def _sampleData() -> ModuleType:
    return importlib.import_module("SampleData")
