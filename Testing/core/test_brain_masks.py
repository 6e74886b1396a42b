"""The command that measures brain extraction, on phantoms and a stand-in program."""

import json
import stat
import sys

import numpy as np
import pytest

from brain_inpaint_ad.io import write_volume
from brain_inpaint_ad.phantom import PhantomSettings, make_phantom

MARKS_HALF = """#!{python}
import sys
import SimpleITK as sitk
words = dict(zip(sys.argv[1::2], sys.argv[2::2]))
image = sitk.ReadImage(words["-i"])
mask = sitk.GetArrayFromImage(image > 0)
mask[: len(mask) // 2] = 0
half = sitk.GetImageFromArray(mask.astype("uint8"))
half.CopyInformation(image)
sitk.WriteImage(half, words["-o"][:-7] + "_bet.nii.gz")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="the stand-in is a script")
def test_masks_are_compared_with_those_that_are_known(tmp_path, monkeypatch, run_cli):
    program = tmp_path / "hd-bet"
    program.write_text(MARKS_HALF.format(python=sys.executable))
    program.chmod(program.stat().st_mode | stat.S_IEXEC)
    monkeypatch.setenv("PATH", str(tmp_path))
    head = make_phantom(PhantomSettings(spacing_mm=4.0))
    brain = head.brain.array > 0
    data = tmp_path / "data"
    (data / "head").mkdir(parents=True)
    (data / "brainmask").mkdir()
    (data / "subjects.csv").write_text("scan,split,whole_head\na,validation,1\n")
    write_volume(head.scan, data / "head" / "a.nii.gz")
    write_volume(head.brain, data / "brainmask" / "a_brainmask.nii.gz")
    answer = run_cli("evaluate-masks", "--data", data, "--out", tmp_path / "out", "--brain", "hd-bet")
    assert answer.code == 0, answer.err
    (row,) = json.loads((tmp_path / "out" / "rows.json").read_text())["rows"]
    found = head.scan.array > 0
    found[: len(found) // 2] = False
    assert row["dice"] == pytest.approx(2 * (found & brain).sum() / (found.sum() + brain.sum()), abs=1e-4)
    ml = head.scan.grid.voxel_mm3 / 1000
    assert row["missed_ml"] == pytest.approx((brain & ~found).sum() * ml, abs=0.1)
    assert row["added_ml"] == pytest.approx(np.count_nonzero(found & ~brain) * ml, abs=0.1)
    assert "| a | " in (tmp_path / "out" / "table.md").read_text()
    refused = run_cli("evaluate-masks", "--data", data, "--out", tmp_path / "out", "--dataset", "ms")
    assert "there are no brain masks in the data set 'ms'" in refused.err
