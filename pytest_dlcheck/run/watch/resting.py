"""When a watcher rests: a lull hears a loop in its place, until something else is heard or is due."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import ParamSpec

from torch import nn

from pytest_dlcheck.run.watch.guard import Shield
from pytest_dlcheck.run.watch.lull import QUICK, Lull
from pytest_dlcheck.run.watch.strand import Strand
from pytest_dlcheck.run.watch.waking import Waking

P = ParamSpec("P")
UNMOVED = frozenset({"clipped", "samples_are_wanted", "samples_are_fetched"})
"""Events that leave the next ones as plain as they were: they come with every step of some loops."""


class Rest:
    """The lull that goes on, if there is one."""

    def __init__(self) -> None:
        self.lull: Lull | None = None
        self._heard: Shield | None = None

    def begin(
        self,
        heard: Shield,
        strand: Strand,
        model: nn.Module,
        watcher: Waking,
        *,
        steps: int,
        backwards: int,
    ) -> None:
        """From here on a lull hears what happens.

        Args:
            heard: speaks to it.
            strand: what trains.
            model: its root.
            watcher: rests.
            steps: the strand's steps after which somebody wants to look again.
            backwards: the same in backward passes.
        """
        self.lull = heard.quick = Lull(strand, model, watcher, steps=steps, backwards=backwards)
        self._heard = heard
        heard.divert({name: getattr(self.lull, name) for name in QUICK})

    def end(self) -> Lull | None:
        """Everything is heard again; returns the lull that is over."""
        lull, self.lull = self.lull, None
        if lull is not None and self._heard is not None:
            self._heard.restore()
        return lull

    def aware(self, name: str, hear: Callable[P, None]) -> Callable[P, None]:
        """The same function, to which what plain steps have counted is told before.

        Args:
            name: of an event; those that a lull hears itself are left as they are.
            hear: hears it.
        """
        if name in QUICK:
            return hear
        moves = name not in UNMOVED

        @functools.wraps(hear)
        def heard(*args: P.args, **kwargs: P.kwargs) -> None:
            lull = self.lull
            if lull is not None:
                (lull.attend if moves else lull.catch_up)()
            hear(*args, **kwargs)

        return heard
