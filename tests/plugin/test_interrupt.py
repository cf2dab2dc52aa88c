"""Ctrl-C in the middle of a trial is pytest's own business."""

from __future__ import annotations

import pytest

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
