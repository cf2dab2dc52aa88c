"""Whether torch.compile is at work here: hooks that come and go would make it compile anew."""

from __future__ import annotations

import sys

import torch
from torch.compiler import is_compiling


def is_compiling_anything() -> bool:
    """Whether any frame was compiled in this process."""
    utils = sys.modules.get("torch._dynamo.utils")
    counters = getattr(utils, "counters", None) or {}
    return bool(counters.get("frames"))


def is_beyond_hearing() -> bool:
    """Whether tensors hold no numbers that could be read, or reading them would be traced.

    Within a compilation, in torch.func, and in torch.jit.trace, which traces twice and compares.
    """
    stack = torch._C._functorch.peek_interpreter_stack  # noqa: SLF001  torch has no public question
    traced = torch._C._get_tracing_state  # noqa: SLF001  torch.jit.is_tracing is not typed
    return is_compiling() or stack() is not None or traced() is not None
