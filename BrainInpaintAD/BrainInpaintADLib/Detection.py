"""One detection at a time: from a volume of the scene, through the core, back into the scene."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir

import slicer
from slicer.i18n import tr as _

from . import Core, ResultImport, Results
from .Results import ResultNodes
from .RunFiles import RunFiles
from .Scene import checkScan
from .Seen import Seen, seeAgain, seen
from .Settings import Settings
from .States import State, StateMachine
from .Worker import Progress, Worker, WorkerProtocol

POLL_S = 0.05

_GPU_TROUBLE = re.compile(r"CUDA|cuDNN|CUBLAS", re.IGNORECASE)

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

    The scene changes in two places only: a preview comes in while RUNNING, the result while IMPORTING. A cancel or a
    failure takes the preview away again and leaves the scene as it was, and in the views what they showed before
    onPreview was called; a result replaces it.

    makeWorker(scan, out, settings, *, mask): computes; a preview is looked for in Core.previewFolder(out) once a
    Progress says Core.PREVIEW_READY. onPreview(result) is called after its nodes are in; onState after every change.
    """

    def __init__(
        self,
        *,
        makeWorker: WorkerMaker = coreWorker,
        onState: Callable[[State], None] = ignore,
        onProgress: Callable[[Progress], None] = ignore,
        onLog: Callable[[str], None] = ignore,
        onPreview: Callable[[ResultNodes], None] = ignore,
    ) -> None:
        self._makeWorker = makeWorker
        self._onProgress = onProgress
        self._onLog = onLog
        self._onPreview = onPreview
        self._machine = StateMachine(onState)
        self._worker: WorkerProtocol | None = None
        self._files: RunFiles | None = None
        self._settings: Settings | None = None
        self.preview: ResultNodes | None = None  # only while RUNNING
        self._seenBefore: Seen | None = None  # in the views, before the preview
        self.result: ResultNodes | None = None  # of the last detection that came to its end
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
        """Begin; `install` is called first and may ask the user. Whatever is raised here also ends in FAILED.

        Computes always: whether the same result is in the scene already, Results.findResult tells the caller.
        """
        if self.state.isBusy:
            raise DetectionError(_("A detection is already running; wait for it or cancel it."))
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
            if self.state is State.CANCELLED:
                return  # from the installer's event loop, which then gave up
            self._fail(str(error))
            raise

    def poll(self) -> None:
        """Pass on what the worker said; bring a preview in; when the worker has ended, bring the result in."""
        if self.state is not State.RUNNING:
            return
        if self._files.volumeNode.GetScene() is None:
            self._fail(_("The volume was removed from the scene while it was examined; the detection was stopped."))
            return
        isFinished = self._worker.isFinished  # before reading, so that the last words are among the events
        for event in self._worker.events():
            self._passOn(event)
            if self.state is not State.RUNNING:
                return  # a listener has cancelled
        if not isFinished:
            return
        if self._worker.hasSucceeded:
            self._import()
        elif self._settings.device == "auto" and _GPU_TROUBLE.search(self._worker.failure()):
            self._goOnWithTheCpu()
        else:
            self._fail(self._worker.failure())

    def cancel(self) -> None:
        """Stop what runs; the scene stays as it is. Does nothing when nothing runs."""
        if self.state not in (State.INSTALLING, State.RUNNING):
            return
        self._forget()
        self._machine.moveTo(State.CANCELLED)

    def wait(self) -> ResultNodes:
        """Poll until the end, for scripts. Raises DetectionError when there is no result; Ctrl-C cancels."""
        try:
            while self.state.isBusy:
                self.poll()
                time.sleep(POLL_S)
        except BaseException:
            self.cancel()
            raise
        if self.state is State.IDLE and self.result is not None:
            return self.result
        raise DetectionError(self.failureText or _("The detection was cancelled."))

    def _launch(self, volumeNode, maskNode, settings: Settings) -> None:
        self._files = RunFiles(_temporaryFolder(), volumeNode, maskNode)
        self._settings = settings
        self._files.write()
        self._startWorker()
        self._machine.moveTo(State.RUNNING)

    def _startWorker(self) -> None:
        files = self._files
        self._worker = self._makeWorker(files.scan, files.out, self._settings, mask=files.mask)
        self._worker.start()

    def _goOnWithTheCpu(self) -> None:
        """A GPU whose memory is full, or whose driver does not fit the installed PyTorch, must not be the end."""
        self._onLog(_("The GPU could not be used ({error}); going on with the CPU.").format(error=self._worker.failure()))
        self._settings = replace(self._settings, device="cpu")
        for folder in (self._files.out, Core.previewFolder(self._files.out)):  # the core refuses to write over results
            shutil.rmtree(folder, ignore_errors=True)
        try:
            self._startWorker()
        except Exception as error:
            self._fail(str(error))

    def _passOn(self, event: Progress | str) -> None:
        if isinstance(event, str):
            self._onLog(self._inTheUsersNames(event))
            return
        self._onProgress(event)
        if event.stage == Core.PREVIEW_READY and self.state is State.RUNNING and self.preview is None:
            self._importPreview()

    def _importPreview(self) -> None:
        """A preview is a courtesy: when it cannot be shown, the detection goes on."""
        try:
            folder = Core.previewFolder(self._files.out)
            self.preview = ResultImport.importResult(folder, self._files.volumeNode, settings=self._settings, isPreview=True)
        except Exception as error:
            self._onLog(_("The preview could not be shown: {error}").format(error=self._inTheUsersNames(str(error))))
            return
        self._seenBefore = seen(self._files.volumeNode.GetScene())
        self._onPreview(self.preview)

    def _import(self) -> None:
        self._machine.moveTo(State.IMPORTING)
        try:
            self.result = ResultImport.importResult(self._files.out, self._files.volumeNode, settings=self._settings)
        except Exception as error:  # whatever a result file holds, it must end in a state the user can leave
            self._fail(str(error))
            return
        self._seenBefore = None  # the result is what is to be seen
        self._forget()
        self._machine.moveTo(State.IDLE)

    def _fail(self, text: str) -> None:
        self.failureText = self._inTheUsersNames(text)
        self._forget()
        self._machine.moveTo(State.FAILED)

    def _inTheUsersNames(self, text: str) -> str:
        return self._files.inTheUsersNames(text) if self._files is not None else text

    def _forget(self) -> None:
        """Drop what belongs to the run: the worker, stopped if need be, the files it read and wrote, and the preview."""
        if self._worker is not None and not self._worker.isFinished:
            self._worker.cancel()
        if self._files is not None:
            self._files.delete()
        if self.preview is not None:
            with suppress(Exception):  # the user or a closed scene may have taken parts of it away
                if self._seenBefore is not None:
                    seeAgain(self._seenBefore, insteadOf=self.preview)
            with suppress(Exception):
                Results.remove(self.preview)
        self._files = self._worker = self._settings = self.preview = self._seenBefore = None


def _temporaryFolder() -> TemporaryDirectory:
    """A new folder where Slicer keeps temporary files. Raises DetectionError when none can be made there."""
    root = getattr(getattr(slicer, "app", None), "temporaryPath", None) or gettempdir()
    try:
        return TemporaryDirectory(prefix="BrainInpaintAD-", dir=root, ignore_cleanup_errors=True)
    except OSError as error:
        text = _(
            "Nothing can be written to the temporary folder {folder} ({error}); "
            "choose another one in Edit > Application Settings."
        )
        raise DetectionError(text.format(folder=root, error=error.strerror)) from error
