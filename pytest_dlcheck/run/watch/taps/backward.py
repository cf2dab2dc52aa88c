"""Hears every backward: ``Tensor.backward`` looks :func:`torch.autograd.backward` up there.

Wrapped, because torch has no hook that fires before a backward and knows its loss.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.compiler import is_dynamo_compiling

from pytest_dlcheck.run.watch.listener import Listener
from pytest_dlcheck.run.watch.replacing import replaced


class _Thread:
    __slots__ = ("is_inside",)

    def __init__(self) -> None:
        self.is_inside = False


class _Threads(threading.local):
    def __init__(self) -> None:
        self.own = _Thread()  # asked for once an event: that is slow


@contextmanager
def tapped(listener: Listener) -> Iterator[None]:
    """Listen; a backward inside another one (checkpointing) is a part of it."""
    original = torch.autograd.backward
    threads = _Threads()

    @functools.wraps(original)
    def backward(tensors: Any, *args: Any, **kwargs: Any) -> None:
        if is_dynamo_compiling() or (thread := threads.own).is_inside:
            original(tensors, *args, **kwargs)
            return
        quick, thread.is_inside = listener.quick, True
        if quick is not None and quick.is_plain and isinstance(tensors, Tensor) and not tensors.dim():
            quick.is_plain, quick.losses = False, (tensors,)
            try:
                original(tensors, *args, **kwargs)
            except BaseException:
                quick.losses = ()
                listener.backward_fails()  # the lull may have ended meanwhile
                raise
            finally:
                thread.is_inside = False
            quick.has_propagated(tensors)
            return
        try:
            listener.backward_begins((tensors,) if isinstance(tensors, Tensor) else tuple(tensors))
            original(tensors, *args, **kwargs)
        except BaseException:
            listener.backward_fails()
            raise
        finally:
            thread.is_inside = False
        listener.backward_ends()

    with replaced(torch.autograd, "backward", backward):
        yield
