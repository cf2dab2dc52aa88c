"""What a lull asks of the watcher in whose place it hears a loop, and what it leaves to it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from pytest_dlcheck.run.watch.batches.loading import Loading
from pytest_dlcheck.run.watch.batches.new_classes import NewClasses
from pytest_dlcheck.run.watch.evaluated.scores import Scores
from pytest_dlcheck.run.watch.losses.unpropagated import Unpropagated
from pytest_dlcheck.run.watch.models.restored import Restored
from pytest_dlcheck.run.watch.steps.graphs import Graphs
from pytest_dlcheck.run.watch.steps.scaling import Scaling
from pytest_dlcheck.run.watch.strand import Strand


class Waking(Protocol):
    """What sleeps meanwhile, and is told of all that is no part of a lull."""

    steps: int
    backwards: int
    event: int
    batch_waits: bool
    at_each_step: Callable[[Strand], None] | None
    loading: Loading
    new_classes: NewClasses
    graphs: Graphs
    scaling: Scaling
    restored: Restored
    unpropagated: Unpropagated

    @property
    def rounds(self) -> int:
        """Steps that each optimizer has taken, about."""

    @property
    def scores(self) -> Scores:
        """May ask for the results of calls."""

    def wake(self) -> None:
        """The lull is over."""

    def fails(self, error: Exception) -> None:
        """Something was wrong in the lull itself."""

    def opens_a_window(self, strand: Strand, module: nn.Module, arguments: tuple[Any, ...]) -> None:
        """What a loader has just given is given to a root."""

    def batch_is_read(self, loader: object, batch: object) -> None:
        """A pass begins, or one goes on whose labels are looked at."""

    def called(self, module: nn.Module, arguments: tuple[Any, ...]) -> None:
        """A root is called."""

    def backward_begins(self, losses: Sequence[Tensor]) -> None:
        """Several losses, or one of several numbers, are propagated."""

    def backward_ends(self) -> None:
        """One has ended in which the lull has."""

    def step_begins(self, optimizer: torch.optim.Optimizer) -> None:
        """Another optimizer steps, with a closure."""

    def gradients_are_complete(self, optimizer: torch.optim.Optimizer) -> None:
        """Another optimizer steps, without one."""

    def step_ends(self, optimizer: torch.optim.Optimizer) -> None:
        """A step has come that somebody looks at."""
