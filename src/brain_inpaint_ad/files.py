"""Files that are either whole or not there."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import OutputError


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
