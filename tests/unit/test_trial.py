"""Trials are values: equal ones run once, and survive JSON."""

from __future__ import annotations

import json

import pytest

from pytest_dlcheck.trial import Terms, Trial, Until

TRIALS = [
    Trial("inspect"),
    Trial("train", 100, 3, "cuda:1", dense=True),
    Trial("overfit", 200, until=Until(0.95), optimizer="adam"),
    Trial("blind", 50, until=Until(epochs=1)),
    Terms(epochs=3, folds=5).fit(1, fold=2, revision="3f2a1c9d8e7f"),
    Terms().bench("bench_infer", 2, batch_size=8, precision="bf16-mixed"),
]


@pytest.mark.parametrize("trial", TRIALS, ids=str)
def test_a_trial_survives_json(trial):
    assert Trial.from_json(json.loads(json.dumps(trial.to_json()))) == trial


def test_equal_terms_ask_for_equal_trials():
    assert {*Terms().train(), *Terms().train(), Terms().inspect()} == {
        Terms().inspect(),
        *Terms().train(),
    }
    assert Terms().overfit(0.9) != Terms().overfit(0.95)


def test_every_seed_trains_once_and_is_inspected_once():
    terms = Terms(steps=7, seeds=3, seed=5)
    assert [(t.seed, t.steps) for t in terms.train()] == [(5, 7), (6, 7), (7, 7)]
    assert terms.inspect().seed == 5


def test_a_second_look_differs_from_the_training_in_its_data_only():
    terms = Terms(steps=7, seeds=2)
    for look in (terms.blind(), terms.holdout(), terms.standardised()):
        assert [(t.seed, t.steps) for t in look] == [(t.seed, t.steps) for t in terms.train()]
    assert {t.until for t in terms.blind()} == {Until(epochs=1)}


def test_a_trial_in_words():
    assert list(map(str, TRIALS)) == [
        "inspect",
        "train (100 steps, seed 3, dense)",
        "overfit (200 steps, plain Adam)",
        "blind (50 steps)",
        "fit (3 epochs, seed 1, fold 3 of 5, at 3f2a1c9d8e)",
        "bench_infer (batches of 8, bf16-mixed, process 3)",
    ]


def test_one_step_is_no_plural():
    assert str(Trial("train", 1)) == "train (1 step)"
    assert "1 epoch" in str(Terms(epochs=1).fit(0))
    assert "epochs" not in str(Terms(epochs=1).fit(0))


def test_what_is_timed_and_what_is_another_commits_runs_alone():
    terms = Terms()
    alone = [terms.bench("bench_train", 0), terms.fit(0, revision="3f2a1c")]
    assert [t.runs_alone for t in (*alone, terms.fit(0), *terms.train())] == [True, True, False, False]
