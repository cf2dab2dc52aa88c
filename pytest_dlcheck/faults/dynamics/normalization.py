"""Running statistics that are not those of the data, told as faults. Thresholds: the check's own."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence

from pytest_dlcheck.faults.fault import Fault
from pytest_dlcheck.trace import Row
from pytest_dlcheck.verdict import Measure, Suspect

REVERSED = 0.9
"""Momentum from which on the running statistics are little but the last batch's (ratio)."""

FEW = 2
"""Samples of a batch up to which its statistics are told to be noise."""
SLOW = 0.1
"""Share of the initial statistics that are replaced below which eval mode is told to wait (ratio)."""


def learned(row: Row) -> float:
    """The share of the statistics that a layer begins with that its momentum should have replaced."""
    if row.get("momentum") is None:
        return 1.0
    momentum = min(1.0, max(0.0, row.number("momentum")))
    return float(1 - (1 - momentum) ** row.integer("calls"))


def stands_still(row: Row, least: float) -> bool:
    """Whether it averages nothing: unchanged, or further behind its momentum than the bound (ratio)."""
    if not row.integer("calls"):
        return False
    return not row.flag("changed") or row.number("travelled") < least * learned(row)


def half_life(row: Row) -> float:
    """How many calls replace half of the statistics; infinite where nothing is replaced."""
    momentum = row.number("momentum")
    if math.isnan(momentum):
        return 0.0
    if momentum >= 1:
        return 1.0
    return math.log(0.5) / math.log1p(-momentum) if momentum > 0 else math.inf


def is_left_in_eval(row: Row) -> bool:
    """Whether it trains in eval mode, inside a module that is, by the statistics it was built with."""
    never = not row.integer("calls") and row.integer("calls_in_eval") > 0
    return never and row.flag("initial") and bool(row.text("eval_around"))


def stuck(rows: list[Row], every: list[Row], gap: float) -> Fault | None:
    """Layers that normalise by the batch in train mode and have no such statistics for eval mode."""
    if not rows:
        return None
    worst = max(rows, key=lambda row: row.number("gap"))
    cause, remedy = _why_stuck(rows[0])
    return Fault(
        f"{len(rows)} of {len(every)} layers with running statistics do not learn them (0 expected): "
        f"{worst.text('name')} is {worst.number('gap'):.2g} nats off (at most {gap:g})",
        measures=(
            Measure("layers that do not learn their statistics", len(rows), "count", 0),
            Measure("divergence from the batches' statistics", worst.number("gap"), "nats", gap),
        ),
        suspects=[Suspect(row.text("name"), _finding(row)) for row in rows],
        cause=cause,
        remedy=remedy,
    )


def in_eval_mode(rows: list[Row], every: list[Row], gap: float) -> Fault | None:
    """Layers that train, and never leave eval mode nor the statistics that they were built with."""
    if not rows:
        return None
    worst = max(rows, key=lambda row: row.number("gap"))
    around = rows[0].text("eval_around") or rows[0].text("name")
    return Fault(
        f"{len(rows)} of {len(every)} layers with running statistics are in eval mode in every step (0 "
        f"expected): {worst.text('name')} is {worst.number('gap'):.2g} nats off (at most {gap:g})",
        measures=(
            Measure("layers in eval mode", len(rows), "count", 0),
            Measure("divergence from the batches' statistics", worst.number("gap"), "nats", gap),
        ),
        suspects=[
            Suspect(row.text("name"), "trains in eval mode, by the initial mean 0 and variance 1")
            for row in rows
        ],
        cause=f"`{around}` is in eval mode while it trains: .eval() without .train() afterwards",
        remedy=f"call {around}.train() before the step, or freeze it (requires_grad_(False)) on purpose",
    )


def astray(rows: list[Row], every: list[Row], least: float) -> Fault | None:
    """Layers of the user's own whose statistics move, and not towards those of the batch."""
    if not rows:
        return None
    worst = min(rows, key=lambda row: row.number("heads_for_it"))
    heading = worst.number("heads_for_it")
    return Fault(
        f"{len(rows)} of {len(every)} layers move their running statistics elsewhere: the direction of "
        f"{worst.text('name')} has a cosine of {heading:.2g} with the right one (at least {least:g})",
        measures=(Measure("cosine of the direction", heading, "ratio", least, ">="),),
        suspects=[
            Suspect(row.text("name"), f"{row.number('gap'):.2g} nats off at the end") for row in rows
        ],
        cause=f"{worst.text('type')} does not average the mean and variance of its batches",
        remedy="new = (1 - momentum) * running + momentum * batch; a variance, not a deviation",
    )


def oddities(rows: list[Row], gap: float) -> Iterable[str]:
    """Advice on statistics that are unusual and yet no sure fault."""
    training = [row for row in rows if row.integer("calls")]
    if reversed_ := [r for r in training if r.number("momentum") >= REVERSED]:
        yield (
            f"momentum={reversed_[0].number('momentum'):g} in {_some(reversed_)}: running statistics "
            "of the last batch only; torch's momentum is the share of the new batch (Keras' 0.99 "
            "is 0.01 here)"
        )
    yield from few_samples(training)
    slow = [r for r in training if r.number("gap") > gap and learned(r) < SLOW]
    if slow:
        yield (
            f"momentum={slow[0].number('momentum'):.2g} in {_some(slow)} replaces half of the "
            f"statistics in {half_life(slow[0]):.0f} calls: until then eval mode uses the initial ones"
        )
    still = [r for r in training if not r.flag("changed") and r.number("gap") <= gap]
    if still:
        yield f"{_some(still)} never changes its running statistics, which fit the data as they are"
    odd = [r for r in rows if not r.integer("calls") and r.number("gap") > gap]
    if odd:
        yield (
            f"{_some(odd)} is in eval mode in every step, by statistics that are not these data's: "
            "right for frozen ones only"
        )


def few_samples(rows: Sequence[Row]) -> Iterator[str]:
    """Advice on layers that normalise batches of one sample or two."""
    if few := [r for r in rows if 1 <= r.integer("samples") <= FEW]:
        count = few[0].integer("samples")
        what = f"{_some(few)} ({few[0].text('type')})"
        yield (
            f"{what} normalises batches of {count} sample{'s'[: count - 1]}: statistics of so few are "
            "noise, and eval mode differs from it; use GroupNorm or larger batches"
        )


def few_samples_heard(rows: Sequence[Row], often: int) -> Iterator[str]:
    """The same of a watched loop, where no call was heard on more.

    Args:
        rows: of layers that normalise by the batch.
        often: calls (count) from which on it is no odd batch.
    """
    learn = (row for row in rows if row.flag("tracks") and not row.flag("frozen"))
    yield from few_samples([row for row in learn if row.integer("calls") >= often])


def _some(rows: Sequence[Row]) -> str:
    name = rows[0].text("name")
    return name if len(rows) == 1 else f"{name} and {len(rows) - 1} more"


def _finding(row: Row) -> str:
    return (
        f"its running statistics cover {row.number('travelled'):.1%} of their way to the batches' in "
        f"{row.integer('calls')} calls"
    )


def _why_stuck(row: Row) -> tuple[str, str]:
    name, momentum = row.text("name"), row.number("momentum")
    if not row.flag("tracks"):
        return (
            f"{name}.track_running_stats is off, yet it has statistics: eval mode uses the initial ones",
            "build the layer with track_running_stats=True, or without running statistics",
        )
    if momentum == 0:
        return "momentum=0: no batch counts towards the running statistics", "use momentum=0.1"
    if momentum < 1:
        calls = half_life(row)
        if calls > row.integer("calls"):
            return (
                f"momentum={momentum:g} would replace half of the statistics in {calls:.0f} calls only",
                "use momentum=0.1 (the share of the new batch), or 0.01 for long trainings",
            )
    return (
        f"nothing moves them: {row.text('type')} does not update them, or something puts them back",
        "look for what assigns to its buffers, such as a loaded state",
    )
