"""Files that are either whole or not there, and folders in which one run works at a time.

A process that is killed (kill −9, power) cannot tidy up. What it left has a name of its own (`.writing-…`,
`.brain-inpaint-ad-…`), is never taken for a result, and goes when the next run works in that folder.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import lru_cache
from pathlib import Path

from filelock import FileLock, Timeout

from .errors import OutputError

_unfinished: set[Path] = set()
_WRITING, _IN_WORK = ".writing-", ".brain-inpaint-ad-"
_TEMPORARY, _HELD = "brain-inpaint-ad-copy-", "held"


@contextmanager
def write_atomically(path: Path) -> Iterator[Path]:
    """A temporary path beside `path`; moved into place when the block ends well, removed when it does not.

    Raises OutputError when the folder cannot be written to or the disk is full.
    """
    # The temporary name keeps the suffixes, by which writers such as SimpleITK choose the format.
    suffix = path.name[path.name.find(".", 1) :] if "." in path.name[1:] else ""
    temporary: Path | None = None
    try:
        handle, name = tempfile.mkstemp(suffix=suffix, prefix=_WRITING, dir=path.parent)
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
def folder_in_work(inside: Path, target: Path | None = None) -> Iterator[Path]:
    """A folder in `inside` that is gone when the block ends; raises OSError when it cannot be made.

    target: where its files will go, when this process alone works there: what a killed run left in `inside` for it goes first.
    """
    prefix = _IN_WORK if target is None else f"{_IN_WORK}{_key(target)}-"
    for left in () if target is None else inside.glob(f"{prefix}*"):
        shutil.rmtree(left, ignore_errors=True)
    with _noted(Path(tempfile.mkdtemp(prefix=prefix, dir=inside))) as folder:
        yield folder


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """A private folder among the system's temporary files, for copies of a scan; gone when the block or the process ends.

    What a killed process (kill −9) left goes when the next one needs such a folder: each holds a lock on its own.
    Raises OutputError when there is no room for it.
    """
    with ExitStack() as held:
        try:
            place = Path(tempfile.gettempdir())
            for left in place.glob(f"{_TEMPORARY}*/{_HELD}"):
                _discard_unless_held(left)
            begun = Path(tempfile.mkdtemp(prefix=_IN_WORK, dir=place))  # a name that nobody sweeps away before it is locked
            lock = FileLock(begun / _HELD, timeout=0)
            lock.acquire()
            held.callback(lock.release)
            folder = held.enter_context(_noted(begun.rename(place / begun.name.replace(_IN_WORK, _TEMPORARY, 1))))
        except OSError as error:
            raise OutputError(
                f"no temporary folder could be made ({error.strerror or error}); make room for temporary files."
            ) from error
        yield folder


def _discard_unless_held(lock: Path) -> None:
    with suppress(OSError, Timeout):  # of another user, or in use
        with FileLock(lock, timeout=0):
            pass
        shutil.rmtree(lock.parent, ignore_errors=True)


@contextmanager
def _noted(folder: Path) -> Iterator[Path]:
    """A folder that is gone when the block or the process ends."""
    _unfinished.add(folder)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        _unfinished.discard(folder)


@contextmanager
def only_run_in(folder: Path) -> Iterator[None]:
    """This process alone works in `folder`, which need not exist; may be nested. What killed runs left in it goes.

    Raises OutputError when another process works there. The system ends a lock with its process, however that ends.
    """
    try:
        lock = _lock_of(folder)
        lock.acquire(timeout=0)
    except Timeout as error:
        raise OutputError(f"another run is writing to {folder}; wait for it or choose another folder.") from error
    except OSError as error:
        raise OutputError(
            f"{tempfile.gettempdir()} cannot be written ({error.strerror}); make room for temporary files."
        ) from error
    try:
        if lock.lock_counter == 1:
            _discard_leftovers(folder)
        yield
    finally:
        lock.release()


def move_into_place(staging: Path, folder: Path, names: Sequence[str]) -> list[Path]:
    """Move files from a folder on the same disk; returns their new paths. Those of `names` that are not there go from `folder`.

    A new folder comes into being with all its files, at once. In one that exists, the last of `names` goes first and comes
    last: whoever finds it finds what belongs to it, also after a kill in between.
    """
    present = [name for name in names if (staging / name).exists()]
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        staging.chmod(0o777 & ~_umask())  # mkdtemp makes folders private
        staging.rename(folder)
        return [folder / name for name in present]
    (folder / names[-1]).unlink(missing_ok=True)
    for name in names:
        if name in present:
            (staging / name).replace(folder / name)
        else:
            (folder / name).unlink(missing_ok=True)
    return [folder / name for name in present]


def is_text(path: Path) -> bool:
    """Whether its letters are such in UTF-8, as C++ libraries take for granted; Linux allows any bytes."""
    try:
        os.fspath(path).encode()
    except UnicodeEncodeError:
        return False
    return True


def check_is_text(path: Path) -> None:
    """Raises OutputError where ITK, asked to write there, would end the process."""
    if not is_text(path):
        raise OutputError(f"{path} has letters that are none in UTF-8; choose another name.")


def discard_unfinished() -> None:
    """Remove what is being written now; for a process about to end while another thread still writes."""
    for path in tuple(_unfinished):
        for _ in range(3):  # the other thread may add a file in between
            shutil.rmtree(path, ignore_errors=True)
            if not path.is_dir():
                path.unlink(missing_ok=True)


def _discard_leftovers(folder: Path) -> None:
    """Half-written files of killed runs, also one folder down, where training keeps prepared scans."""
    with suppress(OSError):  # what may not be looked into or removed stays; it is never taken for a result
        for left in (*folder.glob(f"{_WRITING}*"), *folder.glob(f"*/{_WRITING}*")):
            left.unlink(missing_ok=True)


def _lock_of(folder: Path) -> FileLock:
    """Its file lies among this user's temporary ones: result folders hold results only."""
    place = Path(tempfile.gettempdir()) / f"brain-inpaint-ad-{os.getuid() if hasattr(os, 'getuid') else 'locks'}"
    place.mkdir(mode=0o700, exist_ok=True)
    return FileLock(place / f"{_key(folder)}.lock", is_singleton=True, thread_local=False)


def _key(folder: Path) -> str:
    """A name for a folder on this machine: locks do not reach across a network."""
    return hashlib.sha256(f"{platform.node()}:{folder.resolve()}".encode(errors="surrogateescape")).hexdigest()[:16]


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def digest_of(path: Path) -> str:
    """SHA-256 of a file's bytes: what is kept under it outlives copying, moving and touching the file."""
    stat = path.stat()
    return _digest(path, stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=4096)
def _digest(path: Path, _size: int, _changed_ns: int) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
