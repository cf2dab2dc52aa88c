"""The diagnosis in words, line by line."""

from __future__ import annotations

from dataclasses import replace

from pytest_dlcheck.finding import Finding
from pytest_dlcheck.reports.text import (
    SUSPECTS_SHOWN,
    failures_text,
    finding_text,
    findings_text,
    verdict_text,
)
from pytest_dlcheck.verdict import Measure, Outcome, Suspect, Verdict

CUT = Verdict(
    check="gradients_flow",
    outcome=Outcome.FAILED,
    because="2 of 4 parameters receive no gradient",
    measures=(Measure("without", 2, "count", 0), Measure("steps", 100, "count")),
    suspects=(Suspect("encoder.weight", "none", "keep it"), Suspect("", "all", "detach nothing")),
    cause="the graph is cut",
    remedy="detach nothing",
    advice=("look around",),
)
SLOW = Verdict(check="loss_decreases", outcome=Outcome.FAILED, because="it does not\nat all")
ERROR = Verdict(
    check="loss_decreases",
    outcome=Outcome.ERRORED,
    because="the train trial raised an error",
    suspects=(Suspect("forward", "File x\n  line y"),),
    cause="KeyError",
)
FINE = Verdict(check="causality", outcome=Outcome.PASSED, because="0 of 3", advice=("one",))


def test_a_failure_says_what_where_why_and_what_to_do():
    assert verdict_text(CUT).splitlines() == [
        "2 of 4 parameters receive no gradient",
        "  encoder.weight   none",
        "                   -> keep it",
        "  the model        all",
        "likely cause   the graph is cut",
        "remedy         detach nothing",
        "advice         look around",
        "measured       without 2 (must be <= 0)",
    ]


def test_a_consequence_is_one_line():
    assert verdict_text(SLOW, "gradients_flow") == "because of gradients_flow: it does not"


def test_an_error_shows_the_users_frames():
    assert verdict_text(ERROR) == "the train trial raised an error\n  File x\n    line y"


def test_many_suspects_are_counted():
    many = tuple(Suspect(f"layer{i}", "none") for i in range(SUSPECTS_SHOWN + 3))
    lines = verdict_text(
        Verdict(check="x", outcome=Outcome.FAILED, because="so", suspects=many)
    ).splitlines()
    assert len(lines) == 1 + SUSPECTS_SHOWN + 1
    assert lines[-1] == "  and 3 more"


def test_a_consequence_of_a_recipe_that_does_not_run_says_so():
    assert verdict_text(ERROR, "causality") == (
        "the recipe itself does not run, as told at causality: the train trial raised an error"
    )


def test_failures_are_told_with_their_consequences():
    found = [
        Finding("digits", CUT),
        Finding("digits", SLOW, because_of="gradients_flow"),
        Finding("digits", FINE),
    ]
    first, *_, last = failures_text(found).splitlines()
    assert first == "digits::gradients_flow FAILED"
    assert last == "digits::loss_decreases FAILED   because of gradients_flow"
    assert failures_text(found[2:]) == ""


def test_one_error_is_told_once_however_many_checks_it_stops():
    checks = ("causality", "loss_decreases", "overfits_a_batch")
    found = [Finding("digits", replace(ERROR, check=checks[0]))]
    found += [Finding("digits", replace(ERROR, check=c), because_of=checks[0]) for c in checks[1:]]
    for told in (failures_text, findings_text):
        assert told(found).splitlines() == [
            "digits (the recipe itself) ERRORED",
            "  the train trial raised an error",
            "    File x",
            "      line y",
            "  so that 3 checks could not judge",
        ]


def test_what_fails_twice_in_the_same_words_is_told_once():
    found = [Finding("loop [Net, SGD]", CUT), Finding("loop [Net, Adam]", CUT)]
    for told in (failures_text, findings_text):
        *_, place, text = told(found).splitlines()
        assert place == "loop [Net, Adam]::gradients_flow FAILED"
        assert text == "  as told at loop [Net, SGD]::gradients_flow"


def test_an_objection_is_told_in_the_place_of_the_verdict():
    objected = Finding("digits", FINE, objection="expected to fail (#41) but passed")
    assert finding_text(objected) == "expected to fail (#41) but passed"
    assert failures_text([objected]).splitlines() == [
        "digits::causality FAILED",
        "  expected to fail (#41) but passed",
    ]


def test_a_waived_failure_is_no_failure():
    waived = Finding("digits", CUT, waived="#41")
    consequence = Finding("digits", SLOW, because_of="gradients_flow")
    assert failures_text([waived]) == ""
    assert failures_text([waived, consequence]).splitlines() == [
        "digits::loss_decreases FAILED",
        "  because of gradients_flow: it does not",
    ]


def test_findings_tell_of_everything():
    text = findings_text([Finding("digits", FINE), Finding("digits", SLOW)])
    assert text.splitlines() == [
        "digits::loss_decreases FAILED",
        "  it does not",
        "  at all",
        "digits::causality PASSED   0 of 3",
        "  advice   one",
    ]
