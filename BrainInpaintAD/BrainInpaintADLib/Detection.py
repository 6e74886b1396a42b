"""One detection at a time: from a volume of the scene, through the core, back into the scene."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import slicer

from . import Core
from .Scene import DetectionResult, SceneError, checkScan, importResult, writeVolume
from .Settings import Settings
from .States import State, StateMachine
from .Worker import Progress, Worker, WorkerProtocol

POLL_S = 0.05

WorkerMaker = Callable[..., WorkerProtocol]


class DetectionError(RuntimeError):
    """A detection failed; the message is fit for a dialog."""


def coreWorker(scan: Path, out: Path, settings: Settings, *, mask: Path | None) -> Worker:
    """The core as it travels with the extension, in a process of its own."""
    command = Core.detectCommand(scan, out, settings, mask=mask)
    return Worker(command, environment=Core.environment(Core.coreFolder()))


def ignore(*_anything: object) -> None:
    """A listener that does not listen."""


class Detection:
    """Start it, poll it (on the main thread: it touches the scene), and read `result`; the listeners are told.

    The scene changes in one place only, `importResult`: until then a cancel or a failure leaves it as it was.
    """

    def __init__(
        self,
        *,
        makeWorker: WorkerMaker = coreWorker,
        onState: Callable[[State], None] = ignore,
        onProgress: Callable[[Progress], None] = ignore,
        onLog: Callable[[str], None] = ignore,
    ) -> None:
        self._makeWorker = makeWorker
        self._onProgress = onProgress
        self._onLog = onLog
        self._machine = StateMachine(onState)
        self._worker: WorkerProtocol | None = None
        self._folder: TemporaryDirectory | None = None
        self._nodes: dict[Path, slicer.vtkMRMLVolumeNode] = {}  # what each temporary file holds; the scan comes first
        self.result: DetectionResult | None = None
        self.failureText = ""

    @property
    def state(self) -> State:
        return self._machine.current

    def start(
        self,
        volumeNode: slicer.vtkMRMLScalarVolumeNode | None,
        maskNode: slicer.vtkMRMLLabelMapVolumeNode | None = None,
        *,
        settings: Settings,
        install: Callable[[], None] | None = None,
    ) -> None:
        """Begin; `install` is called first and may ask the user. Whatever is raised here also ends in FAILED."""
        if self.state.isBusy:
            raise DetectionError("A detection is already running; wait for it or cancel it.")
        self.failureText = ""
        try:
            checkScan(volumeNode)
            if install is not None:
                self._machine.moveTo(State.INSTALLING)
                install()
                if self.state is not State.INSTALLING:
                    return  # cancelled from the installer's event loop
            self._launch(volumeNode, maskNode, settings)
        except Exception as error:
            self._fail(str(error))
            raise

    def poll(self) -> None:
        """Pass on what the worker said; when it has ended, bring the result in."""
        if self.state is not State.RUNNING:
            return
        isFinished = self._worker.isFinished  # before reading, so that the last words are among the events
        for event in self._worker.events():
            (self._onProgress if isinstance(event, Progress) else self._onLog)(event)
        if not isFinished:
            return
        if self._worker.hasSucceeded:
            self._import()
        else:
            self._fail(self._inTheUsersNames(self._worker.failure()))

    def cancel(self) -> None:
        """Stop what runs; the scene stays as it is. Does nothing when nothing runs."""
        if self.state not in (State.INSTALLING, State.RUNNING):
            return
        if self._worker is not None:
            self._worker.cancel()
        self._forget()
        self._machine.moveTo(State.CANCELLED)

    def wait(self) -> DetectionResult:
        """Poll until the end, for scripts. Raises DetectionError when there is no result."""
        while self.state.isBusy:
            self.poll()
            time.sleep(POLL_S)
        if self.state is State.IDLE and self.result is not None:
            return self.result
        raise DetectionError(self.failureText or "The detection was cancelled.")

    def _launch(self, volumeNode, maskNode, settings: Settings) -> None:
        self._folder = TemporaryDirectory(prefix="BrainInpaintAD-", ignore_cleanup_errors=True)
        folder = Path(self._folder.name)
        scan, mask = folder / "scan.nrrd", folder / "mask.nrrd" if maskNode is not None else None
        self._nodes = {scan: volumeNode} | ({mask: maskNode} if mask else {})
        for path, node in self._nodes.items():
            writeVolume(node, path)
        self._worker = self._makeWorker(scan, self._out, settings, mask=mask)
        self._worker.start()
        self._machine.moveTo(State.RUNNING)

    @property
    def _out(self) -> Path:
        return Path(self._folder.name) / "result"

    def _import(self) -> None:
        self._machine.moveTo(State.IMPORTING)
        try:
            volumeNode = next(iter(self._nodes.values()))
            if volumeNode.GetScene() is None:
                raise SceneError("The volume was removed from the scene while it was examined.")
            self.result = importResult(self._out, volumeNode)
        except Exception as error:  # whatever a result file holds, it must end in a state the user can leave
            self._fail(str(error))
            return
        self._forget()
        self._machine.moveTo(State.IDLE)

    def _inTheUsersNames(self, text: str) -> str:
        """The core speaks of our temporary files; the user knows nodes."""
        for path, node in self._nodes.items():
            text = text.replace(str(path), f"'{node.GetName()}'")
        return text

    def _fail(self, text: str) -> None:
        self.failureText = text
        self._forget()
        self._machine.moveTo(State.FAILED)

    def _forget(self) -> None:
        """Drop what belongs to the run: the worker and the files it read and wrote."""
        if self._folder is not None:
            self._folder.cleanup()
        self._folder = self._worker = None
        self._nodes = {}
