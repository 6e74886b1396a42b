"""`brain-inpaint-ad models`."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from .run import ProgressStyle, run


def models() -> None:
    """List the models that came with the package."""
    from ..weights.store import shipped_cards

    cards = run(lambda _: shipped_cards(), ProgressStyle.none)
    table = Table()
    for heading in ("name", "window", "what", "SHA-256"):
        table.add_column(heading, no_wrap=heading in ("name", "SHA-256"))  # these two are for copying
    for card in cards:
        windows = ", ".join(f"{size:g}" for size in sorted(card.sizes_mm) if size)
        table.add_row(card.name, f"{windows} mm" if windows else "–", card.description, card.sha256[:12])
    Console().print(table)
