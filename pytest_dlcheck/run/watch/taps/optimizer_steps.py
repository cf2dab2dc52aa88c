"""Hears every optimizer's step, by torch's global hooks.

A wrapped optimizer fires twice, as one object or as two: the outermost step counts.
"""

from __future__ import annotations

import functools
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import torch
from torch.compiler import is_dynamo_compiling
from torch.optim.optimizer import (
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)

from pytest_dlcheck.run.watch.listener import Listener

_Arguments = tuple[tuple[Any, ...], dict[str, Any]]


@contextmanager
def tapped(listener: Listener) -> Iterator[None]:
    """Listen."""
    ear = _Ear(listener)
    before = register_optimizer_step_pre_hook(ear.before)
    after = register_optimizer_step_post_hook(ear.after)
    try:
        yield
    finally:
        before.remove()
        after.remove()


class _Thread:
    __slots__ = ("is_wrapped", "outermost")

    def __init__(self) -> None:
        self.outermost: torch.optim.Optimizer | None = None
        self.is_wrapped = False


class _Threads(threading.local):
    def __init__(self) -> None:
        self.own = _Thread()  # asked for once an event: that is slow


class _Ear:
    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._threads = _Threads()

    def before(
        self, optimizer: torch.optim.Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> _Arguments | None:
        if is_dynamo_compiling():
            return None
        thread = self._threads.own
        if thread.outermost is not None and _depth_of(thread.outermost) > (
            optimizer is thread.outermost
        ):  # the step that began last still goes on: it may have raised
            thread.is_wrapped = True
            return None
        thread.outermost, thread.is_wrapped = optimizer, False
        is_bare = len(args) == 1 and not kwargs  # args[0] is the optimizer
        quick = self._listener.quick
        if (
            quick is not None
            and is_bare
            and quick.is_plain
            and quick.owner() is optimizer
            and quick.begins_to_step(optimizer)
        ):
            return None
        closure = None if is_bare else kwargs.get("closure", args[1] if len(args) > 1 else None)
        if closure is None or not callable(closure):
            self._listener.gradients_are_complete(optimizer)
            return None
        self._listener.step_begins(optimizer)
        heard = self._heard(closure, optimizer)
        if "closure" in kwargs:
            return args, {**kwargs, "closure": heard}
        return (args[0], heard, *args[2:]), kwargs

    def after(self, optimizer: torch.optim.Optimizer, args: object, kwargs: object) -> None:
        del args, kwargs
        if is_dynamo_compiling() or (thread := self._threads.own).outermost is not optimizer:
            return
        if thread.is_wrapped and _depth_of(optimizer) > 1:  # the stack is slow to look through
            return
        thread.outermost = None
        quick = self._listener.quick
        if quick is not None and quick.is_stepping and quick.owner() is optimizer:
            quick.has_stepped(optimizer)
        else:
            self._listener.step_ends(optimizer)

    def _heard(
        self, closure: Callable[..., Any], optimizer: torch.optim.Optimizer
    ) -> Callable[..., Any]:
        told = False

        @functools.wraps(closure)
        def heard(*args: Any, **kwargs: Any) -> Any:
            nonlocal told
            loss = closure(*args, **kwargs)
            if not told:
                told = True
                self._listener.gradients_are_complete(optimizer)
            return loss

        return heard


def _depth_of(optimizer: torch.optim.Optimizer) -> int:
    """How many calls of this optimizer's ``step`` are on the stack, by torch's wrapper around it."""
    depth = 0
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001  documented, and the only way to ask
    while frame is not None:
        if frame.f_code.co_name == "wrapper" and frame.f_locals.get("self") is optimizer:
            depth += 1
        frame = frame.f_back
    return depth
