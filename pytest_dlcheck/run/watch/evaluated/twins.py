"""Models that are evaluated and that no optimizer steps: averages, teachers, references."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from pytest_dlcheck.run.watch.evaluated.moment import Moment
from pytest_dlcheck.run.watch.evaluated.twin import APART, Twin, begin, model_of
from pytest_dlcheck.run.watch.strand import Strand
from pytest_dlcheck.trace import Row, Scalar

MODELS = 8
"""Models that are followed."""
HABIT = 16
"""Rows of calls on end that are parts of steps (count), after which it is a teacher: none validates."""


class Twins:
    """What is called in eval mode without gradients and is nobody's root.

    A validation of one is two calls in a row or more.
    """

    def __init__(self) -> None:
        self._known: dict[int, Twin] = {}

    def may_follow(self, model: nn.Module, trained: Strand, steps: int) -> None:
        """A training begins, of a model that looks as this one.

        Args:
            model: which.
            trained: what is about to be trained.
            steps: optimizer steps before it.
        """
        twin, own = self._of(model, steps, [trained]), model_of(trained)
        if twin is not None and own is not None:
            twin.was_copy |= twin.before.equals(own)

    def is_part_of_a_step(self, model: nn.Module, backwards: int) -> bool:
        """Whether it is called as it was a step or two ago: nothing more is to be done then.

        Args:
            model: which; in eval mode, without gradients, and on no loader's batch.
            backwards: backward passes before it.
        """
        twin = self._known.get(id(model))
        if twin is None or twin.trained is None or twin.model() is not model:
            return False
        step = twin.trained.step
        if step - twin.own_step >= APART or (twin.is_apart and twin.row == backwards):
            return False
        twin.in_steps += twin.row != backwards
        twin.row, twin.own_step, twin.is_apart = backwards, step, False
        return True

    def is_a_teacher(self, model: nn.Module) -> bool:
        """Whether it has been called so as a habit: as a part of a step, in one after the other."""
        twin = self._known.get(id(model))
        return twin is not None and twin.model() is model and twin.in_steps >= HABIT

    def is_evaluated(
        self,
        model: nn.Module,
        arguments: Any,
        now: Moment,
        strands: Sequence[Strand],
        *,
        from_loader: bool,
    ) -> Sequence[torch.Size]:
        """It is called; returns the shapes of its parameters, none before it has moved.

        Args:
            model: which.
            arguments: on what.
            now: when.
            strands: what is trained.
            from_loader: whether it is given a batch fresh from a loader.
        """
        twin = self._of(model, now.steps, strands)
        if twin is None:
            return ()
        step = now.steps if twin.trained is None else twin.trained.step
        twin.is_called(model, arguments, now, step, from_loader=from_loader)
        return twin.shapes if twin.moved else ()

    def is_glanced_at(self, model: nn.Module, now: Moment, strands: Sequence[Strand]) -> None:
        """It is called without gradients in train mode, where that makes no difference.

        Args:
            model: which.
            now: when.
            strands: what is trained.
        """
        twin = self._of(model, now.steps, strands)
        if twin is not None and twin.trained is not None:
            twin.is_glanced_at(model, now, twin.trained.step)

    def rows(self, strand: Strand, stepped: set[int], **told: Scalar) -> tuple[Row, ...]:
        """What was seen of those that look like a trained model; late is what is first called after it.

        Args:
            strand: the training of that model.
            stepped: the parameters, by identity, that optimizers step.
            told: what is told of the trained model beside each of them.
        """
        until = strand.last_event
        heard = [
            twin
            for twin in self._known.values()
            if twin.shapes == strand.shapes
            and (twin.since >= until or twin.validations or twin.again or twin.is_restless)
            and twin.since >= 0
            and not twin.keys & stepped
        ]
        one_of_each = {twin.keys: twin for twin in reversed(heard)}  # a model, and one that holds it
        return tuple(
            Row(
                model=twin.name,
                validations=twin.validations,
                again=twin.again,
                steps_between=twin.last - twin.steps,
                moved=twin.moved,
                was_copy=twin.was_copy,
                was_fresh=bool(twin.is_fresh),
                unset_statistics=twin.unset,
                is_late=twin.since >= until,
                is_average=twin.is_average,
                is_called_average=twin.is_called_so,
                is_in_vain=twin.is_in_vain,
                is_restless=twin.is_restless,
                writes=twin.writes,
                size=twin.size,
                **twin.lag.facts(),
                **told,
            )
            for twin in reversed(one_of_each.values())
        )

    def _of(self, model: nn.Module, steps: int, strands: Sequence[Strand]) -> Twin | None:
        twin = self._known.get(id(model))
        if twin is not None and twin.model() is model:
            return twin
        if len(self._known) >= MODELS:
            self._known = {key: t for key, t in self._known.items() if t.model() is not None}
        if len(self._known) >= MODELS:
            return None
        self._known[id(model)] = begun = begin(model, steps, strands)
        return begun
