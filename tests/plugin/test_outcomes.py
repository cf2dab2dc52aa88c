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
    result.stdout.fnmatch_lines(
        ["mine    1 failed *", "causes:", "mine::batch_is_plenty  inconclusive: 1 *"]
    )
    result.stdout.no_fnmatch_line("not settled*")


def test_a_path_behind_strict_is_said(judge):
    result = judge(LONELY, "--dlcheck-strict", "test_it.py")
    assert result.ret == 4
    said = "*'test_it.py' is unknown*before a path write --dlcheck-strict=inconclusive,advice*"
    result.stderr.fnmatch_lines([said.replace("'", "")])


def test_inconclusive_fails_where_the_policy_says_so(judge):
    judge(LONELY, "--dlcheck-select=data", marker="on_inconclusive='fail'").assert_outcomes(failed=1)


def test_not_applicable_is_skipped_with_its_reason_even_under_strict(judge):
    result = judge(GRAPH, "--dlcheck-select=data", "--dlcheck-strict", "-rs")
    result.assert_outcomes(skipped=1)
    told = "not applicable: samples do not stand alone (mine::batch_is_plenty)"
    result.stdout.fnmatch_lines([f"SKIPPED *test_it.py:*: {told}"])


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
    result.stdout.fnmatch_lines(["mine    3 ok 1 expected *"])


def test_an_expected_failure_that_passes_fails(judge):
    result = judge("return made()", marker="expected={'loss_is_low': 'fixed in #41'}")
    result.assert_outcomes(passed=3, failed=1)
    result.stdout.fnmatch_lines(
        ["expected to fail (fixed in #41) but passed: the final loss of * take it off expected="]
    )
    result.stdout.fnmatch_lines(["mine    3 ok 1 failed *", "mine::loss_is_low  expected to fail*"])


def test_an_expected_failure_that_cannot_be_told_is_open(judge):
    result = judge(LONELY, "--dlcheck-select=data", marker="expected={'batch_is_plenty': '#41'}")
    result.assert_outcomes(skipped=1)


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


def test_the_failing_seed_is_named(project):
    project.recipes(
        "@recipe\ndef mine():\n"
        "    loud = 100 if torch.initial_seed() == 1 else 1\n"
        "    return made(loss=lambda o, t: loud * nn.functional.cross_entropy(o, t))\n"
    )
    result = project.check("--dlcheck-seeds=3", "-k", "loss_is_low")
    result.stdout.fnmatch_lines(["the final loss of 3 seeds is * (with seed 1 of 3)"])
    project.recipes(f"@recipe\ndef mine():\n    {LOUD}\n")
    result = project.check("--dlcheck-seeds=2", "-k", "loss_is_low")
    result.stdout.fnmatch_lines(["the final loss of 2 seeds is * (with all 2 seeds)"])


def test_a_recipe_that_raises_is_told_in_full_once(project):
    project.recipes("@recipe\ndef mine():\n    return open('/not/there')\n")
    result = project.check()
    result.assert_outcomes(failed=4)
    told = "the recipe itself does not run, as told at batch_is_plenty: the * trial raised an error*"
    again = [line for line in result.outlines if line.startswith(told.partition(",")[0])]
    assert len(again) == 3
    assert not any("FileNotFoundError" in line for line in again)
    result.stdout.fnmatch_lines(
        [
            "the inspect trial raised an error (the factory): FileNotFoundError: *",
            '*File "test_it.py", line 6, in mine',
            told,
            "mine    4 errored *",
            "mine (the recipe itself)  the inspect trial raised*",
            "    so that 4 checks could not judge",
        ]
    )


def test_a_time_limit_fails_what_it_cuts_short_once(judge):
    result = judge("return made()", marker="timeout=0.000001, select=['learning']")
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines(["mine (the recipe itself)  the * trial ran out of time*"])
