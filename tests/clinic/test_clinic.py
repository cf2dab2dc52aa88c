"""A slice of the clinic, and its own rules: the quickest named case of each check, beside its twin."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from pytest_dlcheck.check import registry

from .case import KINDS, Case
from .cases import all_cases
from .examine import Told, judge, opted_in, told
from .others import judge as judge_other
from .report import PAGES, PUBLISHED, Part, alarmed, share

FAMILIES = {"contract", "data", "dynamics", "learning", "tuning"}
"""What is judged on recipes; what only watching a loop can see is tested in a place of its own."""

RESULTS = json.loads(PUBLISHED.read_text(encoding="utf-8")) if PUBLISHED.exists() else {"cases": []}


def quickest() -> list[Case]:
    """Of each check, the case that was found and named in the shortest time."""
    named = sorted(
        (row for row in RESULTS["cases"] if row["dlcheck"]["named"]),
        key=lambda row: row["dlcheck"]["seconds"],
    )
    by_check = {row["dlcheck"]["by"]: all_cases()[row["name"]] for row in reversed(named)}
    return list(by_check.values())


@pytest.mark.parametrize("case", quickest(), ids=lambda case: case.name.replace(" ", "_"))
def test_the_fault_is_found_and_named_and_its_twin_is_quiet(case):
    sick, twin = (told(factory, case.steps, opted_in(case)) for factory in (case.sick, case.healthy))
    verdict = judge(case, sick, twin)
    assert (verdict.found, verdict.named) == (True, True), sick
    assert twin.causes == ()


def test_there_are_cases_enough_in_both_halves_of_many_architectures():
    faults = [case for case in all_cases().values() if case.finding != "invisible"]
    halves = [case.split for case in faults]
    assert min(halves.count("dev"), halves.count("test")) >= 40
    assert len({KINDS[case.healthy.__name__].architecture for case in faults}) >= 8


@pytest.mark.parametrize("name", [n for n, c in registry().items() if c.family in FAMILIES])
def test_every_check_has_a_case(name):
    assert any(name in case.checks for case in all_cases().values())


@pytest.mark.parametrize("case", all_cases().values(), ids=lambda case: case.name.replace(" ", "_"))
def test_every_case_says_who_must_name_what(case):
    assert set(case.checks) <= set(registry())
    assert case.finding == "invisible" or (case.checks and all(case.site))
    assert case.sees


def case_of(finding: str = "failure") -> Case:
    name = "head swapped after the optimizer was built"
    return replace(
        all_cases()[name], checks=("optimizer_covers_model",), site=("head",), finding=finding
    )


SILENT = Told((), (), 0.0)


def failing(*pairs):
    return Told(pairs, (), 0.0)


def advising(*pairs):
    return Told((), pairs, 0.0)


@pytest.mark.parametrize(
    ("finding", "sick", "twin", "found", "named"),
    [
        ("failure", SILENT, SILENT, False, False),
        ("failure", failing(("optimizer_covers_model", "head.2.weight")), SILENT, True, True),
        ("failure", failing(("optimizer_covers_model", "overhead")), SILENT, True, False),
        ("failure", failing(("gradients_flow", "head")), SILENT, True, False),
        (
            "failure",
            failing(("loss_decreases", "?"), ("optimizer_covers_model", "head")),
            SILENT,
            True,
            False,
        ),
        ("failure", failing(("loss_decreases", "?")), failing(("loss_decreases", "!")), False, False),
        ("failure", advising(("optimizer_covers_model", "head")), SILENT, False, False),
        ("advice", advising(("optimizer_covers_model", "head")), SILENT, True, True),
        ("advice", advising(("gradients_flow", "head")), SILENT, False, False),
        ("advice", failing(("optimizer_covers_model", "head")), SILENT, True, False),
        ("either", failing(("optimizer_covers_model", "head")), SILENT, True, True),
        ("either", advising(("optimizer_covers_model", "head")), SILENT, True, True),
        (
            "either",
            advising(("optimizer_covers_model", "head")),
            advising(("optimizer_covers_model", "head")),
            False,
            False,
        ),
    ],
)
def test_found_is_what_the_twin_does_not_have_and_named_is_the_first_cause_and_its_place(
    finding, sick, twin, found, named
):
    verdict = judge(case_of(finding), sick, twin)
    assert (verdict.found, verdict.named) == (found, named)


@pytest.mark.parametrize(
    ("sick", "twin", "found", "named"),
    [
        (SILENT, SILENT, False, False),
        (failing(("optimizer_coverage", "2 parameters")), SILENT, True, True),
        (failing(("overfit_batch", "loss 2.3 -> 2.2")), SILENT, True, False),
        (failing(("params_change", "did not change: head.2.weight")), SILENT, True, True),
        (failing(("overfit_batch", "2.3\nHint: a disconnected head")), SILENT, True, False),
        (failing(("overfit_batch", "2.3")), failing(("overfit_batch", "2.2")), False, False),
        (advising(("optimizer_coverage", "head")), SILENT, True, True),
        (advising(("overfit_batch", "?")), advising(("overfit_batch", "!")), False, False),
    ],
)
def test_another_tool_names_a_fault_by_its_kind_or_by_its_place(sick, twin, found, named):
    verdict = judge_other("torchtest2", case_of(), sick, twin)
    assert (verdict.found, verdict.named) == (found, named)


def test_shares_come_with_their_interval():
    assert share(8, 10) == "8 of 10 (80 %, 49–94 %)"
    assert share(0, 0) == "–"


def test_a_twin_counts_once():
    rows = [
        {"twin": "wine", "dlcheck": {"alarms": []}},
        {"twin": "wine", "dlcheck": {"alarms": ["shape_contract: ..."]}},
        {"twin": "vae", "dlcheck": {"alarms": []}},
    ]
    assert alarmed(rows, "dlcheck") == (1, 2)


def test_what_is_published_is_about_the_cases_there_are():
    assert {row["name"]: row["split"] for row in RESULTS["cases"]} == {
        case.name: case.split for case in all_cases().values()
    }


@pytest.mark.parametrize("part", PAGES, ids=lambda part: part.name)
def test_the_pages_hold_what_is_published(part):
    assert part.around(part.page.read_text(encoding="utf-8"))[1] == part.told(RESULTS)


def test_a_page_without_markers_is_told_so(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("nothing", encoding="utf-8")
    with pytest.raises(LookupError, match=r"page\.md has no <!-- clinic -->"):
        Part(page, "clinic", str).write(RESULTS)
