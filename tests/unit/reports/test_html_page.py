"""The HTML report's page: what is wrong comes first, each recipe has its row and its card."""

from __future__ import annotations

import json
import re
import zlib
from base64 import b64decode
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from pytest_dlcheck.check import example_trace, registry
from pytest_dlcheck.finding import Finding, TrialSummary
from pytest_dlcheck.reports import html
from pytest_dlcheck.reports.contents import Contents
from pytest_dlcheck.reports.html.history import History, HistoryPoint
from pytest_dlcheck.trace import Row, Series
from pytest_dlcheck.verdict import Measure, Outcome, Suspect, Verdict

VOID = {"circle", "br", "input", "link", "meta", "path", "polyline"}


class Page(HTMLParser):
    """A report as a browser reads it: tags closed where they should be, text, links, packed data."""

    def __init__(self, path):
        super().__init__()
        self.open, self.tags, self.words, self.links, self.ids = [], [], [], [], []
        self.source = path.read_text(encoding="utf-8")
        self.feed(self.source)
        self.close()
        assert not self.open
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag, attrs):
        told = dict(attrs)
        self.tags.append((tag, told))
        self.links += [told["href"]] if "href" in told else []
        self.ids += [told["id"]] if "id" in told else []
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if not {"script", "style"} & set(self.open):
            self.words.append(data)

    def data(self, name):
        """What a script element of data holds."""
        found = re.search(rf'<script type="application/json" id="{name}">(.*?)</script>', self.source)
        return json.loads(found.group(1))

    def cards(self):
        """Every card, unpacked."""
        return [json.loads(zlib.decompress(b64decode(packed))) for packed in self.data("cards")]


def verdict(check="gradients_flow", outcome=Outcome.FAILED, because="4 receive none", **parts):
    parts.setdefault("measures", (Measure("parameters without gradient", 4, "count", 0),))
    return Verdict(check=check, outcome=outcome, because=because, **parts)


def finding(recipe="digits", because_of="", **parts):
    trial = TrialSummary("train, 3 steps", "train", 1.5, 3, (2.0, float("nan"), 0.5), 700.0)
    return Finding(recipe, verdict(**parts), because_of=because_of, trials=(trial,))


CAUSE = {
    "suspects": tuple(Suspect(f"part{n}.weight", f"gradient {n}") for n in range(9)),
    "cause": "the graph is cut at `head`",
    "remedy": "remove .detach()",
}


@pytest.fixture
def written(tmp_path):
    """Write a report and read it."""

    def write(*findings, history=(), **parts):
        path = tmp_path / "new" / "report.html"
        html.write(Contents(findings=list(findings), history=history, **parts), path)
        return Page(path)

    return write


def test_an_empty_session_says_so(written):
    page = written()
    assert "No recipe was judged" in page.text
    assert page.cards() == []


def test_a_session_without_failures_says_that_nothing_failed(written):
    page = written(finding(outcome=Outcome.PASSED), finding("vision", outcome=Outcome.PASSED))
    assert "No check failed in 2 recipes" in page.text
    assert "What is wrong" not in page.text


def test_what_is_wrong_comes_before_the_recipes_with_cause_remedy_and_places(written):
    page = written(finding("fine", outcome=Outcome.PASSED), finding(**CAUSE))
    assert "1 problem in 1 of 2 recipes" in page.text
    order = ["What is wrong", "the graph is cut at head", "remove .detach()", "part0", "3 more places"]
    places = [page.text.index(words) for words in [*order, "Recipes All"]]
    assert places == sorted(places)


def test_a_consequence_is_told_under_its_cause_and_not_as_a_problem(written):
    page = written(finding(**CAUSE), finding(check="loss_decreases", because_of="gradients_flow"))
    assert "1 problem in 1 of 1 recipe" in page.text
    assert "and so also 1 consequence: loss_decreases" in page.text
    assert [v.get("of", "") for v in page.cards()[0]["verdicts"]] == ["", "gradients_flow"]


def test_a_consequence_without_its_cause_tells_the_way_out(written):
    led_to = finding(check="loss_decreases", because_of="gradients_flow")
    page = written(replace(led_to, explained=verdict(**CAUSE)))
    told = page.cards()[0]["verdicts"][0]
    assert told["cause"] == "the graph is cut at `head`"
    assert told["remedy"] == "remove .detach()"
    assert "the graph is cut at head" in page.text


def test_one_fault_in_several_recipes_is_told_once_and_names_the_others(written):
    page = written(*(finding(name, **CAUSE) for name in ("one", "two", "three")))
    assert "3 problems in 3 of 3 recipes" in page.text
    assert page.text.count("the graph is cut at") == 1
    assert "the same in 2 other recipes two 4 receive none three 4 receive none" in page.text


def test_faults_told_in_other_words_stay_apart(written):
    page = written(finding("one", **CAUSE), finding("two", **{**CAUSE, "cause": "a dead layer"}))
    assert "the graph is cut at" in page.text
    assert "a dead layer" in page.text
    assert "the same in" not in page.text


def test_an_error_of_the_recipe_is_told_once_with_its_traceback(written):
    parts = {"outcome": Outcome.ERRORED, "cause": "KeyError: 3", "suspects": (Suspect("", "line 7"),)}
    first = finding(check="causality", because="it raised KeyError: 3", **parts)
    page = written(first, finding(check="gradients_flow", because_of="causality", **parts))
    assert "the recipe cannot be run digits it raised KeyError: 3 traceback line 7" in page.text
    assert "1 other check could not judge" in page.text


def test_the_worst_recipe_comes_first_and_every_card_belongs_to_its_row(written):
    open_ = finding("open", outcome=Outcome.INCONCLUSIVE, because="too few steps")
    page = written(finding("fine", outcome=Outcome.PASSED), open_, finding("sick"))
    names = [recipe[0] for recipe in page.data("index")["recipes"]]
    assert names == ["sick", "open", "fine"]
    told = [card["verdicts"][0]["because"] for card in page.cards()]
    assert told == ["4 receive none", "too few steps", "4 receive none"]


def test_what_the_policy_says_is_seen(written):
    waived = Finding("a", verdict(), waived="fixed in #41")
    objected = Finding("b", verdict(outcome=Outcome.PASSED), objection="expected to fail")
    page = written(waived, objected)
    states = {card["verdicts"][0]["state"] for card in page.cards()}
    assert states == {"expected", "failed"}
    assert "1 problem in 1 of 2 recipes" in page.text
    assert "expected to fail" in page.text


def test_every_check_of_ours_is_explained_in_a_line(written):
    names = list(registry())
    page = written(*(finding(check=name, outcome=Outcome.PASSED) for name in names))
    told = page.data("index")["checks"]
    assert set(told) == set(names)
    assert all(told.values())


def test_a_check_that_is_not_installed_is_shown_all_the_same(written):
    assert written(finding(check="of_another_plugin")).data("index")["checks"] == {
        "of_another_plugin": ""
    }


def test_a_number_with_its_interval_against_a_bound_is_a_gate(written):
    gate = Measure("accuracy", 0.94, "ratio", 0.95, ">=", 0.93, 0.96, (0.93, 0.95))
    page = written(finding(outcome=Outcome.PASSED), finding("b", check="accuracy", measures=(gate,)))
    ((_, check, state, held),) = page.data("index")["gates"]
    assert (check, state, held["low"], held["samples"]) == ("accuracy", "failed", 0.93, [0.93, 0.95])
    assert "accuracy 0.94 [0.93, 0.96] (must be ≥ 0.95)" in page.text


def test_a_gate_without_a_number_says_why(written):
    page = written(
        finding(check="throughput", outcome=Outcome.INCONCLUSIVE, because="busy", measures=())
    )
    assert [gate[1:] for gate in page.data("index")["gates"]] == [["throughput", "inconclusive", "busy"]]


def test_traces_become_curves_trials_and_tables(written):
    trace = example_trace(
        loss=Series((0, 1, 2), (2.0, float("nan"), 0.5)),
        seconds=Series((0, 1, 2), (0.5, 0.25, 0.25)),
        recipe=Row(model="Net", batch_size=8, accumulate=1, optimizer="Adam"),
        parameters=[Row(name="head.weight", shape="(2, 3)", numel=6, requires_grad=True, changed=False)],
        validation=[Row(data="val", mode="eval", loss=0.7, correct=3, classified=4)],
        metrics=[Row(name="f1", value=0.5, samples=4), Row(name="auc", problem="one class only")],
        units=[Row(site="act", function="relu", units=4, silent=1, active=0.5)],
    )
    asked = {"recipe": "digits", "terms": {"seeds": 2}, "file": "tests/test_it.py", "line": 12}
    page = written(finding(), traces={"digits": [trace]}, recipes={"digits": asked})
    (card,) = page.cards()
    loss = next(curve for curve in card["curves"] if curve["chart"] == "loss")
    assert loss["y"] == [2.0, "nan", 0.5]
    assert card["evaluations"][0]["accuracy"] == 0.75
    assert card["metrics"][0] == ["f1", 0, 0.5, 4, ""]
    assert card["metrics"][1] == ["auc", 0, "nan", 0, "one class only"]
    assert card["trials"][0]["rate"] == 32.0
    assert card["parameters"]["rows"] == [["head.weight", "(2, 3)", 6, "", True, 0, False]]
    assert card["units"] == [["act", "relu", 4, 1, 0.5]]
    assert ["optimizer", "Adam"] in card["settings"]
    assert "tests/test_it.py:12" in page.text
    assert "75.0%" in page.text


def test_the_overview_shows_what_whole_trainings_reached_where_a_gate_asked_for_these(written):
    short = example_trace(validation=[Row(data="val", mode="eval", loss=0.7, correct=3, classified=4)])
    whole = [example_trace(accuracy=[Row(name="accuracy", value=v, samples=9)]) for v in (0.5, 0.7)]
    page = written(finding(), traces={"digits": [short, *whole]})
    assert "60.0%" in page.text
    assert "75.0%" in written(finding(), traces={"digits": [short]}).text


def test_a_recipe_without_traces_has_a_card_with_its_verdicts_alone(written):
    assert set(written(finding()).cards()[0]) == {"verdicts"}


def test_history_is_drawn_with_its_recipe_or_by_itself(written):
    points = (HistoryPoint("2026-01-01", 5.0, "abc"), HistoryPoint("2026-01-02", float("inf")))
    lines = [History(name, "throughput", "samples/s", points, 4.0, (1,)) for name in ("digits", "gone")]
    page = written(finding(), history=lines)
    (own,) = page.cards()[0]["history"]
    (other,) = page.data("index")["history"]
    assert (own["recipe"], other["recipe"]) == ("digits", "gone")
    assert (own["value"], own["limit"], own["changes"]) == ([5.0, "inf"], 4.0, [1])


def test_links_lead_to_a_recipe_and_to_its_check(written):
    page = written(finding("a b[x=1&y]"))
    assert "#recipe=a+b%5Bx%3D1%26y%5D" in page.links
    assert "#recipe=a+b%5Bx%3D1%26y%5D&check=gradients_flow" in page.links


def test_the_page_names_its_parts_for_those_who_do_not_see_them(written):
    page = written(finding(**CAUSE))
    labels = [told["aria-labelledby"] for _, told in page.tags if "aria-labelledby" in told]
    assert set(labels) <= set(page.ids)
    assert len(page.ids) == len(set(page.ids))
    assert [tag for tag, _ in page.tags].count("h1") == 1
    buttons = [told for tag, told in page.tags if tag == "button" and "aria-expanded" in told]
    assert len(buttons) == 1


def test_what_is_known_of_the_session_is_told(written):
    session = {"started": "2026-11-21T14:30:00Z", "torch": "2.14.0", "device": "cpu"}
    page = written(finding(), session=session, ended=True, notice="the last line is torn")
    assert "2026-11-21 14:30 UTC" in page.text
    assert "torch 2.14.0" in page.text
    assert "the last line is torn" in page.text
    assert "did not come to its end" not in page.text


def test_a_session_that_broke_off_says_so(written):
    assert "did not come to its end" in written(finding(), session={"started": "2026"}).text


def test_the_same_contents_make_the_same_page(written):
    assert written(finding(**CAUSE)).source == written(finding(**CAUSE)).source
