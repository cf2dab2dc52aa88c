"""Whether torch.compile is at work here: hooks that come and go would make it compile anew."""

from __future__ import annotations

import sys


def is_compiling_anything() -> bool:
    """Whether any frame was compiled in this process."""
    utils = sys.modules.get("torch._dynamo.utils")
    counters = getattr(utils, "counters", None) or {}
    return bool(counters.get("frames"))
