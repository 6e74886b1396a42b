"""Models added from a folder: copied to where the user's models live, and taken away again."""

from __future__ import annotations

import shutil
from pathlib import Path

from slicer.i18n import tr as _

from .InstallLedger import Ledger
from .OfflineFolder import filesOf
from .Packages import InstallError


class AddedModels:
    """Those of the models in the user's folder that the ledger lists."""

    def __init__(self, folder: Path, ledger: Ledger) -> None:
        self._folder, self._ledger = folder, ledger

    def refuseToOverwrite(self, models: dict[str, Path]) -> None:
        """InstallError when one of them is there already and was not added by us. models: name of the files → weights."""
        taken = [name for name in models if name not in self._ledger.models and filesOf(self._folder, name)[0].exists()]
        if taken:
            text = _("{folder} already holds a model called {names}, put there by somebody else; rename or delete it first.")
            raise InstallError(text.format(folder=self._folder, names=", ".join(taken)))

    def copyIn(self, models: dict[str, Path]) -> None:
        """Weights and cards. InstallError when the folder cannot be written."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            for name, weights in models.items():
                for path in filesOf(weights.parent, name):  # weights first: a card without them would be listed
                    unfinished = self._folder / f".{path.name}"
                    shutil.copyfile(path, unfinished)
                    unfinished.replace(self._folder / path.name)
                self._ledger.write(models=self._ledger.models | {name})
        except OSError as error:
            text = _("The models could not be copied to {folder} ({error}); make room or ask for the right to write there.")
            raise InstallError(text.format(folder=self._folder, error=error.strerror)) from error

    def delete(self) -> int:
        """Delete their files; the ledger stays. Returns how many there were."""
        models = self._ledger.models
        for name in models:
            for path in reversed(filesOf(self._folder, name)):  # the card first: it is what lists a model
                path.unlink(missing_ok=True)
        return len(models)
