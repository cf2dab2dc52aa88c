"""What one optimizer's steps apply: fresh gradients, none, or those of the step before. No judgement."""

from __future__ import annotations

from collections import Counter

from pytest_dlcheck.run.watch.steps.gradients import Gradients
from pytest_dlcheck.run.watch.steps.owners import Owners
from pytest_dlcheck.run.watch.steps.tally import Tally

GIVEN = 4
"""Steps (count) of which it is told that their gradients were put there by hand: it reads values."""


class Applied:
    """Counts the steps that are looked at, by what they apply.

    Attributes:
        looked: all of them.
        kept_gradients: those with gradients that were not reset since the step before.
        repeated: those that apply the very gradients of the step before.
        without_gradients: those whose gradients are missing although a backward came.
        before_backward: how many come between a call of the model and its backward.
        micro_batches: by the number of backward passes before them.
        unreached: those that no backward came before.
        untouched: those that apply what backward has left as it is.
        is_stepping: whether the gradients that a step applies are complete, and it has not ended.
        given: the first few whose gradients were put there by another way than backward.
    """

    def __init__(self) -> None:
        self.is_stepping = False
        self.looked = self.unreached = self.untouched = self.given = self.before_backward = 0
        self.kept_gradients, self.repeated, self.without_gradients = Tally(), Tally(), Tally()
        self.micro_batches: Counter[int] = Counter()

    def look(self, step: int, gradients: Gradients, owners: Owners) -> None:
        """A step is about to apply them.

        Args:
            step: which.
            gradients: what it applies.
            owners: who steps, and whether another one did before.
        """
        self.looked += 1
        if step and not gradients.was_reset and gradients.backwards and not owners.changed:
            self.kept_gradients.add(step)
        owners.changed = False
        self.before_backward += gradients.awaits_backward
        if not gradients.backwards:
            self.unreached += 1
            if step and gradients.are_unchanged():
                is_given = gradients.are_rewritten()
                self.given = min(GIVEN, self.given + is_given)
                if not is_given:
                    self.repeated.add(step)
            elif self.given < GIVEN:
                self.given += gradients.are_given()
        elif gradients.are_absent():
            self.without_gradients.add(step)
        elif gradients.are_unchanged():
            self.untouched += 1
        self.micro_batches[gradients.backwards] += 1
