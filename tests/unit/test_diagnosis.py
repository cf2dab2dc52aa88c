"""Causes before consequences: who explains whom, by effects and places."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pytest_dlcheck import diagnosis
from pytest_dlcheck.check import Check, Effect
from pytest_dlcheck.diagnosis import diagnose_verdicts, needed
from pytest_dlcheck.verdict import Outcome, Suspect, Verdict

SHOWS = {
    "broken": Effect.RUN,
    "cut": Effect.GRADIENTS,
    "still": Effect.UPDATES,
    "slow": Effect.PROGRESS,
    "unfit": Effect.FITTING,
    "odd": None,
}


@pytest.fixture(autouse=True)
def known(monkeypatch):
    def check(name, effect):
        members = {"trials": None, "decide": None, "healthy": None, "sick": None, "shows": effect}
        return type(name, (Check,), members)()

    checks = {name: check(name, effect) for name, effect in SHOWS.items()}
    monkeypatch.setattr(diagnosis, "registry", lambda: checks)


def failed(check, *sites, leads_to=()):
    suspects = tuple(Suspect(site, "found") for site in sites)
    return Verdict(
        check=check,
        outcome=Outcome.FAILED,
        because="so",
        suspects=suspects,
        leads_to=frozenset(leads_to),
    )


def errored(check, cause):
    return Verdict(check=check, outcome=Outcome.ERRORED, because=cause, cause=cause)


def explained(*verdicts):
    return dict(diagnose_verdicts(verdicts).explained_by)


def test_a_failure_explains_what_it_leads_to():
    cut = failed("cut", "a", leads_to=[Effect.PROGRESS])
    assert explained(cut, failed("slow")) == {"slow": "cut"}
    assert explained(failed("slow"), cut) == {"slow": "cut"}
    assert explained(failed("cut", "a"), failed("slow")) == {}


def test_local_effects_must_meet_at_a_place():
    cut = failed("cut", "encoder", leads_to=[Effect.UPDATES])
    assert explained(cut, failed("still", "encoder.0.weight")) == {"still": "cut"}
    assert explained(cut, failed("still", "encoder2.0.weight")) == {}
    assert explained(cut, failed("still", "head")) == {}
    assert explained(cut, failed("still", "")) == {"still": "cut"}


def test_a_consequence_is_led_back_to_the_first_cause():
    chain = (
        failed("cut", "a", leads_to=[Effect.UPDATES]),
        failed("still", "a.b", leads_to=[Effect.PROGRESS]),
        failed("slow"),
    )
    found = diagnose_verdicts(chain)
    assert dict(found.explained_by) == {"still": "cut", "slow": "cut"}
    assert [v.check for v in found.causes] == ["cut"]
    assert [v.check for v in found.consequences("cut")] == ["still", "slow"]


def test_of_two_that_explain_each_other_the_first_is_the_cause():
    cut = failed("cut", "a", leads_to=[Effect.PROGRESS])
    slow = failed("slow", "a", leads_to=[Effect.GRADIENTS])
    assert explained(slow, cut) == {"slow": "cut"}


def test_two_faults_stay_two():
    causes = diagnose_verdicts(
        [
            failed("cut", "a", leads_to=[Effect.UPDATES]),
            failed("still", "b"),
            failed("odd"),
        ]
    ).causes
    assert [v.check for v in causes] == ["cut", "still", "odd"]


def test_the_same_error_is_told_once_whatever_the_size_of_the_batch():
    one = errored("cut", "RuntimeError: shapes (32x10 and 9x2)\nthe batch: (32, 10)")
    other = errored("slow", "RuntimeError: shapes (8x10 and 9x2)\nthe batch: (8, 10)")
    assert explained(one, other) == {"slow": "cut"}
    assert explained(one, errored("slow", "KeyError: 'x'")) == {}


def test_a_failure_that_stops_the_recipe_explains_errors():
    broken = failed("broken", leads_to=[Effect.RUN])
    assert explained(broken, errored("slow", "KeyError")) == {"slow": "broken"}


@pytest.mark.parametrize("outcome", [Outcome.PASSED, Outcome.INCONCLUSIVE, Outcome.NOT_APPLICABLE])
def test_what_did_not_fail_neither_explains_nor_is_explained(outcome):
    fine = Verdict(check="cut", outcome=outcome, because="", leads_to=frozenset({Effect.PROGRESS}))
    found = diagnose_verdicts([fine, failed("slow")])
    assert dict(found.explained_by) == {}
    assert [v.check for v in found.causes] == ["slow"]


def test_a_check_that_is_not_known_any_more_stands_for_itself():
    assert [v.check for v in diagnose_verdicts([failed("gone")]).causes] == ["gone"]


def test_chains_in_a_circle_come_to_an_end():
    circle = (
        failed("cut", "a", leads_to=[Effect.UPDATES]),
        failed("still", "a", leads_to=[Effect.PROGRESS]),
        failed("slow", "a", leads_to=[Effect.GRADIENTS]),
    )
    causes = diagnose_verdicts(circle).causes
    assert causes, "everything is explained by something else"


def test_advice_on_what_a_failure_leads_to_is_not_needed_beside_it():
    slow = Verdict(check="slow", outcome=Outcome.INCONCLUSIVE, because="so", advice=("raise steps",))
    cut = failed("cut", "optimizer", leads_to=[Effect.PROGRESS])
    assert needed(slow, [cut, slow]).advice == ()
    assert needed(slow, [failed("cut", "optimizer"), slow]).advice == ("raise steps",)
    assert needed(slow, [slow]).advice == ("raise steps",)


def test_advice_on_one_place_outlives_a_failure_at_another():
    odd = Verdict(check="still", outcome=Outcome.PASSED, because="so", advice=("head is never called",))
    local = failed("cut", "encoder", leads_to=[Effect.UPDATES])
    whole = failed("cut", "optimizer", leads_to=[Effect.UPDATES])
    assert needed(odd, [local, odd]).advice == ("head is never called",)
    assert needed(odd, [whole, odd]).advice == ()


def test_a_failure_keeps_its_own_advice():
    cut = failed("cut", "optimizer", leads_to=[Effect.PROGRESS])
    slow = replace(failed("slow"), advice=("lower the learning rate",))
    assert needed(slow, [cut, slow]) == slow
