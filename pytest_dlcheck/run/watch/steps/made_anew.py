"""Parameters that every forward makes anew: in the graph, and in nothing that lives. No judgement."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import nn

from pytest_dlcheck.run.modules.creations import Creation, Creations
from pytest_dlcheck.run.watch.compiling import Compilation
from pytest_dlcheck.run.watch.guard import Guard
from pytest_dlcheck.run.watch.scene import parameters_of
from pytest_dlcheck.trace import Row

MOST = 64
"""Parameters that are told of."""
INITIALISED = 2
"""Changes in place (count) that initialise a parameter: a layer's own, and one by hand."""


class MadeAnew:
    """Listens to what is built between two backward passes, where the first of them reached such.

    Told is what was built within a forward of a trained model, is shaped as what the step before had
    built, and was not changed since: what somebody trains in an inner loop is no such layer. Nor are
    random layers that the data enter as they are and leave in the same shape, as augmentations are.

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
        *,
        is_first: bool,
    ) -> list[nn.Parameter]:
        """A backward begins that is looked at.

        Args:
            others: the parameters that it reaches and nobody steps.
            modules: all that live.
            optimizers: all that live.
            models: what is trained.
            is_first: whether the one after it is looked at too; else the one before it was.

        Returns:
            Those that were made in a forward of these models since the backward before.
        """
        held = {id(p) for optimizer in optimizers for p in parameters_of(optimizer)}
        held.update(id(p) for m in modules for p in m._parameters.values())  # noqa: SLF001  its own
        of_nothing = [p for p in others if id(p) not in held]
        if is_first and of_nothing and not self._rows and not self._compilation.is_at_work:
            self._shapes = {p.shape for p in of_nothing}
            self._open = Creations(models, self._guard)
        if is_first or self._open is None:
            return []
        again = {id(p) for p in of_nothing if p.shape in self._shapes and p._version <= INITIALISED}  # noqa: SLF001
        made = [(one, one.parameter()) for one in self._open.found if one.site is not None]
        self.close()
        self._rows = tuple(_row(one, p) for one, p in made[:MOST] if p is not None and id(p) in again)
        return [p for _, p in made[:MOST] if p is not None and id(p) in again]

    def forget(self) -> None:
        """They may be meant so."""
        self._rows = ()

    def close(self) -> None:
        """Listen no more."""
        if self._open is not None:
            self._open.close()
            self._open = None

    def rows(self, known: int) -> tuple[Row, ...]:
        """As for recipes: a first row with the number of parameters known, and one for each of these."""
        return (Row(known=known, fresh=len(self._rows)), *self._rows) if self._rows else ()


def keep_shape(parameters: Iterable[nn.Parameter]) -> bool:
    """Whether all layers of these weights give as many features, or channels, as they are given."""
    return all(p.shape[0] == p.shape[1] for p in parameters if p.dim() > 1)


def _row(made: Creation, parameter: nn.Parameter) -> Row:
    return Row(
        shape=str(tuple(parameter.shape)),
        numel=parameter.numel(),
        is_parameter=True,
        place=made.site or "model",
        holder=made.told(),
        optimized=False,
        created=True,
    )
