"""The plain steps of a lull: a call, a backward of one loss, a step at an unchanged rate. No more.

Each is heard in one go, and counted in one place: a function called costs more here than what it does,
as each meets a cold cache. Whatever else a loop does is heard event by event.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, is_grad_enabled, nn

from pytest_dlcheck.run.probe import number_of


class Plain:
    """What taps tell at once, while it is plain.

    Args:
        model: that is called.
        owner: the optimizer that steps it.
        steps: of that optimizer until now.
        backwards: until now.

    Attributes:
        is_plain: whether nothing goes on, or waits, that the next event could be a part of.
        is_stepping: whether a plain step has begun, and nothing was heard since.
        idle: how many of the next calls tell nothing new.
        losses: of the backward that goes on.
    """

    __slots__ = (
        "_applied",
        "_at",
        "_attends",
        "_following",
        "_is_open",
        "_is_over",
        "_left",
        "_numbers",
        "_shown",
        "_until",
        "backwards",
        "idle",
        "is_plain",
        "is_stepping",
        "losses",
        "model",
        "owner",
        "steps",
    )

    def __init__(
        self,
        model: nn.Module,
        owner: weakref.ref[torch.optim.Optimizer],
        *,
        steps: int,
        backwards: int,
    ) -> None:
        self.model, self.owner, self.steps, self.backwards = model, owner, steps, backwards
        self.is_plain = self.is_stepping = self._attends = self._is_over = False
        self.idle = self._left = 0
        """Left is what it was when the last backward ended: calls since then are open."""
        self._is_open = False
        self._until, self._following = steps, backwards
        """The step, and the backward, that are heard event by event."""
        self._shown: Sequence[Any] = ()
        """The learning rates that have not changed yet."""
        self.losses: Sequence[Tensor] = ()
        self._numbers: list[Tensor | float] = []
        """Losses, and"""
        self._at: list[int] = []
        """at which step each of them is applied."""
        self._applied = 0
        """How many of them are already."""

    def is_idle_of(self, module: nn.Module) -> bool:
        """Whether this call trains and tells nothing new; it is counted then. It touches no tensor."""
        if module is self.model and self.idle and is_grad_enabled():
            self.idle -= 1
            return True
        return False

    def has_propagated(self, loss: Tensor) -> None:
        """A backward of this loss alone has ended, which has found all plain."""
        try:
            if self._is_over:
                self._is_late()
                return
            self.losses = ()
            self._numbers.append(loss.item() if loss.is_cpu else number_of(loss))
            self._at.append(self.steps)
            self._left, self._is_open = self.idle, False
            self.backwards += 1
            if self.backwards < self._following:
                self.is_plain = not self._attends
            else:
                self._is_followed()
        except Exception as error:  # noqa: BLE001  as in the guard
            self._fails(error)

    def begins_to_step(self, optimizer: torch.optim.Optimizer) -> bool:
        """Whether the owner, which has found all plain and has no closure, begins a plain step.

        Until it ends no event is plain: what is heard meanwhile is a part of the step.
        """
        groups, shown = optimizer.param_groups, self._shown
        if len(groups) != len(shown) or not self.model.training:
            return False
        for group, rate in zip(groups, shown, strict=True):
            if group.get("lr") is not rate:
                return False
        self.is_plain, self.is_stepping = False, True
        return True

    def has_stepped(self, optimizer: torch.optim.Optimizer) -> None:
        """The step that has begun is over, and nothing was heard meanwhile."""
        try:
            steps = self.steps + 1
            if steps < self._until and self.model.training:
                self.steps, self._applied = steps, len(self._numbers)
                self.is_stepping, self.is_plain = False, True
                return
            self._steps_otherwise(optimizer)
        except Exception as error:  # noqa: BLE001  as above
            self._fails(error)

    def _is_late(self) -> None:
        """The lull has ended within the backward."""
        raise NotImplementedError

    def _is_followed(self) -> None:
        """The next backward is one that somebody looks at."""
        raise NotImplementedError

    def _steps_otherwise(self, optimizer: torch.optim.Optimizer) -> None:
        """A step that is heard event by event."""
        raise NotImplementedError

    def _fails(self, error: Exception) -> None:
        """Something was wrong here itself."""
        raise NotImplementedError
