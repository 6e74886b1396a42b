"""What is installed, in which order, and what the user reads when it does not work; nothing is really installed."""

import types

import pytest


class FakePackaging:
    """`slicer.packaging` that only remembers."""

    def __init__(self, present=()):
        self.present, self.calls = set(present), []

    def load_requirements(self, path):
        return [line for line in path.read_text().splitlines() if line and not line.startswith("#")]

    def pip_check(self, need):
        return need in self.present

    def pip_ensure(self, needs, **options):
        self.calls.append(("pip", options))
        self.present.update(needs)


@pytest.fixture
def packaging():
    return FakePackaging()


@pytest.fixture
def make_installer(lib, packaging, tmp_path):
    """An installer whose Slicer has torch or not, and whose PyTorch extension does as told."""
    requirements = tmp_path / "requirements.txt"
    requirements.write_text("# a comment\nscikit-image>=0.22\ndeepbet>=1.0\n", encoding="utf-8")

    def make(*, torch=False, install_torch=lambda **_: "torch", utils=None):
        state = {"torch": torch}

        def install(**options):
            packaging.calls.append(("torch", options))
            state["torch"] = install_torch(**options) is not None
            return "torch" if state["torch"] else None

        logic = types.SimpleNamespace(installTorch=install)
        made = types.SimpleNamespace(PyTorchUtilsLogic=lambda: logic)
        return lib("Install").Installer(
            packaging=packaging,
            importTorchUtils=utils or (lambda: made),
            hasTorch=lambda: state["torch"],
            requirements=requirements,
        )

    return make


def test_torch_comes_before_the_packages_that_would_pull_another_one(make_installer, packaging):
    make_installer().ensure()
    assert [what for what, _ in packaging.calls] == ["torch", "pip"]


def test_nothing_is_asked_when_everything_is_there(make_installer, packaging):
    packaging.present.update({"scikit-image>=0.22", "deepbet>=1.0"})
    make_installer(torch=True).ensure()
    assert packaging.calls == []


def test_a_torch_that_is_there_is_never_touched(make_installer, packaging):
    make_installer(torch=True).ensure()
    assert [what for what, _ in packaging.calls] == ["pip"]


def test_a_script_installs_without_windows(make_installer, packaging):
    make_installer().ensure(interactive=False)
    asked = {name: value for _, options in packaging.calls for name, value in options.items() if name != "requester"}
    assert asked == {
        "askConfirmation": False,
        "prompt_install": False,
        "prompt_restart": False,
        "show_progress": False,
    }


def test_what_is_missing_is_listed(make_installer, packaging):
    packaging.present.add("deepbet>=1.0")
    assert make_installer().missing() == ["torch", "scikit-image>=0.22"]


def test_a_script_is_told_what_is_missing_and_how_to_get_it(lib, make_installer):
    with pytest.raises(lib("Install").InstallError, match=r"scikit-image.*install\(\)"):
        make_installer(torch=True).check()


def no_extension():
    raise ImportError("No module named 'PyTorchUtils'")


def half_installed(**_):
    raise AttributeError("module 'torch' has no attribute '__version__'")


@pytest.mark.parametrize(
    ("trouble", "remedy"),
    [
        ({"utils": no_extension}, "Extensions Manager"),
        ({"install_torch": half_installed}, "PyTorch Utils"),
        ({"install_torch": lambda **_: None}, "was not installed"),
    ],
)
def test_trouble_with_torch_names_the_remedy_and_stops_there(lib, make_installer, packaging, trouble, remedy):
    with pytest.raises(lib("Install").InstallError, match=remedy):
        make_installer(**trouble).ensure()
    assert "pip" not in [what for what, _ in packaging.calls]


def test_a_declined_installation_is_told_with_its_reason(lib, make_installer, packaging, monkeypatch):
    def decline(*_, **__):
        raise RuntimeError("User declined package installation")

    monkeypatch.setattr(packaging, "pip_ensure", decline)
    with pytest.raises(lib("Install").InstallError, match="User declined"):
        make_installer(torch=True).ensure()


def test_looking_for_torch_does_not_import_it(lib, tmp_path, monkeypatch):
    (tmp_path / "torch.py").write_text("raise SystemExit('imported!')", encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(__import__("sys").modules, "torch", raising=False)
    assert lib("Install").torchIsPresent()
