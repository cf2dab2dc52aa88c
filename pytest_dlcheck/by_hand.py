"""Recipes examined by hand, without ``--dlcheck``: a training that was asked for, and ``diagnose``."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pytest_dlcheck.check import registry, select
from pytest_dlcheck.diagnosis import Diagnosis
from pytest_dlcheck.finding import Finding
from pytest_dlcheck.plan import ALWAYS, PlannedTrial, needs
from pytest_dlcheck.policy import Policy
from pytest_dlcheck.recipe import Recipe, RecipeError, recipe_tag
from pytest_dlcheck.reports.text import diagnosis_text, findings_text
from pytest_dlcheck.session import Examination, Factory, Subject, default_checks
from pytest_dlcheck.trace import Trace
from pytest_dlcheck.verdict import Outcome, Verdict

if TYPE_CHECKING:
    from torch import nn


class CheckFailedError(AssertionError):
    """A check that was asked for by hand does not hold; the message is the diagnosis."""


class Run:
    """A recipe that was trained by hand, with ``dlcheck.train``.

    Attributes:
        trace: what happened during the training.
        model: the trained model.
    """

    def __init__(self, factory: Factory, policy: Policy) -> None:
        self._built: list[Recipe] = []
        self._factory = factory
        policy = replace(policy, seeds=1)
        tag = recipe_tag(factory)
        name = getattr(factory, "__name__", "recipe")
        self._examination = Examination(
            Subject(name, policy, tuple(registry()), tag.rebuild if tag else True)
        )
        (trial, *_) = self._examination.terms().train()
        wanted = frozenset[str]().union(
            *(needs(c) for c in registry().values() if trial in c.trials(self._examination.terms()))
        )
        self.trace = self._examination.trace(PlannedTrial(trial, ALWAYS | wanted), self._remember)
        self.model: nn.Module | None = self._built[0].model if self._built else None
        if self.trace.ending.kind in {"raised", "out_of_memory"}:
            raise CheckFailedError(_ending_text(name, self.trace))

    @property
    def verdicts(self) -> tuple[Verdict, ...]:
        """The verdicts of all checks that this training alone can decide."""
        return tuple(self._examination.judge(name, self._factory) for name in self._own())

    def check(self, *names: str) -> None:
        """Judge, and fail with the diagnosis.

        Args:
            names: checks or families; every check if none is given. Those that this training cannot
                decide alone run what trials they need.

        Raises:
            CheckFailedError: (an ``AssertionError``) a check does not hold.
            UnknownCheckError: a name is neither a check's nor a family's.
        """
        __tracebackhide__ = True
        chosen = select(names, option="check()") if names else default_checks()
        for name in chosen:
            self._examination.judge(name, self._factory)
        diagnosis = self._examination.diagnosis()
        if not holds(self._examination.verdicts[name] for name in chosen):
            raise CheckFailedError(diagnosis_text(self._examination.subject.name, diagnosis))

    def _own(self) -> tuple[str, ...]:
        terms = self._examination.terms()
        trained = {self.trace.trial}
        return tuple(n for n, c in registry().items() if set(c.trials(terms)) <= trained)

    def _remember(self) -> Any:
        built = self._factory()
        self._built += [built] if isinstance(built, Recipe) else []
        return built


def holds(verdicts: Iterable[Verdict]) -> bool:
    """Whether none of the properties was found broken, and none could not be tried at all."""
    return all(v.outcome not in {Outcome.FAILED, Outcome.ERRORED} for v in verdicts)


@dataclass(frozen=True)
class Report:
    """What :func:`diagnose` found.

    ``print`` it for plain text; :meth:`show` and rich render it in colour, notebooks as HTML.

    Attributes:
        diagnosis: the verdicts, causes before consequences.
        findings: the same with what each trial cost.
    """

    diagnosis: Diagnosis
    findings: tuple[Finding, ...]

    @property
    def verdicts(self) -> tuple[Verdict, ...]:
        """All verdicts."""
        return self.diagnosis.verdicts

    @property
    def ok(self) -> bool:
        """Whether nothing failed."""
        return not self.diagnosis.causes

    def __str__(self) -> str:
        return findings_text(self.findings)

    def __repr__(self) -> str:
        return str(self)

    def __rich__(self) -> Any:
        from pytest_dlcheck.reports import console

        return console.page(self.findings)

    def _repr_html_(self) -> str:
        from pytest_dlcheck.reports import notebook

        return notebook.page(self.findings)

    def show(self) -> None:
        """Print the report with rich: in colour where the terminal has any."""
        from rich.console import Console

        Console(highlight=False, markup=False, emoji=False).print(self)


def diagnose(
    subject: Any,
    batch: Any = None,
    /,
    *,
    loss: Callable[[Any, Any], Any] | None = None,
    optimizer: Any = None,
    steps: int | None = None,
    select: Iterable[str] | None = None,
    device: str = "auto",
) -> Report:
    """Examine a recipe, or a model at hand, without pytest.

    Args:
        subject: a recipe's factory, a :class:`Recipe`, or an ``nn.Module``.
        batch: for a module: one batch, ``(inputs, targets)`` or what the model takes.
        loss: for a module: ``loss(outputs, targets)``.
        optimizer: for a module: its optimizer.
        steps: optimizer steps of the short training; 100 where none are given.
        select: names of checks or families; all where none are given.
        device: where to run.

    Returns:
        The report: ``print`` it. The model and the optimizer are as they were before.

    Raises:
        RecipeError: the recipe contradicts itself.
        UnknownCheckError: a selected name does not exist.

    Example:
        >>> print(diagnose(model, (images, labels), loss=CrossEntropyLoss(), optimizer=adam))
    """
    factory, rebuild = _factory_of(subject, batch, loss, optimizer)
    policy = Policy(device=device) if steps is None else Policy(device=device, steps=steps)
    checks = tuple(registry()) if select is None else _select(select)
    name = getattr(subject, "__name__", type(subject).__name__)
    examination = Examination(Subject(name, policy, checks, rebuild))
    try:
        diagnosis = examination.conclude(factory)
    finally:
        examination.put_back()
    findings = tuple(
        examination.finding(v.check, diagnosis, examination.fresh_traces()) for v in diagnosis.verdicts
    )
    return Report(diagnosis, findings)


def diagnose_all(factory: Factory, policy: Policy, names: Iterable[str]) -> str:
    """The diagnosis of a recipe by some checks or families, or by all; empty if nothing failed."""
    names = tuple(names)
    checks = select(names, option="check()") if names else default_checks()
    tag = recipe_tag(factory)
    name = getattr(factory, "__name__", "recipe")
    examination = Examination(Subject(name, policy, checks, tag.rebuild if tag else True))
    try:
        diagnosis = examination.conclude(factory)
    finally:
        examination.put_back()
    return diagnosis_text(name, diagnosis) if diagnosis.causes else ""


def _select(names: Iterable[str]) -> tuple[str, ...]:
    return select(names, option="select")


def _factory_of(
    subject: Any, batch: Any, loss: Callable[[Any, Any], Any] | None, optimizer: Any
) -> tuple[Factory, bool]:
    if isinstance(subject, Recipe):
        return lambda: subject, False
    if hasattr(subject, "named_parameters"):
        if batch is None:
            raise RecipeError("a model needs a batch to be diagnosed with: diagnose(model, batch, ...)")
        made = Recipe(model=subject, train_data=[batch], loss=loss, optimizer=optimizer)
        return lambda: made, False
    if not callable(subject):
        raise RecipeError(f"diagnose() takes a recipe or a model, not a {type(subject).__name__}")
    tag = recipe_tag(subject)
    return subject, tag.rebuild if tag else True


def _ending_text(name: str, trace: Trace) -> str:
    ending = trace.ending
    return f"{name} could not be trained ({ending.where}): {ending.message}\n{ending.detail}".rstrip()
