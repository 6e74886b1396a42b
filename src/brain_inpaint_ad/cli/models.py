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
        table.add_row(card.name, f"{card.window_mm:g} mm" if card.window_mm else "–", card.description, card.sha256[:12])
    Console().print(table)
