"""Recipes examined by hand, without ``--dlcheck``: a training that was asked for, and ``diagnose``."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from inspect import Parameter, signature
from typing import TYPE_CHECKING, Any

from pytest_dlcheck.check import registry, select
from pytest_dlcheck.finding import Finding, ruled
from pytest_dlcheck.loops import twins_of
from pytest_dlcheck.plan import ALWAYS, PlannedTrial, needs
from pytest_dlcheck.policy import Policy
from pytest_dlcheck.recipe import Recipe, RecipeError, described, recipe_tag
from pytest_dlcheck.reports.text import failures_text
from pytest_dlcheck.session import Examination, Factory, Subject
from pytest_dlcheck.trace import Trace
from pytest_dlcheck.verdict import Verdict

if TYPE_CHECKING:
    from torch import nn


class CheckFailedError(AssertionError):
    """A check that was asked for by hand does not hold; the message is the diagnosis."""


@dataclass(frozen=True, slots=True)
class Rules:
    """How recipes are judged by hand.

    Attributes:
        policy: of the test, of the recipe and of the command line, merged.
        checks: the names of the checks to judge by where none are asked for.
        strict: what else is to fail: ``inconclusive``, ``advice``.
        open: told the findings that do not fail, and still have something to say.
    """

    policy: Policy
    checks: tuple[str, ...]
    strict: Collection[str] = ()
    open: Callable[[Sequence[Finding]], None] = field(default=lambda _: None)


class Run:
    """A recipe that was trained by hand, with ``dlcheck.train``.

    Attributes:
        trace: what happened during the training.
        model: the trained model.
    """

    def __init__(self, factory: Factory, rules: Rules) -> None:
        __tracebackhide__ = True
        self._built: list[Recipe] = []
        self._factory, self._rules = factory, rules
        policy = replace(rules.policy, seeds=1)
        self._examination = _examination(factory, policy, tuple(registry()))
        try:
            (trial, *_) = self._examination.terms().train()
        except RecipeError as error:
            raise RecipeError(str(error)) from None
        wanted = frozenset[str]().union(
            *(needs(c) for c in registry().values() if trial in c.trials(self._examination.terms()))
        )
        self.trace = self._examination.trace(PlannedTrial(trial, ALWAYS | wanted), self._remember)
        self.model: nn.Module | None = self._built[0].model if self._built else None
        if self.trace.ending.kind in {"raised", "out_of_memory"}:
            raise CheckFailedError(_ending_text(self._examination.subject.name, self.trace))

    @property
    def verdicts(self) -> tuple[Verdict, ...]:
        """The verdicts of all checks that this training alone can decide."""
        return tuple(self._examination.judge(name, self._factory) for name in self._own())

    def check(self, *names: str) -> None:
        """Judge, and fail with the diagnosis.

        Args:
            names: checks or families; those of the policy if none is given. Those that this training
                cannot decide alone run what trials they need.

        Raises:
            CheckFailedError: (an ``AssertionError``) a check does not hold.
            UnknownCheckError: a name is neither a check's nor a family's.
        """
        __tracebackhide__ = True
        _hold(self._examination, self._factory, names, self._rules)

    def _own(self) -> tuple[str, ...]:
        terms = self._examination.terms()
        trained = {self.trace.trial, *(twin.trial for twin in twins_of(self.trace))}
        return tuple(n for n, c in registry().items() if set(c.trials(terms)) <= trained)

    def _remember(self) -> Any:
        built = self._factory()
        self._built += [built] if isinstance(built, Recipe) else []
        return built


def check(factory: Factory, names: Sequence[str], rules: Rules) -> None:
    """Judge a recipe by some checks or families, or by those of the rules.

    Raises:
        CheckFailedError: (an ``AssertionError``) a check does not hold.
        UnknownCheckError: a name is neither a check's nor a family's.
    """
    __tracebackhide__ = True
    examination = _examination(factory, rules.policy, _chosen(names, rules))
    try:
        _hold(examination, factory, names, rules)
    finally:
        examination.put_back()


def the_factory(given: Any, caller: str) -> Factory:
    """What was given, if it can be called for a fresh recipe.

    Args:
        given: what a user gave.
        caller: the function that it was given to, for the message.

    Raises:
        RecipeError: it is something else; says what to give.
    """
    __tracebackhide__ = True
    if isinstance(given, Recipe):
        raise RecipeError(
            f"{caller}() takes the recipe's factory, not the Recipe that it returns: write "
            f"{caller}(my_recipe) instead of {caller}(my_recipe()), so that it is built under a seed"
        )
    if not callable(given) or isinstance(given, type) or hasattr(given, "named_parameters"):
        raise RecipeError(
            f"{caller}() takes a recipe's factory, a function that returns a Recipe, "
            f"not {described(given)}"
        )
    return given  # type: ignore[no-any-return]


def arguments_of(factory: Factory) -> tuple[str, ...]:
    """The names of the arguments that a factory cannot be called without."""
    try:
        parameters = signature(factory).parameters.values()
    except (TypeError, ValueError):
        return ()
    optional = {Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD}
    return tuple(p.name for p in parameters if p.default is p.empty and p.kind not in optional)


def _examination(factory: Factory, policy: Policy, checks: tuple[str, ...]) -> Examination:
    tag = recipe_tag(factory)
    name = getattr(factory, "__name__", "recipe")
    return Examination(Subject(name, policy, checks, tag.rebuild if tag else True))


def _chosen(names: Sequence[str], rules: Rules) -> tuple[str, ...]:
    """The checks that are asked for; of a family, those that the policy does not ignore."""
    __tracebackhide__ = True
    if not names:
        return rules.checks
    ignored = set(select(rules.policy.ignore, option="ignore")) - set(names)
    return tuple(name for name in select(names, option="check()") if name not in ignored)


def _hold(examination: Examination, factory: Factory, names: Sequence[str], rules: Rules) -> None:
    """Judge, and fail where the rules say so."""
    __tracebackhide__ = True
    chosen = _chosen(names, rules)
    for name in chosen:
        examination.judge(name, factory)
    diagnosis = examination.diagnosis()
    findings = [
        ruled(examination.finding(name, diagnosis), rules.policy, rules.strict) for name in chosen
    ]
    rules.open([finding for finding in findings if not finding.fails])
    if text := failures_text(findings):
        raise CheckFailedError(text)


def _ending_text(name: str, trace: Trace) -> str:
    ending = trace.ending
    return f"{name} could not be trained ({ending.where}): {ending.message}\n{ending.detail}".rstrip()
