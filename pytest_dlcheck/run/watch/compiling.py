"""Whether torch.compile is at work here: hooks that come and go would make it compile anew."""

from __future__ import annotations

import gc
import sys
from types import FunctionType

import torch
from torch.compiler import is_compiling


class Compilation:
    """What was compiled since a watch began, or before and may still run."""

    def __init__(self) -> None:
        self._before = _frames()
        self._outlives = bool(self._before) and any(map(_is_compiled, gc.get_objects()))

    @property
    def is_at_work(self) -> bool:
        """Whether compiled code may run in this watch."""
        return self._outlives or _frames() != self._before


def is_beyond_hearing() -> bool:
    """Whether tensors hold no numbers that could be read, or reading them would be traced.

    Within a compilation, in torch.func, and in torch.jit.trace, which traces twice and compares.
    """
    return is_compiling() or _stack() is not None or _traced() is not None


_stack = torch._C._functorch.peek_interpreter_stack  # noqa: SLF001  torch has no public question
_traced = torch._C._get_tracing_state  # noqa: SLF001  torch.jit.is_tracing is not typed


def _frames() -> int:
    """How many frames were compiled in this process."""
    utils = sys.modules.get("torch._dynamo.utils")
    counters = getattr(utils, "counters", None) or {}
    return sum((counters.get("frames") or {}).values())


def _is_compiled(thing: object) -> bool:
    """Whether this is what ``torch.compile`` gives, also within a module that it was given.

    Of the type itself, and no subclass of it: to ask others what they are may run their code.
    """
    if type(thing) is not FunctionType:
        return False
    own = thing.__dict__
    return "_torchdynamo_orig_callable" in own and not own.get("_torchdynamo_disable")
