"""Numbers and states in words, for the template."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_dlcheck.reports.html import verdicts
from pytest_dlcheck.reports.html.overview import Recipe
from pytest_dlcheck.reports.html.verdicts import WORDS, State, state
from pytest_dlcheck.reports.places import gathered
from pytest_dlcheck.reports.text import one_line, shown
from pytest_dlcheck.verdict import Measure

if TYPE_CHECKING:
    from markupsafe import Markup

GLYPHS: dict[State, str] = {
    "errored": "!",
    "failed": "✕",
    "inconclusive": "?",
    "expected": "≈",
    "advice": "i",
    "passed": "✓",
    "na": "–",
}
_SENSE = {"<=": "≤", ">=": "≥", "=": "="}
_MINUTE, _HOUR = 60.0, 3600.0


@dataclass(frozen=True, slots=True)
class Filter:
    """A choice of recipes.

    Attributes:
        key: what it goes by.
        label: what it is called.
        count: how many recipes it leaves.
    """

    key: str
    label: str
    count: int


def filters(rows: Sequence[Recipe]) -> list[Filter]:
    """The choices that leave some of the recipes."""
    sorts: list[tuple[str, str, Callable[[Recipe], bool]]] = [
        ("all", "All", lambda _: True),
        ("failed", "Failed", lambda r: r.state in {"failed", "errored"}),
        ("inconclusive", "Inconclusive", lambda r: "inconclusive" in r.counts),
        ("expected", "Expected failures", lambda r: "expected" in r.counts),
        ("advice", "Advice", lambda r: "advice" in r.counts),
        ("passed", "No check failed", lambda r: r.state not in {"failed", "errored"}),
    ]
    found = [Filter(key, label, sum(map(fits, rows))) for key, label, fits in sorts]
    return [f for f in found if f.count and (f.key == "all" or f.count < len(rows) or f.key == "failed")]


def keys(row: Recipe) -> str:
    """The filters that a recipe passes."""
    own = [name for name in ("inconclusive", "expected", "advice") if name in row.counts]
    return " ".join([*own, "failed" if row.state in {"failed", "errored"} else "passed"])


def duration(seconds: float) -> str:
    """Seconds as people say them."""
    if not math.isfinite(seconds):
        return str(seconds)
    if seconds < _MINUTE:
        return f"{seconds:.1f} s"
    if seconds < _HOUR:
        return f"{seconds // _MINUTE:.0f} min {seconds % _MINUTE:.0f} s"
    return f"{seconds // _HOUR:.0f} h {seconds % _HOUR / _MINUTE:.0f} min"


def count(number: int, word: str) -> str:
    """``1 problem``, ``2 problems``."""
    return f"{number:,} {word}" if number == 1 else f"{number:,} {word}s"


def rate(value: float) -> str:
    """Samples per second, in three digits."""
    return f"{float(f'{value:.3g}'):,.0f}" if value >= 100 else f"{value:.3g}"  # noqa: PLR2004  digits


def held(measure: Measure) -> str:
    """A measured number against its bound, in words."""
    unit = "" if measure.unit in {"", "ratio", "count"} else f" {measure.unit}"
    interval = ""
    if measure.low is not None and measure.high is not None:
        interval = f" [{measure.low:.4g}, {measure.high:.4g}]"
    sense = _SENSE.get(measure.sense, measure.sense)
    return one_line(f"{measure.value:.4g}{interval}{unit} (must be {sense} {measure.bound:.4g}{unit})")


def rich(text: str) -> Markup:
    """A text for people: unseen characters made visible, names in backticks set as code."""
    from markupsafe import Markup

    parts = re.split(r"`([^`\n]+)`", shown(text))
    code = Markup("<code>{}</code>")
    return Markup("").join(code.format(part) if i % 2 else part for i, part in enumerate(parts))


def bar(measure: Measure) -> str:
    """A measure as JSON, for its bar."""
    return json.dumps(verdicts.measure(measure), allow_nan=False)


def target(recipe: str, check: str = "") -> str:
    """The deep link to a recipe, or to one of its checks."""
    from urllib.parse import urlencode

    return "#" + urlencode({"recipe": recipe, **({"check": check} if check else {})})


FILTERS: Mapping[str, Callable[..., Any]] = {
    "bar": bar,
    "count": count,
    "duration": duration,
    "gathered": gathered,
    "glyph": GLYPHS.__getitem__,
    "held": held,
    "keys": keys,
    "line": one_line,
    "rate": rate,
    "rich": rich,
    "shown": shown,
    "state": state,
    "target": target,
    "word": WORDS.__getitem__,
}
