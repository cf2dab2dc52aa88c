"""Hears everything and sorts it: whose gradients, whose step, training or validation.

What happens at every step is a handful of comparisons here; what costs more waits for its turn.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import SupportsFloat

import torch
from torch import Tensor
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from pytest_dlcheck.run.losses.graphs.packing import noticing
from pytest_dlcheck.run.probe import number_of
from pytest_dlcheck.run.watch.ending import EnoughSeen
from pytest_dlcheck.run.watch.forwards import Forwards
from pytest_dlcheck.run.watch.scene import parameters_of
from pytest_dlcheck.run.watch.strand import Strand
from pytest_dlcheck.run.watch.taps import tapped
from pytest_dlcheck.run.watch.telling import trace_of, trace_of_fault, trace_of_nothing
from pytest_dlcheck.trace import Trace

SETTLED = 8
"""Steps (count) after which an optimizer's parameters are no longer those it began with."""


class Watcher(Forwards):
    """Watches whatever trains inside :meth:`watching`; :meth:`traces` tells of it.

    Args:
        stop_after: optimizer steps after which the loop is ended, and with it the watch.
    """

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Listen inside."""
        try:
            with noticing(), tapped(self._heard.listener):
                self._outside.calls.listen_everywhere()
                yield
        except EnoughSeen as end:
            self.was_cut_short = True
            if end.watcher is not self:
                raise
            self.was_ended = True
        except BaseException as error:
            self.was_cut_short = not (isinstance(error, SystemExit) and not error.code)
            raise
        finally:
            self._end()

    def traces(self) -> tuple[tuple[str, Trace], ...]:
        """What was trained: a name and a trace for every optimizer's parameters."""
        if not self.fault:
            try:
                return self._all_traces()
            except Exception as error:  # noqa: BLE001  as with everything else of the watch
                self._guard.notes(error)
        return (("not watched", trace_of_fault(self)),)

    def _all_traces(self) -> tuple[tuple[str, Trace], ...]:
        if not self.strands:
            return (("nothing stepped", trace_of_nothing(self)),)
        strands = self.strands
        if self.overlooked and all(strand.step <= self.overlooked for strand in strands):
            strands = strands[:1]  # a model a step: one of them tells it all
        return tuple((strand.name, trace_of(self, strand)) for strand in strands)

    # -- backward -----------------------------------------------------------------------------

    def backward_begins(self, losses: Sequence[Tensor]) -> None:
        """Look for resets, and follow the loss's graph."""
        self.event += 1
        if self.unpropagated.open is not None:
            self.unpropagated.backward_begins()
        if self.seeds.is_open:
            self.seeds.backward_begins()
        if self.turns.waits is not None:
            self.turns.backward_begins(losses)
        self._losses = losses if self.scaling.last is None else self.scaling.unscaled(losses)
        scaled = self._losses is not losses
        self.evaluations.phases.end()
        self.own_functions.backward_begins(losses)
        self._outside.backward_begins(losses)
        if self.strands:
            self.neglected.backward_begins(self.backwards, losses)
        else:
            self.by_hand.backward_begins(losses)
        for strand in self.strands:
            if strand.scene is not None:
                strand.backward_begins(self.strands, scaled=scaled)
        self.likeness.backward_begins(losses, self.backwards)
        self._compared = self._targets.look(losses)
        if self.taught.is_due(self.backwards):
            self.taught.look(losses, [s.keys for s in self.strands if s.scene is not None])
        self.graphs.backward_begins(self.backwards, losses, self.rounds)
        self._first_calls.backward_begins(losses)

    def backward_ends(self) -> None:
        """Find out whom it reached."""
        self.backwards += 1
        self.loading.backward_ends()
        losses, self._losses = self._losses, ()
        scalars = [number_of(loss) for loss in losses if loss.numel() == 1]
        reached = [s for s in self.strands if s.scene is not None and s.backward_ends(scalars)]
        for strand in reached:
            strand.shared_losses += len(reached) > 1
            if not strand.is_alone:
                strand.reach.backward_ends(self.backwards)
            if self._compared is not None:
                strand.comparisons.add(self._compared, strand.step)
        if not self.strands:
            self.by_hand.backward_ends()
        if not reached:
            self._roster.remember(scalars)

    def backward_fails(self) -> None:
        """It reached nobody: let its graph go."""
        self._losses = ()

    def gradients_are_unscaled(self, optimizer: torch.optim.Optimizer) -> None:
        """From here on they can be clipped."""
        strand = self._roster.known(optimizer)
        if strand is not None:
            strand.is_scaled = False

    def values_are_clipped(self, parameters: Sequence[Tensor]) -> None:
        """Tell whoever looks at their gradients."""
        for strand in self._owners(parameters):
            strand.values_are_clipped(parameters)

    def clipped(self, parameters: Sequence[Tensor], bound: float, norm: Tensor | None) -> None:
        """Tell whoever's gradients they are."""
        if norm is not None and not self.strands:
            self.by_hand.clipped(parameters, norm)
        for strand in self._owners(parameters):
            strand.clipped(parameters, bound, norm)

    def _owners(self, parameters: Sequence[Tensor]) -> Iterator[Strand]:
        keys = {id(p) for p in parameters[:1]}
        return (s for s in self.strands if s.scene is not None and keys & s.keys)

    # -- steps --------------------------------------------------------------------------------

    def step_begins(self, optimizer: torch.optim.Optimizer) -> None:
        """Find the strand, before a closure's backward."""
        self._begins(optimizer)

    def gradients_are_complete(self, optimizer: torch.optim.Optimizer) -> None:
        """Tell the strand."""
        if (strand := self._begins(optimizer)) is not None:
            strand.reached += bool(self._losses)  # within a backward: a hook steps on what has come
            strand.gradients_are_complete(optimizer)

    def step_ends(self, optimizer: torch.optim.Optimizer) -> None:
        """Tell the strand, and stop listening everywhere once all are known."""
        self.steps += 1
        if (strand := self.strand_of(optimizer)) is None:
            self._overlooks(optimizer)
            return
        if not strand.is_alone:
            others = [each.reach for each in self.strands if each is not strand]
            strand.reach.steps(self.backwards, others)
            self.likeness.steps(id(strand), strand.reach.applied)
        self._outside.pushes.steps(strand)
        strand.step_ends(optimizer)
        strand.last_event = self.event
        if self.seeds.is_open:
            self.seeds.stepped(id(strand), strand.step)
        if self.restored.taken:
            self.restored.stepped()
        if self.steps >= self.neglected.next:
            self.neglected.step_ends(self.steps)
        if self.steps == self._most:
            raise EnoughSeen(self)
        self._company.step_ends(strand)
        self._outside.step_ends()
        self.evaluations.teachers.stepped(self.steps)
        self._rest(strand)
        if self.at_each_step is not None:
            self.at_each_step(strand)

    def _begins(self, optimizer: torch.optim.Optimizer) -> Strand | None:
        self.event += 1
        if self.unpropagated.open is not None:  # gradients came by another way
            self.unpropagated.backward_begins()
        return self.strand_of(optimizer)

    def schedule_is_built(self, scheduler: LRScheduler) -> None:
        """Keep it: its first step may never come."""
        self._roster.schedules_for(scheduler.optimizer).is_built(scheduler)

    def schedule_steps(self, scheduler: LRScheduler, *, is_named: bool) -> None:
        """Tell the strand, or keep it for one to come."""
        schedules, pending = self._roster.schedules_of(scheduler.optimizer)
        schedules.steps(scheduler, pending=pending, is_named=is_named)

    def plateau_steps(self, scheduler: ReduceLROnPlateau, metrics: SupportsFloat) -> None:
        """Tell the strand; one that has not stepped yet has learned nothing."""
        strand = self._roster.known(scheduler.optimizer)
        if strand is not None:
            samples = self.judged.sizes(self.steps)
            strand.plateaus.steps(scheduler, float(metrics), strand.step, samples)
            strand.schedules.are_used = True

    def strand_of(self, optimizer: torch.optim.Optimizer) -> Strand | None:
        """Whose step it is; None where it is one too many to follow."""
        if (strand := self._roster.known(optimizer)) is not None:
            return strand
        settled = [strand.keys for strand in self.strands if strand.step >= SETTLED]
        self.taught.optimizer_begins(self.backwards, list(parameters_of(optimizer)), settled)
        if (strand := self._roster.inherited(optimizer)) is not None:
            self.evaluations.old_heads.optimizer_begins(optimizer, strand)
            return strand
        self.evaluations.old_heads.look()
        for each in self.strands:
            if each.owner() is None:
                each.close(self._outside, early=True)
            each.fate.look()
        if self._roster.is_full:
            return None
        outside = self._outside
        strand = self._roster.begin(optimizer, outside.candidates(optimizer), outside.called())
        strand.first_event = strand.last_event = self.event
        strand.gradients.rests.follow(self.loading)
        self.by_hand.close()
        self._company.begins(strand, optimizer)
        if strand.scene is not None:
            strand.fresh_batches += strand.scene.model in self.loading.given_to
            self.evaluations.teachers.training_begins(strand.scene.model, self.steps)
            self._aside.training_begins(strand, outside.called(), self.steps)
        self.evaluations.old_heads.optimizer_begins(optimizer, strand)
        self._outside.calls.listen_everywhere()
        return strand

    # -- now and then, and the end ------------------------------------------------------------

    def _rest(self, strand: Strand) -> None:
        """Until somebody wants to look again, only one strand is told of what happens."""
        is_busy = strand.is_looked_at or strand.rank is not None or self.evaluations.phases.are_open
        if is_busy or self._outside.calls.are_all_heard or not strand.scene:
            return
        if self._losses:  # a step within a backward: what follows is heard event by event
            return
        looks = self.neglected.following(self.backwards), self.taught.following(self.backwards)
        until, steps = min(self._targets.next, *looks), self._until(strand)
        if until <= self.backwards or steps <= strand.step:
            return
        self._targets.skip(0)
        self._compared = None
        model = strand.scene.model
        self._resting.begin(self._heard, strand, model, self, steps=steps, backwards=until)

    def _until(self, strand: Strand) -> int:
        """After how many of a strand's steps something is due again."""
        of_all = min(self.neglected.next, self.evaluations.teachers.next, self._most)
        return min(strand.following, strand.step + of_all - self.steps)

    def wake(self) -> None:
        """Hear everything again."""
        lull = self._resting.end()
        if lull is not None:
            self._losses = lull.losses
            self._targets.skip(lull.settle())

    def fails(self, error: Exception) -> None:
        """The watch has, not the loop."""
        self._guard.attempt(self.wake)
        self._guard.fails(error)

    def _end(self) -> None:
        for close in (
            self.wake,
            self._outside.calls.close,
            self.evaluations.live_dropout.close,
            self.own_functions.close,
            self._let_go,
            partial(self._company.meet, self.strands),
        ):
            self._guard.attempt(close)
