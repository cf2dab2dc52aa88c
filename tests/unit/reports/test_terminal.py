"""The table at the end: widths, colours, causes once, and numbers that are not finite."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from pytest_dlcheck.finding import Finding, TrialSummary
from pytest_dlcheck.reports.terminal import causes, sparkline, table, unsettled
from pytest_dlcheck.verdict import Outcome, Verdict


def finding(recipe, check, outcome=Outcome.PASSED, **more):
    verdict = {k: more.pop(k) for k in ("cause", "advice") if k in more}
    return Finding(recipe, Verdict(check=check, outcome=outcome, because="so it is", **verdict), **more)


TRAINED = TrialSummary("train (9 steps)", "train", 1.25, 9, (3.0, 2.0, 1.0), 1234.5)
LEARNED = TrialSummary("overfit (200 steps)", "overfit", 0.25, 9, (3.0,), None)
FINDINGS = [
    finding("digits", "gradients_flow", trials=(TRAINED, LEARNED)),
    finding("digits", "loss_decreases", Outcome.FAILED, cause="too slow"),
    finding("language_model[a very long parameter for sure]", "causality", Outcome.NOT_APPLICABLE),
]


@pytest.mark.parametrize("width", [20, 40, 60, 72, 80, 95, 119, 120, 200])
def test_the_table_fits_where_it_can(width):
    lines = table(FINDINGS, width=width, colour=False).splitlines()
    assert sum(not line.startswith(" ") for line in lines) == 3
    assert max(map(len, lines)) <= width


def test_the_name_gives_way_and_nothing_else():
    long = [finding("x" * 300, "gradients_flow", trials=(TRAINED,))]
    head, row, _ = table(long, width=80, colour=False).splitlines()
    assert head.split() == ["recipe", "verdicts", "train", "loss", "seconds"]
    assert "…" in row.split()[0]
    assert row.split()[1:] == ["1", "ok", "█▅▁", "3", "→", "1", "1.2"]


def test_a_wide_terminal_sees_more():
    head, row, *_ = table(FINDINGS, width=120, colour=False).splitlines()
    assert "samples/s" in head
    assert "1,234" in row


def test_what_each_trial_cost_stands_under_its_recipe():
    lines = table(FINDINGS, width=80, colour=False).splitlines()
    assert lines[2] == "  train (9 steps) 1.2 s 1,234 samples/s, overfit (9 of 200 steps) 0.2 s"
    narrow = table(FINDINGS, width=72, colour=False).splitlines()
    assert narrow[2] == lines[2]
    many = [replace(FINDINGS[0], trials=(TRAINED, TRAINED, LEARNED))]
    assert table(many, width=80, colour=False).splitlines()[2:] == [
        "  train (9 steps) 1.2 s 1,234 samples/s, train (9 steps) 1.2 s 1,234 samples/s,",
        "  overfit (9 of 200 steps) 0.2 s",
    ]
    assert "overfit" not in table(FINDINGS, width=60, colour=False)


def test_processes_that_measure_the_same_are_told_together():
    names = [f"bench_train (process {n}{at})" for n in (1, 2) for at in ("", ", at 3f2a1c9d2e")]
    trials = tuple(TrialSummary(name, "bench_train", 2.0, 0, (), None) for name in names)
    shown = table([finding("net", "throughput", trials=trials)], width=100, colour=False)
    assert "bench_train (2 processes) 4.0 s" in shown
    assert "bench_train (2 processes, at 3f2a1c9d2e) 4.0 s" in shown
    assert "process 1" not in shown


def test_what_the_policy_makes_of_a_verdict_is_counted():
    found = [
        finding("a", "one", Outcome.FAILED, waived="known"),
        finding("a", "two", objection="expected to fail (#41) but passed\nmore"),
        finding("a", "three", Outcome.INCONCLUSIVE, objection="inconclusive: so it is"),
        finding("a", "four", objection="advice", advice=("one",)),
        finding("a", "five"),
    ]
    assert "1 ok 3 failed 1 expected" in table(found, width=80, colour=False)
    assert causes(found, width=80, colour=False).splitlines() == [
        "a::two  expected to fail (#41) but passed",
        "a::three  inconclusive: so it is",
        "a::four  advice",
    ]
    assert unsettled(found, width=80, colour=False) == ""


def test_colours_only_when_asked_for():
    assert "\x1b[" not in table(FINDINGS, width=80, colour=False)
    assert "\x1b[31m" in table(FINDINGS, width=80, colour=True)


def test_names_are_no_markup():
    odd = [finding("test[bold red]:smile:", "x", Outcome.FAILED, cause="see [link=x] :bug:")]
    assert "test[bold red]:smile:" in table(odd, width=80, colour=False)
    assert "see [link=x] :bug:" in causes(odd, width=80, colour=False)


def test_causes_are_listed_with_what_follows_from_them():
    found = [
        finding("a", "cut", Outcome.FAILED, cause="a detach\nmore of it"),
        finding("a", "slow", Outcome.FAILED, because_of="cut"),
        finding("a", "fine"),
        finding("b", "slow", Outcome.FAILED, waived="known"),
    ]
    assert causes(found, width=80, colour=False) == "a::cut  a detach\n    and so also: slow"


def test_advice_that_several_checks_give_is_told_once():
    busy = "other processes kept {} of 4 processors busy"
    found = [
        finding("a", "throughput", advice=(busy.format(2.1), "look")),
        finding("a", "latency", advice=(busy.format(3),)),
        finding("b", "latency", advice=(busy.format(3),)),
    ]
    assert unsettled(found, width=80, colour=False).splitlines() == [
        "a::throughput  advice: other processes kept 2.1 of 4 processors busy",
        "    and so too: latency",
        "a::throughput  advice: look",
        "b::latency  advice: other processes kept 3 of 4 processors busy",
    ]


def test_what_does_not_fit_goes_on_under_its_place():
    found = [
        finding("a", "cut", Outcome.FAILED, cause="word " * 9),
        finding("a", "slow", Outcome.FAILED, because_of="cut"),
    ]
    first, second, *_, last = causes(found, width=40, colour=False).splitlines()
    assert first.startswith("a::cut  word word")
    assert second.startswith("    word")
    assert last == "    and so also: slow"


def test_a_consequence_speaks_where_its_cause_is_not_listed():
    waived = [
        finding("a", "cut", Outcome.FAILED, waived="known"),
        finding("a", "slow", Outcome.FAILED, because_of="cut"),
    ]
    unheard = waived[1:]
    for found in (waived, unheard):
        assert causes(found, width=80, colour=False) == "a::slow  so it is"


def test_nothing_wrong_is_nothing_to_say():
    fine = [finding("a", "b")]
    assert causes(fine, width=80, colour=False) == unsettled(fine, width=80, colour=False) == ""


def test_what_is_open_and_what_is_advised():
    found = [finding("a", "b", Outcome.INCONCLUSIVE), finding("a", "c", advice=("one", "two"))]
    assert unsettled(found, width=80, colour=False).splitlines() == [
        "a::b  inconclusive: so it is",
        "a::c  advice: one",
        "a::c  advice: two",
    ]


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ((), ""),
        ((1.0,), "▁"),
        ((2.0, 2.0), "▁▁"),
        ((0.0, 1.0), "▁█"),
        ((1.0, math.nan, 0.0), "█x▁"),
        ((math.inf, -math.inf), "xx"),
    ],
)
def test_a_curve_in_blocks(values, line):
    assert sparkline(values) == line


def test_a_long_curve_keeps_its_ends():
    line = sparkline([float(i) for i in range(1000)])
    assert len(line) == 12
    assert (line[0], line[-1]) == ("▁", "█")
