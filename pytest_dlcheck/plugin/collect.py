"""How a recipe's factory becomes test items: one per check and variant. Nothing is built here."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest

from pytest_dlcheck.plugin.items import CheckItem
from pytest_dlcheck.plugin.notes import notes_of
from pytest_dlcheck.plugin.policies import policy_of, wanted_checks
from pytest_dlcheck.reports.text import one_line
from pytest_dlcheck.session import Subject, default_checks


@contextmanager
def collected(
    collector: pytest.Module | pytest.Class, name: str, obj: Any
) -> Iterator[Callable[[Any], Any]]:
    """Let pytest's own collection make the variants of a factory, then wrap them.

    Yields:
        ``what pytest made -> what is collected instead``.
    """
    notes = notes_of(collector.config)
    if isinstance(collector, pytest.Module) and notes.is_collected_elsewhere(obj, collector.obj):
        yield lambda _: []
        return
    before = vars(obj).get("__test__")
    obj.__test__ = True
    try:
        yield lambda made: _wrapped(collector, name, made)
    finally:
        if before is None:
            del obj.__test__
        else:
            obj.__test__ = before


def _wrapped(collector: pytest.Module | pytest.Class, name: str, made: Any) -> Any:
    nodes = made if isinstance(made, list) else [made]
    variants = [node for node in nodes if isinstance(node, pytest.Function)]
    if not variants:
        return made
    notes_of(collector.config).take(collector.path)
    return [RecipeCollector.from_parent(collector, name=one_line(name), variants=variants)]


class RecipeCollector(pytest.Collector):
    """A recipe's factory: gives an item per check and variant, causes first."""

    def __init__(self, *, variants: list[pytest.Function], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.variants = variants
        self.obj = variants[0].obj

    def collect(self) -> Iterator[pytest.Item]:
        """The items.

        Raises:
            CollectError: a marker says what is not understood. It is this recipe's alone, as an error in
                a test file is that file's: pytest tells all such at once, and can go on without them.
        """
        try:
            policies = [policy_of(variant) for variant in self.variants]
        except pytest.UsageError as error:
            raise self.CollectError(str(error)) from None
        for variant, policy in zip(self.variants, policies, strict=True):
            names = wanted_checks(policy, self.config, partial(default_checks, self.obj))
            suffix = f"[{variant.callspec.id}]" if hasattr(variant, "callspec") else ""
            subject = Subject(f"{self.name}{suffix}", policy, names)
            for check in names:
                yield CheckItem.from_parent(
                    self, name=f"{check}{suffix}", check=check, subject=subject, variant=variant
                )
