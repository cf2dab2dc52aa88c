"""Where a foreign loop is listened to: one place a file, each undone when the watch ends.

PyTorch's public hooks wherever there is one; a wrapped function where there is none, with its reason.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from pytest_dlcheck.run.watch.listener import Listener
from pytest_dlcheck.run.watch.taps import (
    backward,
    batches,
    clipping,
    fetching,
    gradient_scaler,
    optimizer_steps,
    schedulers,
    scoring,
    scripting,
    seeding,
    settings_aside,
    states,
    warnings_of_compile,
)

TAPS = (
    optimizer_steps.tapped,
    gradient_scaler.tapped,
    backward.tapped,
    clipping.tapped,
    batches.tapped,
    fetching.tapped,
    schedulers.tapped,
    scoring.tapped,
    scripting.tapped,
    seeding.tapped,
    settings_aside.tapped,
    states.tapped,
    warnings_of_compile.tapped,
)


@contextmanager
def tapped(listener: Listener) -> Iterator[None]:
    """Everything is listened to inside, and as it was afterwards, whatever was raised."""
    with ExitStack() as stack:
        for tap in TAPS:
            stack.enter_context(tap(listener))
        yield
