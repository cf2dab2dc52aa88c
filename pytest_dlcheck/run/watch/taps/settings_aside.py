"""Hears modules being put in eval mode or frozen as a whole: ``eval()``, ``requires_grad_(False)``.

Wrapped, because torch has no hook for these. Neither calls itself for the modules within; ``train()``
does, so that ``train(False)`` is left as it is.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn
from torch.compiler import is_compiling

from pytest_dlcheck.run.watch.listener import Listener
from pytest_dlcheck.run.watch.replacing import replaced


@contextmanager
def tapped(listener: Listener) -> Iterator[None]:
    """Listen."""
    put, freeze = nn.Module.eval, nn.Module.requires_grad_

    @functools.wraps(put)
    def eval(self: nn.Module) -> Any:  # noqa: A001  so torch calls it
        if not is_compiling():
            listener.is_set_aside(self)
        return put(self)

    @functools.wraps(freeze)
    def requires_grad_(self: nn.Module, requires_grad: bool = True) -> Any:  # noqa: FBT001, FBT002
        if not requires_grad and not is_compiling():
            listener.is_set_aside(self)
        return freeze(self, requires_grad)

    with (
        replaced(nn.Module, "eval", eval),
        replaced(nn.Module, "requires_grad_", requires_grad_),
    ):
        yield
