"""Calls in eval mode with gradients that no backward follows: evaluations that forget ``no_grad``."""

from __future__ import annotations

from dataclasses import replace

from pytest_dlcheck.run.watch.batches.seen import Seen

MOST = 64
"""Calls (count) that are kept until it is known what they are."""


class Unheeded:
    """Those since the last backward; they are known for what they are when training goes on."""

    def __init__(self) -> None:
        self._seen: list[Seen] = []
        self._rows = 0

    @property
    def open(self) -> bool:
        """Whether there are any."""
        return bool(self._seen)

    def add(self, seen: Seen) -> None:
        """Another call has come, and no backward in between; that of several may follow yet.

        Where inputs ask for a gradient it is not evaluated, but attacked or explained.
        """
        if not (seen.training or seen.asks_gradient) and len(self._seen) < MOST:
            self._seen.append(seen)

    def is_propagated(self) -> None:
        """A backward follows: they may be parts of what it is of."""
        self._seen.clear()

    def settle(self) -> list[Seen]:
        """They were a validation; with a number of its own, as those without gradients have others."""
        self._rows += 1
        found = [replace(seen, phase=-self._rows) for seen in self._seen]
        self._seen.clear()
        return found
