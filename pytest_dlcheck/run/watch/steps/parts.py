"""Whether a reset of gradients leaves a part of them out, on a few steps. No judgement."""

from __future__ import annotations

import weakref
from collections import Counter

import torch
from torch import nn

from pytest_dlcheck.run.sampling import Schedule
from pytest_dlcheck.run.watch.steps.gradients import VALUES_READ, Held

STEPS = Schedule(8, 2)
"""Steps after which all gradients are followed up to the next step."""


class Parts:
    """Which gradients are reset from one step of an optimizer to its next, and which are not.

    A part is left out where backward adds to what the last step had applied already, while other
    gradients of the same optimizer were reset. Groups with a learning rate of 0 are left alone.
    """

    def __init__(self) -> None:
        self._optimizer: weakref.ref[torch.optim.Optimizer] | None = None
        self._held: dict[int, tuple[nn.Parameter, Held]] = {}
        self._was_reset: set[int] = set()
        self._grown: set[int] = set()
        self._without_sign: set[int] = set()
        self._read = 0
        self.looked = 0
        """Steps that were followed, and"""
        self.partial = 0
        """those of them before which only a part was reset."""
        self.kept: Counter[int] = Counter()
        """How often each parameter's gradient was left out, by the parameter's identity."""

    def step_ends(self, step: int, optimizer: torch.optim.Optimizer) -> None:
        """Follow the gradients from here, if this step is one of those."""
        self._held = {}
        if step not in STEPS:
            return
        self._optimizer = weakref.ref(optimizer)
        self._was_reset, self._grown = set(), set()
        for group in optimizer.param_groups:
            if isinstance(group.get("lr"), float) and group["lr"] == 0:
                continue
            for parameter in group["params"]:
                if parameter.requires_grad and (held := Held.of(parameter)) is not None:
                    self._held[id(parameter)] = (parameter, held)

    def backward_begins(self) -> None:
        """Look which of them were reset."""
        if not self._held:
            return
        for key, (parameter, held) in self._held.items():
            if key not in self._was_reset and not held.is_that_of(parameter):
                self._was_reset.add(key)
        left = self._held.keys() - self._was_reset
        if self._was_reset and left - self._without_sign and self._read < VALUES_READ:
            self._read += 1
            self._without_sign |= {key for key in left if _is_zero(self._held[key][0])}

    def backward_ends(self) -> None:
        """Look which of the others it has added to."""
        if not self._held:
            return
        for key in self._held.keys() - self._was_reset:
            parameter, held = self._held[key]
            now = Held.of(parameter)
            if now is not None and not held.is_that_of(parameter):
                self._grown.add(key)
                self._held[key] = (parameter, now)

    def applied(self, optimizer: torch.optim.Optimizer) -> None:
        """This optimizer is about to step."""
        held, self._held = self._held, {}
        if not held or self._optimizer is None or self._optimizer() is not optimizer:
            return
        self.looked += 1
        fresh = any(held[key][0].grad is not None for key in self._was_reset)
        kept = {
            key
            for key in self._grown - self._was_reset - self._without_sign
            if held[key][0].grad is not None
        }
        if fresh and kept:
            self.partial += 1
            self.kept.update(kept)

    def close(self) -> None:
        """Let them go."""
        self._held = {}


def _is_zero(parameter: nn.Parameter) -> bool:
    """Whether it was reset without a sign, as ``p.grad.data.zero_()`` does; reads the device."""
    return parameter.grad is None or not bool(parameter.grad.any())
