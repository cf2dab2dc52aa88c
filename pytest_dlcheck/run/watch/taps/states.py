"""Hears weights being taken, ``state_dict()``, and loaded, ``load_state_dict()``, or not.

Wrapped, because torch's hooks for these are put on a module each. Modules within the one that is asked
are left out: they write into the same dictionary.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import nn

from pytest_dlcheck.run.watch.listener import Listener
from pytest_dlcheck.run.watch.replacing import replaced

ASSIGN = 2
"""Place of that argument: such tensors are not copied, they take the parameters' places."""


@contextmanager
def tapped(listener: Listener) -> Iterator[None]:
    """Listen."""
    take, load = nn.Module.state_dict, nn.Module.load_state_dict

    @functools.wraps(take)
    def state_dict(self: nn.Module, *args: Any, **kwargs: Any) -> Any:
        state = take(self, *args, **kwargs)
        if not args and kwargs.get("destination") is None and not kwargs.get("keep_vars"):
            listener.weights_are_taken(state)
        return state

    @functools.wraps(load)
    def load_state_dict(
        self: nn.Module, state_dict: Mapping[str, Any], *args: Any, **kwargs: Any
    ) -> Any:
        if len(args) < ASSIGN and not kwargs.get("assign"):
            listener.weights_are_loaded(self, state_dict)
        result = load(self, state_dict, *args, **kwargs)
        missing = getattr(result, "missing_keys", None)
        if missing is not None:
            listener.weights_were_loaded(self, state_dict, missing)
        return result

    with (
        replaced(nn.Module, "state_dict", state_dict),
        replaced(nn.Module, "load_state_dict", load_state_dict),
    ):
        yield
