"""What Slicer's Python has, and what of it must stay as it is: looked up without importing anything."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

OPTIONAL = ("numba",)  # of the requirements: without it everything works but the volume segmentation, and sliders are slow
KEPT_AS_THEY_ARE = ("numpy", "scipy", "SimpleITK", "torch")  # Slicer and other extensions rely on these very versions


class InstallError(RuntimeError):
    """What the core needs is not there, or could not be removed; the message names the remedy."""


def torchIsPresent() -> bool:
    """Whether torch can be imported, found out without importing it: torch has no business in Slicer's process."""
    return isPresent("torch")


def hasNumba() -> bool:
    """Whether the volume segmentation is possible and sliders are fast."""
    return isPresent("numba")


def isPresent(module: str) -> bool:
    """Whether it can be imported, found out without doing so."""
    if module in sys.modules:
        return True
    spec = find_spec(module)
    return spec is not None and spec.origin is not None  # a folder left behind by a broken uninstall has no origin


def isSlicersOwn(name: str) -> bool:
    """Whether pip must not touch it."""
    return name in KEPT_AS_THEY_ARE and isPresent(name)


def nameOf(need: object) -> str:
    """The package a requirement speaks of: "scikit-image>=0.22" → "scikit-image"."""
    return re.match(r"[\w.-]+", str(need))[0]


def canonical(name: str) -> str:
    """As pip writes names: "scikit_image" → "scikit-image"."""
    return re.sub(r"[-_.]+", "-", name).lower()


def installedPackages() -> set[str]:
    """Canonical names of all that Slicer's Python has."""
    return {canonical(name) for found in metadata.distributions() if (name := found.metadata["Name"])}


def neededBy(others: Iterable[str], ours: set[str]) -> set[str]:
    """Which of our packages the others need, directly or through each other."""
    needed: set[str] = set()
    asking = list(others)
    while asking:
        fresh = (_directNeeds(asking.pop()) & ours) - needed
        needed |= fresh
        asking.extend(fresh)
    return needed


def _directNeeds(name: str) -> set[str]:
    try:
        needs = metadata.requires(name) or ()
    except metadata.PackageNotFoundError:
        return set()
    return {canonical(nameOf(need)) for need in needs if "extra ==" not in need}


@contextmanager
def constraintsFile() -> Iterator[Path]:
    """A pip constraints file that holds Slicer's own packages at the versions they have."""
    lines = []
    for name in KEPT_AS_THEY_ARE:
        try:
            lines.append(f"{name}=={metadata.version(name)}\n")
        except metadata.PackageNotFoundError:
            continue  # Slicer's own build may carry no metadata
    with TemporaryDirectory(prefix="BrainInpaintAD-", ignore_cleanup_errors=True) as folder:
        path = Path(folder) / "constraints.txt"
        path.write_text("".join(lines), encoding="utf-8")
        yield path
