"""What a report says of the scan as a whole: its quality, its score and where that lies among healthy scans."""

from __future__ import annotations

import html
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from slicer.i18n import tr as _

_FINE = ("", "ok", "not judged")  # qualities that no one is warned of
_BARS = " ▁▂▃▄▅▆▇█"
_WIDTH = 32  # characters of the plot
_ROOM = 0.25  # of the healthy scores' range in the logarithm, on both sides of it and of the limit


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


def plotLines(score: ScanScore) -> tuple[str, str]:
    """Healthy scores as bars, and below them the limit (┆) and this scan (▲); equal steps are equal ratios.

    A scan beyond the plot is an arrow at its edge.
    """
    low, high = (math.log(end(score.healthyScores)) for end in (min, max))
    limit, own = math.log(score.abnormalFrom), math.log(score.score)
    room = _ROOM * max(high - low, 0.1)
    begin, end = min(low, limit) - room, max(high, limit) + 4 * room  # what is abnormal lies above

    def place(value: float) -> int:
        return min(max(int((value - begin) / (end - begin) * _WIDTH), 0), _WIDTH - 1)

    counts = [0] * _WIDTH
    for healthy in score.healthyScores:
        counts[place(math.log(healthy))] += 1
    bars = "".join(_BARS[math.ceil(count / max(counts) * (len(_BARS) - 1))] for count in counts)
    marks = [" "] * _WIDTH
    marks[place(limit)] = "┆"
    marks[place(own)] = "◀" if own < begin else "▶" if own > end else "▲"
    return bars, "".join(marks)


def scoreHtml(score: ScanScore) -> str:
    """Sentence and plot for a label."""
    bars, marks = plotLines(score)
    plot = f'<pre style="margin:0">{bars}  {_("healthy scans")}<br>{marks}  {_("▲ this scan, ┆ limit")}</pre>'
    return f"{html.escape(scoreText(score))}{plot}"
