"""What the Extensions Index and a Slicer installation get: metadata that agree, every file, nothing run on import."""

import ast
import json
import re
import shutil
import struct
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
MODULE = REPOSITORY / "BrainInpaintAD"
STUB = Path(__file__).parent / "stub_slicer"
ALLOWED_IMPORTS = {"slicer", "qt", "ctk", "vtk", "numpy", "BrainInpaintADLib"} | set(sys.stdlib_module_names)
SCRIPTS = sorted(MODULE.rglob("*.py"))
INSTALLED = Path("lib/Slicer-5.12/qt-scripted-modules")


def cmake_metadata():
    """EXTENSION_* of the root CMakeLists.txt, each from one double-quoted set()."""
    text = (REPOSITORY / "CMakeLists.txt").read_text(encoding="utf-8")
    return dict(re.findall(r'^set\(EXTENSION_(\w+) "([^"\n]*)"\)$', text, re.MULTILINE))


def s4ext_metadata():
    """Name → value of the .s4ext file."""
    lines = (REPOSITORY / "BrainInpaintAD.s4ext").read_text(encoding="utf-8").splitlines()
    pairs = [line.partition(" ") for line in lines if line and not line.startswith("#")]
    return {name: value for name, _, value in pairs}


def catalogue_entry():
    return json.loads((REPOSITORY / "BrainInpaintAD.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="session")
def an_installation(tmp_path_factory):
    """The extension configured against a stub of Slicer, built and installed: (build folder, installed modules)."""
    if shutil.which("cmake") is None:
        pytest.skip("cmake is not installed")
    source, build, prefix = (tmp_path_factory.mktemp(name) for name in ("source", "build", "prefix"))
    for name in ("BrainInpaintAD", "src"):
        shutil.copytree(REPOSITORY / name, source / name, ignore=shutil.ignore_patterns("*.pyc", "*.egg-info"))
    shutil.copy(REPOSITORY / "CMakeLists.txt", source)
    cache = source / "src" / "brain_inpaint_ad" / "__pycache__"
    cache.mkdir(exist_ok=True)
    (cache / "left behind by Python.pyc").touch()
    # The extension has nothing to compile, so no compiler is needed; /bin/true stands for one.
    compilers = [f"-DCMAKE_{name}_COMPILER={shutil.which('true')}" for name in ("C", "CXX")]
    compilers += [f"-DCMAKE_{name}_COMPILER_WORKS=1" for name in ("C", "CXX")]
    options = [f"-DSlicer_DIR={STUB}", "-DBUILD_TESTING=ON", f"-DCMAKE_INSTALL_PREFIX={prefix}", *compilers]
    for command in (
        ["cmake", "-S", str(source), "-B", str(build), *options],
        ["cmake", "--build", str(build)],
        ["cmake", "--install", str(build), "--component", "RuntimeLibraries"],
    ):
        done = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=120)
        if "CMAKE_MAKE_PROGRAM is not set" in done.stderr:
            pytest.skip("cmake has no build program (make or ninja) here")
        assert done.returncode == 0, done.stderr
    return build, prefix / INSTALLED


def files_below(folder):
    """Relative paths of all files, without what Python and editors leave behind."""
    found = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return {path for path in found if "__pycache__" not in path.parts}


def test_every_file_of_the_module_is_installed_and_nothing_else(an_installation):
    _, installed = an_installation
    expected = files_below(MODULE) - {Path("CMakeLists.txt")}
    core = {path for path in files_below(installed) if path.parts[0] == "BrainInpaintADCore"}
    assert files_below(installed) - core == expected


def test_the_core_is_installed_whole_beside_the_module(an_installation):
    _, installed = an_installation
    core = files_below(REPOSITORY / "src" / "brain_inpaint_ad")
    assert core <= files_below(installed / "BrainInpaintADCore" / "brain_inpaint_ad")
    assert not list((installed / "BrainInpaintADCore").rglob("__pycache__"))


def test_an_installed_module_finds_its_core(an_installation, mrml_lib):
    for root in (an_installation[1], an_installation[0] / INSTALLED):  # installed, and run from the build folder
        assert mrml_lib("Core").coreFolder(root) == root / "BrainInpaintADCore"


def test_only_the_module_itself_lies_where_slicer_looks_for_modules(an_installation):
    _, installed = an_installation
    assert [path.name for path in installed.glob("*.py")] == ["BrainInpaintAD.py"]


def test_cmake_sees_the_metadata_the_other_files_are_compared_with(an_installation):
    build, _ = an_installation
    lines = (build / "metadata.txt").read_text(encoding="utf-8").splitlines()
    assert dict(line.split("=", 1) for line in lines) == cmake_metadata()


def test_the_test_inside_slicer_is_registered(an_installation):
    listed = subprocess.run(["ctest", "-N"], cwd=an_installation[0], capture_output=True, encoding="utf-8")
    assert "py_BrainInpaintAD.py" in listed.stdout


def test_all_seven_metadata_are_there_and_not_empty():
    names = {"HOMEPAGE", "CATEGORY", "CONTRIBUTORS", "DESCRIPTION", "ICONURL", "SCREENSHOTURLS", "DEPENDS"}
    assert {name for name, value in cmake_metadata().items() if value} == names


def test_json_s4ext_and_cmake_agree():
    cmake, old, new = cmake_metadata(), s4ext_metadata(), catalogue_entry()
    for name in ("homepage", "category", "contributors", "description", "iconurl", "screenshoturls", "depends"):
        assert old[name] == cmake[name.upper()], name
    assert new["category"] == cmake["CATEGORY"]
    assert new["build_dependencies"] == cmake["DEPENDS"].split()
    assert (new["scm_url"], new["scm_revision"]) == (old["scmurl"], old["scmrevision"])
    assert new["build_subdirectory"] == old["build_subdirectory"]


def test_the_catalogue_entry_has_only_fields_the_index_knows():
    needed = {"$schema", "category", "scm_url"}
    optional = {"build_dependencies", "build_subdirectory", "enabled", "scm_revision", "scm_type", "tier"}
    entry = catalogue_entry()
    assert needed <= set(entry) <= needed | optional
    assert "slicer-extension-catalog-entry-schema-v" in entry["$schema"]


def test_project_module_and_catalogue_entry_share_one_name():
    text = (REPOSITORY / "CMakeLists.txt").read_text(encoding="utf-8")
    [name] = re.findall(r"^project\((\w+)\)", text, re.MULTILINE)
    for path in (f"{name}.json", f"{name}.s4ext", f"{name}/{name}.py", f"{name}/Resources/UI/{name}.ui"):
        assert (REPOSITORY / path).is_file(), path


@pytest.mark.parametrize("link", ["ICONURL", "SCREENSHOTURLS"])
def test_pictures_named_in_the_metadata_are_in_the_repository(link):
    if link == "SCREENSHOTURLS" and not list((REPOSITORY / "src").rglob("*.safetensors")):
        pytest.skip("no weights ship yet, so there is no real result to picture (render_slices.py makes it)")
    for url in cmake_metadata()[link].split():
        path = url.partition("/BrainInpaintAD/BrainInpaintAD/main/")[2]
        assert (REPOSITORY / path).is_file(), url


@pytest.mark.parametrize("icon", ["Resources/BrainInpaintAD.png", "BrainInpaintAD/Resources/Icons/BrainInpaintAD.png"])
def test_icons_are_png_of_128_pixels(icon):
    head = (REPOSITORY / icon).read_bytes()[:24]
    assert head[:8] == b"\x89PNG\r\n\x1a\n"
    assert struct.unpack(">II", head[16:24]) == (128, 128)


def test_the_licence_lies_at_the_root():
    text = (REPOSITORY / "LICENSE").read_text(encoding="utf-8")
    assert "Apache License" in text
    assert "END OF TERMS AND CONDITIONS" in text


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: str(path.relative_to(MODULE)))
def test_file_scope_imports_only_what_every_slicer_has(path):
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names = [node.module]
        assert {name.split(".")[0] for name in names} <= ALLOWED_IMPORTS


def is_quiet(node):
    """Whether a statement at file scope only defines something."""
    if isinstance(node, ast.Expr):
        return isinstance(node.value, ast.Constant)  # a docstring
    kinds = (ast.Import, ast.ImportFrom, ast.Assign, ast.AnnAssign, ast.FunctionDef, ast.ClassDef)
    return isinstance(node, kinds)


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: str(path.relative_to(MODULE)))
def test_nothing_is_done_on_import(path):
    loud = [node.lineno for node in ast.parse(path.read_text(encoding="utf-8")).body if not is_quiet(node)]
    assert loud == []


def test_torch_is_never_installed_by_pip():
    needs = (MODULE / "Resources" / "requirements.txt").read_text(encoding="utf-8")
    assert not re.search(r"^torch", needs, re.MULTILINE)
    for path in SCRIPTS:
        assert not re.search(r"pip_install\([^)]*torch", path.read_text(encoding="utf-8"))


def test_the_modules_requirements_are_the_cores_and_its_extra_for_speed_without_torch():
    listed = (MODULE / "Resources" / "requirements.txt").read_text(encoding="utf-8").splitlines()
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    core = {need for need in project["dependencies"] if not need.startswith("torch")}
    core |= set(project["optional-dependencies"]["fast"])
    assert {line for line in listed if line and not line.startswith("#")} == core


def test_requirements_are_lower_bounds_only():
    needs = (MODULE / "Resources" / "requirements.txt").read_text(encoding="utf-8").splitlines()
    for need in filter(None, (line.partition("#")[0].strip() for line in needs)):
        assert re.fullmatch(r"[\w-]+>=[\d.]+", need), need


def test_text_files_have_unix_line_endings():
    kinds = {".py", ".ui", ".txt", ".json", ".s4ext", ".cmake", ".md"}
    files = [path for folder in (MODULE, REPOSITORY / "docs", STUB.parent) for path in folder.rglob("*")]
    files += [REPOSITORY / name for name in ("CMakeLists.txt", "BrainInpaintAD.json", "BrainInpaintAD.s4ext")]
    assert [path for path in files if path.suffix in kinds and b"\r" in path.read_bytes()] == []


def test_the_testing_folder_is_no_package():
    assert not list((REPOSITORY / "Testing").rglob("__init__.py"))


def test_the_list_of_gui_names_covers_every_special_widget_of_the_panel():
    """The stand-ins refuse what Slicer does not have only if all of the panel's widgets are on the list."""
    text = (MODULE / "Resources" / "UI" / "BrainInpaintAD.ui").read_text(encoding="utf-8")
    used = set(re.findall(r'<widget class="((?:ctk|qMRML|qSlicer)\w+)"', text))
    listed = json.loads((Path(__file__).parent / "slicer_gui_api.json").read_text(encoding="utf-8"))["classes"]
    assert used <= set(listed)
    assert len(used) == 6
