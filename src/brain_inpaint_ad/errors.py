"""What can go wrong on purpose, on one page.

BrainInpaintError
├── InputError (ValueError)          the scan, the mask or a folder cannot be used as given
│   ├── FormatError                  a file is missing, empty, truncated or of an unreadable kind
│   ├── GeometryError                two volumes that must share a grid do not
│   ├── NoBrainError                 nothing in the scan looks like a brain
│   └── FitError                     healthy brains cannot be laid over the scan
├── SettingsError (ValueError)       an option is outside what it may be
├── WeightsError                     a model is missing, damaged or of another architecture
├── OutputError (OSError)            a result cannot be written where it was asked for
├── TrainingError                    training cannot start, resume or continue
└── Cancelled                        the user asked to stop; not a failure

Every message is one sentence fit for a dialog box: what is wrong, with which file, what to do.
"""


class BrainInpaintError(Exception):
    """Base of every error this package raises on purpose."""


class InputError(BrainInpaintError, ValueError):
    """The scan, the mask or a folder cannot be used as given."""


class FormatError(InputError):
    """A file is missing, empty, truncated or of an unreadable kind."""


class GeometryError(InputError):
    """Two volumes that must share a grid do not."""


class NoBrainError(InputError):
    """Nothing in the scan looks like a brain."""


class FitError(InputError):
    """Healthy brains cannot be laid over the scan."""


class SettingsError(BrainInpaintError, ValueError):
    """An option is outside what it may be."""


class WeightsError(BrainInpaintError):
    """A model is missing, damaged or of another architecture."""


class OutputError(BrainInpaintError, OSError):
    """A result cannot be written where it was asked for."""


class TrainingError(BrainInpaintError):
    """Training cannot start, resume or continue."""


class Cancelled(BrainInpaintError):
    """The user asked to stop."""
