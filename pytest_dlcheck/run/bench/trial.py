"""The trials ``bench_train`` and ``bench_infer``: what one process can tell of speed and memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from statistics import quantiles
from time import perf_counter
from typing import Any

import torch

from pytest_dlcheck.recipe import Recipe
from pytest_dlcheck.run.bench.batches import Prepared, sized, versions
from pytest_dlcheck.run.bench.clocks import caller_clock_of, clock_of
from pytest_dlcheck.run.bench.layouts import several
from pytest_dlcheck.run.bench.memory import growth, step_memory
from pytest_dlcheck.run.bench.quiet import quiet
from pytest_dlcheck.run.bench.surroundings import Surroundings
from pytest_dlcheck.run.bench.timing import Clock, Limits, Step, WarmUp, measure, warm_up, whole_cycles
from pytest_dlcheck.run.bench.turns import Turns
from pytest_dlcheck.run.errors import NotApplicableError
from pytest_dlcheck.run.objective import Call
from pytest_dlcheck.run.observer import Observer
from pytest_dlcheck.run.probes.loss import LossProbe
from pytest_dlcheck.run.record import Record
from pytest_dlcheck.run.rig import Rig
from pytest_dlcheck.run.stream import ExhaustedError
from pytest_dlcheck.run.tensors.tree import copied
from pytest_dlcheck.run.trials.loop import Loop
from pytest_dlcheck.run.world.seeding import same_draws
from pytest_dlcheck.trace import Row, Series
from pytest_dlcheck.trial import Trial

TRAINING = Limits()
CALLS = Limits(seconds=2.0, block=0.0, fewest=30, most=500)
"""Forward passes are timed one by one, so that the slow ones among them are seen."""
LOADING = 1.0
"""Seconds for which steps are taken on batches as the loader gives them."""


def as_asked(recipe: Recipe, trial: Trial) -> Recipe:
    """The recipe with the precision that a trial asks for."""
    if trial.precision is None:
        return recipe
    precision: Any = trial.precision  # a recipe refuses what it does not know
    return replace(recipe, precision=precision)


Build = Callable[[], Rig]
"""Builds the recipe once more."""


def bench(
    rig: Rig,
    build: Build,
    trial: Trial,
    wanted: frozenset[str],
    before: int | None,
    record: Record,
) -> None:
    """Take the time and the memory.

    Args:
        rig: the recipe, not opened yet.
        build: builds it once more.
        trial: what is asked for.
        wanted: ``step_seconds`` or ``call_seconds`` where the time is to be taken.
        before: bytes that the process held in the main memory before the recipe was built.
        record: takes what is found.

    Raises:
        NotApplicableError: the recipe has nothing that could be timed so.
    """
    if rig.recipe.train is not None:
        raise NotApplicableError(
            "the recipe trains in a loop of its own (train=), whose steps cannot be taken apart from it"
        )
    rig.open()
    if trial.kind == "bench_infer":
        _bench_calls(rig, build, trial, record)
    else:
        _bench_steps(rig, build, trial, wanted, before, record)


def _bench_steps(
    rig: Rig,
    build: Build,
    trial: Trial,
    wanted: frozenset[str],
    before: int | None,
    record: Record,
) -> None:
    prepared, step = _training(rig, trial)
    rig.phase = "timing training steps"
    clock = clock_of(rig.device)
    grown = growth(step, before)
    if "step_seconds" in wanted:
        with closing(Turns.of_this_process()) as turns:
            steps = _copies(rig, build, step, lambda other: _training(other, trial)[1])
            found = _timed(rig, steps, clock, TRAINING, prepared.cycle, turns)
            with turns:
                loaded = _loaded(rig, trial)
        record.channels["step_seconds"] = found.series
        samples = prepared.samples
        row = Row(
            _common(rig, found),
            samples=None if samples is None else samples * rig.recipe.accumulate,
            batch_size=samples,
            batches=len(prepared),
            loaded_seconds=loaded,
        )
        record.facts["timing"] = (row,)
        record.facts["surroundings"] = (found.surroundings,)
    rig.phase = "measuring the memory of a training step"
    memory = step_memory(rig, step, prepared.spare, grown)
    if memory is None:
        record.unobserved["step_memory"] = f"torch does not tell the memory of a step on {rig.device}"
    else:
        record.facts["step_memory"] = (memory,)


def _bench_calls(rig: Rig, build: Build, trial: Trial, record: Record) -> None:
    rig.phase = "finding the model's call"
    size, call = _inference(rig, trial)
    rig.phase = "timing forward passes"
    with torch.inference_mode(), rig.autocast(), closing(Turns.of_this_process()) as turns:
        steps = _copies(rig, build, call, lambda other: _inference(other, trial)[1])
        found = _timed(rig, steps, caller_clock_of(rig.device), CALLS, 1, turns)
    record.channels["call_seconds"] = found.series
    slow = quantiles(found.series.values, n=20, method="inclusive")[-1]
    record.facts["timing"] = (
        Row(_common(rig, found), samples=size, batch_size=size, slow_seconds=slow),
    )
    record.facts["surroundings"] = (found.surroundings,)


def _training(rig: Rig, trial: Trial) -> tuple[Prepared, Step]:
    """Batches, and a step on the next one of them."""
    prepared = Prepared(rig, trial.batch_size)
    step = _stepper(rig, prepared)
    _copy_only_what_is_changed(rig, lambda: prepared.are_spared_by(step))
    return prepared, step


def _inference(rig: Rig, trial: Trial) -> tuple[int | None, Step]:
    """The samples of a forward pass (None where they do not stand alone), and the pass."""
    size, dim = trial.batch_size, rig.recipe.batch_dim
    if size is None and dim is not None:
        size = 1
    batch = rig.batch if size is None else sized(rig, rig.batch, size)
    call = rig.objective.call(batch)
    rig.model.eval()
    with torch.inference_mode(), rig.autocast():
        _copy_only_what_is_changed(rig, lambda: _spares_its_inputs(call))
    return size, call


def _copies(rig: Rig, build: Build, step: Step, ready: Callable[[Rig], Step]) -> list[Step]:
    """The step, and on a CPU that of further copies of the recipe, where memory lies otherwise."""

    def another() -> Step:
        as_usual = torch.inference_mode(mode=False), torch.autocast(rig.device.type, enabled=False)
        with same_draws(rig.seed), as_usual[0], as_usual[1]:
            other = build()
            try:
                other.open()
                return ready(other)
            finally:
                other.stream.close()  # its batches are at hand

    return several(step, another) if rig.device.type == "cpu" else [step]


@dataclass(frozen=True)
class _Timed:
    series: Series
    warm: WarmUp
    count: int
    surroundings: Row
    in_turns: bool
    copies: int


def _timed(
    rig: Rig, steps: Sequence[Step], clock: Clock, limits: Limits, cycle: int, turns: Turns
) -> _Timed:
    surroundings = Surroundings(rig.device, turns.partner)
    with quiet():
        with turns:
            warm = warm_up(steps[0], clock, limits, cycle)
        surroundings.begin()
        count = whole_cycles(limits.block, warm.seconds, cycle)
        blocks = measure(steps, clock, limits, count, turns)
        surroundings.look()
    series = Series(tuple(range(len(blocks))), tuple(blocks))
    return _Timed(series, warm, count, surroundings.row(), turns.were_kept, len(steps))


def _stepper(rig: Rig, prepared: Prepared | None) -> Step:
    losses = LossProbe()
    feed: Any = rig.next_batch if prepared is None else prepared.next
    loop = Loop(rig, Observer([]), losses, feed, schedulers=False)
    return loop.stepper()


def _copy_only_what_is_changed(rig: Rig, spares: Callable[[], bool]) -> None:
    """The user's functions get copies of a batch, unless they are seen to leave it as it is."""
    copy, rig.objective.copy = rig.objective.copy, lambda batch: batch
    if not spares():
        rig.objective.copy = copy


def _spares_its_inputs(call: Call) -> bool:
    with torch.inference_mode(mode=False):  # whose tensors do not count how often they were changed
        probe = copied(call.inputs)
    before = versions(probe)
    call(probe)
    return versions(probe) == before


def _loaded(rig: Rig, trial: Trial) -> float | None:
    """Seconds per step with the batches that the loader gives meanwhile; None where it gives too few."""
    if trial.batch_size is not None:
        return None
    rig.phase = "timing training steps on loaded batches"
    step, clock = _stepper(rig, None), caller_clock_of(rig.device)
    try:
        step()
        steps, began, passed = 0, perf_counter(), 0.0
        while passed < LOADING:
            clock(step, 1)
            steps, passed = steps + 1, perf_counter() - began
    except ExhaustedError:
        return None
    return passed / steps


def _common(rig: Rig, found: _Timed) -> Row:
    dtypes = {str(p.dtype).removeprefix("torch.") for p in rig.model.parameters()}
    return Row(
        block_steps=found.count,
        warm_up_steps=found.warm.steps,
        settled=found.warm.settled,
        in_turns=found.in_turns,
        copies=found.copies,
        spread=found.warm.spread,
        device=str(rig.device),
        device_name=_name(rig.device),
        precision=rig.recipe.precision,
        dtype=", ".join(sorted(dtypes)),
        threads=torch.get_num_threads(),
    )


def _name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else ""
