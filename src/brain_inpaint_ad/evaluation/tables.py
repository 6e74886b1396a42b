"""Rows to tables: one line per detector, data set and split; means over subjects with 95 % bootstrap intervals."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from html import escape
from typing import Any

from ..segmentation.select import SEGMENTATIONS
from .controls import LEAST_TUMOUR_MM2
from .intervals import Summary, summarise
from .metrics import LEAST_COVER, LEAST_LESION_ML

Row = dict[str, Any]
Value = Callable[[dict[str, Any]], float | None]
_SEGMENTED = tuple(f", {name}" for name in SEGMENTATIONS)  # ends the name of rows that share another row's heatmap
_PUBLISHED = "published"  # begins the names of the rules of Baur 2018
SPREAD = "Mean ± standard deviation over subjects [95 % bootstrap interval of the mean, from three subjects on]."


@dataclass(frozen=True, slots=True)
class Table:
    """Text cells; note: one paragraph on how to read it."""

    title: str
    note: str
    header: list[str]
    lines: list[list[str]]

    def markdown(self) -> str:
        """GitHub's dialect."""
        rows = [self.header, ["---"] * len(self.header), *self.lines]
        rule = "|" + "---|" * len(self.header)
        return "\n".join(rule if number == 1 else "| " + " | ".join(row) + " |" for number, row in enumerate(rows)) + "\n"

    def html(self) -> str:
        """A heading, the note and the table."""
        head = "".join(f"<th>{escape(cell)}</th>" for cell in self.header)
        body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in line) + "</tr>\n" for line in self.lines)
        top = f"<h2>{escape(self.title)}</h2>\n<p>{escape(self.note)}</p>\n"
        return f'{top}<div class="wide"><table>\n<tr>{head}</tr>\n{body}</table></div>\n'


def all_tables(rows: list[Row]) -> list[Table]:
    """Those that have a line."""
    makers = (main_table, rules_table, residual_table, healthy_table, scan_table, scales_table, paper_table)
    return [table for table in (make(rows) for make in makers) if table.lines]


def main_table(rows: list[Row]) -> Table:
    """The default rule."""
    columns: dict[str, Value] = {
        "AUROC": _score("auroc"),
        "AUPRC": _score("auprc"),
        "prevalence": _score("prevalence"),
        "Dice": _score("dice"),
        "ceiling": _score("dice_ceiling"),
        "lesions found": _lesion_recall,
    }
    lines = []
    for name, members in _groups(rows):
        cells = [_cell(members, value, plain=column == "prevalence") for column, value in columns.items()]
        nothing = sum(row["scores"]["anomalies"] == 0 for row in members)
        lines.append([*name, *cells, _cell(members, _score("found_ml"), digits=1), f"{nothing} of {len(members)}"])
    note = (
        f"{SPREAD} AUROC, AUPRC: heatmap over all brain voxels of all slices; prevalence: the AUPRC of a coin. Dice: per scan, "
        "whole volume, default rule (superpixels above the threshold that lets 1 % of healthy brain through). ceiling: Dice of "
        "the heatmap's voxels at the threshold that is best for this very scan; it knows the truth and is no result. "
        "lesions found: share of lesions "
        f"(≥ {LEAST_LESION_ML} ml) of which at least {LEAST_COVER:.0%} is marked. found: volume marked, in ml."
    )
    return Table(
        "Heatmaps and what they find", note, ["data (split, n)", "detector", *columns, "found, ml", "nothing found"], lines
    )


def rules_table(rows: list[Row]) -> Table:
    """Every threshold from healthy scans."""
    names = [name for name in _rule_names(rows) if not name.startswith(_PUBLISHED)]
    lines = []
    for group, members in _groups([row for row in rows if not row.get("healthy")]):
        dices = [_cell(members, _rule(name, "dice")) for name in names]
        false = [_cell(members, _rule(name, "false_ml"), digits=1) for name in names]
        if any(cell != "–" for cell in dices):
            lines.append([*group, *dices, *false])
    note = (
        f"{SPREAD} Thresholds let 1 % or 5 % of the brain voxels of healthy validation scans through. regions: superpixels, "
        "specks below 5 ml dropped (of residual rows: voxels after a median, specks below 6 voxels dropped); voxels: the "
        "heatmap itself, nothing dropped. false: marked volume outside the truth."
    )
    header = ["data (split, n)", "detector", *(f"Dice, {name}" for name in names), *(f"false ml, {name}" for name in names)]
    return Table("At healthy thresholds", note, header, lines)


def residual_table(rows: list[Row]) -> Table:
    """Baur 2018, table 1: Dice and seconds; and Dice without each step of the segmentation."""
    names = [name for name in _rule_names(rows) if name.startswith(_PUBLISHED)]
    lines = []
    for group, members in _groups([row for row in rows if not row.get("healthy")]):
        if any(set(names) & set(row["scores"].get("rules", {})) for row in members):
            dices = [_cell(members, _rule(name, "dice")) for name in names]
            false = _cell(members, _rule(_PUBLISHED, "false_ml"), digits=1)
            lines.append([*group, *dices, false, f"{sum(row['seconds'] for row in members) / len(members):.2f}"])
    note = (
        f"{SPREAD} Baur 2018: residuals after a median over 5 × 5 × 5 voxels, the brain mask eroded by a voxel, at the "
        "threshold that 98 % of residuals in training scans stay below, specks below 6 voxels dropped; and without each step. "
        "seconds: for the heatmap of a scan."
    )
    header = ["data (split, n)", "detector", *(f"Dice, {name}" for name in names), "false ml, published", "seconds"]
    return Table("Residual segmentation as published", note, header, lines)


def healthy_table(rows: list[Row]) -> Table:
    """False alarms in scans of healthy people."""
    healthy = [row for row in rows if row.get("healthy")]
    names = _rule_names(healthy)
    lines = []
    for group, members in _groups(healthy):
        nothing = sum(row["scores"]["anomalies"] == 0 for row in members)
        own = sum(bool(row.get("threshold_from_this_scan")) for row in members)
        cells = [_cell(members, _rule(name, "false_ml"), digits=1) for name in names]
        lines.append([*group, *cells, f"{nothing} of {len(members)}", str(own)])
    note = (
        f"{SPREAD} False-positive volume per healthy scan in ml, and how many scans have nothing found (default rule). "
        "own threshold: scans that helped to set the threshold in the model's card, whose figures are therefore flattered."
    )
    header = ["data (split, n)", "detector", *(f"false ml, {name}" for name in names), "nothing found", "own threshold"]
    return Table("Healthy scans", note, header, lines)


def scales_table(rows: list[Row]) -> Table:
    """What another scale would give."""
    figures: dict[str, Callable[[dict[str, Any]], float]] = {
        "Dice at 75": lambda study: study["dice"][study["scale"].index(75)],
        "Dice at the automatic scale": lambda study: study["dice"][study["scale"].index(study["auto"])],
        "Dice at the best scale": lambda study: max(study["dice"]),
        "oracle segment at 75": lambda study: study["oracle"][study["scale"].index(75)],
        "oracle segment at its best scale": lambda study: max(study["oracle"]),
        "automatic scale": lambda study: study["auto"],
    }
    lines = []
    for group, members in _groups([row for row in rows if row["scores"].get("scales")]):
        cells = [
            _cell(members, _scale_figure(of), digits=0 if name == "automatic scale" else 3) for name, of in figures.items()
        ]
        lines.append([*group, *cells])
    note = (
        f"{SPREAD} Dice on the model grid under the default rule, whose threshold stays that of scale 75. The best scale of "
        "each scan and the oracle (the best segment of every slice; of a volume, its one best segment) know the truth and are "
        "no results; the automatic scale knows the heatmap and the superpixels only."
    )
    return Table("Dice against scale", note, ["data (split, n)", "detector", *figures], lines)


def scan_table(rows: list[Row]) -> Table:
    """Ill against healthy scans by one number each."""
    scored = [row for row in rows if "tail" in row["scores"] and not row["detector"].endswith(_SEGMENTED)]
    healthy = [row for row in scored if row.get("healthy")]
    lines = []
    for (place, detector), members in _groups([row for row in scored if not row.get("healthy")]):
        for dataset in dict.fromkeys(row["dataset"] for row in healthy):
            others = [row for row in healthy if (row["dataset"], row["detector"]) == (dataset, detector)]
            others = [row for row in others if row["split"] == members[0]["split"]]
            if others:
                area = _area([row["scores"]["tail"] for row in members], [row["scores"]["tail"] for row in others])
                lines.append([place, f"{dataset} ({len(others)})", detector, f"{area:.3f}"])
    note = (
        "Share of pairs of an ill and a healthy scan in which the ill one has the higher score, the mean heat of the hottest "
        "1 % of its brain. The two come from other scanners: part of what tells them apart may be that."
    )
    return Table("Scans as a whole", note, ["ill scans", "healthy scans", "detector", "AUROC"], lines)


def paper_table(rows: list[Row]) -> Table:
    """One segment per slice, as published, and the controls."""
    lines = []
    for (place, detector), members in _groups(rows, scored=False):
        picks = [(row, pick) for row in members for pick in row["scores"].get("picks", {}).values()]
        if not picks:
            continue
        people = [str(row.get("subject", row["case"])) for row, _ in picks]
        slices = sum(pick["slices"] for _, pick in picks)
        label = f"{detector}: hottest segment" if any("auroc" in row["scores"] for row in members) else f"control: {detector}"
        cells = [summarise([pick[key] for _, pick in picks], people).text() for key in ("slice_dice", "volume_dice")]
        lines.append([place, label, str(slices), *cells])
    note = (
        f"{SPREAD} Paper protocol, not comparable with the tables above: one segment per slice, at the published scale 75. "
        f"Dice per slice is over slices that show at least {LEAST_TUMOUR_MM2:g} mm² of tumour, which the truth has "
        "chosen; Dice of the volume is over all slices. The oracle takes the best segment, and none where there is no tumour."
    )
    header = ["data (split, n)", "segment", "tumour slices", "Dice per tumour slice", "Dice of the volume"]
    return Table("Paper protocol and segment controls", note, header, lines)


def group_of(row: Row) -> tuple[str, str, str]:
    """Whose scans share a line."""
    return row["dataset"], row["split"], row["detector"]


def _area(ill: list[float], healthy: list[float]) -> float:
    """Area under the ROC curve; ties count half."""
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score([1] * len(ill) + [0] * len(healthy), [*ill, *healthy]))


def _groups(rows: list[Row], *, scored: bool = True) -> list[tuple[tuple[str, str], list[Row]]]:
    """Lines with their rows. scored: without the controls, which have no heatmap."""
    chosen = [row for row in rows if "anomalies" in row["scores"] or not scored]
    groups = dict.fromkeys(group_of(row) for row in chosen)
    found = []
    for group in groups:
        members = [row for row in chosen if group_of(row) == group]
        found.append(((f"{group[0]} ({group[1]}, {len(members)})", group[2]), members))
    return found


def _cell(members: list[Row], value: Value, *, digits: int = 3, plain: bool = False) -> str:
    summary = summary_of(members, value)
    return f"{summary.mean:.{digits}f}" if plain and summary.subjects else summary.text(digits)


def summary_of(members: list[Row], value: Value) -> Summary:
    """Over the subjects that have the figure."""
    pairs = [(figure, str(row.get("subject", row["case"]))) for row in members if (figure := value(row["scores"])) is not None]
    return summarise([figure for figure, _ in pairs], [person for _, person in pairs])


def _rule_names(rows: list[Row]) -> list[str]:
    return list(dict.fromkeys(name for row in rows for name in row["scores"].get("rules", {})))


def _score(name: str) -> Value:
    return lambda scores: scores.get(name)


def _rule(name: str, figure: str) -> Value:
    return lambda scores: scores.get("rules", {}).get(name, {}).get(figure)


def _scale_figure(of: Callable[[dict[str, Any]], float]) -> Value:
    return lambda scores: of(scores["scales"])


def _lesion_recall(scores: dict[str, Any]) -> float | None:
    found = scores.get("rules", {}).get("regions 1 %", {}).get("lesions_found")
    return None if found is None or not scores["lesions"] else found / scores["lesions"]
