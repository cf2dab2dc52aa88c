"""Hears ``argmax`` and ``max`` along an axis of size 1: they choose the first whatever they are given.

By a kernel in front of torch's own, in the dispatcher: it is called for these two operations only,
whatever name a loop knows them by. A function in ``torch.argmax``'s place would break
``torch.jit.script``, and torch.compile would remember it. Nothing is heard of code that inductor has
compiled, nor where torch does not hand out its own kernels (``torch.library.get_kernel``).
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from pytest_dlcheck.run.watch.listener import Listener

OPERATIONS = ("argmax", "max.dim")
PLACES = ("CPU", "CUDA")
"""Where they are heard; other devices keep their kernels to themselves."""


@contextmanager
def tapped(listener: Listener) -> Iterator[None]:
    """Listen."""
    kernels = [
        kernel
        for operation in OPERATIONS
        for place in PLACES
        if (kernel := _KERNELS.put(operation, place, listener)) is not None
    ]
    try:
        yield
    finally:
        for kernel in kernels:
            _KERNELS.take_off(kernel)


class _Kernel:
    """Calls the kernel that was there before, and tells of what is chosen among one."""

    def __init__(self, own: Any, listener: Listener, *, gives_values: bool) -> None:
        self._own, self._gives_values = own, gives_values
        self._listener: Listener | None = listener
        self._registration: Any = None

    def __call__(self, keys: Any, scores: Tensor, axis: int | None = None, *rest: Any) -> Any:
        if axis is not None and self._listener is not None:
            sizes = scores.shape
            if len(sizes) > 1 and -len(sizes) <= axis < len(sizes) and sizes[axis] == 1:
                self._listener.chosen_among_one(
                    scores, axis % len(sizes), gives_values=self._gives_values
                )
        return self._own.call_boxed(keys, scores, axis, *rest)

    @property
    def is_deaf(self) -> bool:
        """Whether nobody is told any more."""
        return self._listener is None

    def register(self, operation: str, place: str) -> None:
        """Put it in front of torch's."""
        self._registration = torch.library.Library("aten", "IMPL")  # type: ignore[no-untyped-call]
        self._registration.impl(operation, self.__call__, place, with_keyset=True, allow_override=True)

    def silence(self) -> None:
        """Tell nobody from now on."""
        self._listener = None

    def unregister(self) -> None:
        """Take it off again."""
        self._registration._destroy()  # noqa: SLF001  as torch.library._scoped_library does
        self._registration = None


class _Kernels:
    """All that are registered in this process: each calls the one before it, so the last goes first."""

    def __init__(self) -> None:
        self._stacks: dict[tuple[str, str], list[_Kernel]] = {}
        self._lock = threading.Lock()

    def put(self, operation: str, place: str, listener: Listener) -> _Kernel | None:
        """Register one; None where torch has no such kernel, or does not hand it out."""
        get_kernel = getattr(torch.library, "get_kernel", None)
        if get_kernel is None:
            return None
        with self._lock:
            try:
                own = get_kernel(f"aten::{operation}", place)
            except RuntimeError:
                return None
            kernel = _Kernel(own, listener, gives_values=operation != "argmax")
            kernel.register(operation, place)
            self._stacks.setdefault((operation, place), []).append(kernel)
            return kernel

    def take_off(self, kernel: _Kernel) -> None:
        """Silence it, and unregister it once none is in front of it."""
        with self._lock:
            kernel.silence()
            for stack in self._stacks.values():
                while stack and stack[-1].is_deaf:
                    stack.pop().unregister()


_KERNELS = _Kernels()
"""The dispatcher is one for the process, and so is the order in which kernels were put into it."""
