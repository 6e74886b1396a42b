"""The sample scan: how it is offered in Sample Data, how it is loaded, and what is said when it cannot be."""

import types

import numpy as np
import pytest


class FakeSampleData(types.ModuleType):
    """Slicer's SampleData: the signatures of its own, without a network. `answer`: what a download ends in."""

    def __init__(self, answer=list):
        super().__init__("SampleData")
        self.answer, self.sources, self.asked = answer, [], []
        self.SampleDataLogic = types.SimpleNamespace(registerCustomSampleDataSource=self._register)

    def _register(
        self,
        category="Custom",
        sampleName=None,
        uris=None,
        fileNames=None,
        nodeNames=None,
        customDownloader=None,
        thumbnailFileName=None,
        loadFileType="VolumeFile",
        loadFiles=None,
        loadFileProperties=None,
        checksums=None,
    ):
        source = (category, sampleName, uris, fileNames, nodeNames, thumbnailFileName, checksums)
        if source not in self.sources:
            self.sources.append(source)

    def downloadFromURL(self, uris=None, fileNames=None, nodeNames=None, checksums=None, loadFiles=None):
        self.asked.append((uris, fileNames, nodeNames, checksums))
        return self.answer()


@pytest.fixture
def samples(mrml_lib):
    return mrml_lib("Samples")


def test_the_sample_is_offered_once_with_checksum_and_thumbnail(samples):
    sample_data = FakeSampleData()
    samples.register(sample_data)
    samples.register(sample_data)
    [(category, name, uri, file, node, thumbnail, checksum)] = sample_data.sources
    assert (category, file, node) == ("BrainInpaintAD", "RegLib_C01_1.nrrd", "MRBrainTumor1")
    assert checksum.startswith("SHA256:998cb522")
    assert uri.endswith(checksum.removeprefix("SHA256:"))
    assert thumbnail == str(samples.THUMBNAIL)
    assert "with contrast agent" in name


def test_the_thumbnail_is_a_small_picture(samples):
    content = samples.THUMBNAIL.read_bytes()
    assert content[:8] == b"\x89PNG\r\n\x1a\n"
    assert len(content) < 20_000


def test_loading_gives_the_volume_with_a_word_of_caution(samples, add_volume):
    node = add_volume(np.zeros((4, 4, 4)), name="MRBrainTumor1")
    sample_data = FakeSampleData(lambda: [node])
    assert samples.load(sample_data) is node
    assert "contrast agent" in node.GetDescription()
    assert sample_data.asked == [(samples.URI, samples.FILE_NAME, "MRBrainTumor1", f"SHA256:{samples.SHA256}")]


def broken_download():
    raise UnboundLocalError("loadedNode")


@pytest.mark.parametrize("answer", [list, lambda: [None], lambda: ["/cache/RegLib_C01_1.nrrd"], broken_download])
def test_a_download_that_fails_names_the_address(samples, answer):
    with pytest.raises(samples.SamplesError, match=r"check the network, or download https://github\.com/Slicer"):
        samples.load(FakeSampleData(answer))


def test_slicers_own_module_is_used_when_none_is_handed_in(samples, monkeypatch):
    sample_data = FakeSampleData()
    monkeypatch.setitem(__import__("sys").modules, "SampleData", sample_data)
    samples.register()
    assert len(sample_data.sources) == 1
