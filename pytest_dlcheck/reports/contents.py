"""What a journal holds, put together from its lines: what every report is rendered from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pytest_dlcheck.finding import Finding
from pytest_dlcheck.trace import Trace
from pytest_dlcheck.verdict import Outcome, Verdict

if TYPE_CHECKING:
    from pytest_dlcheck.reports.html.history import History

_OUTCOMES = {"skipped": Outcome.NOT_APPLICABLE, "failed": Outcome.ERRORED}


@dataclass
class Contents:
    """What a journal holds.

    Attributes:
        session: what is known of the session: ``started`` (UTC, ISO 8601), ``python``, ``torch``,
            ``pytest_dlcheck``, ``platform``, ``device`` as it was asked for; empty in older journals.
        recipes: recipe name -> what was asked of it (``terms``, ``checks``) and where it stands:
            ``file`` relative to the root, or empty, and ``line``, counted from 1, or 0.
        traces: recipe name -> its traces, in the order they were run.
        findings: what was concluded, in order; behind it what could not be judged.
        unjudged: those among them that are no conclusions: checks whose fixtures or factory ended them,
            and the one in flight when the session ended.
        measured: recipe and check -> of what a gate measured: in which run, on which machine.
        notice: what was passed over, such as a torn last line; empty if nothing was.
        ended: whether the session came to its end, be it by Ctrl-C.
        history: what was measured of its recipes over time; in no journal, and told where it is known.
    """

    session: Mapping[str, Any] = field(default_factory=dict)
    recipes: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    traces: dict[str, list[Trace]] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    unjudged: list[Finding] = field(default_factory=list)
    measured: dict[tuple[str, str], Mapping[str, Any]] = field(default_factory=dict)
    notice: str = ""
    ended: bool = False
    history: Sequence[History] = ()


class Reader:
    """Takes a journal's lines in order, and then gives its contents."""

    def __init__(self) -> None:
        self._contents = Contents()
        self._begun: dict[tuple[str, str], None] = {}
        self._first_told: dict[tuple[str, str], str] = {}

    def take(self, entry: Mapping[str, Any]) -> None:
        """Take a line; one of a kind that is not known is passed over.

        Raises:
            KeyError, TypeError, ValueError: it is not as a line of its kind has to be.
        """
        contents, kind = self._contents, entry["kind"]
        if kind == "journal":
            contents.session = dict(entry.get("session", {}))
        elif kind == "recipe":
            contents.recipes[entry["recipe"]] = {"file": "", "line": 0, **entry}
        elif kind == "begun":
            self._begin(entry)
        elif kind == "trace":
            contents.traces.setdefault(entry["recipe"], []).append(Trace.from_json(entry["trace"]))
        elif kind == "verdict":
            finding = Finding.from_json(entry["finding"])
            self._begun.pop((finding.recipe, finding.verdict.check), None)
            contents.findings.append(finding)
        elif kind == "unjudged":
            self._leave(entry)
        elif kind == "measured":
            contents.measured[entry["recipe"], entry["check"]] = dict(entry["measured"])
        elif kind == "end":
            contents.ended = True

    def contents(self, notice: str = "") -> Contents:
        """What was read.

        Args:
            notice: what was passed over.
        """
        contents = self._contents
        killed = "in flight where the journal ends: the session was killed, or still runs"
        contents.unjudged += [
            interrupted(*names)
            if contents.ended
            else _unjudged(*names, outcome=Outcome.ERRORED, because=killed)
            for names in self._begun
        ]
        contents.findings += contents.unjudged
        contents.notice = notice
        return contents

    def _begin(self, entry: Mapping[str, Any]) -> None:
        recipe, check = entry["recipe"], entry["check"]
        self._begun[recipe, check] = None
        place = {"file": entry.get("file", ""), "line": entry.get("line", 0)}
        nothing = {"recipe": recipe, "terms": None, "checks": []}
        self._contents.recipes.setdefault(recipe, {**nothing, **place})

    def _leave(self, entry: Mapping[str, Any]) -> None:
        """What ends several checks of a recipe in the same words is told once, of the first."""
        recipe, check, because = entry["recipe"], entry["check"], entry["because"]
        self._begun.pop((recipe, check), None)
        first = self._first_told.setdefault((recipe, because), check)
        outcome = _OUTCOMES.get(entry["outcome"], Outcome.ERRORED)
        because_of = first if outcome is Outcome.ERRORED and first != check else ""
        self._contents.unjudged.append(_unjudged(recipe, check, outcome, because, because_of))


def interrupted(recipe: str, check: str) -> Finding:
    """What is told of a check that Ctrl-C met: that is no fault of its recipe."""
    because = "in flight when the session was interrupted"
    return _unjudged(recipe, check, Outcome.INCONCLUSIVE, because)


def _unjudged(recipe: str, check: str, outcome: Outcome, because: str, because_of: str = "") -> Finding:
    cause = because if outcome is Outcome.ERRORED else ""
    verdict = Verdict(check=check, outcome=outcome, because=because, cause=cause)
    return Finding(recipe, verdict, because_of)
