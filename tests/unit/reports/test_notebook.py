"""The notebook's HTML and rich's page: complete, in order, and safe whatever a model is called."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from io import StringIO

import pytest
from rich.console import Console

from pytest_dlcheck.at_hand import Report
from pytest_dlcheck.diagnosis import Diagnosis
from pytest_dlcheck.finding import Finding, TrialSummary
from pytest_dlcheck.reports import console, notebook
from pytest_dlcheck.verdict import Measure, Outcome, Suspect, Verdict

HOSTILE = "<script>alert('x')</script><img src=x onerror=\"alert(1)\">&\x1b[31m\u202e"
VOID = {"br", "img", "hr", "polyline"}


def verdict(check="gradients_flow", outcome=Outcome.FAILED, **parts):
    measure = Measure("parameters without gradient", 4, "count", 0)
    return Verdict(check=check, outcome=outcome, because="4 receive none", measures=(measure,), **parts)


def finding(judged, **parts):
    return Finding(recipe=parts.pop("recipe", "digits"), verdict=judged, **parts)


CAUSE = verdict(
    suspects=tuple(Suspect(f"encoder.{n}", f"gradient {n}", "let it flow") for n in range(10)),
    cause="the graph is cut",
    remedy="remove .detach()",
)
TRIAL = TrialSummary("train, 3 steps", "train", 1.5, 3, (2.0, float("nan"), 0.5), None)
EVERYTHING = (
    finding(CAUSE, trials=(TRIAL,)),
    finding(verdict("loss_decreases"), because_of="gradients_flow"),
    finding(verdict("causality", Outcome.NOT_APPLICABLE)),
    finding(verdict("shape_contract", Outcome.INCONCLUSIVE)),
    finding(verdict("overfits_a_batch", Outcome.PASSED, advice=("train longer",))),
    finding(verdict("outputs_are_finite", Outcome.ERRORED, suspects=(Suspect("", "line 3"),))),
)


class Reader(HTMLParser):
    """Reads the tags, and that each is closed where it should be."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.open, self.text, self.attributes = [], [], [], []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open[-1:] != ["style"]:
            self.text.append(data)


def read(findings):
    reader = Reader(notebook.page(findings))
    assert not reader.open
    return reader


def printed(findings, width=80):
    out = StringIO()
    Console(file=out, width=width, color_system=None, highlight=False).print(console.page(findings))
    return out.getvalue()


def test_causes_come_first_and_consequences_are_folded_under_them():
    page = notebook.page(EVERYTHING)
    section = re.search(r"<section>.*?</section>", page).group()

    assert "the graph is cut" in section
    assert "remove .detach()" in section
    assert re.search(r"<details><summary>and so also 1 consequence: .*loss_decreases", section)
    assert page.index("<section>") < page.index("verdicts</summary>")


def test_every_verdict_has_its_number_beside_its_bound():
    (table,) = re.findall(r'<table class="verdicts">.*</table>', notebook.page(EVERYTHING))

    assert table.count("<tr>") == 1 + len(EVERYTHING)
    assert re.search(r'class="number"><span title="[^"]*">4</span></td><td class="number">≤ 0<', table)
    assert {f.verdict.check for f in EVERYTHING} <= set(re.findall(r"<code>(\w+)</code>", table))


def test_many_suspects_are_folded():
    assert "and 2 more" in "".join(read(EVERYTHING).text)


def test_what_is_open_and_advised_is_said():
    text = "".join(read(EVERYTHING).text)

    assert "inconclusive" in text
    assert "train longer" in text


def test_a_loss_that_is_not_finite_leaves_a_gap():
    (points,) = re.findall(r'points="([^"]*)"', notebook.page(EVERYTHING))

    assert points == "0.0,0.0 120.0,24.0"


def test_an_error_shows_where_it_was_raised():
    assert "<pre>line 3</pre>" in notebook.page(EVERYTHING)


@pytest.mark.parametrize("outcome", Outcome)
def test_nothing_that_a_user_names_becomes_markup(outcome):
    clean = read([finding(replaced("a name", outcome), because_of="")])
    hostile = read([finding(replaced(HOSTILE, outcome), recipe=HOSTILE)])

    assert hostile.tags == clean.tags
    assert [name for name, _ in hostile.attributes] == [name for name, _ in clean.attributes]
    assert "<script>alert('x')</script>" in "".join(hostile.text)


def replaced(text, outcome):
    return Verdict(
        check="gradients_flow",
        outcome=outcome,
        because=text,
        measures=(Measure(text, 1, text, 0),),
        suspects=(Suspect(text, text, text),),
        cause=text,
        remedy=text + text,
        advice=(text,),
    )


def test_an_expected_failure_is_told_as_one():
    waived = (finding(CAUSE, waived="wait for #41"), finding(verdict("causality", Outcome.PASSED)))

    assert "no problem found" in "".join(read(waived).text)
    assert "as expected (wait for #41): 4 receive none" in "".join(read(waived).text)
    assert "no problem found" in printed(waived)
    assert "failed, as expected: gradients_flow (wait for #41)" in printed(waived)


def test_a_healthy_recipe_says_so():
    healthy = [finding(verdict(outcome=Outcome.PASSED))]

    assert "no problem found" in "".join(read(healthy).text)
    assert "no problem found" in printed(healthy)


def test_the_page_in_a_terminal():
    text = printed(EVERYTHING, width=100)

    assert "digits   2 problems   train loss █x▁ 2 → 0.5   1.5 s" in text
    assert "✗ gradients_flow   4 receive none" in text
    assert "likely cause   the graph is cut" in text
    assert "↳ and so also: loss_decreases" in text
    assert "and 2 more" in text
    assert "? shape_contract   inconclusive: 4 receive none" in text
    assert "! overfits_a_batch   advice: train longer" in text
    assert "– not applicable: causality" in text


def test_a_terminal_is_not_steered_by_names():
    text = printed([finding(replaced(HOSTILE, Outcome.FAILED), recipe=HOSTILE)], width=400)

    assert "\x1b" not in text
    assert "\u202e" not in text
    assert r"\x1b[31m\u202e" in text


def test_a_report_renders_itself(capsys):
    report = Report(Diagnosis((CAUSE,), {}), EVERYTHING)

    assert repr(report) == str(report)
    assert report._repr_html_() == notebook.page(EVERYTHING)
    report.show()
    assert "✗ gradients_flow   4 receive none" in capsys.readouterr().out
