"""Gates on accuracy and metrics are items where a policy asks for them, and must decide."""

from __future__ import annotations

import json

import pytest

SPLIT = """
from torch.utils.data import TensorDataset

@recipe
@pytest.mark.dlcheck(steps=2, accuracy=0.01, folds=2, select=[])
def mine(dlcheck_split):
    train, val = dlcheck_split(TensorDataset(X, Y))
    return made(train_data=train, val_data=val)
"""


def gated(policy: str, **parts: str) -> str:
    parts.setdefault("val_data", "(X, Y)")
    given = ", ".join(f"{name}={value}" for name, value in parts.items())
    return (
        f"@recipe\n@pytest.mark.dlcheck({policy}, select=[], steps=60)\n"
        f"def mine():\n    return made({given})\n"
    )


def test_a_gate_is_an_item_only_where_it_is_asked_for(real_project):
    real_project.recipes(gated("accuracy=0.5"), "test_one.py")
    real_project.recipes(gated("metrics={'loss': '<= 5'}"), "test_two.py")
    real_project.recipes("@recipe\ndef mine():\n    return made()\n", "test_three.py")
    ids = real_project.ids("--dlcheck")
    assert [i for i in ids if "one" in i] == ["test_one.py::mine::accuracy"]
    assert [i for i in ids if "two" in i] == ["test_two.py::mine::metrics"]
    assert not [i for i in ids if "three" in i and i.endswith(("accuracy", "metrics"))]


def test_one_that_holds_passes_and_one_that_does_not_tells_both_numbers(real_project):
    real_project.recipes(gated("metrics={'loss': '<= 5'}"))
    real_project.passed()
    real_project.recipes(gated("metrics={'loss': '<= 1e-9'}"))
    result = real_project.check()
    assert result.ret == 1
    result.stdout.fnmatch_lines(["loss 0.* (1 seed, 64 samples); must be <= 1e-09*", "remedy *steps=*"])


def test_one_that_cannot_decide_fails_unless_the_policy_lets_it(real_project):
    ten = {"val_data": "(X[:10], Y[:10])", "train_data": "(X, Y)"}
    real_project.recipes(gated("accuracy=0.95", **ten))
    result = real_project.check()
    assert result.ret == 1
    result.stdout.fnmatch_lines(["*cannot show 0.95 with 10 samples*"])
    real_project.recipes(gated("accuracy=0.95, on_inconclusive='skip'", **ten))
    assert real_project.check().ret == 0


def test_fewer_steps_on_the_command_line_are_no_failure(real_project):
    real_project.recipes(gated("metrics={'loss': '<= 1e-9'}"))
    result = real_project.check("--dlcheck-steps=2", "-rs")
    assert result.ret == 0
    result.stdout.fnmatch_lines(["*not applicable: the command line trains 2 steps*"])


def test_an_unknown_key_of_a_gate_is_an_error_of_its_recipe(real_project):
    real_project.recipes(gated("accuracy={'atleast': 0.9}"))
    result = real_project.check()
    assert result.ret == pytest.ExitCode.INTERRUPTED  # an error of that recipe
    result.stdout.fnmatch_lines(["*accuracy={'atleast': ...}*valid: at_least, margin*"])


def traces(project, *args: str):
    """What each trial has recorded of accuracy, by fold and seed."""
    project.check("--dlcheck-report=json:out.jsonl", *args)
    lines = (project.path / "out.jsonl").read_text("utf-8").splitlines()
    found = [line["trace"] for line in map(json.loads, lines) if "trace" in line]
    (project.path / "out.jsonl").unlink()
    return {(t["trial"]["seed"], t["trial"]["fold"]): t["facts"]["accuracy"] for t in found}


@pytest.mark.slow
def test_folds_are_the_same_in_this_process_and_in_one_of_their_own(real_project):
    real_project.recipes(SPLIT)
    here = traces(real_project)
    assert set(here) == {(0, 0), (0, 1)}
    assert here[0, 0][0]["order"] != here[0, 1][0]["order"]
    assert traces(real_project, "--dlcheck-isolate") == here


def test_the_split_serves_ordinary_tests_too(real_project):
    real_project.write(
        {
            "test_it.py": "import torch\n\ndef test_cut(dlcheck_split):\n"
            "    train, val = dlcheck_split((torch.arange(10),))\n"
            "    assert (len(train[0]), len(val[0])) == (8, 2)\n"
        }
    )
    real_project.run().assert_outcomes(passed=1)
