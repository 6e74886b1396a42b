"""One scan on two devices."""

import numpy as np
import pytest
import torch

from brain_inpaint_ad.detectors.load import load_detector
from brain_inpaint_ad.io import read_scan
from brain_inpaint_ad.prepare import prepare

# Where both compute in bfloat16 the heat of a window moves by about 1 in 100 of the hottest; float32 moves it by 1e-5.
TOLERANCE = 0.02  # of the hottest voxel


@pytest.mark.skipif(not torch.cuda.is_available(), reason="CPU and GPU cannot be compared: this machine has no CUDA device")
@pytest.mark.parametrize("model", ["t1-evidence", "t1-inpaint-32mm-fast", "t1-surprise-32mm", "t1-loss-32mm-dense"])
def test_cpu_and_gpu_show_the_same_heat_within_the_stated_tolerance(model, a_phantom_scan):
    heats = []
    for device in ("cpu", "cuda"):
        detector = load_detector(model, device=device, stride_mm=8.0)
        prepared = prepare(read_scan(a_phantom_scan), settings=detector.card.grid)  # on the CPU for both
        heats.append(detector.heatmap(prepared, progress=lambda fraction, stage: None))
    assert np.abs(heats[0] - heats[1]).max() <= TOLERANCE * heats[0].max()
