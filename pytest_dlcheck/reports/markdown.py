"""A summary in GitHub's Markdown: causes first, their consequences folded under them, then the table."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from pytest_dlcheck.finding import Finding, TrialSummary, by_recipe, problems
from pytest_dlcheck.reports.contents import Contents
from pytest_dlcheck.reports.files import append_text, write_text
from pytest_dlcheck.reports.openness import gathered_open
from pytest_dlcheck.reports.places import gathered
from pytest_dlcheck.reports.terminal import sparkline
from pytest_dlcheck.reports.text import SUSPECTS_SHOWN, one_line
from pytest_dlcheck.verdict import Outcome, Verdict

LIMIT = 1_000_000
"""Bytes of a whole summary. GitHub refuses one above 1 MiB, together with what else the step wrote."""
VARIABLE = "GITHUB_STEP_SUMMARY"
_LONGEST = 600
"""Characters of one text; more is cut."""
_ROOM = 200
"""Bytes kept for the line that counts what was left out."""
_MARKS = {"passed": "✅", "failed": "❌", "errored": "💥", "open": "❔", "expected": "☑️", "n/a": "⚪"}
_SPECIAL = re.compile(r"([\\`*\[\]<>|#~&$])|(?<![^\W_])(_)|(_)(?![^\W_])")


def write(contents: Contents, path: Path) -> None:
    """Write the summary; where it is the summary of a GitHub step, behind what stands there.

    Raises:
        ReportError: the file cannot be written.
    """
    if os.environ.get(VARIABLE) != str(path):
        write_text(path, text(contents))
        return
    taken = path.stat().st_size if path.is_file() else 0
    append_text(path, text(contents, LIMIT - taken))


def text(contents: Contents, limit: int = LIMIT) -> str:
    """The summary.

    Args:
        contents: what a journal holds.
        limit: bytes that it may take; what does not fit is counted.
    """
    page = _Page(limit)
    groups = by_recipe(contents.findings)
    causes = [
        _cause(cause, led_to, _where(contents, recipe))
        for recipe, group in groups.items()
        for cause, led_to in problems(group)
    ]
    page.add(f"## dlcheck: {_headline(len(causes), len(groups))}\n\n")
    if contents.notice:
        page.add(
            f"> {escaped(Path(contents.notice.partition(': ')[0]).name)}: the last line is torn\n\n"
        )
    page.list(causes, "causes")
    if groups:
        page.add("\n| recipe | verdicts | train loss | samples/s | seconds |\n|---|---|---|--:|--:|\n")
        page.list([_row(recipe, group) for recipe, group in groups.items()], "recipes")
    notes = _notes(contents.findings)
    if notes and page.add(f"\n<details><summary>not settled, and advice: {len(notes)}</summary>\n\n"):
        page.list(notes, "lines")
        page.close("\n</details>\n")
    if contents.session:
        page.add(f"\n<sub>{_environment(contents)}</sub>\n")
    return page.text()


def escaped(text: str) -> str:
    """Text that Markdown shows as it is, in one line; what stands between backticks is code."""
    line = one_line(text)
    line = line if len(line) <= _LONGEST else f"{line[: _LONGEST - 1]}…"
    parts = line.split("`")
    if len(parts) % 2 == 0 or "\\" in line:
        return _plain(line)
    return "".join(
        code(part) if index % 2 and part else _plain(part) for index, part in enumerate(parts)
    )


def code(text: str) -> str:
    """A name as code, also in a table, whatever it holds."""
    line = one_line(text)[:_LONGEST].replace("|", "\\|")
    if not line.strip():
        return "` `"
    fence = "`" * (max((len(run) for run in re.findall("`+", line)), default=0) + 1)
    edge = " " if line[0] in "` " or line[-1] in "` " else ""
    return f"{fence}{edge}{line}{edge}{fence}"


class _Page:
    """Text that stays below its limit; once something did not fit, lists end with a count."""

    def __init__(self, limit: int) -> None:
        self._parts: list[str] = []
        self._left = limit - _ROOM

    def add(self, text: str) -> bool:
        """Add a text, if there is room for it."""
        size = len(text.encode("utf-8", errors="replace"))
        if size > self._left:
            return False
        self._parts.append(text)
        self._left -= size
        return True

    def list(self, texts: Sequence[str], what: str) -> None:
        """Add texts as far as there is room, and count the others."""
        for index, text in enumerate(texts):
            if not self.add(text):
                rest = len(texts) - index
                self.close(f"\n… and {rest} more {what}, left out because GitHub takes no more\n")
                return

    def close(self, text: str) -> None:
        """Add a short text that must not be missing, from the room that was kept."""
        self._parts.append(text)

    def text(self) -> str:
        return "".join(self._parts)


def _headline(causes: int, recipes: int) -> str:
    within = f"{recipes} recipe{'s' * (recipes != 1)}"
    return f"{causes or 'no'} problem{'s' * (causes != 1)} in {within}"


def _where(contents: Contents, recipe: str) -> str:
    known = contents.recipes.get(recipe, {})
    if not known.get("file"):
        return ""
    place = f"{known['file']}:{known['line']}"
    return f" ({code(place)})"


def _cause(cause: Finding, led_to: Sequence[Finding], where: str) -> str:
    verdict = cause.verdict
    broken = verdict.outcome is Outcome.ERRORED
    name = f"{code(cause.recipe)} does not run" if broken else code(f"{cause.recipe}::{verdict.check}")
    told = cause.objection or verdict.because.partition("\n")[0]
    lines = [f"- **{name}**{where}: {escaped(told)}"]
    if not (broken or cause.objection):
        lines += list(_details(verdict))
    if led_to:
        names = ", ".join(code(f.verdict.check) for f in led_to)
        count = f"{len(led_to)} more check{'s' * (len(led_to) != 1)}"
        what = f"{count} could not judge" if broken else f"{count} failed because of it"
        lines.append(f"  <details><summary>{what}</summary>\n\n  {names}\n  </details>")
    return "\n".join(lines) + "\n"


def _details(verdict: Verdict) -> Iterable[str]:
    places = gathered(verdict.suspects)
    for suspect in places[:SUSPECTS_SHOWN]:
        yield f"  - {code(suspect.site or 'the model')} {escaped(suspect.finding)}"
    if len(places) > SUSPECTS_SHOWN:
        yield f"  - and {len(places) - SUSPECTS_SHOWN} more places"
    for label, text in (("likely cause", verdict.cause), ("remedy", verdict.remedy)):
        if text:
            yield f"  - **{label}**: {escaped(text)}"


def _row(recipe: str, group: Sequence[Finding]) -> str:
    words = Counter(map(_word, group))
    counts = ", ".join(f"{_MARKS[word]} {words[word]} {word}" for word in _MARKS if words[word])
    trials = [trial for finding in group for trial in finding.trials]
    rate = next((t.samples_per_second for t in trials if t.samples_per_second), None)
    seconds = sum(trial.seconds for trial in trials)
    speed = f"{rate:,.0f}" if rate else ""
    return f"| {code(recipe)} | {counts} | {_loss(trials)} | {speed} | {seconds:.1f} |\n"


def _word(finding: Finding) -> str:
    if finding.waived:
        return "expected"
    if finding.objection:
        return "failed"
    outcome = finding.verdict.outcome
    return {Outcome.INCONCLUSIVE: "open", Outcome.NOT_APPLICABLE: "n/a"}.get(outcome, str(outcome))


def _loss(trials: Sequence[TrialSummary]) -> str:
    losses = next((t.losses for t in trials if t.kind in {"train", "watch"} and t.losses), ())
    return f"{sparkline(losses)} {losses[0]:.3g} → {losses[-1]:.3g}" if losses else ""


def _notes(findings: Sequence[Finding]) -> list[str]:
    notes = []
    for group in gathered_open(findings):
        names = ", ".join(code(f"{group.recipe}::{check}") for check in group.checks)
        notes.append(f"- {names}: inconclusive: {escaped(group.because)}\n")
    for finding in findings:
        place = code(f"{finding.recipe}::{finding.verdict.check}")
        notes += [f"- {place}: advice: {escaped(advice)}\n" for advice in finding.verdict.advice]
    return notes


def _environment(contents: Contents) -> str:
    session = contents.session
    versions = (("pytest-dlcheck", "pytest_dlcheck"), ("torch", "torch"), ("Python", "python"))
    told = [f"{name} {session[key]}" for name, key in versions if session.get(key)]
    told += [str(session[key]) for key in ("platform", "started") if session.get(key)]
    return escaped(" · ".join(told))


def _plain(text: str) -> str:
    return _SPECIAL.sub(r"\\\1\2\3", text)
