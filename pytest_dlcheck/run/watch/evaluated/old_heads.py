"""What earlier optimizers have trained, and what a later one leaves of it: heads on a frozen body.

Looked at where an optimizer steps for the first time, and never in between. No judgement.
"""

from __future__ import annotations

import weakref
from collections.abc import MutableMapping
from dataclasses import dataclass, field

import torch
from torch import nn
from torch.jit import ScriptModule
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.weak import WeakIdKeyDictionary

from pytest_dlcheck.run.modules.direct import direct
from pytest_dlcheck.run.watch.compiling import Compilation
from pytest_dlcheck.run.watch.evaluated.drifting import Drift
from pytest_dlcheck.run.watch.guard import Guard
from pytest_dlcheck.run.watch.scene import parameters_of
from pytest_dlcheck.run.watch.strand import Strand
from pytest_dlcheck.trace import Row

BEGINNINGS = 16
"""First steps (count) of optimizers that are looked at; a loop may make one in every step."""


@dataclass
class OldHeads:
    """Follows one training over a frozen body at a time: the last that has begun.

    Args:
        guard: stands before what modules call.
        compilation: during which nothing is heard.
    """

    guard: Guard
    compilation: Compilation
    _trained: MutableMapping[nn.Module, str] = field(default_factory=WeakIdKeyDictionary)
    """What an optimizer has moved all of, by its name."""
    _known: weakref.WeakSet[torch.optim.Optimizer] = field(default_factory=weakref.WeakSet)
    _begun: int = 0
    _drifts: list[Drift] = field(default_factory=list)

    def optimizer_begins(self, optimizer: torch.optim.Optimizer, strand: Strand) -> None:
        """It is about to step for the first time; its gradients are there.

        Args:
            optimizer: which.
            strand: what it trains.
        """
        if optimizer in self._known:
            return
        self._known.add(optimizer)
        self._begun += 1
        if self._begun > BEGINNINGS or strand.scene is None or self.compilation.is_at_work:
            return
        held = {id(p) for p in parameters_of(optimizer)}
        if self._drifts and self._drifts[-1].held == held:
            return  # the same training, by another optimizer
        for drift in self._drifts:
            drift.close(held)
        self._open(strand, held)
        for root in (strand.scene.model, *strand.scene.beside.values()):
            self._remember(root, held)

    def look(self) -> None:
        """Another training is about to begin, and what is dropped will be let go."""
        for drift in self._drifts:
            drift.look()

    def is_set_aside(self, module: nn.Module) -> None:
        """It is put in eval mode or frozen."""
        if self._drifts and not self.compilation.is_at_work:
            self._drifts[-1].is_set_aside(module)

    def end(self) -> None:
        """Hear nothing more."""
        for drift in self._drifts:
            drift.close()

    def rows(self, strand: Strand) -> tuple[Row, ...]:
        """What was evaluated behind statistics that moved while this was trained."""
        return tuple(row for drift in self._drifts if drift.strand is strand for row in drift.rows())

    def _open(self, strand: Strand, held: set[int]) -> None:
        norms = [(m, n) for m, n in self._trained.items() if isinstance(m, _BatchNorm) and _drifts(m)]
        kept = {id(norm) for norm, _ in norms}
        heads = [
            (module, name)
            for module, name in self._trained.items()
            if not any(id(part) in kept for part in module.modules())
            and not any(id(p) in held for p in module.parameters())
        ]
        if norms and heads:
            self._drifts.append(Drift(strand, held, norms, heads, self.guard))

    def _remember(self, root: nn.Module, held: set[int]) -> None:
        for name, module in root.named_modules():
            moved = [id(p) in held and p.grad is not None for p in module.parameters()]
            if moved and all(moved) and not isinstance(module, ScriptModule):
                self._trained[module] = name or type(root).__name__


def _drifts(norm: _BatchNorm) -> bool:
    """Whether it is frozen and counts on in train mode."""
    if not norm.training or any(p.requires_grad for p in direct(norm)):
        return False
    return (
        norm.running_var is not None and norm.running_mean is not None and norm.running_mean.numel() > 0
    )
