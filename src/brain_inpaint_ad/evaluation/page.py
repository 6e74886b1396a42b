"""report.html: one file with the tables, curves, cases and how it was made; needs nothing else to be read.

Its pictures lie in the folder `pictures` beside it, too, for those who quote it.
"""

from __future__ import annotations

import base64
import platform
import re
from collections.abc import Callable, Iterator
from functools import partial
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import OutputError
from ..files import write_atomically
from ..segmentation.select import SEGMENTATIONS
from ..volume import Array
from .pictures import draw_case, draw_curves, draw_scales, draw_training
from .store import Store
from .tables import Row, Table, all_tables, group_of

_OTHER_CUTS = tuple(f", {name}" for name in SEGMENTATIONS[1:])  # rows of a heatmap that is shown already
Show = Callable[..., str]  # _image with its folder
_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #222; background: #fff; }
body { max-width: 72rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; font-size: 13px; } .wide { overflow-x: auto; }
td, th { border: 1px solid #ccc; padding: .25rem .5rem; text-align: left; vertical-align: top; }
th { background: #f2f2f2; } img { max-width: 100%; height: auto; display: block; margin: .5rem 0; }
pre { background: #f2f2f2; padding: .75rem; overflow-x: auto; } .notice { border-left: 4px solid #c60; padding-left: .75rem; }
"""


def write_page(path: Path, rows: list[Row], store: Store, made_by: dict[str, str], models: dict[str, dict[str, Any]]) -> None:
    """rows: of rows.json; store: where the views of the rows are; pictures of rows without one are left out.

    models: by name, the cut that suits the model ("segmentation") and how its validation figures went ("curve").
    """
    folder = path.parent / "pictures"
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder} cannot be made ({error.strerror}); choose another --out folder.") from error
    show = partial(_image, folder)
    parts = [*_head(rows, made_by), *(table.html() for table in all_tables(rows)), *_curves(rows, store, show)]
    cuts = {name: told["segmentation"] for name, told in models.items()}
    parts += [*_scales(rows, show), *_training(models, show), *_cases(rows, store, show, cuts)]
    with write_atomically(path) as temporary:
        temporary.write_text(_document("".join([*parts, _scans(rows)])), encoding="utf-8")


def view_of(row: Row) -> tuple[str, dict[str, Any]]:
    """Where the store keeps what the page shows of a row."""
    return f"view-{row['case']}", {key: value for key, value in row.items() if key not in ("scores", "seconds")}


def _document(body: str) -> str:
    head = f'<meta charset="utf-8"><title>BrainInpaintAD: evaluation</title><style>{_STYLE}</style>'
    return f'<!doctype html>\n<html lang="en"><head>{head}</head>\n<body>\n{body}</body></html>\n'


def _head(rows: list[Row], made_by: dict[str, str]) -> Iterator[str]:
    yield "<h1>BrainInpaintAD: evaluation</h1>\n"
    yield '<p class="notice">Research software, not a medical device.</p>\n'
    yield f"<p>Made by version {escape(made_by['version'])} on {escape(_machine())} with</p>\n"
    yield f"<pre>{escape(made_by['command'] or 'evaluate() from Python')}</pre>\n"
    yield (
        "<p>Split by subject; thresholds come from healthy validation scans, and no scan sets the threshold it is judged by "
        "unless a table says so. Random numbers begin with seed 0. Rows of earlier commands may be among those below.</p>\n"
    )
    yield _makers(rows).html()


def _machine() -> str:
    return f"{platform.system()} {platform.machine()}, Python {platform.python_version()}"


def _makers(rows: list[Row]) -> Table:
    """Which weights, which settings, how long."""
    lines = []
    for group in dict.fromkeys(group_of(row) for row in rows):
        members = [row for row in rows if group_of(row) == group]
        made_from = members[0].get("made_from", {"model_sha256": members[0].get("model_sha256", "–")})
        digest = str(made_from.get("model_sha256", made_from.get("group", "–")))[:12]
        settings = ", ".join(f"{key} {value}" for key, value in made_from.items() if key.endswith("_mm") or key == "engine")
        seconds = [row["seconds"] for row in members if "seconds" in row]
        took = f"{np.mean(seconds):.1f}" if seconds else "–"
        lines.append([f"{group[0]} ({group[1]})", group[2], digest, settings or "–", str(len(members)), took])
    note = "SHA-256 (first digits) of the weights, or of the healthy group a baseline compares with. Seconds: for the "
    note += "heatmap; the first baseline to need it pays for the registration."
    return Table(
        "What was compared", note, ["data (split)", "detector", "SHA-256", "settings", "scans", "seconds per scan"], lines
    )


def _curves(rows: list[Row], store: Store, show: Show) -> Iterator[str]:
    ranked = [row for row in rows if row["scores"].get("auroc") is not None and not row["detector"].endswith(_OTHER_CUTS)]
    for place in dict.fromkeys((row["dataset"], row["split"]) for row in ranked):
        members = [row for row in ranked if (row["dataset"], row["split"]) == place]
        curves: dict[str, tuple[Array, Array]] = {}
        for name in dict.fromkeys(row["detector"] for row in members):
            views = [view for row in members if row["detector"] == name and (view := store.read(*view_of(row))) is not None]
            if views:
                curves[name] = (_mean(views, "true_rate"), _mean(views, "precision"))
        if curves:
            prevalence = float(np.mean([row["scores"]["prevalence"] for row in members]))
            title = f"ROC and precision-recall: {place[0]} ({place[1]})"
            yield f"<h2>{escape(title)}</h2>\n{show(draw_curves(curves, prevalence), 'png', title)}"


def _scales(rows: list[Row], show: Show) -> Iterator[str]:
    """Figure 6 of the paper, for every scan: Dice against scale."""
    studied = [row for row in rows if row["scores"].get("scales")]
    for place in dict.fromkeys((row["dataset"], row["split"]) for row in studied):
        members = [row for row in studied if (row["dataset"], row["split"]) == place]
        panels: dict[str, dict[str, dict[str, Any]]] = {}
        for row in members:
            panels.setdefault(row["detector"], {})[row["case"]] = row["scores"]["scales"]
        title = f"Dice against scale: {place[0]} ({place[1]})"
        yield f"<h2>{escape(title)}</h2>\n<p>One colour per scan. Lines: the default rule, its threshold that of scale 75; "
        yield "dots: the automatic scale, on both; dotted: the oracle segment, which knows the truth. On the model grid.</p>\n"
        yield show(draw_scales(panels), "png", title)


def _training(models: dict[str, dict[str, Any]], show: Show) -> Iterator[str]:
    """How each model's figures on healthy validation scans went while it learned."""
    curves = {name: told["curve"] for name, told in sorted(models.items()) if told.get("curve", {}).get("iteration")}
    if curves:
        title = "Training curves"
        yield f"<h2>{title}</h2>\n<p>Figures on healthy validation scans while the models learned.</p>\n"
        yield show(draw_training(curves), "png", title)


def _cases(rows: list[Row], store: Store, show: Show, cuts: dict[str, str]) -> Iterator[str]:
    """Best, median and worst by Dice (healthy scans: by what was found) of every detector's default rule and own cut."""
    shown = {f"{name}, {cut}" for name, cut in cuts.items()}
    instead = {name for name in cuts if any(row["detector"] == f"{name}, {cuts[name]}" for row in rows)}
    scored = [
        row
        for row in rows
        if "anomalies" in row["scores"]
        and (row["detector"] in shown or not row["detector"].endswith(_OTHER_CUTS))
        and row["detector"] not in instead
    ]
    yield "<h2>Best, median and worst cases</h2>\n<p>By Dice of the default rule, healthy scans by the volume found. "
    yield "Green: the truth; cyan: what was found; below, the heatmap. Right is left.</p>\n"
    for group in dict.fromkeys(group_of(row) for row in scored):
        members = [row for row in scored if group_of(row) == group]
        yield f"<h3>{escape(f'{group[2]}, {group[0]} ({group[1]})')}</h3>\n"
        for word, row in best_median_worst(members).items():
            view = store.read(*view_of(row))
            title = f"{word}: {row['case']}, {_told(row)}"
            name = f"{word} {group[2]} {group[0]} {group[1]}"
            picture = "" if view is None else show(draw_case(view, title), "jpeg", title, name)
            yield picture or f"<p>{escape(title)} (its picture is no longer in the cache)</p>\n"


def best_median_worst(rows: list[Row]) -> dict[str, Row]:
    """By "best", "median", "worst", as many as there are rows."""

    def order(row: Row) -> tuple[float, float]:
        dice, auprc = row["scores"]["dice"], row["scores"]["auprc"]
        return (row["scores"]["found_ml"], 0.0) if dice is None else (-dice, -(auprc or 0.0))

    ordered = sorted(rows, key=order)
    if len(ordered) == 1:
        return {"only case": ordered[0]}
    if len(ordered) == 2:
        return {"best": ordered[0], "worst": ordered[1]}
    return {"best": ordered[0], "median": ordered[(len(ordered) - 1) // 2], "worst": ordered[-1]}


def _told(row: Row) -> str:
    scores = row["scores"]
    if scores["dice"] is None:
        return f"{scores['found_ml']:.1f} ml found, healthy"
    return f"Dice {scores['dice']:.2f}, AUROC {scores['auroc'] or 0:.2f}, {scores['found_ml']:.1f} ml found"


def _scans(rows: list[Row]) -> str:
    lines = []
    for place in dict.fromkeys((row["dataset"], row["split"]) for row in rows):
        cases = sorted({row["case"] for row in rows if (row["dataset"], row["split"]) == place})
        lines.append([f"{place[0]} ({place[1]})", str(len(cases)), ", ".join(cases)])
    return Table("Scans", "", ["data (split)", "scans", "names"], lines).html()


def _mean(views: list[dict[str, Array]], name: str) -> Array:
    return np.asarray(np.mean([view[name] for view in views], axis=0))


def _image(folder: Path, picture: bytes, kind: str, title: str, name: str = "") -> str:
    """The picture within the page; a copy goes into `folder` under its name (default: its title)."""
    with write_atomically(folder / f"{re.sub(r'[^a-z0-9]+', '-', (name or title).lower()).strip('-')}.{kind}") as temporary:
        temporary.write_bytes(picture)
    return f'<img alt="{escape(title)}" src="data:image/{kind};base64,{base64.b64encode(picture).decode()}">\n'
