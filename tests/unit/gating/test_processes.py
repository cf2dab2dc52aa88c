"""Gates on processes: what is asked for, what counts, what is held against what."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pytest_dlcheck.baseline import NO_BASELINE, Baseline, Past
from pytest_dlcheck.check import example_trace
from pytest_dlcheck.checks.peak_memory import PeakMemory
from pytest_dlcheck.checks.throughput import Throughput
from pytest_dlcheck.judging import judged
from pytest_dlcheck.policy import merge
from pytest_dlcheck.trace import Ending, Row, Series
from pytest_dlcheck.trial import Terms
from pytest_dlcheck.verdict import Outcome

BASE = "3f2a1c9d8e" * 4
SOUND = Row(samples=64, settled=True, spread=0.02, warm_up_steps=40)


def process(trial, seconds=0.01, *, timing=SOUND, **facts):
    return example_trace(trial, step_seconds=Series((0, 1), (seconds, seconds)), timing=timing, **facts)


def run(check, seconds=lambda _: 0.01, terms=Terms(), **more):  # noqa: B008  a frozen value
    asked = []

    def obtain(trial):
        asked.append(trial)
        return process(trial, seconds(trial), **more)

    return judged(check, map(obtain, check.trials(terms)), obtain, terms), asked


def wobbling(trial):
    return 0.01 * (1 + 0.01 * (trial.replicate % 3 - 1))


def test_three_processes_are_asked_for_and_five_a_side_in_turns():
    assert len(Throughput().trials(Terms())) == 3
    trials = Throughput().trials(Terms(against=BASE))
    assert [trial.revision for trial in trials[:4]] == ["", BASE, BASE, ""]
    assert sum(not trial.revision for trial in trials) == 5


def test_every_size_and_precision_is_measured_and_told_by_itself():
    policy = merge([{"throughput": {"batch_size": [32, 128], "precision": ["fp32", "bf16-mixed"]}}], {})
    gate = Throughput().under(policy, NO_BASELINE)
    verdict, asked = run(gate)
    assert len(asked) == 3 * 4
    assert {measure.name for measure in verdict.measures} >= {
        "throughput (batches of 32, fp32)",
        "throughput (batches of 128, bf16-mixed)",
    }


def test_without_a_number_or_a_past_it_only_measures_and_says_so():
    verdict, _ = run(Throughput(), wobbling)
    assert verdict.outcome is Outcome.PASSED
    assert "held against nothing" in verdict.because
    assert verdict.measures[0].samples == pytest.approx((64 / 0.0099, 6400, 64 / 0.0101))


def test_the_policy_gives_the_number():
    gate = Throughput().under(merge([{"throughput": 7000}], {}), NO_BASELINE)
    verdict, _ = run(gate)
    assert verdict.failed
    assert verdict.measures[0].bound == 7000


def test_a_number_that_is_nearly_met_takes_more_processes_and_then_stays_open():
    noisy = lambda trial: 0.01 * (1.3 if trial.replicate % 2 else 0.8)  # noqa: E731
    verdict, asked = run(replace(Throughput(), at_least=6400), noisy)
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert len(asked) == Throughput.most


def test_the_worst_setting_decides():
    gate = replace(Throughput(), at_least=5000, batch_sizes=(8, 64))
    verdict, _ = run(gate, lambda trial: 0.02 if trial.batch_size == 8 else 0.01)
    assert verdict.failed
    assert "batches of 8" in verdict.because


def test_another_commit_is_held_against_side_by_side():
    verdict, asked = run(
        Throughput(),
        lambda trial: wobbling(trial) / (1.0 if not trial.revision else 1.1),
        Terms(against=BASE),
    )
    assert verdict.failed
    assert len(asked) == 10
    assert f"throughput against {BASE[:10]}" in [measure.name for measure in verdict.measures]


def test_another_commit_that_does_not_run_leaves_it_open():
    gate = Throughput()
    trials = gate.trials(Terms(against=BASE))
    lame = Ending("raised", message="ImportError: no module named 'shop'")
    traces = [
        replace(process(trial), ending=lame) if trial.revision else process(trial) for trial in trials
    ]
    verdict = judged(gate, traces, process, Terms(against=BASE))
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert "ImportError" in verdict.because


def test_a_recipe_that_does_not_run_is_an_error_and_takes_no_more_processes():
    gate = Throughput()
    traces = [replace(process(t), ending=Ending("raised", message="boom")) for t in gate.trials(Terms())]
    verdict = judged(gate, traces, pytest.fail, Terms())
    assert verdict.outcome is Outcome.ERRORED


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (Row(gpu_busy=0.8), "worked for others 80%"),
        (Row(throttled="too hot (hardware)"), "too hot"),
    ],
)
def test_a_disturbed_gpu_is_tried_again_and_then_left_open(row, words):
    verdict, asked = run(replace(Throughput(), at_least=1), surroundings=row)
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert words in verdict.because
    assert len(asked) == 2 * Throughput.processes


def test_one_disturbed_process_is_replaced_by_another():
    gate = replace(Throughput(), at_least=5000)

    def obtain(trial):
        busy = 0.9 if trial.replicate == 1 else 0.0
        return process(trial, wobbling(trial), surroundings=Row(gpu_busy=busy))

    verdict = judged(gate, map(obtain, gate.trials(Terms())), obtain, Terms())
    assert verdict.outcome is Outcome.PASSED
    assert len(verdict.measures[0].samples) == 3


def test_steps_that_never_settle_leave_it_open():
    timing = Row(samples=64, settled=False, spread=0.4, warm_up_steps=900)
    verdict, _ = run(Throughput(), timing=timing)
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert "0.4" in verdict.because


def test_compiling_meanwhile_leaves_it_open_at_once():
    verdict, asked = run(Throughput(), surroundings=Row(compilations=2))
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert "2 new graphs" in verdict.because
    assert len(asked) == Throughput.processes


def test_a_busy_machine_is_told():
    quiet, _ = run(Throughput(), surroundings=Row(processors=4, elsewhere=0.1))
    busy, _ = run(Throughput(), surroundings=Row(processors=4, elsewhere=2.0))
    assert not quiet.advice
    assert "2 of 4 processors" in busy.advice[0]


def past(*values):
    return {"throughput": tuple(Past(f"{i:08x}", float(i), value) for i, value in enumerate(values))}


def test_history_fails_on_the_second_measurement():
    gate = replace(Throughput(), baseline=Baseline("main", past(7000, 7010, 6990, 7005)))
    verdict, asked = run(gate, wobbling)
    assert verdict.failed
    assert len(asked) == 6


def test_a_past_that_cannot_be_used_is_told_and_nothing_is_failed():
    for baseline, words in (
        (Baseline("main", notice="another machine"), "another machine"),
        (Baseline("main", past(7000, 7010)), "2 earlier runs"),
    ):
        verdict, _ = run(replace(Throughput(), baseline=baseline))
        assert verdict.outcome is Outcome.PASSED
        assert words in verdict.advice[0]


def test_memory_needs_two_processes_that_agree():
    def obtain(trial):
        return example_trace(trial, step_memory=Row(bytes=float(2**20), resident=2**27))

    gate = replace(PeakMemory(), at_most=2.0**21)
    verdict = judged(gate, map(obtain, gate.trials(Terms())), obtain, Terms())
    assert verdict.outcome is Outcome.PASSED
    assert "1 MiB in 2 processes" in verdict.because
    assert "process growth" in [measure.name for measure in verdict.measures]
