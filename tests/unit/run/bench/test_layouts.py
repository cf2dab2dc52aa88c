"""How many copies of a recipe are built beside the first, and what ends that."""

import pytest

from pytest_dlcheck.run.bench import layouts
from pytest_dlcheck.run.bench.layouts import MOST, several


class Process:
    """A process whose clock and memory move when a copy is built."""

    def __init__(self, monkeypatch, *, seconds=0.0, grown=0, graphs=0):
        self.now, self.held, self.built = 0.0, 0, []
        self.seconds, self.grown = seconds, grown
        monkeypatch.setattr(layouts, "perf_counter", lambda: self.now)
        monkeypatch.setattr(layouts, "resident_bytes", lambda: self.held)
        monkeypatch.setattr(layouts, "compilations", lambda: graphs)

    def another(self):
        self.now, self.held = self.now + self.seconds, self.held + self.grown
        self.built.append(0)
        number = len(self.built) - 1

        def step():
            self.built[number] += 1

        return step


def test_cheap_copies_are_all_built_and_warm(monkeypatch):
    process = Process(monkeypatch, seconds=0.1, grown=1 << 20)
    steps = several(print, process.another)
    assert steps[0] is print
    assert len(steps) == len(set(steps)) == MOST
    assert min(process.built) >= 1


@pytest.mark.parametrize(
    ("costs", "copies"),
    [
        ({"seconds": 1.2}, 3),  # a third further copy would end after more than three seconds
        ({"seconds": 60.0}, 2),
        ({"grown": layouts.BYTES + 1}, 2),
        ({"graphs": 1}, 1),  # compiled
    ],
)
def test_expensive_ones_are_few(monkeypatch, costs, copies):
    process = Process(monkeypatch, **costs)
    assert len(several(print, process.another)) == copies


def test_a_recipe_that_can_be_built_only_once_is_timed_as_it_is():
    def another():
        raise RuntimeError("the port is in use")

    assert several(print, another) == [print]
