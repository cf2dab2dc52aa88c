"""Hears the global generators of torch, python and numpy being seeded, or set to another state.

Wrapped, because none of them has a hook. Workers of a loader, which are forked with all that listens,
seed their own: they are left out.
"""

from __future__ import annotations

import functools
import os
import random
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch.compiler import is_compiling

from pytest_dlcheck.run.watch.listener import Listener
from pytest_dlcheck.run.watch.replacing import replaced


@contextmanager
def tapped(listener: Listener) -> Iterator[None]:
    """Listen."""
    with ExitStack() as stack:
        for name, places, seed, others in _generators():
            for function in (seed, *others):
                original = getattr(places[0], function)
                heard = _heard(original, name, listener, gives_seed=function == seed)
                for place in places:
                    stack.enter_context(replaced(place, function, heard))
        yield


def _heard(
    original: Callable[..., Any], name: str, listener: Listener, *, gives_seed: bool
) -> Callable[..., Any]:
    process = os.getpid()

    @functools.wraps(original)
    def heard(*args: Any, **kwargs: Any) -> Any:
        result = original(*args, **kwargs)
        if not is_compiling() and os.getpid() == process:
            given = args[0] if args else next(iter(kwargs.values()), None)
            listener.is_seeded(name, given if gives_seed else None)
        return result

    return heard


def _generators() -> Iterator[tuple[str, tuple[Any, ...], str, tuple[str, ...]]]:
    """What seeds each of them, by which name and where, and what else sets their states."""
    torchs = torch, torch.random
    yield "torch.manual_seed", torchs, "manual_seed", ("seed", "set_rng_state")
    yield "random.seed", (random,), "seed", ("setstate",)
    if "numpy" in sys.modules:
        yield "numpy.random.seed", (sys.modules["numpy"].random,), "seed", ("set_state",)
