"""The public surface, the direction of imports, the weight of the import."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import brain_inpaint_ad as ad

SOURCE = Path(ad.__file__).parent
# From the top down; a package may import from those after it, not from its own row or above (docs: CONTRIBUTING.md).
LAYERS = [
    {"__main__"},
    {"cli"},
    {"benchmark", "bids", "evaluation", "training"},
    {"pipeline", "scan_score"},
    {"find", "preview"},
    {"plan", "report"},
    {"detectors", "result", "picture"},
    {"weights", "findings", "phantom", "recut_file", "result_files"},
    {"heatmap", "segmentation", "prepare", "dicom"},
    {"nets", "io", "devices", "hardware"},
    {"nifti_place"},
    {"extras", "files", "intact", "memory"},
    {"volume", "progress", "errors"},
]
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}
ALLOWED_SIDEWAYS = {("evaluation", "training"), ("result", "picture"), ("volume", "errors")}


def test_public_names_are_exactly_all():
    assert sorted(ad.__all__) == ad.__all__
    assert set(dir(ad)) == set(ad.__all__)
    for name in ad.__all__:
        assert getattr(ad, name).__name__ == name


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="has no attribute 'detekt'"):
        ad.detekt  # noqa: B018


@pytest.mark.parametrize("names", ["brain_inpaint_ad.errors", "brain_inpaint_ad.segmentation.recut"])
def test_importing_the_package_or_the_recut_loads_neither_torch_nor_numba(names):
    probe = f"import sys, brain_inpaint_ad, {names}; sys.exit(bool({{'torch', 'numba'}} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", probe], check=False).returncode == 0


def test_cutting_superpixels_does_not_load_torch():
    probe = "import sys, brain_inpaint_ad as ad, numpy; ad.felzenszwalb(numpy.eye(9)); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", probe], check=False).returncode == 0


def test_imports_point_down_only():
    upwards = []
    for path in SOURCE.rglob("*.py"):
        if path == SOURCE / "__init__.py":  # names the public home of everything, loads nothing
            continue
        here = path.relative_to(SOURCE).with_suffix("").parts[0]
        for target in _relative_imports(path):
            if target == here or (here, target) in ALLOWED_SIDEWAYS:
                continue
            if LEVEL[target] <= LEVEL[here]:
                upwards.append(f"{path.relative_to(SOURCE)} imports {target}")
    assert upwards == []


def test_nothing_is_unpickled():
    """torch.load reads checkpoints of one's own training and SynthStrip's file, tensors only; models are safetensors."""
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                assert not {alias.name for alias in node.names} & {"pickle", "joblib", "dill"}, path
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "torch.load":
                assert "weights_only=True" in ast.unparse(node)


def _relative_imports(path: Path) -> set[str]:
    """First part below the package of every relative import, those inside functions included."""
    package = path.relative_to(SOURCE).parts[:-1]
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.ImportFrom) or node.level == 0:
            continue
        base = package[: len(package) - (node.level - 1)]
        parts = (*base, *(node.module or "").split("."))
        names = [parts] if node.module else [(*base, alias.name) for alias in node.names]
        found |= {next(part for part in name if part) for name in names}
    return found - {"__version__"}
