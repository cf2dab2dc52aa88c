"""Hears all calls of one module, until it is let go. Its module may be copied or pickled meanwhile."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

from torch import nn
from torch.compiler import is_dynamo_compiling

from pytest_dlcheck.run.watch.compiling import is_beyond_hearing


class Overheard:
    """A forward hook; copies of its module are not heard.

    Args:
        module: which.
        told: given the module, what it was called on, and what it gave.
    """

    def __init__(self, module: nn.Module, told: Callable[[nn.Module, Any, Any], None]) -> None:
        self._module, self._told = weakref.ref(module), told
        self._handle = module.register_forward_hook(self)

    def __call__(self, module: nn.Module, arguments: Any, output: Any) -> None:
        """The module has returned."""
        if is_dynamo_compiling() or is_beyond_hearing():
            return
        if self._module() is module:
            self._told(module, arguments, output)

    def cancel(self) -> None:
        """Hear nothing more."""
        self._handle.remove()

    def __deepcopy__(self, memo: object) -> Overheard:
        return self

    def __copy__(self) -> Overheard:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return getattr, (nullcontext(), "__exit__")  # takes three arguments, and needs nothing of ours
