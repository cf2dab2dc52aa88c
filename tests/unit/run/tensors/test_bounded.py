"""A number per step in bounded room: short runs are kept whole, long ones keep what verdicts need."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest

from pytest_dlcheck.check import Evidence, example_trace, registry
from pytest_dlcheck.run.tensors.bounded import HEAD, RECENT, SPANS, Bounded
from pytest_dlcheck.trace import Row, Series, Trace
from pytest_dlcheck.trial import Trial

MOST = HEAD + RECENT + 3 * SPANS
LONG = 100_000


def kept(values):
    bounded = Bounded()
    for step, value in enumerate(values):
        bounded.add(step, value)
    return bounded.series()


def whole(values):
    return Series(tuple(range(len(values))), tuple(values))


def falling(steps, noise=0.05):
    return [0.2 + 2.0 * 0.9995**i + noise * math.sin(7.3 * i) for i in range(steps)]


def test_up_to_2048_steps_are_kept_whole():
    values = falling(HEAD + RECENT)
    assert kept(values) == whole(values)


def test_room_is_bounded_over_100000_steps():
    bounded = Bounded()
    sizes = []
    for step, value in enumerate(falling(LONG)):
        bounded.add(step, value)
        if step % 10_000 == 0:
            sizes.append(len(bounded))
    assert max(sizes) <= MOST
    assert len(bounded.series()) <= MOST


def test_the_first_and_the_last_steps_are_all_there():
    values = falling(LONG)
    series = kept(values)
    assert series.values[:HEAD] == tuple(values[:HEAD])
    assert series.values[-RECENT:] == tuple(values[-RECENT:])
    assert list(series.steps) == sorted(set(series.steps))


@pytest.mark.parametrize("spike", [1e6, -1e6, math.inf, -math.inf, math.nan])
def test_what_sticks_out_is_never_left_out(spike):
    values = falling(20_000)
    values[9_731] = spike
    series = kept(values)
    assert repr(series.values[series.steps.index(9_731)]) == repr(spike)


def test_filled_in_there_is_a_number_at_every_step_again():
    values = [float(i // 5_000) for i in range(LONG)]
    filled = kept(values).filled()
    assert filled.steps == tuple(range(LONG))
    late = sum(a != b for a, b in zip(filled.values, values, strict=True))
    changes, span = LONG // 5_000 - 1, 256
    assert late <= changes * span


def test_an_extreme_stands_for_itself_alone():
    values = [1.0] * 20_000
    values[9_731] = 0.0
    assert sum(value == 0.0 for value in kept(values).filled()) == 1


def test_several_numbers_of_a_step_are_averaged_or_the_greatest_is_taken():
    averaged, greatest = Bounded(), Bounded()
    for step in range(3):
        for value in (1.0, 2.0, 0.0):
            averaged.add(step, value)
            greatest.lift(step, value)
    assert averaged.series().values == (1.0, 1.0, 1.0)
    assert greatest.series().values == (2.0, 2.0, 2.0)


def test_a_thinned_series_survives_json():
    trace = Trace(Trial("watch"), channels={"loss": kept(falling(5_000))})
    again = Trace.from_json(json.loads(json.dumps(trace.to_json())))
    assert again.channels == trace.channels
    assert len(again.series("loss")) == 5_000


def spiking(steps):
    values = falling(steps)
    values[steps // 2 : steps // 2 + 40] = [5_000.0] * 40
    return values


def cosine(steps):
    return [0.1 * (1 + math.cos(math.pi * i / steps)) / 2 for i in range(steps)]


def ended_early(steps):
    return [0.1 if i < 0.3 * steps else 1e-9 for i in range(steps)]


def rarely(steps):
    return [0.5 if i % 100 == 0 else 1.0 for i in range(steps)]


@pytest.mark.parametrize(
    ("check", "channel", "values"),
    [
        ("loss_decreases", "loss", falling),
        ("loss_decreases", "loss", lambda steps: [2.3 + 0.1 * math.sin(i) for i in range(steps)]),
        ("loss_decreases", "loss", lambda steps: [2.3 + 1e-4 * i for i in range(steps)]),
        ("training_is_stable", "loss", falling),
        ("training_is_stable", "loss", spiking),
        ("schedule_is_sane", "learning_rate", cosine),
        ("schedule_is_sane", "learning_rate", ended_early),
        ("clipping_is_rare", "clipping", rarely),
    ],
)
def test_a_long_run_is_judged_as_if_nothing_were_left_out(check, channel, values):
    numbers = values(20_000)
    example = next(iter(registry()[check].healthy())).traces[0]
    facts = {"loop": Row(example.row("loop"), steps=20_000), "steps": Row(asked=20_000)}
    rows = {name: (row,) for name, row in facts.items()}
    verdicts = []
    for series in (whole(numbers), kept(numbers)):
        channels = {**example.channels, channel: series}
        trace = replace(example, channels=channels, facts={**example.facts, **rows})
        verdicts.append(registry()[check].judge(Evidence((trace,))))
    assert verdicts[0].outcome is verdicts[1].outcome, [v.because for v in verdicts]


def test_a_trace_without_thinning_gives_its_series_as_it_is():
    series = Series((0, 5, 9), (1.0, 2.0, 3.0))
    assert example_trace(loss=series).series("loss") is series
