"""Parameters that every forward makes anew: in the graph, and in nothing that lives. No judgement."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import nn

from pytest_dlcheck.run.creations import Creation, Creations
from pytest_dlcheck.run.watch.compiling import Compilation
from pytest_dlcheck.run.watch.guard import Guard
from pytest_dlcheck.run.watch.scene import parameters_of
from pytest_dlcheck.trace import Row

MOST = 64
"""Parameters that are told of."""


class MadeAnew:
    """Listens to what is built from one looked-at backward to the next, where the first reached such.

    Told is what was built within a forward of a trained model, as in the step before: what somebody
    builds outside of it, to attack its inputs or to train it in an inner loop, is not.

    Args:
        guard: stands before what torch calls.
        compilation: during which nothing is listened to.
    """

    def __init__(self, guard: Guard, compilation: Compilation) -> None:
        self._guard, self._compilation = guard, compilation
        self._open: Creations | None = None
        self._shapes: set[torch.Size] = set()
        self._rows: tuple[Row, ...] = ()

    def look(
        self,
        others: Sequence[nn.Parameter],
        modules: Iterable[nn.Module],
        optimizers: Iterable[torch.optim.Optimizer],
        models: Sequence[nn.Module],
    ) -> None:
        """A backward begins that is looked at.

        Args:
            others: the parameters that it reaches and nobody steps.
            modules: all that live.
            optimizers: all that live.
            models: what is trained.
        """
        held = {id(p) for optimizer in optimizers for p in parameters_of(optimizer)}
        held.update(id(p) for m in modules for p in m._parameters.values())  # noqa: SLF001  its own
        of_nothing = [p for p in others if id(p) not in held]
        if self._open is not None:
            again = {id(p) for p in of_nothing if p.shape in self._shapes}
            made = [one for one in self._open.found if one.site is not None]
            self._rows = tuple(_row(one) for one in made[:MOST] if id(one.parameter) in again)
            self.close()
        elif of_nothing and not self._rows and not self._compilation.is_at_work:
            self._shapes = {p.shape for p in of_nothing}
            self._open = Creations(models, self._guard)

    def close(self) -> None:
        """Listen no more."""
        if self._open is not None:
            self._open.close()
            self._open = None

    def rows(self, known: int) -> tuple[Row, ...]:
        """As for recipes: a first row with the number of parameters known, and one for each of these."""
        return (Row(known=known, fresh=len(self._rows)), *self._rows) if self._rows else ()


def _row(made: Creation) -> Row:
    return Row(
        shape=str(tuple(made.parameter.shape)),
        numel=made.parameter.numel(),
        is_parameter=True,
        place=made.site or "model",
        holder=made.told(),
        optimized=False,
        created=True,
    )
