"""Models that a loop puts in eval mode or freezes: those that look like a trained one are followed.

Held weakly, and looked at once: calls of ``eval()`` on a known model cost a look into a dictionary.
"""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping, Sequence

from torch import nn
from torch.utils.weak import WeakIdKeyDictionary

from pytest_dlcheck.run.watch.compiling import Compilation
from pytest_dlcheck.run.watch.evaluated.twins import Twins
from pytest_dlcheck.run.watch.strand import Strand
from pytest_dlcheck.run.watch.taps.calls import Calls

MODULES = 512
"""Modules that are remembered: a model that keeps its normalisation in eval mode has hundreds."""


class Aside:
    """What was set aside, also before anything is trained.

    Args:
        strands: what is trained, as it becomes known.
        calls: where modules are followed.
        twins: what is known of copies.
        compilation: during which no further module is listened to.
    """

    def __init__(
        self, strands: Sequence[Strand], calls: Calls, twins: Twins, compilation: Compilation
    ) -> None:
        self._strands, self._calls, self._twins = strands, calls, twins
        self._compilation = compilation
        self._known: MutableMapping[nn.Module, bool] = WeakIdKeyDictionary()
        """What was set aside and lives, a set."""

    def add(self, module: nn.Module) -> None:
        """It is put in eval mode or frozen."""
        if module in self._known:
            return
        if len(self._known) < MODULES:
            self._known[module] = True
            for strand in self._strands:
                for part in self._copies(module, strand):
                    self._calls.follow_aside(part)

    def forget(self, module: nn.Module) -> None:
        """It need not be heard any more."""
        if not self._compilation.is_at_work:
            self._calls.forget_aside(module)

    def training_begins(self, strand: Strand, called: Sequence[nn.Module], steps: int) -> None:
        """A strand is about to take its first step.

        Args:
            strand: which.
            called: modules that were called before, whether set aside or not.
            steps: optimizer steps before it.
        """
        for module in (*self._known, *called):
            for part in self._copies(module, strand):
                self._calls.follow_aside(part)
                self._twins.may_follow(part, strand, steps)

    def _copies(self, module: nn.Module, strand: Strand) -> Iterator[nn.Module]:
        """It and what it holds, where that looks as what is trained and is no part of that."""
        if strand.scene is None or not strand.shapes or self._compilation.is_at_work:
            return
        own, count = strand.all_keys(), len(strand.shapes)
        for part in module.modules():
            parameters = list(part.parameters())
            is_alike = len(parameters) == count and [p.shape for p in parameters] == strand.shapes
            if is_alike and not any(id(p) in own for p in parameters):
                yield part
