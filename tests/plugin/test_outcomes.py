"""Verdicts as pytest's outcomes: inconclusive, not applicable, expected, ignored, strict."""

from __future__ import annotations

import pytest

LONELY = "return made(train_data=[(X[:1], Y[:1])])"
GRAPH = "return made(batch_dim=None)"
LARGE = "return made(train_data=[(X, Y)])"
LOUD = "return made(loss=lambda o, t: 100 * nn.functional.cross_entropy(o, t))"


@pytest.fixture
def judge(project):
    """Run the recipe with that body and marker, by some checks."""

    def run(body: str, *args: str, marker: str = ""):
        mark = f"@pytest.mark.dlcheck({marker})\n" if marker else ""
        project.recipes(f"@recipe\n{mark}def mine():\n    {body}\n")
        return project.check(*args)

    return run


def test_inconclusive_is_skipped_and_listed_at_the_end(judge):
    result = judge(LONELY, "--dlcheck-select=data")
    result.assert_outcomes(skipped=1)
    assert result.ret == 0
    result.stdout.fnmatch_lines(
        ["*not settled, and advice:", "mine::batch_is_plenty  inconclusive: 1 sample says nothing*"]
    )


@pytest.mark.parametrize("strict", ["--dlcheck-strict", "--dlcheck-strict=inconclusive"])
def test_inconclusive_fails_under_strict(judge, strict):
    result = judge(LONELY, "--dlcheck-select=data", strict)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["inconclusive: 1 sample says nothing, at least 2 do"])


def test_inconclusive_fails_where_the_policy_says_so(judge):
    judge(LONELY, "--dlcheck-select=data", marker="on_inconclusive='fail'").assert_outcomes(failed=1)


def test_not_applicable_is_skipped_with_its_reason_even_under_strict(judge):
    result = judge(GRAPH, "--dlcheck-select=data", "--dlcheck-strict", "-rs")
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(["SKIPPED *test_it.py:*: not applicable: samples do not stand alone"])


def test_advice_passes_and_is_listed(judge):
    result = judge(LARGE, "--dlcheck-select=data")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["mine::batch_is_plenty  advice: take smaller batches"])


@pytest.mark.parametrize(
    ("strict", "outcome"),
    [
        ("--dlcheck-strict", "failed"),
        ("--dlcheck-strict=advice", "failed"),
        ("--dlcheck-strict=inconclusive", "passed"),
    ],
)
def test_advice_fails_under_strict(judge, strict, outcome):
    judge(LARGE, "--dlcheck-select=data", strict).assert_outcomes(**{outcome: 1})


def test_an_expected_failure_is_xfailed_with_its_reason(judge):
    result = judge(LOUD, "-rx", marker="expected={'loss_is_low': 'fixed in #41'}")
    result.assert_outcomes(passed=3, xfailed=1)
    assert result.ret == 0
    result.stdout.fnmatch_lines(["XFAIL test_it.py::mine::loss_is_low - fixed in #41"])
    result.stdout.no_fnmatch_line("causes:")


def test_an_expected_failure_that_passes_fails(judge):
    result = judge("return made()", marker="expected={'loss_is_low': 'fixed in #41'}")
    result.assert_outcomes(passed=3, failed=1)
    result.stdout.fnmatch_lines(
        ["expected to fail (fixed in #41) but passed: the final loss of * take it off expected="]
    )


def test_an_expected_failure_does_not_excuse_a_recipe_that_cannot_run(judge):
    result = judge("return None", marker="expected={'loss_is_low': 'fixed in #41'}")
    result.assert_outcomes(failed=4)


def test_what_an_expected_failure_causes_still_fails_and_is_listed(judge):
    body = "return made(Net(cut=True), loss=lambda o, t: 100 * nn.functional.cross_entropy(o, t))"
    result = judge(body, marker="expected={'gradients_arrive': 'fixed in #41'}")
    result.assert_outcomes(passed=2, failed=1, xfailed=1)
    text = result.stdout.str()
    assert "because of gradients_arrive: the final loss" in text
    assert "mine::loss_is_low" in text.partition("causes:")[2].partition("short test summary")[0]


def test_an_ignored_check_is_not_collected(judge, project):
    judge(LOUD, marker="ignore={'learning': 'measured elsewhere'}").assert_outcomes(passed=2)
    assert len(project.ids("--dlcheck")) == 2


def test_a_marker_naming_a_device_that_is_not_there_is_a_clear_error_and_others_go_on(project):
    project.recipes(
        "@recipe\n@pytest.mark.dlcheck(device='cuda:99')\ndef far():\n    return made()\n\n"
        "@recipe\ndef near():\n    return made()\n"
    )
    result = project.check()
    result.assert_outcomes(passed=4, failed=4)
    result.stdout.fnmatch_lines(["device 'cuda:99' is not there; available here: *"])


def test_a_time_limit_makes_what_it_cuts_short_inconclusive(judge):
    result = judge("return made()", "--dlcheck-timeout=0.000001", "--dlcheck-select=learning")
    result.assert_outcomes(skipped=2)
    result.stdout.fnmatch_lines(["mine::loss_is_low  inconclusive: * ran out of time at step 0*"])
