"""Whether the command's output is coloured: as pytest decides it, by the same variables."""

from __future__ import annotations

import os
import sys


def wants_colour() -> bool:
    """PY_COLORS says it, else NO_COLOR, else FORCE_COLOR, else whether a terminal reads it."""
    forced = {"1": True, "0": False}.get(os.environ.get("PY_COLORS", ""))
    if forced is not None:
        return forced
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    return sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
