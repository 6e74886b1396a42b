"""What a report says of the scan as a whole: its quality, its score and where that lies among healthy scans."""

from __future__ import annotations

import html
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from slicer.i18n import tr as _

_FINE = ("", "ok", "not judged")  # qualities that no one is warned of
_BARS = " ▁▂▃▄▅▆▇█"
_WIDTH = 48  # characters of the plot: what the panel has room for on a laptop
_ROOM = 0.25  # of the healthy scores' range in the logarithm, on both sides of it and of the limit
_FAR = math.log(6)  # above the limit: a scan up to there gets a plot that reaches to it


@dataclass(frozen=True)
class ScanScore:
    """Of a model that judges whole scans."""

    score: float
    percentile: float  # share of the healthy scans with a lower score, 0 to 100
    abnormal: bool
    healthyScores: Sequence[float]
    abnormalFrom: float


@dataclass(frozen=True)
class ScanReport:
    """quality: in words, "" when the report says nothing; score: None for models that judge no whole scans."""

    quality: str = ""
    score: ScanScore | None = None

    @property
    def warning(self) -> str:
        """One sentence when the scan is in doubt, else ""."""
        if self.quality in _FINE:
            return ""
        text = _("Check the scan: it looks like a quality problem rather than a lesion: {quality}.")
        return text.format(quality=self.quality)

    def toText(self) -> str:
        """For an attribute of a node."""
        return json.dumps(asdict(self))

    @classmethod
    def fromText(cls, text: str | None) -> ScanReport:
        """The inverse of `toText`; an empty report for anything else."""
        try:
            told = json.loads(text or "{}")
            score = told.get("score")
            return cls(str(told.get("quality", "")), None if score is None else ScanScore(**score))
        except (ValueError, TypeError, AttributeError):
            return cls()


def readReport(path: Path) -> ScanReport:
    """What `report.json` says; an empty report where there is none, or of another version: it is no reason to lose a result."""
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        quality, stored = str(told.get("quality", "")), told.get("scan_score")
        if stored is None:
            return ScanReport(quality)
        healthy = sorted(float(score) for score in stored["healthy_scores"])
        numbers = [float(stored[name]) for name in ("score", "percentile", "abnormal_from")]
        if not healthy or not all(math.isfinite(value) and value > 0 for value in (*healthy, numbers[0], numbers[2])):
            return ScanReport(quality)
        return ScanReport(quality, ScanScore(numbers[0], numbers[1], bool(stored["abnormal"]), healthy, numbers[2]))
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return ScanReport()


def scoreText(score: ScanScore) -> str:
    """One sentence."""
    judged = _("abnormal (from {limit:.3g} on)") if score.abnormal else _("not abnormal (below {limit:.3g})")
    place = _("{percentile:.0f} % of {count} healthy scans score lower")
    return _("Scan score {score:.3g}: {judged}; {place}.").format(
        score=score.score,
        judged=judged.format(limit=score.abnormalFrom),
        place=place.format(percentile=score.percentile, count=len(score.healthyScores)),
    )


def plotLines(score: ScanScore) -> tuple[str, str, str]:
    """Healthy scores as bars; below them a scale with the limit (┆) and this scan (▲), and the numbers of its ends and of both.

    Equal steps are equal ratios. A scan beyond the plot is an arrow at its edge.
    """
    low, high = (math.log(end(score.healthyScores)) for end in (min, max))
    limit, own = math.log(score.abnormalFrom), math.log(score.score)
    room = _ROOM * max(high - low, 0.1)
    begin = min(low, limit) - room
    end = max(max(high, limit) + 4 * room, min(own + room, limit + _FAR))  # what is abnormal lies above

    def place(value: float) -> int:
        return min(max(int((value - begin) / (end - begin) * _WIDTH), 0), _WIDTH - 1)

    counts = [0] * _WIDTH
    for healthy in score.healthyScores:
        counts[place(math.log(healthy))] += 1
    bars = "".join(_BARS[math.ceil(count / max(counts) * (len(_BARS) - 1))] for count in counts)
    mark = "◀" if own < begin else "▶" if own > end else "▲"
    scale = ["─"] * _WIDTH
    scale[place(limit)] = "┆"
    scale[place(own)] = mark
    return (
        bars,
        "".join(scale),
        _numbers({place(own): score.score, place(limit): score.abnormalFrom, place(low): min(score.healthyScores)}),
    )


def _numbers(wanted: Mapping[int, float]) -> str:
    """Numbers below their places on the scale, as far as there is room; the first are the most wanted."""
    line = [" "] * _WIDTH
    for place, value in wanted.items():
        text = f"{value:.3g}"
        begin = min(max(place - len(text) // 2, 0), _WIDTH - len(text))
        around = line[max(begin - 1, 0) : begin + len(text) + 1]
        if not "".join(around).strip():
            line[begin : begin + len(text)] = text
    return "".join(line)


def scoreHtml(score: ScanScore) -> str:
    """Sentence and plot for a label."""
    bars, scale, numbers = plotLines(score)
    legend = _("bars: healthy scans; ┆ abnormal from here; {mark} this scan").format(mark=next(m for m in scale if m in "▲◀▶"))
    plot = f'<pre style="margin:4px 0 0 0">{bars}<br>{scale}<br>{numbers}</pre>'
    return f"{html.escape(scoreText(score))}{plot}<small>{html.escape(legend)}</small>"
