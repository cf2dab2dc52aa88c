"""Where a watch is begun: within a test, which names and judges it and tells of it, or by itself."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from pytest_dlcheck.watching import Watched


class Host(Protocol):
    """Begins a watch within a test."""

    def __call__(self, name: str, stop_after: int | None) -> AbstractContextManager[Watched]:
        """A watch of that test.

        Args:
            name: what its author calls it; empty where they call it nothing.
            stop_after: optimizer steps after which the block is left.
        """


class Place:
    """Where the process is; it runs one test at a time, and threads of a test are in that test.

    Attributes:
        host: the test; None outside of any.
    """

    host: Host | None = None


HERE = Place()
"""The one place that there is."""
