"""What a loop may have forgotten: optimizers that never step, and parameters that none of them steps."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from torch import Tensor

from pytest_dlcheck.run.watch.compiling import Compilation
from pytest_dlcheck.run.watch.guard import Guard
from pytest_dlcheck.run.watch.models.flows import Flows
from pytest_dlcheck.run.watch.models.visits import Visits
from pytest_dlcheck.run.watch.scene import census
from pytest_dlcheck.run.watch.steps.bystanders import Bystanders
from pytest_dlcheck.run.watch.steps.leaves import leaves_of
from pytest_dlcheck.run.watch.steps.left_out import LeftOut
from pytest_dlcheck.run.watch.steps.made_anew import MadeAnew, keep_shape
from pytest_dlcheck.run.watch.steps.one_term import OneTerm
from pytest_dlcheck.run.watch.steps.outsiders import Outsiders
from pytest_dlcheck.run.watch.steps.unstepped import Unstepped
from pytest_dlcheck.run.watch.steps.woven import met
from pytest_dlcheck.run.watch.strand import Strand
from pytest_dlcheck.trace import Row

LOOKS = (3, 4, 16, 17, 64, 65)
"""Backward passes, two in a row, at which it is asked whether they reach what nobody steps."""


class Neglected:
    """Looks at a few backward passes, and at doubling numbers of steps.

    Args:
        strands: what is trained, as it becomes known.
        visits: which modules were called, and
        flows: where their results went.
        guard: stands before what torch calls.
        compilation: during which nothing more is listened to.
    """

    def __init__(
        self,
        strands: Sequence[Strand],
        visits: Visits,
        flows: Flows,
        guard: Guard,
        compilation: Compilation,
    ) -> None:
        self._strands = strands
        self._bystanders, self.outsiders = Bystanders(), Outsiders(visits)
        self.left_out, self.one_term = LeftOut(), OneTerm()
        self._unstepped, self._made_anew = Unstepped(flows), MadeAnew(guard, compilation)
        self.next = 1
        """The number of steps after which optimizers are looked at again."""

    def following(self, number: int) -> int:
        """The number of the first backward from here on that is looked at."""
        return next((look for look in LOOKS if look >= number), sys.maxsize)

    def backward_begins(self, number: int, losses: Sequence[Tensor]) -> None:
        """Where a backward reaches parameters that nobody steps, somebody may have been forgotten."""
        if number not in LOOKS:
            return
        stepped: set[int] = set().union(*(strand.keys for strand in self._strands))
        leaves = leaves_of(losses)
        self.one_term.look(number, losses, stepped)
        missing = stepped.difference(map(id, leaves))
        if missing:
            self.left_out.look(number, losses, missing)
        others, scene = (
            self.outsiders.look(leaves, stepped, confused=self._are_confused()),
            self._strands[-1].scene,
        )
        if any(id(leaf) not in stepped for leaf in leaves):
            modules, optimizers = census()
            self._bystanders.note(optimizers)
            self._bystanders.are_reached({id(leaf) for leaf in leaves})
            if scene is not None:
                self.outsiders.note(others, modules, optimizers, scene.model)
                self.outsiders.tie(losses, stepped)
                self._look_for_new_ones(number, losses, (others, modules, optimizers), stepped)
        if number + 1 not in LOOKS:
            self._made_anew.close()
        self._unstepped.look(stepped, lambda: census()[1])

    def _look_for_new_ones(
        self, number: int, losses: Sequence[Tensor], living: tuple[Any, Any, Any], stepped: set[int]
    ) -> None:
        models = [s.scene.model for s in self._strands if s.scene is not None]
        made = self._made_anew.look(*living, models, is_first=number + 1 in LOOKS)
        if made and keep_shape(made) and not met(losses, stepped, set(map(id, made))):
            self._made_anew.forget()

    def step_ends(self, steps: int) -> None:
        """So many steps were taken: it is time to look."""
        self.next = 1 << steps.bit_length()
        self._bystanders.look()

    def end(self) -> None:
        """The watch ends."""
        self._bystanders.look()
        self._made_anew.close()

    def made_anew(self) -> tuple[Row, ...]:
        """Parameters that every forward makes anew, as the experiment on recipes tells them."""
        return self._made_anew.rows(len(set().union(*(s.keys for s in self._strands))))

    def idle_optimizers(self) -> list[str]:
        """Optimizers that never stepped, although their parameters had gradients from backward."""
        return self._bystanders.idle(set().union(*(s.keys for s in self._strands)))

    def unstepped(self) -> list[str]:
        """Optimizers that never stepped, over models whose results others are trained on."""
        return self._unstepped.names(set().union(*(s.keys for s in self._strands)))

    def forgotten(self) -> tuple[Row, ...]:
        """Parameters of other models that losses reach and no optimizer steps."""
        known: set[int] = set().union(*(strand.all_keys() for strand in self._strands))
        return self.outsiders.rows(known, confused=self._are_confused())

    def _are_confused(self) -> bool:
        """Whether several optimizers step the same parameters in turn."""
        return any(strand.owners.turns for strand in self._strands)
