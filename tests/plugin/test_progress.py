"""A trial that lasts is told of on a terminal, and only there."""

import os
import pty
import sys

import pytest

from pytest_dlcheck.plugin import progress

SLOW = """
import time

class Slow(Net):
    def forward(self, x):
        time.sleep(0.05)
        return super().forward(x)

@recipe
@pytest.mark.dlcheck(steps={steps}, select=["gradients_arrive"])
def slow():
    return made(Slow())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="needs a pseudo-terminal")
@pytest.mark.usefixtures("quick_python")
def test_a_trial_that_lasts_shows_step_and_loss_on_a_terminal(project, monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    for name in ("PY_COLORS", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    project.recipes(SLOW.format(steps=60))
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
    assert b" slow train (60 steps): step " in b"".join(said)


@pytest.fixture
def impatient(monkeypatch):
    """A trial is told of as soon as it tells of itself, which it does about once a second."""
    monkeypatch.setattr(progress, "PATIENCE", 0.0)


def test_nothing_is_said_where_there_is_no_terminal(project, impatient):
    project.recipes(SLOW.format(steps=30))
    assert "train (30 steps): step" not in project.check().stdout.str()


def test_nothing_is_drawn_into_a_pipe_where_colours_are_forced(project, impatient, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.delenv("PY_COLORS", raising=False)
    project.recipes(SLOW.format(steps=30))
    text = project.check().stdout.str()
    assert "\x1b[" in text
    assert "\x1b7" not in text
