"""What is installed, in which order, from where, what is removed again, and what the user reads when it does not work.

Nothing is really installed: `slicer.packaging` is a stand-in with the signatures of Slicer's own
(Base/Python/slicer/packaging.py), which keeps a list of packages instead of a Python.
"""

import hashlib
import importlib.metadata
import json
import re
import shutil
import subprocess
import sys
import sysconfig
import types
from pathlib import Path

import pytest

NEEDS = ("scikit-image>=0.22", "deepbet>=1.0", "numba>=0.59")
BRINGS = {"deepbet": {"nibabel", "pandas"}, "scikit-image": {"networkx"}, "numba": {"llvmlite"}}


class FakePackaging:
    """`slicer.packaging` that only remembers. `broken`: names of packages that cannot be installed or removed."""

    def __init__(self):
        self.names, self.calls, self.broken, self.constraints = {"numpy"}, [], set(), []

    def load_requirements(self, path):
        return [line.strip() for line in Path(path).read_text().splitlines() if line.strip() and not line.startswith("#")]

    def pip_check(self, req):
        return re.match(r"[\w-]+", req)[0] in self.names

    def pip_ensure(
        self,
        requirements,
        constraints=None,
        skip_packages=None,
        prompt_install=True,
        prompt_restart=True,
        requester=None,
        skip_in_testing=True,
        show_progress=True,
    ):
        self._install(requirements, constraints)
        self.calls[-1] |= {"asks": prompt_install or prompt_restart, "shows": show_progress, "requester": requester}

    def pip_install(self, requirements, constraints=None, show_progress=True, requester=None):
        *options, folder = requirements[:3]
        assert options == ["--no-index", "--find-links"]
        self._install(requirements[3:], constraints)
        self.calls[-1] |= {"folder": folder, "shows": show_progress, "requester": requester}

    def pip_uninstall(self, requirements):
        if self.broken & set(requirements):
            raise subprocess.CalledProcessError(1, "pip uninstall")
        self.names -= set(requirements)
        self.calls.append({"removed": requirements})

    def _install(self, requirements, constraints):
        self.constraints.append(Path(constraints).read_text(encoding="utf-8"))
        self.calls.append({"names": [re.match(r"[\w-]+", need)[0] for need in requirements]})
        for name in self.calls[-1]["names"]:
            self.names |= BRINGS.get(name, set())  # pip installs what a package needs before the package
            if name in self.broken:
                raise subprocess.CalledProcessError(1, "pip install")
            self.names.add(name)


@pytest.fixture
def install(mrml_lib, monkeypatch):
    module = mrml_lib("Install")
    monkeypatch.setattr(importlib.metadata, "requires", lambda name: None)  # the packages of the Python that runs the tests
    return module


@pytest.fixture
def packaging():
    return FakePackaging()


@pytest.fixture
def questions():
    """What the user was asked."""
    return []


@pytest.fixture
def make_installer(install, packaging, questions, tmp_path):
    """An installer whose Slicer has torch or not, whose PyTorch extension and whose user do as told."""
    requirements = tmp_path / "requirements.txt"
    requirements.write_text("\n".join(["# a comment", *NEEDS]), encoding="utf-8")

    def make(*, torch=False, install_torch=lambda: "torch", utils=None, agrees=True):
        if torch:
            packaging.names.add("torch")

        def install_with_extension(**options):
            packaging.calls.append({"torch": options})
            made = install_torch()
            packaging.names |= {"torch", "sympy"} if made is not None else set()
            return made

        logic = types.SimpleNamespace(installTorch=install_with_extension)
        module = types.SimpleNamespace(PyTorchUtilsLogic=lambda: logic)
        return install.Installer(
            packaging=packaging,
            importTorchUtils=utils or (lambda: module),
            hasTorch=lambda: "torch" in packaging.names,
            confirm=lambda text: questions.append(text) or agrees,
            installedNames=lambda: set(packaging.names),
            requirements=requirements,
            modelsFolder=tmp_path / "user" / "models",
        )

    return make


@pytest.fixture
def a_folder(tmp_path):
    """A folder for wheels and models, as a hospital gets it on a stick."""
    folder = tmp_path / "Stick für Ärzte"
    folder.mkdir()
    return folder


@pytest.fixture
def add_wheels(a_folder):
    """Adds empty wheels; pure ones unless a tag is given."""

    def add(*names, tag="py3-none-any"):
        for name in names:
            (a_folder / f"{name.replace('-', '_')}-9.9-{tag}.whl").touch()

    return add


@pytest.fixture
def add_model(a_folder):
    """Adds a model, whole unless told otherwise."""

    def add(name="t1-inpaint-16mm", *, content=b"weights", sha256=None):
        (a_folder / f"{name}.safetensors").write_bytes(content)
        card = {
            "name": name,
            "description": "d",
            "method": "inpainting",
            "modality": "T1",
            "window_mm": 16.0,
            "spacing_mm": 2.0,
            "rows": 128,
            "columns": 96,
            "sha256": sha256 or hashlib.sha256(content).hexdigest(),
        }
        (a_folder / f"{name}.json").write_text(json.dumps(card), encoding="utf-8")

    return add


def names_of(packaging, key):
    return [call[key] for call in packaging.calls if key in call]


def test_the_user_is_asked_once_what_from_where_how_large_and_into_which_folder(make_installer, questions):
    make_installer().ensure()
    [text] = questions
    for word in ("PyTorch", "PyTorch extension", "scikit-image", "deepbet", "numba", "optional", "MB", "came with"):
        assert word in text
    assert sysconfig.get_path("purelib") in text
    assert "Remove" in text


@pytest.mark.parametrize(("gpu", "megabytes"), [(None, 200), ("/usr/bin/nvidia-smi", 2500)])
def test_torch_is_announced_with_the_size_this_machine_will_get(install, make_installer, monkeypatch, gpu, megabytes):
    monkeypatch.setattr(shutil, "which", lambda name: gpu)
    plan = make_installer().plan()
    assert plan.items[0].megabytes == megabytes
    assert plan.items[0].source == "by the PyTorch extension"
    assert plan.megabytes == sum(item.megabytes for item in plan.items)


def test_torch_comes_before_the_packages_that_would_pull_another_one(make_installer, packaging):
    make_installer().ensure()
    assert packaging.calls[0] == {"torch": {}}  # installTorch changed its signature once: no arguments
    assert names_of(packaging, "names") == [["scikit-image", "deepbet"], ["numba"]]


def test_nothing_is_asked_when_everything_is_there(make_installer, packaging, questions):
    packaging.names |= {"scikit-image", "deepbet", "numba"}
    installer = make_installer(torch=True)
    installer.ensure(everything=True)
    assert (packaging.calls, questions, installer.plan().isEmpty) == ([], [], True)
    assert "installed" in installer.plan().text


def test_a_torch_that_is_there_is_never_touched(make_installer, packaging):
    make_installer(torch=True).ensure()
    assert names_of(packaging, "torch") == []


def test_a_script_installs_without_windows(make_installer, packaging, questions):
    make_installer().ensure(interactive=False)
    assert questions == []
    assert not any(call.get("asks") or call.get("shows") for call in packaging.calls)


def test_slicers_own_packages_are_held_at_their_versions(make_installer, packaging):
    import numpy

    make_installer().ensure()
    assert all(f"numpy=={numpy.__version__}\n" in text for text in packaging.constraints)
    assert all(re.search(r"^SimpleITK==", text, re.MULTILINE) for text in packaging.constraints)


def test_slicers_own_packages_are_never_asked_for(install, make_installer, packaging, monkeypatch):
    """Slicer's own build of SimpleITK may carry no metadata, and pip would then replace it."""
    monkeypatch.setattr(packaging, "load_requirements", lambda _path: ["numpy>=99", "SimpleITK>=99", "rich>=13"])
    assert make_installer(torch=True).missing() == ["rich>=13"]


def test_an_optional_package_that_fails_changes_nothing_for_the_others(make_installer, packaging):
    packaging.broken.add("numba")
    installer = make_installer()
    installer.ensure()
    installer.check()
    assert installer.missing() == []
    assert [item.name for item in installer.plan().items] == ["numba"]


def test_an_optional_package_alone_is_no_reason_to_ask_before_a_detection(make_installer, packaging, questions):
    packaging.names |= {"scikit-image", "deepbet"}
    installer = make_installer(torch=True)
    installer.ensure()
    assert (questions, packaging.calls) == ([], [])
    installer.ensure(everything=True)  # the button asks for it
    assert names_of(packaging, "names") == [["numba"]]


def test_what_is_missing_is_listed(make_installer, packaging):
    packaging.names.add("deepbet")
    assert make_installer().missing() == ["torch", "scikit-image>=0.22"]


def test_a_script_is_told_what_is_missing_and_how_to_get_it(install, make_installer):
    with pytest.raises(install.InstallError, match=r"scikit-image.*install\(\)"):
        make_installer(torch=True).check()


def test_a_user_who_declines_gets_nothing(install, make_installer, packaging):
    with pytest.raises(install.InstallError, match="Nothing was installed"):
        make_installer(agrees=False).ensure()
    assert packaging.calls == []


def no_extension():
    raise ImportError("No module named 'PyTorchUtils'")


def half_installed():
    raise AttributeError("module 'torch' has no attribute '__version__'")


@pytest.mark.parametrize(
    ("trouble", "remedy"),
    [
        ({"utils": no_extension}, "Extensions Manager"),
        ({"install_torch": half_installed}, "PyTorch Utils"),
        ({"install_torch": lambda: None}, "PyTorch Utils"),
    ],
)
def test_trouble_with_torch_names_the_remedy_and_stops_there(install, make_installer, packaging, trouble, remedy):
    with pytest.raises(install.InstallError, match=remedy):
        make_installer(**trouble).ensure()
    assert names_of(packaging, "names") == []


def test_a_torch_that_is_too_old_is_refused_with_the_remedy(install, make_installer, packaging, monkeypatch):
    installer = make_installer(torch=True)
    monkeypatch.setattr(packaging, "pip_check", lambda need: not need.startswith("torch"))
    for call in (installer.check, installer.ensure):
        with pytest.raises(install.InstallError, match=r"torch>=2\.4.*PyTorch Utils"):
            call()


def test_a_failed_download_names_network_and_folder(install, make_installer, packaging):
    packaging.broken.add("deepbet")
    with pytest.raises(install.InstallError, match=r"network.*folder"):
        make_installer(torch=True).ensure()


def test_an_installation_that_pip_skips_is_noticed(install, make_installer, packaging, monkeypatch):
    monkeypatch.setattr(packaging, "pip_ensure", lambda *_, **__: None)  # as in Slicer's testing mode
    with pytest.raises(install.InstallError, match=r"Still missing.*scikit-image"):
        make_installer(torch=True).ensure()


def test_a_slicer_without_its_packaging_module_is_too_old(install, monkeypatch):
    monkeypatch.setitem(sys.modules, "slicer.packaging", None)
    with pytest.raises(install.InstallError, match=r"5\.12"):
        install.Installer()


def test_removing_takes_away_what_we_installed_and_nothing_else(make_installer, packaging):
    packaging.names.add("nibabel")  # another extension brought it
    before = set(packaging.names)
    installer = make_installer()
    installer.ensure()
    assert set(installer.removable()) == packaging.names - before
    text = installer.remove()
    assert packaging.names == before
    assert "Removed 8 packages" in text
    assert installer.removable() == []


def test_what_an_installation_left_half_done_can_be_removed(install, make_installer, packaging):
    packaging.broken.add("deepbet")
    installer = make_installer(torch=True)
    with pytest.raises(install.InstallError):
        installer.ensure()
    assert set(installer.removable()) == {"scikit-image", "networkx", "nibabel", "pandas"}


def test_a_package_that_others_need_by_now_stays(install, make_installer, packaging, monkeypatch):
    needs = {"totalsegmentator": ["nibabel>=2"], "nibabel": ["packaging", "pandas; extra == 'all'"], "deepbet": ["pandas"]}
    monkeypatch.setattr(importlib.metadata, "requires", lambda name: needs.get(name))
    installer = make_installer(torch=True)
    installer.ensure()
    packaging.names.add("totalsegmentator")
    text = installer.remove()
    assert "Other packages need: nibabel." in text
    assert packaging.names == {"numpy", "torch", "totalsegmentator", "nibabel"}
    packaging.names.remove("totalsegmentator")
    assert installer.removable() == ["nibabel"]  # still ours


def test_a_package_in_use_is_told_with_the_remedy_and_stays_on_the_list(install, make_installer, packaging):
    installer = make_installer(torch=True)
    installer.ensure()
    packaging.broken.add("deepbet")
    with pytest.raises(install.InstallError, match="restart Slicer"):
        installer.remove()
    assert "deepbet" in installer.removable()


def test_packages_of_another_slicer_are_not_ours(make_installer, packaging, monkeypatch):
    make_installer(torch=True).ensure()
    monkeypatch.setattr(sys, "prefix", "/opt/Slicer-5.14")
    assert make_installer(torch=True).removable() == []


@pytest.mark.parametrize("content", ["", "[]", '{"packages": 3}'])
def test_a_damaged_record_removes_nothing(make_installer, tmp_path, content):
    (tmp_path / "user").mkdir()
    (tmp_path / "user" / "installed.json").write_text(content, encoding="utf-8")
    assert make_installer().removable() == []


def test_without_a_network_everything_comes_from_the_folder(make_installer, packaging, a_folder, add_wheels, add_model):
    add_wheels("torch", "scikit-image", "deepbet", "numba")
    add_model()
    text = make_installer().installFromFolder(a_folder)
    assert names_of(packaging, "names") == [["torch", "scikit-image", "deepbet"], ["numba"]]
    assert {call["folder"] for call in packaging.calls} == {str(a_folder)}
    assert text == "Installed 4 packages and 1 models."


def test_models_from_a_folder_are_listed_and_removed_again(mrml_lib, make_installer, packaging, a_folder, add_model, tmp_path):
    packaging.names |= {"scikit-image", "deepbet", "numba"}
    models, installer = tmp_path / "user" / "models", make_installer(torch=True)
    models.mkdir(parents=True)
    (models / "mine-32mm.safetensors").touch()  # put there by hand
    add_model()
    installer.installFromFolder(a_folder)
    [model] = mrml_lib("Models").listModels(tmp_path / "none", models)
    assert (model.name, model.card(16).path.read_bytes()) == ("t1-inpaint", b"weights")
    assert installer.removable() == ["t1-inpaint-16mm"]
    assert "1 models" in installer.remove()
    assert [path.name for path in models.iterdir()] == ["mine-32mm.safetensors"]


def test_a_damaged_model_is_refused_before_anything_is_installed(
    install, make_installer, packaging, a_folder, add_wheels, add_model, tmp_path
):
    add_wheels("torch", "scikit-image", "deepbet")
    add_model("good-16mm")
    add_model("bad-16mm", sha256="0" * 64)
    with pytest.raises(install.InstallError, match=r"'bad-16mm\.safetensors' is damaged"):
        make_installer().installFromFolder(a_folder)
    assert (packaging.calls, (tmp_path / "user").exists()) == ([], False)


def test_a_model_without_a_card_is_refused(install, make_installer, a_folder):
    (a_folder / "lonely.safetensors").touch()
    with pytest.raises(install.InstallError, match=r"'lonely\.safetensors' has no usable card"):
        make_installer().installFromFolder(a_folder)


def test_a_model_the_user_put_there_is_not_overwritten(install, make_installer, a_folder, add_model, tmp_path):
    add_model()
    mine = tmp_path / "user" / "models" / "t1-inpaint-16mm.safetensors"
    mine.parent.mkdir(parents=True)
    mine.write_bytes(b"mine")
    with pytest.raises(install.InstallError, match="already holds"):
        make_installer(torch=True).installFromFolder(a_folder)
    assert mine.read_bytes() == b"mine"


def test_models_alone_may_come_from_a_folder(make_installer, packaging, a_folder, add_model):
    add_model()
    text = make_installer().installFromFolder(a_folder)
    assert packaging.calls == []
    assert text.startswith("Installed 0 packages and 1 models. Still missing: torch, scikit-image")


@pytest.mark.parametrize("tag", ["cp37-cp37m-win32", None])
def test_a_wheel_that_is_absent_or_for_another_python_is_named_with_the_command_to_get_it(
    install, make_installer, packaging, a_folder, add_wheels, tag
):
    add_wheels("torch", "scikit-image")
    if tag:
        add_wheels("deepbet", tag=tag)
    version = re.escape(f"{sys.version_info.major}.{sys.version_info.minor}")
    with pytest.raises(install.InstallError, match=rf"\({version}, .*of: deepbet\. Run .*pip download .*\"deepbet>=1\.0\""):
        make_installer().installFromFolder(a_folder)
    assert packaging.calls == []


def test_an_absent_optional_wheel_is_no_trouble(make_installer, packaging, a_folder, add_wheels):
    add_wheels("torch", "scikit-image", "deepbet")
    make_installer().installFromFolder(a_folder)
    assert names_of(packaging, "names") == [["torch", "scikit-image", "deepbet"]]


def test_wheels_that_pip_refuses_are_told_with_the_command_to_get_better_ones(
    install, make_installer, packaging, a_folder, add_wheels
):
    add_wheels("torch", "scikit-image", "deepbet")
    packaging.broken.add("scikit-image")
    with pytest.raises(install.InstallError, match=r"could not be installed.*PythonSlicer -m pip download"):
        make_installer().installFromFolder(a_folder)


@pytest.mark.parametrize("is_there", [True, False])
def test_an_empty_folder_and_no_folder_are_refused(install, make_installer, a_folder, is_there):
    folder = a_folder if is_there else a_folder / "nowhere"
    with pytest.raises(install.InstallError, match=re.escape(str(folder))):
        make_installer().installFromFolder(folder)


def test_looking_for_torch_does_not_import_it(install, tmp_path, monkeypatch):
    (tmp_path / "torch.py").write_text("raise SystemExit('imported!')", encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    assert install.torchIsPresent()


def test_what_a_broken_uninstall_left_behind_is_no_torch(install, tmp_path, monkeypatch):
    (tmp_path / "torch").mkdir()
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    assert not install.torchIsPresent()


def test_our_stand_in_of_pip_reads_the_real_requirements(install, packaging):
    needs = packaging.load_requirements(install.REQUIREMENTS)
    assert "numba>=0.59" in needs
    assert set(install.OPTIONAL) <= {install.nameOf(need) for need in needs}
