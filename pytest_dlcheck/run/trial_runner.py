"""Runs one trial of a recipe to its trace, whatever happens on the way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from time import perf_counter
from typing import Any

from pytest_dlcheck.recipe import Recipe, RecipeError, described
from pytest_dlcheck.run.bench.memory import resident_bytes
from pytest_dlcheck.run.bench.trial import as_asked, bench
from pytest_dlcheck.run.data.folds import cutting, refuse_unsplit
from pytest_dlcheck.run.errors import NotApplicableError, ending_of, let_go
from pytest_dlcheck.run.fit.examination import examine
from pytest_dlcheck.run.fit.validation import refuse
from pytest_dlcheck.run.inspection import inspect
from pytest_dlcheck.run.losses.attainable import attainable
from pytest_dlcheck.run.losses.graphs.packing import noticing
from pytest_dlcheck.run.observer import Observer
from pytest_dlcheck.run.own_loop.trial import readable, run_own_loop
from pytest_dlcheck.run.passes.evaluation import crossing_of
from pytest_dlcheck.run.probe import Probe
from pytest_dlcheck.run.probes import all_probes
from pytest_dlcheck.run.probes.loss import LossProbe
from pytest_dlcheck.run.record import Record
from pytest_dlcheck.run.rig import Rig
from pytest_dlcheck.run.tensors.crossing import BlindFeed, Crossing
from pytest_dlcheck.run.tensors.tree import shape_text
from pytest_dlcheck.run.trials import overfit
from pytest_dlcheck.run.trials.holdout import Holdout, told
from pytest_dlcheck.run.trials.loop import Limits, Loop, Progress
from pytest_dlcheck.run.trials.rates import scale_rates
from pytest_dlcheck.run.trials.standardised import Standardised
from pytest_dlcheck.run.world.seeding import seeded
from pytest_dlcheck.trace import Ending, Row, Trace
from pytest_dlcheck.trial import BENCHES, Trial

Factory = Callable[[], Any]


@dataclass(frozen=True)
class Request:
    """A trial that is to be run.

    Attributes:
        trial: what to run.
        wanted: the channels and facts that must be recorded.
        timeout: seconds that it may take, looked at between steps; None for no limit.
        progress: told ``(step, loss)`` now and then.
    """

    trial: Trial
    wanted: frozenset[str]
    timeout: float | None = None
    progress: Progress | None = None


def run_trial(factory: Factory, request: Request) -> Trace:
    """Run a trial.

    All global state (random numbers, flags, default dtype, threads) is as before afterwards. Errors
    of the user's code become the trace's ending; only ``KeyboardInterrupt`` and its like pass.

    Args:
        factory: builds a fresh recipe; called once, under the trial's seed, and a few times more
            where time is taken.
        request: what to run and to record.

    Returns:
        What happened.
    """
    began = perf_counter()
    with seeded(request.trial.seed), noticing():
        ending, record = _run(factory, request)
    return record.trace(request.trial, ending, perf_counter() - began)


def _run(factory: Factory, request: Request) -> tuple[Ending, Record]:
    record, phase = Record(), "the factory"
    rig: Rig | None = None
    loop: Loop | None = None
    resident = resident_bytes() if request.trial.kind in BENCHES else None
    try:
        with cutting(request.trial) as cut:
            recipe = checked(factory())
        phase = "setting up"
        refuse_unsplit(cut)
        if request.trial.kind == "fit":
            refuse(recipe, request.trial)
        rig = _rig(recipe, request.trial)
        if request.trial.kind in BENCHES:
            build = lambda: _rig(checked(factory()), request.trial)  # noqa: E731
            bench(rig, build, request.trial, request.wanted, resident, record)
            return Ending(), record
        if recipe.train is not None:
            ending = _run_own_loop(rig, request, record)
            return _measured(rig, request, record, ending), record
        rig.open()
        if request.trial.kind == "inspect":
            _observe_still(rig, request, record)
            return Ending(), record
        loop, observer, limits = _prepare(rig, request)
        try:
            observer.begin(rig, request.trial)
            ending = loop.run(limits, request.progress)
            rig.phase = "after the last step"
        finally:
            observer.end()
        _collect(loop, observer, limits, record)
        if isinstance(loop.next_batch, Holdout):
            told(rig, loop.next_batch, record)
        ending = _measured(rig, request, record, ending, limits.deadline)
    except (Exception, SystemExit) as error:  # noqa: BLE001  the user's code may raise anything
        step = loop.step if loop is not None else None
        ending = (
            ending_of(error, rig.phase, step, rig.model, _batch_in_words(rig))
            if rig is not None
            else ending_of(error, phase, step, None)
        )
        let_go(error)
    finally:
        if rig is not None:
            rig.stream.close()
    return ending, record


def _rig(recipe: Recipe, trial: Trial) -> Rig:
    return Rig(as_asked(readable(recipe), trial), trial.device, trial.seed)


def _run_own_loop(rig: Rig, request: Request, record: Record) -> Ending:
    deadline = None if request.timeout is None else perf_counter() + request.timeout
    fits = request.trial.kind == "fit"
    trial = replace(request.trial, kind="train") if fits else request.trial
    return run_own_loop(rig, trial, record, request.wanted, deadline, request.progress)


def _measured(
    rig: Rig, request: Request, record: Record, ending: Ending, deadline: float | None = None
) -> Ending:
    """How it ended, once the metrics are measured too where the trial is for them."""
    if request.trial.kind != "fit" or ending.kind != "completed":
        return ending
    measured = examine(rig, record, deadline)
    return ending if measured.kind == "completed" else measured


def checked(built: Any) -> Recipe:
    """What the factory returned, if it is a recipe.

    Raises:
        RecipeError: it is something else; says what.
    """
    if isinstance(built, Recipe):
        return built
    hint = "did you forget to return it?" if built is None else "return pytest_dlcheck.Recipe(...)"
    raise RecipeError(f"the factory returned {described(built)}, not a Recipe: {hint}")


def _batch_in_words(rig: Rig) -> str:
    return "" if rig.current is None else shape_text(rig.current)


def _observe_still(rig: Rig, request: Request, record: Record) -> None:
    probes = [probe() for probe in all_probes() if probe.channels & request.wanted & _STILL]
    for probe in probes:
        probe.begin(rig, request.trial)
    inspect(rig, record, request.wanted)
    for probe in probes:
        probe.end()
    record.collect(probes)


_STILL = frozenset({"recipe", "parameters", "buffers", "modules"})
"""Facts that a trial without steps can hold too."""


def _prepare(rig: Rig, request: Request) -> tuple[Loop, Observer[Rig], Limits]:
    trial = request.trial
    if trial.kind == "watch":
        raise NotApplicableError("the recipe brings no loop of its own: watch it where it runs")
    losses = LossProbe()
    probes: list[Probe[Rig]] = [losses]
    wanted = frozenset() if trial.kind == "fit" else request.wanted
    probes += [probe() for probe in all_probes() if probe is not LossProbe and probe.channels & wanted]
    observer = Observer(probes)
    deadline = None if request.timeout is None else perf_counter() + request.timeout
    if trial.kind == "overfit":
        batch = overfit.small_batch(rig)
        if trial.optimizer == "adam":
            overfit.plain_adam(rig)
        overfit.calm(rig)
        reach = attainable(rig, batch)
        loop = Loop(rig, observer, losses, overfit.feeder(rig, batch), schedulers=False)
        return loop, observer, Limits(trial.steps, trial.until, reach, deadline)
    if trial.learning_rate_scale != 1:
        scale_rates(rig, trial.learning_rate_scale)
    feed: Callable[[], Any] = rig.next_batch
    if trial.kind == "blind":
        feed = blind_feed(rig)
    elif trial.kind == "holdout":
        crossing_of(rig)  # refuses what has no pairs
        feed = Holdout(rig)
    elif trial.kind == "standardised":
        feed = Standardised(rig)
    loop = Loop(rig, observer, losses, feed)
    return loop, observer, Limits(trial.steps, trial.until, deadline=deadline)


def blind_feed(rig: Rig) -> BlindFeed:
    """The rig's batches, with inputs that do not belong to their targets.

    Raises:
        NotApplicableError: there are no pairs that could be broken.
    """
    if rig.objective.is_generator:
        raise NotApplicableError("several objectives are trained against each other: no pairs to break")
    crossing = Crossing(rig.recipe, rig.batch)
    return BlindFeed(crossing, rig.next_batch, rig.look_ahead(2)[-1], rig.seed)


def _collect(loop: Loop, observer: Observer[Rig], limits: Limits, record: Record) -> None:
    record.collect(observer.probes)
    record.forget(loop.skipped)
    record.facts["steps"] = (
        Row(
            asked=limits.steps,
            skipped_by_scaler=len(loop.skipped),
            loss_floor=limits.reach.floor,
            uninformed_loss=limits.reach.uninformed,
            has_floor=limits.reach.has_floor,
            loss_noise=limits.reach.noise,
        ),
    )
