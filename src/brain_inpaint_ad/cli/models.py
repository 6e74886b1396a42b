"""`brain-inpaint-ad models …`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from ..progress import Progress
from .printing import print_table
from .run import ProgressStyle, run

app = typer.Typer(help="Models that shipped and those you added: list, show, path, add, remove.")
Name = Annotated[str, typer.Argument(help="A model's name, as the list has it.")]


@app.callback(invoke_without_command=True)
def models(context: typer.Context) -> None:
    """Models that shipped and those you added; alone: list them."""
    if context.invoked_subcommand is None:
        list_()


@app.command("list")
def list_() -> None:
    """List every model that is found by its name; `detect` takes the one marked as default."""
    from ..weights.folders import installed_models
    from ..weights.store import DEFAULT_MODEL

    table = Table()
    for heading in ("name", "window", "what", "SHA-256"):
        table.add_column(heading, no_wrap=heading in ("name", "SHA-256"))  # these two are for copying
    for model in run(lambda _: installed_models(), ProgressStyle.none):
        card = model.card
        if card is None:
            table.add_row(escape(model.name), "–", escape(f"cannot be used: {model.problem}"), "–")
        else:
            windows = ", ".join(f"{size:g}" for size in sorted(card.sizes_mm) if size)
            what = f"Default. {card.description}" if model.name == DEFAULT_MODEL else card.description
            table.add_row(escape(model.name), f"{windows} mm" if windows else "–", escape(what), card.sha256[:12])
    print_table(table)


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="A model's name, as the list has it, or the path of a .safetensors file.")],
    json: Annotated[bool, typer.Option("--json", help="The whole card, as JSON.")] = False,
) -> None:
    """Print a model's card: what it was trained on, how well it does, its thresholds and SHA-256."""
    from ..weights.folders import check_whole
    from ..weights.manage import examined_model
    from ..weights.told import told

    def card(_: Progress) -> str:
        model = examined_model(name)
        return check_whole(model.path).to_json() if json else told(model)

    typer.echo(run(card, ProgressStyle.none), nl=False)


@app.command()
def path(name: Name) -> None:
    """Print where a model's weights are; its card lies beside them."""
    from ..weights.manage import installed_model

    typer.echo(str(run(lambda _: installed_model(name).path, ProgressStyle.none)))


@app.command()
def add(
    file: Annotated[Path, typer.Argument(help="A .safetensors file with its card (.json) beside it.", readable=False)],
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an added model of the same name.")] = False,
) -> None:
    """Check a model and copy it to your own folder, where upgrades leave it alone."""
    from ..weights.manage import add_model, is_calibrated

    model = run(lambda _: add_model(file, overwrite=overwrite), ProgressStyle.none)
    typer.echo(f"{model.name} is added; use it with: brain-inpaint-ad detect SCAN --out FOLDER --model {model.name}")
    if not is_calibrated(model):
        typer.echo(f"It is not calibrated; first: brain-inpaint-ad calibrate {model.name} --data FOLDER (of healthy scans)")


@app.command()
def remove(name: Name) -> None:
    """Delete a model that you added."""
    from ..weights.manage import remove_model

    typer.echo(f"{run(lambda _: remove_model(name), ProgressStyle.none)} and its card are removed.")
