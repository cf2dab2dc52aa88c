"""Keeps our hooks out of ``torch.jit.script``, which compiles the hooks of modules and cannot ours."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch.jit._recursive as scripted
from torch import nn

from pytest_dlcheck.run.watch.listener import Listener
from pytest_dlcheck.run.watch.replacing import replaced

_MAKES = "create_script_module"
"""What torch scripts every module with; torch has no public place before it."""
_OURS = __name__.partition(".")[0] + "."


@contextmanager
def tapped(listener: Listener) -> Iterator[None]:
    """Let modules be scripted as if nobody heard them."""
    del listener
    make = getattr(scripted, _MAKES, None)
    if make is None:
        yield
        return

    @functools.wraps(make)
    def create_script_module(nn_module: Any, *rest: Any, **named: Any) -> Any:
        with _unheard(nn_module):
            return make(nn_module, *rest, **named)

    with replaced(scripted, _MAKES, create_script_module):
        yield


@contextmanager
def _unheard(root: Any) -> Iterator[None]:
    """Take our hooks off, and put all back as they were."""
    modules = list(nn.Module.modules(root)) if isinstance(root, nn.Module) else []
    kept = [
        (hooks, list(hooks.items()))
        for module in modules
        for hooks in (module._forward_hooks, module._forward_pre_hooks)  # noqa: SLF001  no public way
        if any(map(_is_ours, hooks.values()))
    ]
    for hooks, items in kept:
        for key, hook in items:
            if _is_ours(hook):
                del hooks[key]
    try:
        yield
    finally:
        for hooks, items in kept:
            hooks.clear()
            hooks.update(items)


def _is_ours(hook: object) -> bool:
    return type(hook).__module__.startswith(_OURS)
