"""Made-up T1 scans with known truth: for tests, for a demonstration without a scan, for users without data."""

from .files import save_phantom
from .scan import Phantom, make_phantom
from .settings import Lesion, PhantomSettings

__all__ = ["Lesion", "Phantom", "PhantomSettings", "make_phantom", "save_phantom"]
