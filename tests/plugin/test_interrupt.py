"""Ctrl-C in the middle of a trial is pytest's own business."""

from __future__ import annotations

import pytest

from pytest_dlcheck.reports.journal import read

RECIPE = """
import random

class Interrupting(Net):
    calls = 0
    def forward(self, x):
        Interrupting.calls += 1
        if Interrupting.calls > 3:
            raise KeyboardInterrupt
        return super().forward(x)

@recipe
def mine():
    return made(Interrupting())

def test_ordinary():
    pass
"""


def test_the_session_ends_as_pytest_ends_it_and_tells_what_it_knows(project):
    project.recipes("@recipe\ndef healthy():\n    return made()\n" + RECIPE)
    result = project.run("--dlcheck", no_reraise_ctrlc=True)
    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.stdout.fnmatch_lines(["healthy * 4 ok *", "*KeyboardInterrupt*"])
    result.assert_outcomes(passed=5)


def test_what_was_concluded_of_items_that_had_no_turn_is_told_too(project):
    # A failure is told with its cause, so that further trials are run before it is: Ctrl-C is met there.
    project.recipes(
        "class Patient(Net):\n"
        "    steps = 0\n"
        "    def forward(self, x):\n"
        "        if self.training:\n"
        "            Patient.steps += 1\n"
        "        if Patient.steps > 4:\n"
        "            raise KeyboardInterrupt\n"
        "        return super().forward(x)\n\n"
        "@recipe\ndef mine():\n    return made(Patient(cut=True))\n"
    )
    args = ("--dlcheck", "--dlcheck-select=dynamics,learning", "--dlcheck-report=json")
    result = project.run(*args, no_reraise_ctrlc=True)
    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.stdout.fnmatch_lines(["mine::gradients_arrive  the graph is cut"])
    told = [f.verdict.check for f in read(project.path / "dlcheck.jsonl").findings]
    assert told == ["gradients_arrive", "loss_is_low"]
