"""The page as a whole: what the template is filled with, and how large it may grow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING, Any

from pytest_dlcheck.finding import Finding, by_recipe
from pytest_dlcheck.reports.contents import Contents
from pytest_dlcheck.reports.html import assets, embed, overview
from pytest_dlcheck.reports.html.cards import past
from pytest_dlcheck.reports.html.history import History
from pytest_dlcheck.reports.html.packing import Packer
from pytest_dlcheck.reports.html.verdicts import is_gate, measure, state
from pytest_dlcheck.reports.html.wording import filters

if TYPE_CHECKING:
    from jinja2 import Environment

SIZE = 14_000_000
"""Bytes that a report may have: browsers and CI's artifact viewers open that without a wait."""
PROBLEMS = 400
"""Problems that are told before the recipes; the cards tell all of them."""
_CARDS = '<script type="application/json" id="cards">'
"""Behind this the cards belong; what others have named cannot look like it, because it is escaped."""
_SESSION = {
    "started": "started",
    "pytest_dlcheck": "pytest-dlcheck",
    "torch": "torch",
    "python": "Python",
    "platform": "platform",
    "device": "device",
}
"""What is told of the session, by name: nothing else of it gets into a report."""


def render(contents: Contents, history: Sequence[History] = ()) -> str:
    """The whole report as HTML."""
    groups = overview.worst_first(by_recipe(contents.findings))
    lines: dict[str, list[History]] = {}
    for line in history:
        lines.setdefault(line.recipe, []).append(line)
    before, mark, after = _frame(contents, groups, history).partition(_CARDS)
    room = SIZE - len(before.encode()) - len(after.encode())
    cards = Packer(groups, contents, lines).packed(room)
    return f"{before}{mark}{embed.json_text(cards)}{after}"


def _frame(
    contents: Contents, groups: Mapping[str, Sequence[Finding]], history: Sequence[History]
) -> str:
    """The page without its cards."""
    rows = overview.recipes(groups, contents.traces, contents.recipes)
    problems = overview.problems_of(groups, rows)
    index = {
        "recipes": [[row.name, [*row.checks], row.place] for row in rows],
        "checks": _checks(contents.findings),
        "gates": _gates(rows, groups),
        "history": [past(line) for line in history if line.recipe not in groups],
    }
    return (
        _environment()
        .get_template("page.html.j2")
        .render(
            tally=overview.tally(rows, groups),
            problems=problems[:PROBLEMS],
            untold=len(problems[PROBLEMS:]),
            recipes=rows,
            session=_session(contents),
            notices=_notices(contents),
            filters=filters(rows),
            index=embed.json_text(index),
            assets=assets.load(),
        )
    )


def _gates(rows: Sequence[overview.Recipe], groups: Mapping[str, Sequence[Finding]]) -> list[Any]:
    """Numbers that were to be reached: a row per bound, or one that says why there is no number."""
    from pytest_dlcheck.check import registry

    gates = {name for name, check in registry().items() if check.family == "gate"}
    return [
        [row.index, embed.name(finding.verdict.check), state(finding), held]
        for row, group in zip(rows, groups.values(), strict=True)
        for finding in group
        if finding.verdict.check in gates or is_gate(finding.verdict)
        for held in _held(finding)
    ]


def _held(finding: Finding) -> list[Any]:
    bounded: list[Any] = [measure(m) for m in finding.verdict.measures if m.bound is not None]
    return bounded or [embed.name((finding.objection or finding.verdict.because).partition("\n")[0])]


def _checks(findings: Sequence[Finding]) -> dict[str, str]:
    """What each check asserts, in a line; empty for one that is not installed here."""
    from pytest_dlcheck.check import registry

    known = registry()
    names = dict.fromkeys(finding.verdict.check for finding in findings)
    return {embed.name(n): embed.text(known[n].summary) if n in known else "" for n in names}


def _session(contents: Contents) -> dict[str, str]:
    told = {label: contents.session.get(key) for key, label in _SESSION.items()}
    return {label: embed.name(_readable(str(value))) for label, value in told.items() if value}


def _notices(contents: Contents) -> list[str]:
    told = [contents.notice] if contents.notice else []
    if contents.session and not contents.ended:  # older journals never say that they ended
        told.append("The session did not come to its end: what was in flight is shown as errored.")
    return told


def _readable(value: str) -> str:
    try:
        return datetime.fromisoformat(value).strftime("%Y-%m-%d %H:%M %Z").strip()
    except ValueError:
        return value


@cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    from pytest_dlcheck.reports.html.wording import FILTERS

    made = Environment(
        loader=PackageLoader("pytest_dlcheck.reports.html", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(FILTERS)
    return made
