"""Every option has its twin in the ini file, in each of its forms."""

from __future__ import annotations

import pytest

RECIPE = """
@recipe
def mine():
    return made(loss=Counting())

class Counting(nn.CrossEntropyLoss):
    def forward(self, outputs, targets):
        print("LOSS")
        return super().forward(outputs, targets)
"""
FORMS = {
    "pytest.ini": (
        "[pytest]\naddopts = -p no:randomly\ndlcheck = true\ndlcheck_steps = 6\ndlcheck_seeds = 2\n"
        "dlcheck_device = cpu\ndlcheck_timeout = 50\ndlcheck_select = learning, dynamics\n"
        "dlcheck_ignore = batch_is_learned\n"
        "dlcheck_strict = inconclusive advice\n"
    ),
    "pyproject.toml": (
        '[tool.pytest.ini_options]\naddopts = "-p no:randomly"\ndlcheck = true\ndlcheck_steps = 6\n'
        'dlcheck_seeds = 2\ndlcheck_device = "cpu"\ndlcheck_timeout = 50\n'
        'dlcheck_select = ["learning", "dynamics"]\ndlcheck_ignore = "batch_is_learned"\n'
        'dlcheck_strict = "inconclusive advice"\n'
    ),
    "pyproject.toml typed": (
        '[tool.pytest]\naddopts = ["-p", "no:randomly"]\ndlcheck = true\ndlcheck_steps = 6\n'
        'dlcheck_seeds = 2\ndlcheck_device = "cpu"\ndlcheck_timeout = 50.0\n'
        'dlcheck_select = ["learning", "dynamics"]\ndlcheck_ignore = ["batch_is_learned"]\n'
        'dlcheck_strict = ["inconclusive", "advice"]\n'
    ),
}


@pytest.mark.parametrize("form", FORMS)
def test_the_twins_are_obeyed(project, form):
    if form.endswith("typed") and pytest.version_tuple < (9,):
        pytest.skip("pytest 9 brought [tool.pytest]")
    (project.path / "pytest.ini").unlink()
    project.write({form.split()[0]: FORMS[form]})
    project.recipes(RECIPE)
    result = project.run("-v", "-s", "--strict-config", "--strict-markers")
    result.assert_outcomes(passed=2)
    assert result.stdout.str().count("LOSS") == 6 * 2


def test_the_command_line_has_the_last_word(project):
    project.write({"pytest.ini": FORMS["pytest.ini"]})
    project.recipes(RECIPE)
    result = project.run(
        "-v", "-s", "--dlcheck-steps=2", "--dlcheck-seeds=1", "--dlcheck-select=dynamics"
    )
    result.assert_outcomes(passed=1)
    assert result.stdout.str().count("LOSS") == 2


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("dlcheck_steps = abc", "dlcheck_steps in the ini file, or given by -o: invalid literal"),
        ("dlcheck_isolate = abc", "dlcheck_isolate in the ini file, or given by -o: invalid truth"),
        ("dlcheck_steps = 0", "steps=0 is no whole number of at least 1"),
        ("dlcheck_device = cuda:99", "--dlcheck-device: device 'cuda:99' is not there"),
        ("dlcheck_select = lerning", "unknown name 'lerning', did you mean 'learning'?"),
        ("dlcheck_strict = everything", "everything is unknown (valid: inconclusive, advice)"),
    ],
)
def test_a_wrong_value_is_a_usage_error(project, line, said):
    project.write({"pytest.ini": f"[pytest]\ndlcheck = true\n{line}\n"})
    project.recipes(RECIPE)
    result = project.run()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert said in result.stderr.str() + result.stdout.str()


def test_an_unknown_key_is_strictly_refused(project):
    project.write({"pytest.ini": "[pytest]\ndlcheck_stepps = 3\n"})
    result = project.run("--strict-config")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
