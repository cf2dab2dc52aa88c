"""Silence while the time is taken: no garbage collection, no tracer, no profiler. All put back."""

from __future__ import annotations

import gc
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

_TOOLS = range(6)
"""Identifiers that ``sys.monitoring`` gives to tools (coverage measures by one of them)."""


@contextmanager
def quiet() -> Iterator[None]:
    """Let nothing of Python's own come in between."""
    with ExitStack() as stack:
        for setting, value in ((sys.settrace, sys.gettrace()), (sys.setprofile, sys.getprofile())):
            _without(stack, setting, value)
        _without(stack, threading.settrace, threading.gettrace())
        _without(stack, threading.setprofile, threading.getprofile())
        monitoring: Any = getattr(sys, "monitoring", None)
        for tool in _TOOLS if monitoring is not None else ():
            if monitoring.get_tool(tool) is not None and (events := monitoring.get_events(tool)):
                monitoring.set_events(tool, 0)
                stack.callback(monitoring.set_events, tool, events)
        gc.collect()
        if gc.isenabled():
            gc.disable()
            stack.callback(gc.enable)
        yield


def _without(stack: ExitStack, setting: Callable[[Any], object], value: Any) -> None:
    if value is not None:
        setting(None)
        stack.callback(setting, value)
