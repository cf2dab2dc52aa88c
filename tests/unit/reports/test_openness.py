"""One reason is one line, however many checks could not be told for it."""

from __future__ import annotations

from pytest_dlcheck.finding import Finding
from pytest_dlcheck.reports import terminal
from pytest_dlcheck.reports.openness import Open, gathered_open
from pytest_dlcheck.verdict import Outcome, Verdict


def open_one(recipe, check, because, objection=""):
    verdict = Verdict(check=check, outcome=Outcome.INCONCLUSIVE, because=because)
    return Finding(recipe, verdict, objection=objection)


FOUND = [
    open_one("a", "one", "it diverged"),
    open_one("a", "two", "too few steps"),
    open_one("a", "three", "it diverged"),
    open_one("b", "one", "it diverged"),
    Finding("b", Verdict(check="two", outcome=Outcome.PASSED, because="it diverged")),
    open_one("b", "three", "it diverged", objection="inconclusive: it diverged"),
]


def test_checks_of_a_recipe_are_gathered_by_their_reason():
    assert gathered_open(FOUND) == [
        Open("a", ("one", "three"), "it diverged"),
        Open("a", ("two",), "too few steps"),
        Open("b", ("one",), "it diverged"),
    ]


def test_the_terminal_tells_each_reason_once_with_its_count_and_its_checks():
    assert terminal.unsettled(FOUND, width=100, colour=False).splitlines() == [
        "a (2 checks)  inconclusive: it diverged",
        "    one, three",
        "a::two  inconclusive: too few steps",
        "b::one  inconclusive: it diverged",
    ]
