"""The loop's own autograd Functions: found in the first graphs, heard once, differentiated at the end.

No judgement.
"""

from __future__ import annotations

import inspect
import sysconfig
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, distributed

from pytest_dlcheck.run.functions.custom import (
    FunctionCall,
    custom_functions,
    keeping,
    listen,
)
from pytest_dlcheck.run.functions.differentiated import differentiated
from pytest_dlcheck.run.watch.compiling import Compilation
from pytest_dlcheck.run.watch.guard import Guard
from pytest_dlcheck.run.world.seeding import same_draws
from pytest_dlcheck.trace import Row

LOOKS = 3
"""Losses whose graphs are looked at, the first ones."""
KINDS = 8
"""Functions that are heard."""
SEED = 0
"""Of the directions in which derivatives are taken."""
_LIBRARIES = tuple(sysconfig.get_path(name) for name in ("purelib", "platlib", "stdlib"))


class OwnFunctions:
    """Functions that the loop's own code defines, not a library's.

    Args:
        compilation: during which none is listened to.
        guard: stands before what their calls tell.
    """

    def __init__(self, compilation: Compilation, guard: Guard) -> None:
        self._compilation, self._guard = compilation, guard
        self._calls: dict[type[Any], list[FunctionCall]] = {}
        self._undo: list[Callable[[], None]] = []
        self._looked = 0
        self.rows: tuple[Row, ...] = ()

    def backward_begins(self, losses: Sequence[Tensor]) -> None:
        """Find them in the graph of a loss."""
        if self._looked >= LOOKS or self._compilation.is_at_work:
            return
        self._looked += 1
        for kind in (kind for loss in losses for kind in custom_functions(loss)):
            if kind not in self._calls and len(self._calls) < KINDS and _is_theirs(kind):
                calls = self._calls[kind] = []
                self._undo.append(listen(kind, self._guard(keeping(calls))))

    def close(self) -> None:
        """Listen no more."""
        while self._undo:
            self._undo.pop()()

    def differentiate(self) -> None:
        """Compare their derivatives; not where they may wait for what other processes send."""
        calls, self._calls = self._calls, {}
        if (
            self._guard.fault
            or not calls
            or (distributed.is_available() and distributed.is_initialized())
        ):
            return
        with same_draws(SEED), torch.enable_grad():
            found = [differentiated(kind, heard, SEED) for kind, heard in calls.items() if heard]
        self.rows = tuple(row for rows in found for row in rows)


def _is_theirs(kind: type[Any]) -> bool:
    with suppress(TypeError, OSError):
        return not Path(inspect.getfile(kind)).resolve().as_posix().startswith(_LIBRARIES)
    return True  # typed into a session, or a notebook
