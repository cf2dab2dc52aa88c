"""The command's colours follow the variables that pytest's follow, in the same order."""

from __future__ import annotations

import sys

import pytest

from pytest_dlcheck.cli.look import wants_colour


class Stream:
    """Standard output, to a terminal or not."""

    def __init__(self, *, terminal):
        self.isatty = lambda: terminal


@pytest.mark.parametrize(
    ("environment", "terminal", "coloured"),
    [
        ({}, True, True),
        ({}, False, False),
        ({"TERM": "dumb"}, True, False),
        ({"NO_COLOR": "1"}, True, False),
        ({"NO_COLOR": ""}, True, True),
        ({"FORCE_COLOR": "1"}, False, True),
        ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, True, False),
        ({"PY_COLORS": "1", "NO_COLOR": "1"}, False, True),
        ({"PY_COLORS": "0", "FORCE_COLOR": "1"}, True, False),
    ],
)
def test_colours(monkeypatch, environment, terminal, coloured):
    for name in ("PY_COLORS", "NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "stdout", Stream(terminal=terminal))
    assert wants_colour() is coloured
