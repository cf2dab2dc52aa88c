"""The one conductor: plan, run, judge, tell. It knows every room below and none above."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

from pytest_dlcheck.baseline import NO_BASELINE, Baseline
from pytest_dlcheck.check import Check, default_selection, registry
from pytest_dlcheck.diagnosis import Diagnosis, diagnose_verdicts
from pytest_dlcheck.finding import Finding, TrialSummary
from pytest_dlcheck.judging import Obtain, judged
from pytest_dlcheck.loops import twins_of
from pytest_dlcheck.plan import ALWAYS, PlannedTrial, needs, plan
from pytest_dlcheck.policy import Policy
from pytest_dlcheck.recipe import Recipe, RecipeError, brings_a_loop
from pytest_dlcheck.trace import Ending, Trace
from pytest_dlcheck.trial import BENCHES, Terms, Trial
from pytest_dlcheck.verdict import Outcome, Verdict

if TYPE_CHECKING:
    from pytest_dlcheck.run.watch.watcher import Watcher

Factory = Callable[[], Any]
Progress = Callable[[str, Trial, int, float], None]
"""Told ``(recipe, trial, step, loss)`` now and then while a trial runs."""
Runner = Callable[[PlannedTrial, float | None, Callable[[int, float], None] | None], Trace]
"""Runs a trial elsewhere, given its time limit in seconds and whom to tell ``(step, loss)``."""


@dataclass(frozen=True)
class Subject:
    """What is examined.

    Attributes:
        name: the recipe's name, with its parameters.
        policy: how it is to be judged.
        checks: the names of the checks to judge it by.
        rebuild: whether the factory is called afresh for each trial.
        baseline: what was measured of it before, where gates are held against that.
        against: the commit that gates are held against, side by side; empty for none.
    """

    name: str
    policy: Policy
    checks: tuple[str, ...]
    rebuild: bool = True
    baseline: Baseline = NO_BASELINE
    against: str = ""


@dataclass
class Examination:
    """One recipe under examination: each distinct trial runs once, each check is judged once.

    Args:
        subject: what is examined.
        progress: told how trials get on.
        runner: runs the trials where that is not to be done in this process.
        alone: runs those that can only be run in a process of their own.
    """

    subject: Subject
    progress: Progress | None = None
    runner: Runner | None = None
    alone: Runner | None = None
    traces: dict[Trial, Trace] = field(default_factory=dict)
    verdicts: dict[str, Verdict] = field(default_factory=dict)
    _told: set[Trial] = field(default_factory=set)
    _told_of: set[str] = field(default_factory=set)
    _kept: Any = None
    _last_model: Callable[[], Any] = field(default=lambda: None)

    def __post_init__(self) -> None:
        """Plan."""
        subject = self.subject
        self._checks = {
            name: registry()[name].under(subject.policy, subject.baseline) for name in subject.checks
        }
        self._terms: Terms | None = None
        self._planned: Mapping[Trial, PlannedTrial] = {}

    def is_concluded(self, check: str) -> bool:
        """Whether the check has its verdict, so that nothing of the recipe's is needed any more."""
        return check in self.verdicts

    def judge(self, check: str, factory: Factory) -> Verdict:
        """The verdict of a check; runs the trials that it asks for and that have not run yet."""
        if check not in self.verdicts:
            self.verdicts[check] = self._judged(self._checks[check], factory)
        return self.verdicts[check]

    def conclude(self, factory: Factory) -> Diagnosis:
        """Judge by all checks and put causes before consequences."""
        for name in self._checks:
            self.judge(name, factory)
        return self.diagnosis()

    def diagnosis(self) -> Diagnosis:
        """Causes before consequences among the verdicts there are."""
        return diagnose_verdicts(self.verdicts[n] for n in self._checks if n in self.verdicts)

    def fresh_traces(self) -> tuple[Trace, ...]:
        """The traces that were added since this was last asked."""
        fresh = tuple(trace for trial, trace in self.traces.items() if trial not in self._told)
        self._told.update(trace.trial for trace in fresh)
        return fresh

    def finding(
        self, check: str, diagnosis: Diagnosis | None = None, fresh: tuple[Trace, ...] = ()
    ) -> Finding:
        """What is to be told of a check.

        Args:
            check: its name; it must have been judged.
            diagnosis: causes and consequences, where something failed.
            fresh: the traces that it had to wait for.
        """
        cause = diagnosis.explained_by.get(check, "") if diagnosis else ""
        self._told_of.add(check)
        return Finding(
            recipe=self.subject.name,
            verdict=self.verdicts[check],
            because_of=cause,
            trials=tuple(TrialSummary.of(trace) for trace in fresh),
            explained=None if cause in self._told_of else self.verdicts.get(cause),
        )

    def asked(self) -> dict[str, Any]:
        """What is asked of the recipe, as JSON: enough to judge its traces again."""
        terms = None if self._terms is None else asdict(self._terms)
        return {
            "recipe": self.subject.name,
            "terms": terms,
            "checks": list(self._checks),
            "policy": self.subject.policy.to_json(),
        }

    def trace(self, planned: PlannedTrial, factory: Factory) -> Trace:
        """The trace of a trial, which is run if it has not been."""
        if planned.trial not in self.traces:
            trace = self._run(planned, factory)
            twins = twins_of(trace)
            self.traces |= {planned.trial: trace, **{twin.trial: twin for twin in twins}}
            self._told |= {t.trial for t in (trace, *twins) if twins and t.trial.kind == "watch"}
        return self.traces[planned.trial]

    def terms(self) -> Terms:
        """The policy, as far as trials go.

        Raises:
            RecipeError: the device is not there.
        """
        if self._terms is None:
            policy = self.subject.policy
            device = resolve_device(policy.device)
            self._terms = Terms(
                steps=policy.steps,
                seeds=policy.seeds,
                device=device,
                epochs=policy.epochs,
                folds=policy.folds,
                against=self.subject.against,
            )
            self._planned = plan(self._checks.values(), self._terms)
        return self._terms

    def _run(self, planned: PlannedTrial, factory: Factory) -> Trace:
        timeout, progress = self.subject.policy.timeout, self._progress_of(planned.trial)
        if self.runner is not None:
            return self.runner(planned, timeout, progress)
        if planned.trial.runs_alone:
            if self.alone is None:
                told = "it takes a process of its own, which only pytest --dlcheck starts"
                return Trace(planned.trial, Ending("not_applicable", message=told))
            return self.alone(planned, timeout, progress)
        return self.run_here(planned, factory)

    def run_here(self, planned: PlannedTrial, factory: Factory) -> Trace:
        """Run a trial in this process, also one that is to be alone there."""
        timeout, progress = self.subject.policy.timeout, self._progress_of(planned.trial)
        from pytest_dlcheck.run.trial_runner import Request, run_trial

        request = Request(planned.trial, planned.wanted, timeout, progress)
        return run_trial(lambda: self._build(factory, planned.trial.seed), request)

    def _judged(self, check: Check, factory: Factory) -> Verdict:
        try:
            asked = check.trials(self.terms())
        except RecipeError as error:
            return Verdict(
                check=check.name, outcome=Outcome.ERRORED, because=str(error), cause=str(error)
            )
        traces = [self.trace(self._planned[trial], factory) for trial in asked]
        try:
            obtain: Obtain = lambda trial: self.trace(self._further(trial, check), factory)  # noqa: E731
            return judged(check, traces, obtain, self.terms())
        except Exception as error:  # noqa: BLE001  a bug of one check must not hide what others found
            because = f"pytest-dlcheck failed here, please report it: {error!r}"
            return Verdict(check=check.name, outcome=Outcome.INCONCLUSIVE, because=because)

    def _further(self, trial: Trial, check: Check) -> PlannedTrial:
        """A second look; where others have planned the same trial, it records what they want too."""
        planned = self._planned.get(trial)
        wanted = ALWAYS if planned is None else planned.wanted
        return PlannedTrial(trial, wanted | needs(check))

    def _build(self, factory: Factory, seed: int) -> Any:
        if not self.subject.rebuild:
            return self._kept_one(factory, seed).restored()
        built = factory()
        model: object = built.model if isinstance(built, Recipe) else None
        if isinstance(model, type) or not hasattr(model, "parameters"):
            return built  # refused when the trial begins
        if self._last_model() is model:
            raise RecipeError(
                "the factory returned the same model object as for the trial before, so that trials "
                "would share its state: build the model inside the factory, or mark it with "
                "@recipe(rebuild=False)"
            )
        self._last_model = weakref.ref(model)
        return built

    def _kept_one(self, factory: Factory, seed: int) -> Any:
        """What is built once, always under the first seed; the trial then begins under its own.

        So a trial is the same whether others ran before it, here or in another process.
        """
        from pytest_dlcheck.run.world.seeding import seed_everything
        from pytest_dlcheck.run.world.snapshot import Snapshot

        if self._kept is None:
            seed_everything(Terms().seed)
            self._kept = Snapshot(factory())
            seed_everything(seed)
        return self._kept

    def put_back(self) -> None:
        """Leave a recipe that was built once as its factory had left it, and let it go."""
        kept, self._kept = self._kept, None
        if kept is not None:
            kept.restored()

    def _progress_of(self, trial: Trial) -> Callable[[int, float], None] | None:
        if self.progress is None:
            return None
        tell, name = self.progress, self.subject.name
        return lambda step, loss: tell(name, trial, step, loss)


def watcher(stop_after: int | None = None) -> Watcher:
    """Something that watches whatever trains while it listens.

    Args:
        stop_after: optimizer steps after which the training is ended; None for none.
    """
    from pytest_dlcheck.run.watch.watcher import Watcher

    return Watcher(stop_after)


def gate_checks() -> frozenset[str]:
    """The names of the checks that hold a recipe to a number."""
    return frozenset(name for name, check in registry().items() if check.family == "gate")


def timed_checks() -> frozenset[str]:
    """The names of the checks whose trials want the machine for themselves."""
    return _timed(tuple(registry()))


@cache
def _timed(names: tuple[str, ...]) -> frozenset[str]:
    """Asked for every item of a session, and so worked out once."""
    kinds = {name: {trial.kind for trial in registry()[name].trials(Terms())} for name in names}
    return frozenset(name for name in names if kinds[name] <= BENCHES)


def all_checks() -> tuple[str, ...]:
    """The names of all checks, causes first."""
    return tuple(registry())


def default_checks(subject: object = None) -> tuple[str, ...]:
    """The names of the checks that run where none are named, causes first.

    Args:
        subject: a recipe or its factory; one that has a loop of its own is judged by ``loop`` too.
    """
    return default_selection("loop") if brings_a_loop(subject) else default_selection()


def share_processors(workers: int) -> None:
    """Divide torch's threads among the test processes of one machine, unless the user has chosen.

    Args:
        workers: how many test processes run side by side.
    """
    from pytest_dlcheck.run.world.device import share_threads

    share_threads(workers)


def split(dataset: Any, *, seed: int = 0) -> tuple[Any, Any]:
    """A data set in two, to train and to validate on, as the trial at hand wants them.

    See :func:`pytest_dlcheck.run.data.folds.split`.
    """
    from pytest_dlcheck.run.data.folds import split

    return split(dataset, seed=seed)


def count_gpus() -> int:
    """How many GPUs this process could use; asked without waking them."""
    from pytest_dlcheck.run.world.device import count_gpus

    return count_gpus()


def torch_facts(device: str) -> Mapping[str, str | int | bool]:
    """What torch knows of this machine that speeds and numbers depend on.

    Args:
        device: where models run, as torch names it.
    """
    from pytest_dlcheck.run.world.machine import facts

    return facts(device)


def resolve_device(name: str) -> str:
    """The device that a name stands for here, as torch names it.

    Raises:
        RecipeError: there is no such device.
    """
    from pytest_dlcheck.run.world.device import resolve

    return resolve(name)
