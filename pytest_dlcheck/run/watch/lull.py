"""The time in which one optimizer trains and nothing is due: most steps of most loops."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from pytest_dlcheck.run.probe import number_of
from pytest_dlcheck.run.watch.plain import Plain
from pytest_dlcheck.run.watch.strand import Strand
from pytest_dlcheck.run.watch.waking import Waking

QUICK = (
    "batch_is_read",
    "called",
    "backward_begins",
    "backward_ends",
    "backward_fails",
    "step_begins",
    "gradients_are_complete",
    "step_ends",
)
"""The events of a step, which a lull hears instead of the watcher."""


class Lull(Plain):
    """Hears the steps of one strand between two looks, as long as the loop does what it did before.

    Guarded by itself, and flat. What it counts for others it hands over by :meth:`catch_up`, whenever
    one of them is told of anything else, and by :meth:`settle` in the end. The parameters it never
    touches.

    Args:
        strand: what trains.
        model: its root.
        watcher: hears of all else.
        steps: the strand's steps after which somebody wants to look again.
        backwards: the same in backward passes.
    """

    __slots__ = (
        "_backwards",
        "_exposure",
        "_fate",
        "_granted",
        "_rates",
        "_schedules",
        "_scores",
        "_since",
        "_strand",
        "_told",
        "_watcher",
        "_window",
    )

    def __init__(
        self, strand: Strand, model: nn.Module, watcher: Waking, *, steps: int, backwards: int
    ) -> None:
        super().__init__(model, strand.owner, steps=strand.step, backwards=watcher.backwards)
        self._strand, self._watcher = strand, watcher
        self._until, self._backwards, self._since = steps, backwards, watcher.backwards
        self._exposure, self._schedules, self._fate = strand.exposure, strand.schedules, strand.fate
        self._scores, self._rates = watcher.scores, strand.rates
        self._told = self.steps, self.backwards
        """What the others know of."""
        self._window = watcher.unpropagated.open is not None
        """Whether a root was called on what a loader gave, and no backward has followed."""
        self._grant()
        self._look_around()

    # -- attention ----------------------------------------------------------------------------

    def attend(self) -> None:
        """Something else was heard: the next events are no plain ones, up to the end of a step."""
        self.catch_up()
        self.is_plain, self._attends = False, True

    def catch_up(self) -> None:
        """Tell the others of the plain steps."""
        told, now = self._told, (self.steps, self.backwards)
        if told != now:
            self._told, count = now, self.steps - told[0]
            watcher, strand = self._watcher, self._strand
            watcher.backwards = self.backwards
            if count:
                self._rates.stay(range(told[0], self.steps))
                watcher.steps += count
                watcher.event += count
                strand.step, strand.last_event = self.steps, watcher.event
        if self.is_stepping:
            self._is_no_more_plain()

    def _is_no_more_plain(self) -> None:
        """Something is heard within a plain step: its gradients were complete before."""
        self.is_stepping = False
        self._strand.is_stepping, self._applied = True, len(self._numbers)
        self._rates.stay((self.steps,))

    def _look_around(self) -> None:
        """A step has ended: is the next one plain, as far as can be told?"""
        watcher = self._watcher
        self._attends = False
        self._shown = self._rates.shown
        self._following = min(self._backwards, max(watcher.graphs.next, self.backwards))
        self.is_plain = (
            not self._window
            and not self.losses
            and not watcher.batch_waits
            and not self._schedules.since_last
            and watcher.scaling.last is None
            and not self._scores.curious
            and self.backwards < self._following
            and self._exposure.pending is None
            and self._exposure.is_steady
            and not watcher.restored.taken
            and watcher.at_each_step is None
            and self._strand.rounding.idle
        )

    def _is_late(self) -> None:
        self._watcher.backward_ends()

    def _is_followed(self) -> None:
        if self.backwards >= self._backwards:
            self._watcher.wake()

    def _steps_otherwise(self, optimizer: torch.optim.Optimizer) -> None:
        self.catch_up()
        self.step_ends(optimizer)

    def _fails(self, error: Exception) -> None:
        self._watcher.fails(error)

    # -- event by event -----------------------------------------------------------------------

    def batch_is_read(self, loader: object, batch: object) -> None:
        """The next call is given it, most likely."""
        try:
            watcher = self._watcher
            self.is_plain, self._attends = False, True
            if self.is_stepping:
                self.catch_up()
            if watcher.new_classes.open is None and watcher.loading.reads_on(loader):
                watcher.batch_waits = True
            else:
                self.catch_up()
                watcher.batch_is_read(loader, batch)
        except Exception as error:  # noqa: BLE001  as in the guard
            self._watcher.fails(error)

    def called(self, module: nn.Module, arguments: tuple[Any, ...]) -> None:
        """A module is called from outside of any other."""
        try:
            self.catch_up()
            watcher = self._watcher
            if self._scores.curious or not torch.is_grad_enabled():
                watcher.wake()
                watcher.called(module, arguments)
            elif module is self.model:
                self._is_open = True
                if self.idle:
                    self.idle -= 1
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
            self.catch_up()
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
                watcher.graphs.backward_begins(watcher.backwards, losses, watcher.rounds)
        except Exception as error:  # noqa: BLE001  as in the guard
            self._watcher.fails(error)

    def backward_ends(self) -> None:
        """It has reached the strand, as those before it."""
        try:
            for loss in self.losses:
                self._numbers.append(loss.item() if loss.is_cpu else number_of(loss))
                self._at.append(self.steps)
            self.losses, self._is_open, self._left = (), False, self.idle
            if self._exposure.pending is not None or self._exposure.unheeded.open:
                self._exposure.is_propagated()
                self._grant()
            self.backwards += 1
            self.catch_up()
            if self.backwards >= self._backwards:
                self._watcher.wake()
        except Exception as error:  # noqa: BLE001  as in the guard
            self._watcher.fails(error)

    def backward_fails(self) -> None:
        """It has reached nobody."""
        self.losses = ()

    def step_begins(self, optimizer: torch.optim.Optimizer) -> None:
        """The strand's is expected."""
        try:
            self.catch_up()
            self.is_plain = False
            if self.owner() is not optimizer:
                self._watcher.wake()
                self._watcher.step_begins(optimizer)
        except Exception as error:  # noqa: BLE001  as in the guard
            self._watcher.fails(error)

    def gradients_are_complete(self, optimizer: torch.optim.Optimizer) -> None:
        """The losses are this step's."""
        try:
            self.catch_up()
            self.is_plain, strand = False, self._strand
            if self.owner() is not optimizer:
                self._watcher.wake()
                self._watcher.gradients_are_complete(optimizer)
                return
            if self._window:  # gradients came by another way
                self._closes_the_window()
            strand.is_stepping, self._applied = True, len(self._numbers)
            self._rates.before_update(strand.step, optimizer)
            if self.losses:  # within a backward: a hook steps on what has come
                strand.reached += 1
            if not (self.model.training and strand.rounding.idle):
                strand.note_oddities(optimizer)
        except Exception as error:  # noqa: BLE001  as in the guard
            self._watcher.fails(error)

    def step_ends(self, optimizer: torch.optim.Optimizer) -> None:
        """One less to go."""
        try:
            watcher, strand = self._watcher, self._strand
            step = strand.step + 1
            if step >= self._until:
                watcher.wake()
                watcher.step_ends(optimizer)
                return
            watcher.steps += 1
            watcher.event += 1
            self.steps = strand.step = step
            strand.is_stepping, self._applied = False, len(self._numbers)
            strand.last_event, self._told = watcher.event, (step, self.backwards)
            training = self.model.training
            if not (training and self._exposure.is_steady):
                self._exposure.is_stepped(training=training)
            if self._schedules.since_last:
                self._schedules.optimizer_stepped()
            if watcher.restored.taken:
                watcher.restored.stepped()
            if watcher.at_each_step is not None:
                watcher.at_each_step(strand)
            self._look_around()
        except Exception as error:  # noqa: BLE001  as in the guard
            self._watcher.fails(error)

    # -- the end ------------------------------------------------------------------------------

    def settle(self) -> int:
        """Hand over what was counted; returns the number of backward passes."""
        self.catch_up()
        self.is_plain, self._is_over, count = False, True, self._applied
        self._strand.losses.keep_several(self._at[:count], self._numbers[:count])
        self._strand.expect(self._numbers[count:])
        self._exposure.skip(self._granted - self.idle)
        if count := self._watcher.backwards - self._since:
            self._fate.is_propagated()
        if self._is_open or self.idle != self._left:
            self._fate.is_called(with_gradients=True)
        return count

    def _closes_the_window(self) -> None:
        self._window = False
        self._watcher.unpropagated.backward_begins()

    def _expose(self, arguments: tuple[Any, ...]) -> None:
        exposure, step, loading = self._exposure, self._strand.step, self._watcher.loading
        self.is_plain = False
        exposure.skip(self._granted)
        exposure.is_called_to_train(step, arguments, loading, training=self.model.training)
        self._grant()

    def _grant(self) -> None:
        step, loading = self._strand.step, self._watcher.loading
        self._granted = self.idle = self._left = self._exposure.idle_calls(step, loading)
