"""The HTML report in a real browser, where there is one: cards and charts appear, nothing breaks out."""

from __future__ import annotations

import re
import shutil
import subprocess
from html import escape
from urllib.parse import urlencode

import pytest

from pytest_dlcheck.check import example_trace
from pytest_dlcheck.finding import Finding
from pytest_dlcheck.reports.contents import Contents
from pytest_dlcheck.reports.html.page import render
from pytest_dlcheck.reports.text import one_line
from pytest_dlcheck.trace import Matrix, Row, Series
from pytest_dlcheck.verdict import Measure, Outcome, Suspect, Verdict

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium here")

TRIES = 10
DRAWN = 'class="main-svg"'
PWN = "document.documentElement.setAttribute('pwned','')"
NAMES = {
    "end of a script": f"</script><script>{PWN}</script>",
    "an image": f"<img src=x onerror={PWN}>",
    "an attribute": f'" onfocus="{PWN}" autofocus tabindex="0" x="',
    "a link in a chart": f'<a href="javascript:{PWN}">layer</a>',
    "a prototype": "__proto__",
    "a lone surrogate": "bytes \udcff \u202e\x00",
}

OPEN_ALL = """<script>
document.querySelectorAll(".recipe h3 button").forEach((button) => button.click());
setTimeout(() => document.querySelectorAll(".plot").forEach((plot) => plot.draw()), 2000);
</script>"""


def contents(name):
    verdict = Verdict(
        check=name,
        outcome=Outcome.FAILED,
        because=name,
        measures=(Measure(name, float("nan"), name, 1.0, name), Measure(name, 2.0, name, 1.0)),
        suspects=(Suspect(name, name, name),),
        cause=name,
        remedy=name,
        advice=(name,),
    )
    other = Verdict(check="causality", outcome=Outcome.PASSED, because=name)
    trace = example_trace(
        loss=Series((0, 1, 2), (1.0, float("inf"), 0.5)),
        gradient_norm=Matrix((0, 1), (name, "b"), ((1.0, None), (float("nan"), 0.0))),
        recipe=Row(model=name),
        parameters=[Row(name=name, shape=name, dtype=name, numel=3)],
        units=[Row(site=name, function=name, units=3, silent=1, active=0.5)],
        optimizer_groups=[{name: name}],
        unobserved={name: name},
    )
    findings = [Finding(name, verdict), Finding(name, other), Finding("second", other)]
    return Contents(findings=findings, traces={name: [trace]}, notice=name)


@pytest.fixture
def seen(tmp_path):
    """The page after its scripts have run, as HTML.

    A chart is drawn once a frame has shown it; where the machine is busy, the browser's virtual time may
    be over before there was one. What a test waits for, it names: then the page is opened again.
    """

    def see(source, until="", **place):
        (tmp_path / "report.html").write_text(source, encoding="utf-8")
        address = (tmp_path / "report.html").as_uri() + ("#" + urlencode(place) if place else "")
        command = [
            BROWSER,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-background-networking",
            "--no-first-run",
            f"--user-data-dir={tmp_path / 'profile'}",
            "--window-size=1200,6000",
            "--virtual-time-budget=10000",
            "--dump-dom",
            address,
        ]
        for _ in range(TRIES):
            done = subprocess.run(command, capture_output=True, check=True, timeout=120)
            page = done.stdout.decode("utf-8")
            if until in told(page):
                break
        return page

    return see


def unguarded(source):
    """The page without what forbids a browser to run anything else."""
    return re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", source)


def told(page):
    """The page without the data and the scripts that it carries."""
    return re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL)


def test_a_link_opens_the_card_and_its_charts_are_drawn(seen):
    page = told(seen(render(contents("digits")), until=DRAWN, recipe="digits", check="causality"))
    card = page[page.index('id="card-0"') :]
    assert 'data-check="causality" open' in card
    assert card.count(DRAWN) >= 2
    assert "cannot be shown here" not in page
    assert "cannot be drawn here" not in page


def test_a_link_to_a_check_alone_leaves_the_recipes_that_have_something_there(seen):
    page = told(seen(render(contents("gradients_flow")), check="gradients_flow"))
    hidden = re.findall(r'<article class="recipe [^>]*hidden', page)
    assert len(hidden) == 1


def test_no_name_is_ever_run_even_without_the_policy_that_forbids_it(seen):
    everything = Contents()
    for name in NAMES.values():
        found = contents(name)
        everything.findings += [finding for finding in found.findings if finding.recipe == name]
        everything.traces |= found.traces
    page = seen(unguarded(render(everything)) + OPEN_ALL)
    assert not re.search(r"<html[^>]* pwned", page)
    page = told(page)
    assert page.count('class="body"') == len(NAMES)
    assert len(re.findall(r'class="plot js-plotly-plot"', page)) == 2 * len(NAMES)
    assert not re.search(r"<img|<a [^>]*javascript:", page)
    assert all(escape(one_line(name), quote=False) in page for name in NAMES.values())


def test_the_test_would_notice(seen):
    source = unguarded(render(contents("a")))
    page = seen(source.replace("<h2", f"<img src=x onerror={PWN}><h2", 1))
    assert re.search(r"<html[^>]* pwned", page)


def test_the_policy_stops_what_escaping_would_let_through(seen):
    source = render(contents("a"))
    page = seen(source.replace("<h2", f"<img src=x onerror={PWN}><script>{PWN}</script><h2", 1))
    assert not re.search(r"<html[^>]* pwned", page)
