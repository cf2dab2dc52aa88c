"""A trial that lasts is told of on a terminal, and only there."""

import os
import pty
import sys

import pytest

SLOW = """
import time

class Slow(Net):
    def forward(self, x):
        time.sleep(0.05)
        return super().forward(x)

@recipe
@pytest.mark.dlcheck(steps=80)
def slow():
    return made(Slow())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="needs a pseudo-terminal")
def test_a_trial_that_lasts_shows_step_and_loss_on_a_terminal(project, monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    for name in ("PY_COLORS", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    project.recipes(SLOW)
    said = []

    def listen(terminal):
        said.append(os.read(terminal, 4096))
        return said[-1]

    command = [
        sys.executable,
        "-m",
        "pytest",
        "--dlcheck",
        "-p",
        "no:randomly",
        "-p",
        "no:cacheprovider",
    ]
    assert pty.spawn(command, listen) == 0
    assert b" slow train (80 steps): step " in b"".join(said)


def test_nothing_is_said_where_there_is_no_terminal(project):
    project.recipes(SLOW)
    assert "train (80 steps): step" not in project.check().stdout.str()


def test_nothing_is_drawn_into_a_pipe_where_colours_are_forced(project, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.delenv("PY_COLORS", raising=False)
    project.recipes(SLOW)
    text = project.check().stdout.str()
    assert "\x1b[" in text
    assert "\x1b7" not in text
