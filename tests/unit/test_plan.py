"""The plan: distinct trials, each recording all that anybody wants of it."""

from __future__ import annotations

from pytest_dlcheck.check import Check
from pytest_dlcheck.plan import ALWAYS, needs, plan
from pytest_dlcheck.trial import Terms


def check(reads, glances, *trials):
    class Asking(Check):
        family = "dynamics"

        def trials(self, terms):
            return trials

        def decide(self, evidence):
            raise AssertionError

        healthy = sick = classmethod(lambda cls: [])

    Asking.reads, Asking.glances = frozenset(reads), frozenset(glances)
    return Asking()


def test_equal_trials_run_once_and_record_the_union():
    terms = Terms()
    (train,) = terms.train()
    one = check({"gradient_norm"}, {"update_norm"}, train)
    other = check({"rank"}, set(), terms.inspect(), train)
    planned = plan([one, other], terms)
    assert list(planned) == [train, terms.inspect()]
    assert planned[train].wanted == ALWAYS | {"gradient_norm", "update_norm", "rank"}
    assert planned[terms.inspect()].wanted == ALWAYS | {"rank"}
    assert needs(one) == {"gradient_norm", "update_norm"}


def test_nobody_asking_is_nothing_to_run():
    assert plan([], Terms()) == {}
