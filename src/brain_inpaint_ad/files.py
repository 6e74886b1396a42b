"""Files that are either whole or not there."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import OutputError

_unfinished: set[Path] = set()


@contextmanager
def write_atomically(path: Path) -> Iterator[Path]:
    """A temporary path beside `path`; moved into place when the block ends well, removed when it does not.

    Raises OutputError when the folder cannot be written to or the disk is full.
    """
    # The temporary name keeps the suffixes, by which writers such as SimpleITK choose the format.
    suffix = path.name[path.name.find(".", 1) :] if "." in path.name[1:] else ""
    temporary: Path | None = None
    try:
        handle, name = tempfile.mkstemp(suffix=suffix, prefix=".writing-", dir=path.parent)
        os.close(handle)
        temporary = Path(name)
        _unfinished.add(temporary)
        yield temporary
        temporary.chmod(0o644)  # mkstemp makes files private; a result is an ordinary file
        temporary.replace(path)
    except OutputError:
        raise
    except OSError as error:
        raise OutputError(
            f"{path} could not be written ({error.strerror or error}); check the folder and free space."
        ) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
            _unfinished.discard(temporary)


@contextmanager
def folder_in_work(inside: Path) -> Iterator[Path]:
    """A folder in `inside` that is gone when the block ends; raises OSError when it cannot be made."""
    folder = Path(tempfile.mkdtemp(prefix=".brain-inpaint-ad-", dir=inside))
    _unfinished.add(folder)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        _unfinished.discard(folder)


def discard_unfinished() -> None:
    """Remove what is being written now; for a process about to end while another thread still writes."""
    for path in tuple(_unfinished):
        for _ in range(3):  # the other thread may add a file in between
            shutil.rmtree(path, ignore_errors=True)
            if not path.is_dir():
                path.unlink(missing_ok=True)
