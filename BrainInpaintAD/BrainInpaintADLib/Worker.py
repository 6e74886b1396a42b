"""The core as a child process: JSON lines in, log out, and a cancel that ends the whole process tree.

Inference never runs inside Slicer: a crash, a full memory or a cancel must not take the user's scene along.
Reader threads only fill a queue; whoever polls `events()` (a QTimer in the panel) stays on the main thread.
"""

from __future__ import annotations

import json
import math
import os
import re
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TextIO

from slicer.i18n import tr as _

GRACE_S = 0.6  # time to stop on its own; what is left of the second goes to the forced end
_KEPT_LINES = 200  # of stderr, for the failure text
_WAITING_LINES = 2000  # of the log, until somebody polls: a flood must not fill Slicer's memory
_LONGEST_LINE = 10_000  # characters; more comes in pieces
_LAST_WORDS_S = 2.0  # a stray grandchild may hold the pipe open: do not wait for it forever
_ON_WINDOWS = os.name == "nt"
_NO_MODULE = re.compile(r"ModuleNotFoundError: No module named '([\w.]+)'")


@dataclass(frozen=True)
class Progress:
    """How far the core is."""

    stage: str
    fraction: float  # of the whole run, in [0, 1]
    secondsLeft: float | None = None


class WorkerProtocol(Protocol):
    """What a detection needs from whoever computes it."""

    def start(self) -> None: ...
    def events(self) -> list[Progress | str]: ...
    def cancel(self) -> None: ...
    def failure(self) -> str: ...

    @property
    def isFinished(self) -> bool: ...

    @property
    def hasSucceeded(self) -> bool: ...


class Worker:
    """One run of one command."""

    def __init__(self, command: Sequence[str], *, environment: Mapping[str, str] | None = None) -> None:
        self._command = list(command)
        self._environment = environment
        self._inbox = _Inbox()
        self._errorLines: deque[str] = deque(maxlen=_KEPT_LINES)
        self._process: subprocess.Popen[str] | None = None
        self._readers: list[threading.Thread] = []
        self._endedAt: float | None = None  # on the monotonic clock, in s

    def start(self) -> None:
        """Launch the command; raises OSError when it cannot be started at all."""
        self._process = subprocess.Popen(
            self._command,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
            **_ownProcessTree(),
        )
        self._readers = [
            self._read(self._process.stdout, self._onOutput),
            self._read(self._process.stderr, self._onError),
        ]

    @property
    def isFinished(self) -> bool:
        """True once the process has ended and everything it said has been read."""
        if self._process is None or self._process.poll() is None:
            return False
        self._endedAt = self._endedAt or time.monotonic()
        isRead = not any(reader.is_alive() for reader in self._readers)
        return isRead or time.monotonic() - self._endedAt > _LAST_WORDS_S

    @property
    def hasSucceeded(self) -> bool:
        return self._process is not None and self._process.poll() == 0

    def events(self) -> list[Progress | str]:
        """What arrived since the last call, oldest first: progress, or a line for the log.

        Of one stage's progress only the latest is kept; of a flood of lines the first ones, and how many were left out.
        """
        return self._inbox.takeAll()

    def failure(self) -> str:
        """One sentence that says why the process did not succeed."""
        code = None if self._process is None else self._process.poll()
        if code == -9:
            return _(
                "The computation was stopped by the system, most likely because the memory was full; close other programs."
            )
        if code is not None and code < 0:
            return _("The computation was stopped by signal {number}; try again.").format(number=-code)
        lines = list(self._errorLines)
        missing = _NO_MODULE.search(lines[-1]) if lines else None
        if missing:
            text = _("The Python package '{name}' is missing; press 'Install' in the module and try again.")
            return text.format(name=missing[1].partition(".")[0])
        silent = _("The computation ended with code {code} and no message; try again.").format(code=code)
        return _lastError(lines) or silent

    def cancel(self, grace_s: float = GRACE_S) -> None:
        """End the process and everything it started: politely first, by force after `grace_s` seconds."""
        if self._process is None:
            return
        _askToStop(self._process)
        deadline = time.monotonic() + grace_s
        while self._process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        _forceToStop(self._process)
        self._process.wait(timeout=5)

    def _read(self, stream: TextIO | None, receive) -> threading.Thread:
        def pump() -> None:
            with stream:
                while line := stream.readline(_LONGEST_LINE):
                    receive(line.rstrip("\r\n"))

        thread = threading.Thread(target=pump, daemon=True)
        thread.start()
        return thread

    def _onOutput(self, line: str) -> None:
        if line.strip():
            self._inbox.put(parseProgress(line) or line)

    def _onError(self, line: str) -> None:
        if line.strip():
            self._errorLines.append(line)
            self._inbox.put(line)


class _Inbox:
    """Events between the reader threads and whoever polls; it never holds more than a poll can digest."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._events: list[Progress | str] = []
        self._lines = 0  # of the events, how many are lines of the log
        self._leftOut = 0

    def put(self, event: Progress | str) -> None:
        with self._lock:
            last = self._events[-1] if self._events else None
            if isinstance(event, str):
                if self._lines == _WAITING_LINES:
                    self._leftOut += 1
                    return
                self._lines += 1
            elif isinstance(last, Progress) and last.stage == event.stage:
                self._events.pop()
            self._events.append(event)

    def takeAll(self) -> list[Progress | str]:
        with self._lock:
            taken, self._events = self._events, []
            leftOut, self._lines, self._leftOut = self._leftOut, 0, 0
        return taken + ([_("… {count} more lines left out").format(count=leftOut)] if leftOut else [])


def parseProgress(line: str) -> Progress | None:
    """The progress a JSON line tells of; None when the line is anything else (it belongs in the log)."""
    try:
        told = json.loads(line)
        stage, fraction, left = told["stage"], float(told["fraction"]), told.get("seconds_left")
        left = None if left is None else float(left)
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
    if not isinstance(stage, str) or not math.isfinite(fraction):
        return None
    if left is not None and not (math.isfinite(left) and left >= 0):
        left = None
    return Progress(stage, min(max(fraction, 0.0), 1.0), left)


def _lastError(lines: list[str]) -> str:
    """The core's own sentence ("Error: …", possibly wrapped over lines), else the last line said."""
    starts = [number for number, line in enumerate(lines) if line.startswith("Error: ")]
    if not starts:
        return lines[-1].strip() if lines else ""
    return " ".join(line.strip() for line in lines[starts[-1] :]).removeprefix("Error: ")


def _ownProcessTree() -> dict[str, object]:
    """Arguments that put the child at the head of its own tree, so that the tree can be ended as one."""
    if _ON_WINDOWS:  # and without a console window flashing up
        return {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW}
    return {"start_new_session": True}


def _askToStop(process: subprocess.Popen[str]) -> None:
    # Windows has no polite way that reaches a process without a console; the forced end follows at once there.
    if not _ON_WINDOWS:
        _signalTree(process, signal.SIGTERM)


def _forceToStop(process: subprocess.Popen[str]) -> None:
    if _ON_WINDOWS:
        # PythonSlicer is a launcher: killing it alone would leave the real Python running, hence /T
        subprocess.run(
            ["taskkill", "/F", "/T", "/PID", str(process.pid)],
            check=False,
            capture_output=True,
            creationflags=subprocess.CREATE_NO_WINDOW,
        )
    else:
        _signalTree(process, signal.SIGKILL)  # also for those whose parent is already gone


def _signalTree(process: subprocess.Popen[str], number: int) -> None:
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:
        return  # everyone has already left
