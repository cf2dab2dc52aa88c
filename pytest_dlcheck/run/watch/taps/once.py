"""Hears what the next call of a module gives, once, and is gone. Its module may be copied meanwhile."""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

from torch import nn


class Once:
    """A forward hook that takes itself off; where the call raises, with the next one that does not.

    Args:
        module: which is about to be called.
        told: given the output, unless the call raises.
        ended: called in either case, first.
    """

    def __init__(
        self,
        module: nn.Module,
        told: Callable[[object], None] | None = None,
        ended: Callable[[], None] | None = None,
    ) -> None:
        self._module, self._told, self._ended = weakref.ref(module), told, ended
        self._handle = module.register_forward_hook(self, always_call=True)

    def __call__(self, module: nn.Module, _: object, output: object) -> None:
        """The module has returned or raised."""
        if self._module() is not module:
            return
        if output is not None or sys.exc_info()[0] is None:
            self._handle.remove()  # torch goes through the hooks themselves where a call has raised
        told, ended = self._told, self._ended
        self._told = self._ended = None
        if ended is not None:
            ended()
        if told is not None and output is not None:
            told(output)

    def cancel(self) -> None:
        """Hear nothing."""
        self._told = self._ended = None
        self._handle.remove()

    def __deepcopy__(self, memo: object) -> Once:
        return self

    def __copy__(self) -> Once:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return getattr, (
            nullcontext(),
            "__exit__",
        )  # takes three arguments, and needs nothing of ours to load
