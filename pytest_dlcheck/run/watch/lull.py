"""The time in which one optimizer trains and nothing is due: most steps of most loops."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from pytest_dlcheck.run.probe import number_of
from pytest_dlcheck.run.watch.batches.loading import Loading
from pytest_dlcheck.run.watch.batches.new_classes import NewClasses
from pytest_dlcheck.run.watch.losses.unpropagated import Unpropagated
from pytest_dlcheck.run.watch.models.restored import Restored
from pytest_dlcheck.run.watch.models.scores import Scores
from pytest_dlcheck.run.watch.steps.graphs import Graphs
from pytest_dlcheck.run.watch.steps.scaling import Scaling
from pytest_dlcheck.run.watch.strand import Strand

QUICK = (
    "batch_is_read",
    "called",
    "backward_begins",
    "backward_ends",
    "step_begins",
    "gradients_are_complete",
    "step_ends",
)
"""The events of a step, which a lull hears instead of the watcher."""


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

    def step_begins(self, optimizer: torch.optim.Optimizer) -> None:
        """Another optimizer steps, with a closure."""

    def gradients_are_complete(self, optimizer: torch.optim.Optimizer) -> None:
        """Another optimizer steps, without one."""

    def step_ends(self, optimizer: torch.optim.Optimizer) -> None:
        """A step has come that somebody looks at."""


class Lull:
    """Hears the steps of one strand between two looks, as long as the loop does what it did before.

    Flat, and guarded by itself: every call of a function counts, where each meets a cold cache. What it
    counts for others it hands over at its end, by :meth:`settle`. The parameters it never touches.

    Args:
        strand: what trains.
        model: its root.
        watcher: hears of all else.
        steps: the strand's steps after which somebody wants to look again.
        backwards: the same in backward passes.
    """

    __slots__ = (
        "_applied",
        "_at",
        "_backwards",
        "_exposure",
        "_fate",
        "_granted",
        "_idle",
        "_is_open",
        "_model",
        "_numbers",
        "_owner",
        "_rates",
        "_schedules",
        "_scores",
        "_since",
        "_steps",
        "_strand",
        "_watcher",
        "_window",
        "losses",
    )

    def __init__(
        self, strand: Strand, model: nn.Module, watcher: Waking, *, steps: int, backwards: int
    ) -> None:
        self._strand, self._model, self._watcher = strand, model, watcher
        self._steps, self._backwards, self._since = steps, backwards, watcher.backwards
        self._owner, self._exposure, self._schedules = strand.owner, strand.exposure, strand.schedules
        self._scores, self._rates = watcher.scores, strand.rates.before_update
        self._fate, self._is_open = strand.fate, False
        self.losses: Sequence[Tensor] = ()
        """Of the backward that goes on."""
        self._at: list[int] = []
        """At which step each of these numbers is applied."""
        self._numbers: list[Tensor | float] = []
        self._applied = 0
        """How many of them are already."""
        self._window = watcher.unpropagated.open is not None
        """Whether a root was called on what a loader gave, and no backward has followed."""
        self._granted = self._idle = self._exposure.idle_calls(strand.step, watcher.loading)

    def batch_is_read(self, loader: object, batch: object) -> None:
        """The next call is given it, most likely."""
        try:
            watcher = self._watcher
            if watcher.new_classes.open is None and watcher.loading.reads_on(loader):
                watcher.batch_waits = True
            else:
                watcher.batch_is_read(loader, batch)
        except Exception as error:  # noqa: BLE001  as in the guard
            self._watcher.fails(error)

    def called(self, module: nn.Module, arguments: tuple[Any, ...]) -> None:
        """A module is called from outside of any other."""
        try:
            watcher = self._watcher
            if self._scores.curious or not torch.is_grad_enabled():
                watcher.wake()
                watcher.called(module, arguments)
            elif module is self._model:
                self._is_open = True
                if self._idle:
                    self._idle -= 1
                else:
                    self._expose(arguments)
                if watcher.batch_waits:
                    watcher.batch_waits, self._window = False, True
                    watcher.opens_a_window(self._strand, module, arguments)
            else:
                watcher.batch_waits = False
        except Exception as error:  # noqa: BLE001  as in the guard
            self._watcher.fails(error)

    def backward_begins(self, losses: Sequence[Tensor]) -> None:
        """One loss is expected, of one number."""
        try:
            watcher = self._watcher
            if len(losses) != 1 or losses[0].dim():
                watcher.wake()
                watcher.backward_begins(losses)
                return
            self.losses = losses
            if self._window:
                self._closes_the_window()
            if watcher.scaling.last is not None:
                self.losses = watcher.scaling.unscaled(losses)
                self._strand.is_scaled = self.losses is not losses
            if self._schedules.since_last:
                self._schedules.backward_begins()
            if watcher.backwards >= watcher.graphs.next:
                watcher.graphs.backward_begins(watcher.backwards, losses)
        except Exception as error:  # noqa: BLE001  as in the guard
            self._watcher.fails(error)

    def backward_ends(self) -> None:
        """It has reached the strand, as those before it."""
        try:
            for loss in self.losses:
                self._numbers.append(loss.item() if loss.is_cpu else number_of(loss))
                self._at.append(self._strand.step)
            self.losses, self._is_open = (), False
            if self._exposure.pending is not None:
                self._exposure.is_propagated()
            watcher = self._watcher
            watcher.backwards += 1
            if watcher.backwards >= self._backwards:
                watcher.wake()
        except Exception as error:  # noqa: BLE001  as in the guard
            self._watcher.fails(error)

    def step_begins(self, optimizer: torch.optim.Optimizer) -> None:
        """The strand's is expected."""
        try:
            if self._owner() is not optimizer:
                self._watcher.wake()
                self._watcher.step_begins(optimizer)
        except Exception as error:  # noqa: BLE001  as in the guard
            self._watcher.fails(error)

    def gradients_are_complete(self, optimizer: torch.optim.Optimizer) -> None:
        """The losses are this step's."""
        try:
            strand = self._strand
            if self._owner() is not optimizer:
                self._watcher.wake()
                self._watcher.gradients_are_complete(optimizer)
                return
            if self._window:  # gradients came by another way
                self._closes_the_window()
            self._applied = len(self._numbers)
            self._rates(strand.step, optimizer)
            if self.losses:  # within a backward: a hook steps on what has come
                strand.reached += 1
            if not (self._model.training and strand.rounding.idle):
                strand.note_oddities(optimizer)
        except Exception as error:  # noqa: BLE001  as in the guard
            self._watcher.fails(error)

    def step_ends(self, optimizer: torch.optim.Optimizer) -> None:
        """One less to go."""
        try:
            watcher, strand = self._watcher, self._strand
            step = strand.step + 1
            if step >= self._steps:
                watcher.wake()
                watcher.step_ends(optimizer)
                return
            watcher.steps += 1
            watcher.event += 1
            strand.step, strand.last_event = step, watcher.event
            training = self._model.training
            if not (training and self._exposure.is_steady):
                self._exposure.is_stepped(training=training)
            if self._schedules.since_last:
                self._schedules.optimizer_stepped()
            if watcher.restored.taken:
                watcher.restored.stepped()
            if watcher.at_each_step is not None:
                watcher.at_each_step(strand)
        except Exception as error:  # noqa: BLE001  as in the guard
            self._watcher.fails(error)

    def settle(self) -> int:
        """Hand over what was counted; returns the number of backward passes."""
        keep, count = self._strand.losses.keep, self._applied
        for step, number in zip(self._at[:count], self._numbers[:count], strict=True):
            keep(step, number)
        self._strand.expect(self._numbers[count:])
        self._exposure.skip(self._granted - self._idle)
        if count := self._watcher.backwards - self._since:
            self._fate.is_propagated()
        if self._is_open:
            self._fate.is_called(with_gradients=True)
        return count

    def _closes_the_window(self) -> None:
        self._window = False
        self._watcher.unpropagated.backward_begins()

    def _expose(self, arguments: tuple[Any, ...]) -> None:
        exposure, step, loading = self._exposure, self._strand.step, self._watcher.loading
        exposure.skip(self._granted)
        exposure.is_called_to_train(step, arguments, loading, training=self._model.training)
        self._granted = self._idle = exposure.idle_calls(step, loading)
