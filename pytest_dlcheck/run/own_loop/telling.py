"""Makes the trace of a trial of what was seen of a recipe's own loop: a part per optimizer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from statistics import median
from typing import Any

from pytest_dlcheck.recipe import taken_by
from pytest_dlcheck.run.own_loop.leash import Leash
from pytest_dlcheck.run.probes.frozen import FrozenProbe
from pytest_dlcheck.run.record import Record
from pytest_dlcheck.run.rig import Rig
from pytest_dlcheck.run.watch.strand import Strand
from pytest_dlcheck.run.watch.telling import trace_of, trace_of_nothing
from pytest_dlcheck.trace import Ending, Row, Trace
from pytest_dlcheck.trial import Trial

UNSEEN = {
    "normalization": "what running statistics should be",
    "seconds": "how long each step takes",
    "data_seconds": "how long each step waits for data",
}
"""What is not recorded of a loop that is only watched, in words."""
FEWEST = 8
"""Changes below which no noise is told."""
NORMAL = 1.4826
"""Standard deviation of a normal distribution, over the median of its absolute deviations."""
UNSCORED = "train= computes its loss itself: nothing can be scored on val_data apart from it"
SEVERAL = "several objectives are trained against each other"
NO_TARGETS = "train= does not take train_data: it cannot be given other samples' inputs"


def tell(rig: Rig, trial: Trial, leash: Leash, ending: Ending, record: Record) -> Ending:
    """Fill the record with what was seen of the model's own optimizer, the others' beside it.

    Returns:
        How the trial ended, all seen.
    """
    traces = _by_the_model(rig, leash) or [trace_of_nothing(leash)]
    several = any(trace.row("recipe").flag("several_objectives") for trace in traces)
    own, *others = (_completed(trace, rig, trial, ending, several=several) for trace in traces)
    record.channels |= own.channels
    record.facts |= own.facts
    record.unobserved |= own.unobserved
    record.inapplicable |= own.inapplicable
    record.others = tuple(others)
    return own.ending


def tell_of_nothing(rig: Rig, record: Record) -> None:
    """What is known before anything was trained."""
    record.facts["recipe"] = (_recipe_row(rig, Row()),)


def _by_the_model(rig: Rig, leash: Leash) -> list[Trace]:
    """A trace per optimizer, that of most of the recipe's own model first."""
    own = {id(p) for p in rig.model.parameters()}

    def first(strand: Strand) -> tuple[bool, int]:
        return not strand.keys & own, -strand.step

    return [trace_of(leash, strand) for strand in sorted(leash.strands, key=first)]


def _completed(trace: Trace, rig: Rig, trial: Trial, ending: Ending, *, several: bool) -> Trace:
    facts = dict(trace.facts)
    seen = Row(trace.row("recipe"), several_objectives=several)
    facts["recipe"] = (_recipe_row(rig, seen),)
    facts["steps"] = (_steps_row(trial, trace),)
    facts["frozen_patterns"] = _frozen_patterns(rig, trial)
    for name in ("parameters", "coverage"):
        facts[name] = tuple(
            Row(row, declared_frozen=rig.is_frozen(row.text("name"))) for row in trace.rows(name)
        )
    ruled_out = {name: f"a watched loop does not show {what}" for name, what in UNSEEN.items()}
    if trial.kind in {"train", "watch"}:
        facts["pairing"] = (_pairing_row(rig, several=several),)
    told = ending if ending.kind != "completed" else trace.ending
    inapplicable = {**trace.inapplicable, "validation": UNSCORED, **ruled_out}
    return replace(trace, trial=trial, ending=told, facts=facts, inapplicable=inapplicable)


def _recipe_row(rig: Rig, seen: Row) -> Row:
    recipe = rig.recipe
    declared: dict[str, Any] = {
        "batch_dim": recipe.batch_dim,
        "causal": recipe.causal,
        "shapes": recipe.shapes,
        "declares_frozen": bool(tuple(recipe.frozen)),
    }
    return Row({"model": type(rig.model).__name__, **seen, **declared}, own_loop=True)


def _steps_row(trial: Trial, trace: Trace) -> Row:
    """The floor of the loss is not known: it cannot be asked."""
    asked = trace.row("loop").integer("steps") if trial.kind in {"train", "watch"} else trial.steps
    noise = _noise(trace.series("loss").values)
    return Row(asked=asked, skipped_by_scaler=0, loss_floor=0.0, uninformed_loss=None, loss_noise=noise)


def _noise(losses: Sequence[float]) -> float:
    """The standard deviation by which the loss varies from step to step, beside its trend.

    By the median of its changes, in the later half, so that a few jumps count for nothing.
    """
    late = losses[len(losses) // 2 :]
    changes = [after - before for before, after in pairwise(late)]
    if len(changes) < FEWEST or not all(map(math.isfinite, changes)):
        return 0.0
    middle = median(changes)
    return NORMAL * median(abs(change - middle) for change in changes) / math.sqrt(2)


def _frozen_patterns(rig: Rig, trial: Trial) -> tuple[Row, ...]:
    probe = FrozenProbe()
    probe.begin(rig, trial)
    return probe.filled()["frozen_patterns"]


def _pairing_row(rig: Rig, *, several: bool) -> Row:
    assert rig.recipe.train is not None
    if several:
        return Row(inapplicable=SEVERAL)
    if "train_data" not in taken_by(rig.recipe.train):
        return Row(inapplicable=NO_TARGETS)
    return Row(own_loop=True)
