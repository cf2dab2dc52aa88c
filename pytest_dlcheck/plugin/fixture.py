"""The ``dlcheck`` fixture: recipes trained and checked by hand, inside an ordinary test."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial, update_wrapper
from typing import Any

import pytest

from pytest_dlcheck import by_hand
from pytest_dlcheck.by_hand import Rules, Run
from pytest_dlcheck.plugin import options
from pytest_dlcheck.plugin.policies import policy_of, told_alone, wanted_checks
from pytest_dlcheck.plugin.watched import tell, watch_rules, watched_block
from pytest_dlcheck.policy import own_marks
from pytest_dlcheck.recipe import RecipeError
from pytest_dlcheck.session import default_checks
from pytest_dlcheck.watching import Watched

_WIDTH = 100


class DLCheck:
    """What the fixture gives.

    Policy comes from the command line, the test's own marker, the recipe's marker, the markers around
    the test, and the ini file, in this order.
    """

    def __init__(self, request: pytest.FixtureRequest) -> None:
        self._request = request
        self._config = request.config
        with told_alone():
            self._own = policy_of(request.node)

    def train(self, factory: Callable[..., Any], *, steps: int | None = None) -> Run:
        """Train a recipe for a short while.

        Args:
            factory: the recipe's factory, so that it is built afresh under a seed; the fixtures that
                it requests are those of the test.
            steps: optimizer steps; the policy's where none are given.

        Returns:
            The run: ``.trace``, ``.verdicts``, ``.model``, ``.check(...)``.

        Raises:
            AssertionError: the recipe could not be trained.
            RecipeError: what was given is no factory of a recipe.
        """
        __tracebackhide__ = True
        build = self._filled(factory, "dlcheck.train")
        rules = self._rules(factory)
        if steps is not None:
            rules = replace(rules, policy=replace(rules.policy, steps=steps))
        return Run(build, rules)

    def check(self, factory: Callable[..., Any], *names: str) -> None:
        """Judge a recipe by some checks or families, or by all.

        Raises:
            AssertionError: with the diagnosis, where a check does not hold.
            RecipeError: what was given is no factory of a recipe.
        """
        __tracebackhide__ = True
        build = self._filled(factory, "dlcheck.check")
        by_hand.check(build, names, self._rules(factory))

    def watch(self, name: str = "", *, stop_after: int | None = None) -> AbstractContextManager[Watched]:
        """Watch whatever is trained inside: ``with dlcheck.watch() as run: fit(model, loader)``.

        Args:
            name: what stands behind the test's name in reports.
            stop_after: optimizer steps after which the block is left, as if it had ended there.

        Returns:
            A context manager that gives the run: ``.trace``, ``.verdicts``, ``.check(...)``.
        """
        __tracebackhide__ = True
        rules = watch_rules(self._request.node, self._own)
        return watched_block(self._request.node, rules, name, stop_after)

    def _rules(self, factory: Callable[..., Any]) -> Rules:
        __tracebackhide__ = True
        with told_alone():
            policy = policy_of(self._request.node, own_marks(factory))
        checks = wanted_checks(policy, self._config, partial(default_checks, factory))
        return Rules(policy, checks, options.strict(self._config), partial(tell, self._request.node))

    def _filled(self, given: Any, caller: str) -> Callable[[], Any]:
        """The factory with the fixtures that it requests."""
        __tracebackhide__ = True
        factory = by_hand.the_factory(given, caller)
        arguments = {}
        for name in by_hand.arguments_of(factory):
            try:
                arguments[name] = self._request.getfixturevalue(name)
            except pytest.FixtureLookupError:
                made = getattr(factory, "__name__", "recipe")
                raise RecipeError(
                    f"the recipe {made} takes {name}, and there is no such fixture here: "
                    f"{caller}(lambda: {made}({name}=...)) gives it one"
                ) from None
        return update_wrapper(partial(factory, **arguments), factory) if arguments else factory
