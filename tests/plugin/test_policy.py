"""The marker: merged key by key, the nearest wins, the command line over all, errors that teach."""

from __future__ import annotations

import pytest

COUNTING = """
class Counting(nn.CrossEntropyLoss):
    def forward(self, outputs, targets):
        print("LOSS")
        return super().forward(outputs, targets)
"""


def losses(project, *args: str) -> int:
    """How many losses were computed."""
    result = project.check("-s", *args)
    assert result.ret == 0, result.stdout.str()
    return result.stdout.str().count("LOSS")


def test_markers_merge_key_by_key_and_the_nearest_wins(project):
    project.recipes(
        f"{COUNTING}\n"
        "pytestmark = pytest.mark.dlcheck(select=['loss_is_low'], steps=2, seeds=3)\n\n"
        "@pytest.mark.dlcheck(steps=5)\n"
        "class TestIt:\n"
        "    @recipe\n    @pytest.mark.dlcheck(seeds=1)\n"
        "    def near(self):\n        return made(loss=Counting())\n\n"
        "    @recipe\n    def far(self):\n        return made(loss=Counting())\n\n"
        "@recipe\ndef outside():\n    return made(loss=Counting())\n"
    )
    assert losses(project, "-k", "near") == 5
    assert losses(project, "-k", "far") == 5 * 3
    assert losses(project, "-k", "outside") == 2 * 3
    assert losses(project, "-k", "near", "--dlcheck-steps=7") == 7


def test_the_command_lines_ignore_adds_to_the_markers(project):
    project.recipes(
        "@recipe\n@pytest.mark.dlcheck(ignore={'loss_is_low': 'because'})\n"
        "def mine():\n    return made()\n"
    )
    ids = project.ids("--dlcheck", "--dlcheck-ignore=data,gradients_arrive")
    assert ids == ["test_it.py::mine::batch_is_learned"]


def test_the_command_lines_select_is_repeatable_and_takes_lists(project):
    project.recipes("@recipe\ndef mine():\n    return made()\n")
    ids = project.ids("--dlcheck", "--dlcheck-select=data,dynamics", "--dlcheck-select=loss_is_low")
    assert len(ids) == 3


def test_strict_markers_knows_the_marker(project):
    project.recipes("@recipe\n@pytest.mark.dlcheck(steps=2)\ndef mine():\n    return made()\n")
    assert len(project.passed("--strict-markers")) == 4
    assert "dlcheck(steps, seeds" in project.run("--markers").stdout.str()


@pytest.mark.parametrize(
    ("marker", "said"),
    [
        ("step=3", "unknown policy 'step', did you mean 'steps'? (valid: steps, seeds, select,"),
        ("20", "takes keyword arguments only, not 20"),
        ("steps=0", "steps=0 is no whole number of at least 1"),
        ("steps=True", "steps=True is no whole number"),
        ("seeds='3'", "seeds='3' is no whole number"),
        ("timeout=-1", "timeout=-1 is no number of seconds above 0"),
        ("device=3", "device=3 is no name of a device"),
        ("on_inconclusive='pass'", "on_inconclusive='pass' is neither"),
        ("select=['loss_is_lo']", "unknown name 'loss_is_lo', did you mean 'loss_is_low'? (valid: "),
        ("select=[]", "select=[] leaves nothing to check"),
        ("metrics={'f1'}", "metrics={'f1'} says no number to reach"),
        ("select=3", "select=3 is no list of names"),
        ("ignore=['loss_is_low']", 'lacks its reasons: write ignore={"the_check": "why"}'),
        ("ignore={'loss_is_low': ''}", "wants its reason, as text"),
        ("ignore={'dinamics': 'x'}", "unknown name 'dinamics', did you mean 'dynamics'?"),
        ("expected={'loss_is_high': 'x'}", "unknown name 'loss_is_high'"),
        ("expected={'learning': 'x'}", "unknown name 'learning'"),
    ],
)
def test_a_wrong_marker_is_an_error_of_its_recipe_that_names_the_place(project, marker, said):
    project.recipes(f"@recipe\n@pytest.mark.dlcheck({marker})\ndef mine():\n    return made()\n")
    result = project.check()
    assert result.ret == pytest.ExitCode.INTERRUPTED
    text = result.stdout.str() + result.stderr.str()
    assert said in text, text
    assert "dlcheck policy of mine" in text
    assert "test_it.py:4" in text
    assert "Traceback" not in text
    assert "INTERNALERROR" not in text


@pytest.mark.parametrize("more", [(), pytest.param(("-n", "2"), marks=pytest.mark.slow)])
def test_wrong_markers_are_told_all_at_once_and_hold_up_nothing_else(project, more):
    project.recipes(
        "@recipe\n@pytest.mark.dlcheck(step=3)\ndef one():\n    return made()\n\n"
        "@recipe\n@pytest.mark.dlcheck(seed=3)\ndef two():\n    return made()\n\n"
        "@recipe\ndef three():\n    return made()\n"
    )
    run = project.pytester.runpytest_subprocess if more else project.run
    result = run("--dlcheck", "--continue-on-collection-errors", *more)
    result.assert_outcomes(passed=4, errors=2)
    result.stdout.fnmatch_lines(["*did you mean 'steps'?*", "*did you mean 'seeds'?*"])


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("--dlcheck-select=los_is_low", "--dlcheck-select: unknown name 'los_is_low', did you mean"),
        ("--dlcheck-ignore=x", "--dlcheck-ignore: unknown name 'x' (valid: batch_is_plenty,"),
        ("--dlcheck-steps=many", "steps='many' is no whole number of at least 1"),
        ("--dlcheck-seeds=0", "seeds=0 is no whole number"),
        ("--dlcheck-timeout=soon", "timeout='soon' is no number of seconds"),
        ("--dlcheck-strict=all", "--dlcheck-strict: all is unknown (valid: inconclusive, advice)"),
        ("--dlcheck-device=cuda:99", "--dlcheck-device: device 'cuda:99' is not there; available here:"),
        ("--dlcheck-device=tpu", "--dlcheck-device: device 'tpu' is no device that torch knows"),
    ],
)
def test_a_wrong_option_is_a_usage_error(project, option, said):
    project.recipes("@recipe\ndef mine():\n    return made()\n")
    result = project.check(option)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    text = result.stdout.str() + result.stderr.str()
    assert said in text, text
    assert "INTERNALERROR" not in text
