"""What an experiment is: a question that needs the model to be perturbed rather than observed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import ClassVar

from pytest_dlcheck.run.rig import Rig
from pytest_dlcheck.trace import Row


class Experiment(ABC):
    """Perturbs the model of an ``inspect`` trial and reports what it found, as rows of one fact.

    It must leave the model as it was: call it only inside ``rig.undisturbed()``.

    Attributes:
        fact: the name of the fact that it fills.
    """

    fact: ClassVar[str]
    needs_loss: ClassVar[bool] = True
    """Whether it is left out where the first forward and loss raise."""
    asks_first_pass: ClassVar[bool] = False
    """Whether it wants what the first pass was heard to do, which is let go when all that do have."""

    @abstractmethod
    def run(self, rig: Rig) -> Iterable[Row]:
        """The findings.

        Raises:
            NotApplicableError: the recipe's facts rule the question out.
            CannotTellError: the question cannot be decided here.
        """
