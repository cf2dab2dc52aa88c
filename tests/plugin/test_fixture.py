"""The fixture ``dlcheck`` in ordinary tests, with and without ``--dlcheck``."""

from __future__ import annotations

import pytest

TESTS = """
@recipe
def healthy():
    return made()

@recipe
def cut():
    return made(Net(cut=True), loss=lambda o, t: 100 * nn.functional.cross_entropy(o, t))

def broken():
    return made(loss=lambda o, t: o)
"""


@pytest.fixture(params=[(), ("--dlcheck", "-k", "by_hand")], ids=["without", "with"])
def judge(project, request):
    """Run an ordinary test of that body."""

    def run(body: str, marker: str = ""):
        lines = "".join(f"    {line}\n" for line in body.splitlines())
        project.recipes(f"{TESTS}\n{marker}\ndef test_by_hand(dlcheck):\n{lines}")
        return project.run(*request.param)

    return run


def test_a_training_gives_a_trace_a_model_and_verdicts(judge):
    result = judge(
        "run = dlcheck.train(healthy, steps=12)\n"
        "assert len(run.trace['loss']) == 12\n"
        "assert run.trace['loss'][-1] < run.trace['loss'][0]\n"
        "assert isinstance(run.model, Net)\n"
        "assert {v.check: str(v.outcome) for v in run.verdicts} == "
        "{'gradients_arrive': 'passed', 'loss_is_low': 'passed'}\n"
        "run.check()\nrun.check('gradients_arrive', 'learning')\n"
    )
    result.assert_outcomes(passed=1)


def test_a_check_that_does_not_hold_raises_the_diagnosis(judge):
    result = judge("dlcheck.train(cut).check()")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "*CheckFailedError: cut::gradients_arrive FAILED",
            "*2 of 4 parameters receive no gradient, at most 0 may",
            "*encoder   none (weight, bias)",
            "*cut::loss_is_low FAILED   because of gradients_arrive",
        ]
    )
    result.stdout.no_fnmatch_line("*by_hand.py*")


def test_check_examines_a_recipe_by_everything_or_by_names(judge):
    result = judge(
        "dlcheck.check(healthy)\n"
        "dlcheck.check(cut, 'data', 'batch_is_learned')\n"
        "with pytest.raises(AssertionError, match='gradients_arrive FAILED'):\n"
        "    dlcheck.check(cut)\n"
        "with pytest.raises(ValueError, match=\"did you mean 'gradients_arrive'\"):\n"
        "    dlcheck.check(cut, 'gradients_arive')\n"
    )
    result.assert_outcomes(passed=1)


def test_the_tests_own_marker_is_policy(judge):
    result = judge(
        "assert len(dlcheck.train(healthy).trace['loss']) == 7\n"
        "dlcheck.train(healthy).check('loss_is_low')\n"
        "assert dlcheck.train(healthy).verdicts\n"
        "dlcheck.check(cut)\n",
        "@pytest.mark.dlcheck(steps=7, seeds=2, "
        "ignore={'gradients_arrive': 'known', 'loss_is_low': 'known'})",
    )
    result.assert_outcomes(passed=1)


def test_a_recipe_that_cannot_be_trained_fails_at_once(judge):
    result = judge("dlcheck.train(broken)")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["*broken could not be trained (forward and loss): the loss has the shape*"]
    )


def test_a_check_whose_trial_could_not_run_does_not_hold(judge):
    result = judge(
        "calls = []\n"
        "def fickle():\n"
        "    calls.append(1)\n"
        "    return made() if len(calls) == 1 else None\n"
        "run = dlcheck.train(fickle)\n"
        "with pytest.raises(AssertionError, match='returned None'):\n"
        "    run.check('batch_is_learned')\n"
    )
    result.assert_outcomes(passed=1)


def test_a_device_that_is_not_there_is_said(judge):
    result = judge("dlcheck.train(healthy)", "@pytest.mark.dlcheck(device='cuda:99')")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*device 'cuda:99' is not there; available here: *"])


def test_a_wrong_marker_is_said(judge):
    result = judge("dlcheck.train(healthy)", "@pytest.mark.dlcheck(stepps=3)")
    assert result.ret != 0
    assert "unknown policy 'stepps', did you mean 'steps'?" in result.stdout.str() + result.stderr.str()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("healthy()", "takes the recipe's factory, not the Recipe that it returns: write dlcheck.*"),
        ("Net()", "takes a recipe's factory, a function that returns a Recipe, not a Net"),
        ("Net", "takes a recipe's factory, * not the class Net*"),
        ("lambda width: made()", "takes width, and there is no such fixture here: dlcheck.*"),
    ],
)
@pytest.mark.parametrize("method", ["train", "check"])
def test_what_is_no_factory_is_said_without_our_frames(judge, method, given, said):
    result = judge(f"dlcheck.{method}({given})")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([f"E  *RecipeError: *{said}"])
    result.stdout.no_fnmatch_line("*fixture.py*")
    result.stdout.no_fnmatch_line("*by_hand.py*")


def test_an_error_of_the_recipe_and_an_unknown_name_show_no_frames_of_ours(judge):
    for body in ("dlcheck.train(broken)", "dlcheck.train(healthy).check('gradients')"):
        result = judge(body)
        result.assert_outcomes(failed=1)
        result.stdout.no_fnmatch_line("*pytest_dlcheck/*.py:*")


def test_a_recipes_fixtures_are_those_of_the_test(judge, project):
    project.append("conftest.py", "\nimport pytest\n\n@pytest.fixture\ndef width():\n    return 8\n")
    result = judge(
        "def sized(width, depth=2):\n"
        "    assert (width, depth) == (8, 2)\n"
        "    return made()\n"
        "assert len(dlcheck.train(sized).trace['loss']) == 4\n"
        "dlcheck.check(sized)\n"
    )
    result.assert_outcomes(passed=1)


def test_the_recipes_own_marker_is_policy_and_the_tests_marker_overrides_it(judge):
    body = (
        "@pytest.mark.dlcheck(steps=5, select=['learning'])\n"
        "def own():\n"
        "    return made()\n"
        "run = dlcheck.train(own)\n"
        "assert len(run.trace['loss']) == {steps}\n"
        "run.check()\n"
        "@pytest.mark.dlcheck(select=['learning'])\n"
        "def known():\n"
        "    return made(Net(cut=True))\n"
        "dlcheck.check(known)\n"
    )
    judge(body.format(steps=5)).assert_outcomes(passed=1)
    marker = "@pytest.mark.dlcheck(steps=6)"
    judge(body.format(steps=6), marker).assert_outcomes(passed=1)


def test_an_expected_failure_holds_by_hand_too(judge):
    marker = "@pytest.mark.dlcheck(expected={'gradients_arrive': '#41'}, ignore={'loss_is_low': '#42'})"
    judge("dlcheck.check(cut)\ndlcheck.train(cut).check()", marker).assert_outcomes(passed=1)
    result = judge("dlcheck.check(healthy)", marker)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["*healthy::gradients_arrive FAILED", "E *expected to fail (#41) but passed*"]
    )


def test_what_is_open_fails_where_the_policy_or_strict_says_so_and_is_told_otherwise(project):
    project.recipes(
        "def lonely():\n    return made(train_data=[(X[:1], Y[:1])])\n\n"
        "def test_by_hand(dlcheck):\n    dlcheck.check(lonely, 'data')\n\n"
        "@pytest.mark.dlcheck(on_inconclusive='fail')\n"
        "def test_marked(dlcheck):\n    dlcheck.check(lonely, 'data')\n"
    )
    result = project.run("-rA")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["lonely::batch_is_plenty  inconclusive: 1 sample says nothing*"])
    result.stdout.fnmatch_lines(["E *inconclusive: 1 sample says nothing, at least 2 do"])
    project.run("--dlcheck-strict").assert_outcomes(failed=2)


def test_an_error_is_told_once(judge):
    result = judge("dlcheck.check(lambda: None)")
    result.assert_outcomes(failed=1)
    text = result.stdout.str().partition("short test summary")[0]
    assert text.count("the factory returned None") == 1
    assert "so that 4 checks could not judge" in text


def test_the_device_fixture_names_the_device(project):
    project.recipes("def test_it(dlcheck_device):\n    assert dlcheck_device == 'cpu'\n")
    project.run("--dlcheck-device=cpu").assert_outcomes(passed=1)
