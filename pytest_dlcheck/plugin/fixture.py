"""The ``dlcheck`` fixture: recipes trained and checked by hand, inside an ordinary test."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from pytest_dlcheck.by_hand import CheckFailedError, Run, diagnose_all
from pytest_dlcheck.plugin.policies import policy_of, wanted_checks


class DLCheck:
    """What the fixture gives. Policy comes from the test's markers and the command line."""

    def __init__(self, request: pytest.FixtureRequest) -> None:
        self._config = request.config
        self._policy = policy_of(request.node)

    def train(self, factory: Callable[[], Any], *, steps: int | None = None) -> Run:
        """Train a recipe for a short while.

        Args:
            factory: the recipe's factory, so that it is built afresh under a seed.
            steps: optimizer steps; the policy's where none are given.

        Returns:
            The run: ``.trace``, ``.verdicts``, ``.model``, ``.check(...)``.

        Raises:
            AssertionError: the recipe could not be trained.
        """
        policy = self._policy if steps is None else replace(self._policy, steps=steps)
        return Run(factory, policy)

    def check(self, factory: Callable[[], Any], *names: str) -> None:
        """Judge a recipe by some checks or families, or by all.

        Raises:
            AssertionError: with the diagnosis, where a check does not hold.
        """
        __tracebackhide__ = True
        names = names or wanted_checks(self._policy, self._config)
        text = diagnose_all(factory, self._policy, names)
        if text:
            raise CheckFailedError(text)
