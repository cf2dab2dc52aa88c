"""Variables are read, and nothing that they held is kept."""

# ruff: noqa: SLF001  frames are asked for by their only name

import sys
import weakref

from pytest_dlcheck.run.code.frames import variables


class Thing:
    """May be referred to weakly."""


def test_variables_are_those_of_now():
    one, other = 1, [2]
    found = variables(sys._getframe())
    assert (found["one"], found["other"]) == (one, other)
    one = 3
    assert variables(sys._getframe())["one"] == one


def test_what_is_dropped_dies():
    thing = Thing()
    known = weakref.ref(thing)
    assert variables(sys._getframe())["thing"] is thing
    thing = None
    assert known() is None


def test_what_somebody_else_holds_is_left():
    kept = 5
    held = locals()
    assert variables(sys._getframe())["kept"] == kept
    assert held["kept"] == kept


def test_of_cells_and_modules():
    cell = Thing()

    def inner():
        return cell

    assert variables(sys._getframe())["cell"] is inner()
    space = {"sys": sys, "variables": variables}
    exec("x = 7\nfound = variables(sys._getframe())['x']", space)
    assert (space["x"], space["found"]) == (7, 7)


def test_while_a_debugger_is_at_work_nothing_is_lost():
    lines = []

    def trace(frame, event, argument):
        lines.append(event)
        return trace

    def traced():
        value = 3
        variables(sys._getframe())
        return value + 1

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        found = traced()
    finally:
        sys.settrace(before)
    assert found == 4
    assert lines
