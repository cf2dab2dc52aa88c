"""Tells, for the parameters of one optimizer, resets of gradients from what backward adds to them."""

from __future__ import annotations

import weakref
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from pytest_dlcheck.run.tensors.sampled import sample_of
from pytest_dlcheck.run.tensors.tree import is_plain
from pytest_dlcheck.run.watch.steps.rests import Rests

WITNESSES = 8
"""Parameters looked at for all: an optimizer resets all of its gradients or none."""
VALUES_READ = 4
"""How often values are read in doubt, which waits for the device, where none are found to be zero."""


class Held(NamedTuple):
    """A gradient as it was: the same object, unchanged, is the same gradient."""

    gradient: weakref.ref[Tensor]
    version: int

    @classmethod
    def of(cls, parameter: nn.Parameter) -> Held | None:
        """What a parameter's gradient is now; None where it has none."""
        gradient = parameter.grad
        if gradient is None or gradient.is_inference():
            return None
        version = gradient._version  # noqa: SLF001  torch's autograd note names it
        return tuple.__new__(cls, (weakref.ref(gradient), version))  # as cls(...), at half its price

    def is_that_of(self, parameter: nn.Parameter) -> bool:
        """Whether it still is."""
        gradient = parameter.grad
        return (
            gradient is not None and self.gradient() is gradient and gradient._version == self.version  # noqa: SLF001
        )

    def changes(self, parameter: nn.Parameter) -> int | None:
        """How often it was changed in place since; None where it is another one."""
        gradient = parameter.grad
        if gradient is None or self.gradient() is not gradient:
            return None
        return gradient._version - self.version  # noqa: SLF001  as above


class Gradients:
    """The gradients of one optimizer's parameters, from step to step.

    Never by ``id``, which is used again; by value only in doubt: ``p.grad.data.zero_()`` leaves no
    other sign.

    Args:
        parameters: the optimizer's.
    """

    def __init__(self, parameters: Sequence[nn.Parameter]) -> None:
        self._witnesses = _some_of(parameters)
        self._held: list[Held | None] = [None] * len(self._witnesses)
        self._read = 0
        self._leaves_no_sign = False
        self.backwards = 0
        """Backward passes that reached them since they were reset, or since the last step."""
        self.was_reset = True
        """Whether they were reset since the last step; nothing has been applied before the first."""
        self.discarded: Counter[int] = Counter()
        """Rows of backward passes whose gradients were reset before any step, by their length."""
        self.rests = Rests()
        """Those of them that a pass over a loader leaves at its end."""
        self.dropped = 0
        """Backward passes since the last step that were reset again."""
        self.awaits_backward = False
        """Whether the model was called to train since the last backward that reached them."""
        self._since_step = 0
        self._applied: list[Tensor] | None = None
        """What the last step applied, from when on it seemed to be that of the step before."""
        self._were_rewritten: list[bool] = []

    def belong_to(self, parameters: Sequence[nn.Parameter]) -> None:
        """Another optimizer is about to step these: some of the former ones, or more."""
        known = {id(p): held for p, held in zip(self._witnesses, self._held, strict=True)}
        witnesses = _some_of(parameters)
        if [id(p) for p in witnesses] == list(known):
            return
        self._witnesses = witnesses
        self._held = [known[id(p)] if id(p) in known else Held.of(p) for p in witnesses]
        self.backwards = max(self.backwards, 1)  # nobody has listened whether one reached them

    def backward_begins(self) -> bool:
        """Look for a reset; returns whether there was one."""
        reset = self._is_reset()
        if reset:
            self.was_reset = True
            if self._since_step and self.backwards:
                self.discarded[self.backwards] += 1
                self.dropped += self.backwards
                self.rests.drops(self.backwards)
            self.backwards = 0
        if reset or None in self._held:
            self._hold()
        return reset

    def backward_ends(self) -> bool:
        """Whether that backward reached them."""
        reached = any(
            parameter.grad is not None and (held is None or not held.is_that_of(parameter))
            for parameter, held in zip(self._witnesses, self._held, strict=True)
        )
        if reached:
            self.backwards += 1
            self._since_step += 1
            self.awaits_backward = False
            self.rests.is_propagated(self.backwards)
            self._hold()
        return reached

    def values(self) -> list[Tensor]:
        """The gradients of the witnesses that have one."""
        return [p.grad for p in self._witnesses if p.grad is not None]

    def are_absent(self) -> bool:
        """Whether none of them has a gradient."""
        return all(parameter.grad is None for parameter in self._witnesses)

    def are_unchanged(self) -> bool:
        """Whether they are the very gradients that were there when last looked at."""
        for parameter, held in zip(self._witnesses, self._held, strict=True):
            if held is None or not held.is_that_of(parameter):
                return False
        return True

    def are_given(self) -> bool:
        """Whether any of them is new, or changed, and not 0; reads the device."""
        pairs = zip(self._witnesses, self._held, strict=True)
        fresh = [p.grad for p, held in pairs if p.grad is not None and not (held and held.is_that_of(p))]
        return any(bool(gradient.detach().norm()) for gradient in fresh)

    def are_rewritten(self) -> bool:
        """Whether other numbers are where those of the step before were: reads the device, a few times.

        ``p.grad.data.copy_(its)`` leaves no other sign. The first time it is asked it cannot tell.
        """
        before, told = self._applied, self._were_rewritten
        if before is None:
            self._applied = []
        elif len(told) < VALUES_READ:
            now = self._samples()
            differ = any(not torch.equal(a, b) for a, b in zip(now, before, strict=False))
            told.append(differ and any(bool(each.any()) for each in now))
        return bool(told) and told[-1]

    def are_those_applied(self, changes: int = 1) -> bool:
        """Whether they are what was there when last looked at, but for what one clipping changes.

        Args:
            changes: how often that changes each in place.
        """
        held = [(p, h) for p, h in zip(self._witnesses, self._held, strict=True) if h is not None]
        return bool(held) and all(h.changes(p) == changes for p, h in held)

    def are_clipped(self, changes: int = 1) -> None:
        """They were changed in place, so often, which is no reset."""
        if self.are_those_applied(changes):
            self._hold()

    def step_ends(self) -> None:
        """From here on a reset is due; clipping and unscaling came before."""
        self.was_reset = self.are_absent()
        self.backwards = self._since_step = self.dropped = 0
        self.rests.steps()
        self._hold()
        if self._applied is not None and len(self._were_rewritten) < VALUES_READ:
            self._applied = [each.clone() for each in self._samples()]

    def _is_reset(self) -> bool:
        pairs = [(p, held) for p, held in zip(self._witnesses, self._held, strict=True) if held]
        if any(not held.is_that_of(parameter) for parameter, held in pairs):
            return True
        may_read = self._leaves_no_sign or self._read < VALUES_READ
        if not pairs or self.was_reset or not may_read:
            return False
        self._read += 1
        is_zero = not any(bool(p.grad.any()) for p, _ in pairs if p.grad is not None)
        self._leaves_no_sign |= is_zero
        return is_zero

    def _samples(self) -> list[Tensor]:
        return [sample_of(g) for g in self.values() if is_plain(g) and not g.is_meta]

    def _hold(self) -> None:
        self._held = [Held.of(parameter) for parameter in self._witnesses]


def _some_of(parameters: Sequence[nn.Parameter]) -> list[nn.Parameter]:
    """Those that tell of all, the trained ones first."""
    trained = [p for p in parameters if p.requires_grad] or list(parameters)
    stride = max(1, len(trained) // WITNESSES)
    return trained[::stride][: WITNESSES + 1]
