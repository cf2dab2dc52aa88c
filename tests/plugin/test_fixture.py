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
            "*encoder.weight   none",
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


def test_the_device_fixture_names_the_device(project):
    project.recipes("def test_it(dlcheck_device):\n    assert dlcheck_device == 'cpu'\n")
    project.run("--dlcheck-device=cpu").assert_outcomes(passed=1)
