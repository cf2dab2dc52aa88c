"""Hears everything and sorts it: whose gradients, whose step, training or validation.

What happens at every step is a handful of comparisons here; what costs more waits for its turn.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from time import perf_counter
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler

from pytest_dlcheck.run.probe import number_of
from pytest_dlcheck.run.watch.batches.edits import Edits
from pytest_dlcheck.run.watch.batches.loading import Loading
from pytest_dlcheck.run.watch.batches.new_classes import NewClasses
from pytest_dlcheck.run.watch.company import Company
from pytest_dlcheck.run.watch.compiling import Compilation
from pytest_dlcheck.run.watch.ending import EnoughSeen
from pytest_dlcheck.run.watch.guard import Guard
from pytest_dlcheck.run.watch.losses.compared import Compared
from pytest_dlcheck.run.watch.losses.likeness import Likeness
from pytest_dlcheck.run.watch.losses.targets import Targets
from pytest_dlcheck.run.watch.losses.taught import Taught
from pytest_dlcheck.run.watch.losses.unpropagated import Unpropagated
from pytest_dlcheck.run.watch.lull import QUICK, Lull
from pytest_dlcheck.run.watch.meeting import Meeting
from pytest_dlcheck.run.watch.models.aside import Aside
from pytest_dlcheck.run.watch.models.evaluations import Evaluations
from pytest_dlcheck.run.watch.models.first_calls import FirstCalls
from pytest_dlcheck.run.watch.models.modes import Drifts
from pytest_dlcheck.run.watch.models.moment import Moment
from pytest_dlcheck.run.watch.models.outside import Outside
from pytest_dlcheck.run.watch.models.own_functions import OwnFunctions
from pytest_dlcheck.run.watch.models.restored import Restored
from pytest_dlcheck.run.watch.models.scores import Scores
from pytest_dlcheck.run.watch.models.trying import tried
from pytest_dlcheck.run.watch.models.unheard import Told
from pytest_dlcheck.run.watch.roster import Roster
from pytest_dlcheck.run.watch.scene import parameters_of
from pytest_dlcheck.run.watch.steps.by_hand import ByHand
from pytest_dlcheck.run.watch.steps.graphs import Graphs
from pytest_dlcheck.run.watch.steps.leaves import Leaves
from pytest_dlcheck.run.watch.steps.neglected import Neglected
from pytest_dlcheck.run.watch.steps.scaling import Scaling
from pytest_dlcheck.run.watch.strand import Strand
from pytest_dlcheck.run.watch.taps import tapped
from pytest_dlcheck.run.watch.telling import trace_of, trace_of_fault, trace_of_nothing
from pytest_dlcheck.trace import Row, Trace

SETTLED = 8
"""Steps (count) after which an optimizer's parameters are no longer those it began with."""


class Watcher:
    """Watches whatever trains inside :meth:`watching`; :meth:`traces` tells of it.

    Args:
        stop_after: optimizer steps after which the loop is ended, and with it the watch.
    """

    def __init__(self, stop_after: int | None = None) -> None:
        self._most, self._guard = stop_after or sys.maxsize, Guard(self._is_lost)
        self.at_each_step: Callable[[Strand], None] | None = None
        """Told at the end of every step whose it was."""
        self.steps = self.backwards = self.event = 0
        self.overlooked = 0
        """Steps of optimizers that were one too many to follow."""
        self._roster = Roster()
        self.strands = self._roster.strands
        compilation = Compilation()
        self.own_functions = OwnFunctions(compilation, self._guard)
        self._drifts = Drifts()
        self.evaluations = Evaluations(self.strands, self._drifts, self._guard, compilation)
        self.edits, self.new_classes = Edits(), NewClasses()
        self.scaling, self.restored = Scaling(), Restored()
        self._heard = self._guard.shield(
            self,
            loss_is_scaled=self.scaling.scales,
            samples_are_wanted=self.edits.begin,
            samples_are_fetched=self.edits.end,
            chosen_among_one=self.scores.chosen_among_one,
            weights_were_loaded=self.restored.unloaded.is_loaded,
        )
        self._outside = Outside(self.strands, self._heard.listener, self._guard, compilation)
        self._aside = Aside(self.strands, self._outside.calls, self.evaluations.twins, compilation)
        heard = self._outside.visits, self._outside.flows
        self.neglected = Neglected(self.strands, *heard, self._guard, compilation)
        self.unpropagated, self.by_hand = Unpropagated(), ByHand(Leaves())
        self.loading, self.graphs = Loading(), Graphs()
        self._targets = Targets(self._guard, self.evaluations.answers)
        self.taught, self.likeness = Taught(), Likeness(self._guard)
        self._first_calls = FirstCalls(self._guard)
        self.last_found: dict[int, dict[str, tuple[Row, ...]]] = {}
        """What is told where the watch ends, as by copies of models, by the strand's identity."""
        self._company = Company(Meeting.of_this_process())
        self.unheard: tuple[Told, ...] = ()
        self._losses: Sequence[Tensor] = ()
        self._compared: Compared | None = None
        self._lull: Lull | None = None
        self.batch_waits = False
        self._began = perf_counter()
        self.seconds = 0.0
        self.was_ended = False
        """Whether the loop was ended by the watch, not by itself, and"""
        self.was_cut_short = False
        """whether that, or an exception, has ended it."""

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Listen inside."""
        with tapped(self._heard.listener):
            self._outside.calls.listen_everywhere()
            try:
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

    @property
    def fault(self) -> str:
        """What went wrong in the watch itself, and where; empty while nothing has."""
        return self._guard.fault

    def _is_lost(self) -> None:
        """The watch has failed; the loop goes on."""

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
        self.likeness.backward_begins(losses)
        self._compared = self._targets.look(losses)
        if self.taught.is_due(self.backwards):
            self.taught.look(losses, [s.keys for s in self.strands if s.scene is not None])
        self.graphs.backward_begins(self.backwards, losses)
        self._first_calls.backward_begins(losses)

    def backward_ends(self) -> None:
        """Find out whom it reached."""
        self.backwards += 1
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

    def gradients_are_unscaled(self, optimizer: torch.optim.Optimizer) -> None:
        """From here on they can be clipped."""
        strand = self._roster.known(optimizer)
        if strand is not None:
            strand.is_scaled = False

    def clipped(self, parameters: Sequence[Tensor], bound: float, norm: Tensor | None) -> None:
        """Tell whoever's gradients they are."""
        keys = {id(p) for p in parameters[:1]}
        for strand in self.strands:
            if norm is not None and strand.scene is not None and keys & strand.keys:
                strand.clipped(parameters, bound, norm)

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
            self.overlooked += 1
            return
        if not strand.is_alone:
            others = [each.reach for each in self.strands if each is not strand]
            strand.reach.steps(self.backwards, others)
        self._outside.pushes.steps(strand)
        strand.step_ends(optimizer)
        strand.last_event = self.event
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

    def schedule_steps(self, scheduler: LRScheduler) -> None:
        """Tell the strand, or keep it for one to come."""
        schedules, pending = self._roster.schedules_of(scheduler.optimizer)
        schedules.steps(scheduler, pending=pending)

    def strand_of(self, optimizer: torch.optim.Optimizer) -> Strand | None:
        """Whose step it is; None where it is one too many to follow."""
        if (strand := self._roster.known(optimizer)) is not None:
            return strand
        settled = [strand.keys for strand in self.strands if strand.step >= SETTLED]
        self.taught.optimizer_begins(self.backwards, list(parameters_of(optimizer)), settled)
        if (strand := self._roster.inherited(optimizer)) is not None:
            return strand
        for each in self.strands:
            if each.owner() is None:
                each.close(self._outside, early=True)
            if each.scene is None:
                each.fate.look()
        if self._roster.is_full:
            return None
        outside = self._outside
        strand = self._roster.begin(optimizer, outside.candidates(optimizer), outside.called())
        strand.first_event = strand.last_event = self.event
        self.by_hand.close()
        self._company.begins(strand, optimizer)
        if strand.scene is not None:
            self.evaluations.teachers.training_begins(strand.scene.model, self.steps)
            self._aside.training_begins(strand, outside.called(), self.steps)
        self._outside.calls.listen_everywhere()
        return strand

    # -- forward ------------------------------------------------------------------------------

    def batch_is_read(self, loader: object, batch: object) -> None:
        """The next forward is given it, most likely."""
        self.batch_waits = True
        if self.loading.read(loader):
            self.wake()
            self._outside.pass_begins()
            self.new_classes.pass_begins(loader, self.loading.length, self.steps)
        if self.new_classes.open is not None:
            self.new_classes.open.add(batch)
        self._outside.batch_is_read(loader, batch)
        self._targets.batch_is_read(batch, loader)
        self._first_calls.batch_is_read(loader, batch)
        self.evaluations.answers.batch_is_read(batch)

    def classes_never_trained(self) -> tuple[Row, ...]:
        """Of a validation, where what loaders give second is what losses compare."""
        return self.new_classes.rows(self.steps) if self._targets.compares_labels else ()

    @property
    def scores(self) -> Scores:
        """What is chosen from outputs."""
        return self.evaluations.scores

    def called(self, module: nn.Module, arguments: tuple[Any, ...]) -> None:
        """It trains, or is evaluated."""
        self.event += 1
        from_loader, self.batch_waits = self.batch_waits, False
        trains = torch.is_grad_enabled()
        if self.scores.curious or not trains:
            self.scores.called(module, to_train=trains)
        if self._outside.calls.are_all_heard:
            self._outside.is_called(module, with_gradients=trains)
        for strand in self.strands:
            if strand.slices.is_open and strand.scene is not None:
                strand.slices.sees(arguments, strand.step, trains=trains, from_loader=from_loader)
        if not trains:
            now = Moment(self.event, self.steps, self.backwards)
            loading = self.loading if from_loader else None
            self.evaluations.called(module, arguments, loading, now)
            self.new_classes.is_evaluated(loading)
            return
        self._targets.is_called(module, arguments)
        self.likeness.called(module, self.backwards)
        for strand in self.strands:
            if strand.scene is not None and strand.scene.model is module:
                strand.batch(arguments, self.loading)
                self._first_calls.is_called(module)
                if from_loader:
                    self.opens_a_window(strand, module, arguments)

    def called_aside(self, module: nn.Module, arguments: tuple[Any, ...]) -> None:
        """A copy may be evaluated."""
        if module.training or torch.is_grad_enabled():
            return
        twins = self.evaluations.twins
        if twins.is_part_of_a_step(module, self.backwards):
            if twins.is_a_teacher(module):
                self._aside.forget(module)
        else:
            now = Moment(self.event, self.steps, self.backwards)
            self.evaluations.copy_is_called(module, arguments, now, from_loader=False)

    def is_set_aside(self, module: nn.Module) -> None:
        """It may be a copy that is to be evaluated."""
        self._aside.add(module)

    def opens_a_window(self, strand: Strand, module: nn.Module, arguments: tuple[Any, ...]) -> None:
        """Something fresh from a loader was given to a root: a backward may follow, or more of it."""
        strand.fresh_batches += 1
        if not _asks_for_its_gradient(arguments):
            drifts, is_off = self._drifts.of(module), not module.training
            self.unpropagated.called(self.event, strand.step, in_train_mode=drifts, in_eval_mode=is_off)

    def weights_are_taken(self, state: Mapping[str, object]) -> None:
        """They may be meant to be kept."""
        self.evaluations.weights_are_taken(state)
        self.restored.is_taken(state, self.steps)

    def weights_are_loaded(self, module: nn.Module, state: Mapping[str, object]) -> None:
        """Are they what was meant to be kept?"""
        self.restored.is_loaded(module, state, self.steps)

    # -- now and then, and the end ------------------------------------------------------------

    def _rest(self, strand: Strand) -> None:
        """Until somebody wants to look again, only one strand is told of what happens."""
        looks = self.neglected.following(self.backwards), self.taught.following(self.backwards)
        until = min(self._targets.next, *looks)
        is_busy = strand.is_looked_at or strand.rank is not None or self.evaluations.phases.are_open
        steps = self._until(strand)
        is_due = until <= self.backwards or steps <= strand.step
        if self._outside.calls.are_all_heard or is_busy or is_due or not strand.scene:
            return
        self._targets.skip(0)
        self._compared = None
        self._lull = Lull(strand, strand.scene.model, self, steps=steps, backwards=until)
        self._heard.divert({name: getattr(self._lull, name) for name in QUICK})

    def _until(self, strand: Strand) -> int:
        """After how many of a strand's steps something is due again."""
        return min(strand.following, strand.step + min(self.neglected.next, self._most) - self.steps)

    def wake(self) -> None:
        """Hear everything again."""
        lull, self._lull = self._lull, None
        if lull is not None:
            self._heard.restore()
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

    def _let_go(self) -> None:
        self.evaluations.end()
        self.neglected.end()
        self.by_hand.close()
        self.evaluations.teachers.close(self.steps)
        self.seconds = perf_counter() - self._began
        self.own_functions.differentiate()
        stepped: set[int] = set().union(*(strand.keys for strand in self.strands))
        self.unheard = tuple(self._outside.unheard.told(stepped))
        for strand in self.strands:
            found = {"pushes": self._outside.pushes.rows(strand.keys)}
            if strand.scene is not None and not (self.fault or self._outside.hears_compiled_code):
                found |= tried(strand.scene.model, self._first_calls.of(strand.scene.model))
            self.last_found[id(strand)] = found
            strand.close(self._outside, early=False)


def _asks_for_its_gradient(arguments: tuple[Any, ...]) -> bool:
    """As an attack on the inputs does, or a picture of what a model looks at."""
    return bool(arguments) and getattr(arguments[0], "requires_grad", False) is True
