"""Whether what a graph has kept was packed as it was saved: by activation checkpointing, by offloading.

Newer versions of torch say so of each saved tensor. Under older ones it is noticed that hooks are in
use, and nothing that is kept is read from then on: to read it could run the user's forward once more.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.autograd.graph import saved_tensors_hooks

IS_TOLD = hasattr(torch._C._autograd.SavedTensor, "unpack_hook")  # noqa: SLF001  no other name for it
"""Whether torch says it of each saved tensor."""


class _Notice:
    """Hooks are the process's own, and so is this; the last who asks lets go of it."""

    def __init__(self) -> None:
        self.hooks = False
        self._asking = 0
        self._original = saved_tensors_hooks.__enter__

    def begin(self) -> None:
        self._asking += 1
        if self._asking > 1:
            return
        original = self._original = saved_tensors_hooks.__enter__

        @functools.wraps(original)
        def enter(hooks: saved_tensors_hooks) -> None:
            self.hooks = True
            original(hooks)

        saved_tensors_hooks.__enter__ = enter  # type: ignore[method-assign]

    def end(self) -> None:
        self._asking -= 1
        if not self._asking:
            saved_tensors_hooks.__enter__ = self._original  # type: ignore[method-assign]
            self.hooks = False


_NOTICE = _Notice()


@contextmanager
def noticing() -> Iterator[None]:
    """Notice hooks inside, where torch does not tell of them."""
    if IS_TOLD:
        yield
        return
    _NOTICE.begin()
    try:
        yield
    finally:
        _NOTICE.end()


def is_packed(saved: Any) -> bool:
    """Whether a saved tensor was packed, or may have been.

    Args:
        saved: ``_raw_saved_*`` of a node.
    """
    return getattr(saved, "unpack_hook", None) is not None if IS_TOLD else _NOTICE.hooks
