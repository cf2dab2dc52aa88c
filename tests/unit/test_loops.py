"""An own loop is judged by what was seen of it: once for its trial and its watch, the gravest of all."""

from __future__ import annotations

from dataclasses import replace

from pytest_dlcheck.check import Evidence, example_trace, registry
from pytest_dlcheck.loops import is_watched_for, judged_as_seen, judged_loop, serves, twins_of
from pytest_dlcheck.trace import Ending, Row, Series
from pytest_dlcheck.trial import Terms
from pytest_dlcheck.verdict import Outcome

OWN = Row(own_loop=True, model="Net", optimizer="Adam")


def refuse(trial):
    raise AssertionError(f"{trial} was asked for")


def loop_trace(check, *, sick=False, seed=0, recipe=OWN):
    examples = registry()[check].sick() if sick else registry()[check].healthy()
    trace = next(iter(examples)).traces[0]
    facts = {**trace.facts, "recipe": (recipe,)}
    return replace(trace, trial=Terms(seed=seed).train()[0], facts=facts)


def test_a_training_of_an_own_loop_is_its_watch_and_back():
    train = loop_trace("memory_is_flat")
    (watch,) = twins_of(train)
    assert watch.trial == Terms().watch()
    assert [twin.trial for twin in twins_of(watch)] == [train.trial]
    assert twins_of(replace(train, facts={})) == ()
    assert twins_of(replace(train, trial=Terms().inspect())) == ()


def test_a_check_is_served_by_what_was_recorded_or_is_said_to_be_missing():
    check = registry()["memory_is_flat"]
    trace = loop_trace("memory_is_flat")
    assert serves(check, trace)
    assert not serves(check, replace(trace, channels={}))
    assert serves(check, replace(trace, channels={}, unobserved={"live_graphs": "compiled"}))
    assert not serves(registry()["overfits_a_batch"], trace)


def test_an_inspection_that_holds_all_that_is_read_needs_no_loop():
    inspection = example_trace(Terms().inspect(), recipe=OWN, repeat=Row(change=0.0))
    assert not is_watched_for(registry()["eval_is_deterministic"], (inspection,))
    assert is_watched_for(registry()["optimizer_covers_model"], (inspection,))
    assert not is_watched_for(registry()["overfits_a_batch"], (loop_trace("memory_is_flat"),) * 0)


def test_the_gravest_verdict_on_several_optimizers_counts_and_is_named():
    other = Row(own_loop=True, model="Critic", optimizer="SGD")
    run = replace(
        loop_trace("memory_is_flat"), others=(loop_trace("memory_is_flat", sick=True, recipe=other),)
    )
    verdict = judged_loop(registry()["memory_is_flat"], [run], refuse)
    assert verdict.outcome is Outcome.FAILED
    assert verdict.because.startswith("Critic, SGD: ")
    assert (
        judged_loop(registry()["memory_is_flat"], [replace(run, others=())], refuse).because[0].isdigit()
    )


def test_a_loop_that_was_cut_short_does_not_pass():
    run = replace(loop_trace("memory_is_flat"), ending=Ending("timed_out", 3, "late"))
    assert judged_loop(registry()["memory_is_flat"], [run], refuse).outcome is Outcome.ERRORED


def test_with_several_seeds_it_is_told_which_failed():
    runs = [loop_trace("training_is_stable", sick=bool(seed), seed=seed) for seed in (0, 1)]
    verdict = judged_loop(registry()["training_is_stable"], runs, refuse)
    assert verdict.outcome is Outcome.FAILED
    assert "with seed 1 of 2" in verdict.because


def test_a_failure_that_wants_another_trial_is_looked_into_where_the_loop_can_be_run_again():
    check = registry()["loss_decreases"]
    asked = []

    def obtain(trial):
        asked.append(trial)
        losses = Series(tuple(range(40)), tuple(2.3 * 0.9**i for i in range(40)))
        return example_trace(trial, loss=losses, steps=Row(loss_floor=0.0, loss_noise=0.0), recipe=OWN)

    run = loop_trace("loss_decreases", sick=True)
    seen = judged_as_seen(check, Evidence((replace(run, trial=Terms().watch()),)))
    assert seen.outcome is Outcome.INCONCLUSIVE
    assert "takes another trial" in seen.because
    judged_loop(check, [run], obtain)
    assert [trial.kind for trial in asked] == ["overfit"]
