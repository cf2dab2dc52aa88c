"""What reaches modules with running statistics when the fixed batches pass after the last step."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from pytest_dlcheck.run.calls.threads import unfollowed
from pytest_dlcheck.run.modules.running import Running, Statistics
from pytest_dlcheck.run.passes.fixed_batches import FixedBatches
from pytest_dlcheck.run.rig import Rig
from pytest_dlcheck.run.tensors.tree import detached

CALLS = 16
"""Calls of one module that are looked at."""


@dataclass
class Found:
    """What reached a module at the final weights: a batch's statistics a call, and an input."""

    statistics: list[Statistics] = field(default_factory=list)
    given: Any = None


class Reached:
    """Looks on for all who ask, at the weights as the last step left them."""

    def __init__(self, rig: Rig) -> None:
        found = (Running.of(name, module) for name, module in rig.model.named_modules())
        self.modules = [one for one in found if one is not None]
        self.is_compiled = any(hasattr(m, "_orig_mod") for m in rig.model.modules())
        """Whether what reaches a module is not seen."""
        self._found: dict[str, Found] = {}
        if self.modules and not self.is_compiled:
            self._fixed = FixedBatches.of(rig)
            self._fixed.look(self)

    @classmethod
    def of(cls, rig: Rig) -> Reached:
        """That of a trial; to be asked for before its first step."""
        found: Reached = rig.once("what reaches running statistics", lambda: cls(rig))
        return found

    def at_the_end(self) -> dict[str, Found]:
        """What was found, by the module's name; what the user's step raises, this raises."""
        if self.modules and not self.is_compiled:
            self._fixed.losses_at_the_end(self)
        return self._found

    @contextmanager
    def looking(self) -> Iterator[None]:
        """Keep what reaches each module."""
        self._found = {one.site: Found() for one in self.modules}
        handles = [
            one.module.register_forward_pre_hook(_keeper(one, self._found[one.site]), with_kwargs=True)
            for one in self.modules
        ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def coming(self, batch: Any) -> None:
        """Nothing that depends on it."""


def _keeper(one: Running, mine: Found) -> Any:
    def keep(_: nn.Module, args: Any, kwargs: Any) -> None:
        if len(mine.statistics) >= CALLS:
            return
        with unfollowed():
            if now := one.of_batch((args, kwargs)):
                mine.statistics.append(now)
                if not one.own and mine.given is None:
                    mine.given = detached((args, kwargs))

    return keep
