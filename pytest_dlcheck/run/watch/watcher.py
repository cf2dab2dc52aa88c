"""Hears everything and sorts it: whose gradients, whose step, training or validation."""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler

from pytest_dlcheck.run.sampling import GRADIENTS
from pytest_dlcheck.run.watch.by_hand import ByHand
from pytest_dlcheck.run.watch.bystanders import Bystanders
from pytest_dlcheck.run.watch.compiling import is_compiling_anything
from pytest_dlcheck.run.watch.leaves import Leaves, leaves_of
from pytest_dlcheck.run.watch.loading import Loading
from pytest_dlcheck.run.watch.meeting import Meeting
from pytest_dlcheck.run.watch.modes import sensitive
from pytest_dlcheck.run.watch.ranks import Rank, compared, is_replicated
from pytest_dlcheck.run.watch.scene import census, parameters_of, scene_of
from pytest_dlcheck.run.watch.schedules import Schedules
from pytest_dlcheck.run.watch.strand import Strand
from pytest_dlcheck.run.watch.taps import tapped
from pytest_dlcheck.run.watch.taps.calls import Calls
from pytest_dlcheck.run.watch.targets import Compared, Targets
from pytest_dlcheck.run.watch.telling import trace_of, trace_of_nothing
from pytest_dlcheck.run.watch.twins import Twins
from pytest_dlcheck.run.watch.unpropagated import Unpropagated
from pytest_dlcheck.run.watch.visits import Visits
from pytest_dlcheck.trace import Trace

DISCOVERY = 3
"""Steps of a new optimizer during which all modules' calls are heard."""
STRANDS = 16
"""Optimizers that are followed; a loop that makes a new model a step has thousands."""
UNCLAIMED = 64
"""Losses kept until the optimizer is known whose gradients they made."""
LOOKS = frozenset({3, 4, 16, 17, 64, 65})
"""Backward passes, two in a row, at which it is asked whether they reach what nobody steps."""
CURIOUS = 1
"""Calls that are heard of all modules where a pass over a loader begins."""
FOLLOWED = 256
"""Losses in a row whose graphs are followed; later sampled ones."""
LIVE = 4096
"""Losses whose graphs are followed to their end."""


@dataclass
class Phase:
    """Forwards in a row without gradients, between two backward passes.

    Attributes:
        event: when it began.
        calls: how many.
        in_train_mode: how many of them ran in train mode with modules that care.
        from_loader: how many were given a batch fresh from a DataLoader.
        steps: optimizer steps before it.
    """

    event: int
    calls: int = 0
    in_train_mode: int = 0
    from_loader: int = 0
    steps: int = 0


class Watcher:
    """Watches whatever trains inside :meth:`watching`; :meth:`traces` tells of it.

    Args:
        stop_after: optimizer steps after which the loop is ended, and with it the watch.
    """

    def __init__(self, stop_after: int | None = None) -> None:
        self._stop_after = stop_after
        self.strands: list[Strand] = []
        self.steps = self.backwards = self.event = 0
        self.overlooked = 0
        """Steps of optimizers that were one too many to follow."""
        self.phases: list[Phase] = []
        self._phase: Phase | None = None
        self._calls = Calls(self._called, self._visited)
        self.visits = Visits()
        self._unclaimed: list[Tensor] = []
        self._losses: tuple[Tensor, ...] = ()
        self._scaled: tuple[weakref.ref[Tensor], Tensor] | None = None
        self._outermost: dict[int, weakref.ref[nn.Module]] = {}
        self._relevant: dict[int, tuple[weakref.ref[nn.Module], list[nn.Module]]] = {}
        self._graphs: list[weakref.ref[_Sentinel]] = []
        self.live_graphs: dict[int, int] = {}
        self.loading = Loading()
        self.by_hand = ByHand(Leaves())
        self._targets = Targets()
        self.twins = Twins()
        self.meeting = Meeting.of_this_process()
        self._compared: Compared | None = None
        self._early_schedules: weakref.WeakKeyDictionary[torch.optim.Optimizer, Schedules] = (
            weakref.WeakKeyDictionary()
        )
        self.unpropagated = Unpropagated()
        self._bystanders = Bystanders()
        self._batch_waits = False
        self._curious = 0
        self._began = perf_counter()
        self.seconds = 0.0

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Listen inside."""
        with tapped(self):
            self._calls.listen_everywhere()
            try:
                yield
            except EnoughSeen as end:
                if end.watcher is not self:
                    raise
            finally:
                self._calls.close()
                self._end()

    def traces(self) -> tuple[tuple[str, Trace], ...]:
        """What was trained: a name and a trace for every optimizer's parameters."""
        if not self.strands:
            return (("nothing stepped", trace_of_nothing(self)),)
        strands = self.strands
        if self.overlooked and all(strand.step <= self.overlooked for strand in strands):
            strands = strands[:1]  # a model a step: one of them tells it all
        return tuple((strand.name, trace_of(self, strand)) for strand in strands)

    def idle_optimizers(self) -> list[str]:
        """Optimizers that never stepped, although their parameters had gradients from backward."""
        return self._bystanders.idle(set().union(*(s.keys for s in self.strands)))

    # -- what is heard ------------------------------------------------------------------------

    def backward_begins(self, losses: Sequence[Tensor]) -> None:
        """Look for resets, and follow the loss's graph."""
        self.event += 1
        self._end_phase()
        self.unpropagated.backward_begins()
        self._calls.forget_open_calls()
        if not self.strands:
            self.by_hand.backward_begins(losses)
        elif self.backwards in LOOKS:
            self._look_for_bystanders(losses)
        self._losses = tuple(self._raw(loss) for loss in losses)
        scaled = any(raw is not loss for raw, loss in zip(self._losses, losses, strict=True))
        for strand in self.strands:
            if strand.scene is not None:
                strand.backward_begins(self.strands, scaled=scaled)
        self._compared = self._targets.look(losses)
        self._follow_graph(losses)

    def backward_ends(self) -> None:
        """Find out whom it reached."""
        self.backwards += 1
        scalars = [_scalar(loss) for loss in self._losses if loss.numel() == 1]
        reached = [s for s in self.strands if s.scene is not None and s.backward_ends(scalars)]
        for strand in reached:
            strand.shared_losses += len(reached) > 1
            if not strand.is_alone:
                strand.reach.backward_ends(self.backwards)
            if self._compared is not None:
                strand.comparisons.add(self._compared)
        if not self.strands:
            self.by_hand.backward_ends()
        if not reached:
            self._unclaimed = [*self._unclaimed, *scalars][-UNCLAIMED:]
        self._losses = ()

    def loss_is_scaled(self, loss: Tensor, scaled: Tensor) -> None:
        """Remember what the scaled loss was made of."""
        self._scaled = (weakref.ref(scaled), loss.detach())

    def gradients_are_unscaled(self, optimizer: torch.optim.Optimizer) -> None:
        """From here on they can be clipped."""
        for strand in self.strands:
            if strand.owner() is optimizer:
                strand.is_scaled = False

    def step_begins(self, optimizer: torch.optim.Optimizer, *, closure: bool) -> None:
        """Find the strand, before a closure's backward."""
        del closure
        self.event += 1
        self._strand_of(optimizer)

    def gradients_are_complete(self, optimizer: torch.optim.Optimizer) -> None:
        """Tell the strand."""
        strand = self._strand_of(optimizer)
        if strand is not None:
            strand.gradients_are_complete(optimizer)

    def step_ends(self, optimizer: torch.optim.Optimizer) -> None:
        """Tell the strand, and stop listening everywhere once all are known."""
        self.steps += 1
        strand = self._strand_of(optimizer)
        if strand is None:
            self.overlooked += 1
            return
        if not strand.is_alone:
            others = [each.reach for each in self.strands if each is not strand]
            strand.reach.steps(self.backwards, others)
        strand.step_ends(optimizer)
        if self.meeting is not None and strand.step == DISCOVERY:
            strand.is_replicated = is_replicated(strand.keys, census()[0])
        strand.last_event = self.event
        if self.steps.bit_count() == 1:
            self._bystanders.look()
        if self.steps == self._stop_after:
            raise EnoughSeen(self)
        if self._calls.are_all_heard and all(
            s.step >= DISCOVERY or s.scene is None for s in self.strands
        ):
            self._follow_the_outermost()

    def clipped(self, parameters: Sequence[Tensor], bound: float, norm: Tensor | None) -> None:
        """Tell whoever's gradients they are."""
        keys = {id(p) for p in parameters[:1]}
        for strand in self.strands:
            if norm is not None and strand.scene is not None and keys & strand.keys:
                strand.clipped(bound, norm)

    def batch_is_read(self, loader: object, batch: object) -> None:
        """The next forward is given it, most likely."""
        self._batch_waits = True
        if self.loading.read(loader) and self.strands and not is_compiling_anything():
            self._curious = CURIOUS
            self._calls.listen_everywhere()
        self._targets.batch_is_read(batch)

    def schedule_steps(self, scheduler: LRScheduler) -> None:
        """Tell the strand; before the first step there is none yet."""
        optimizer = scheduler.optimizer
        for strand in self.strands:
            if strand.owner() is optimizer:
                strand.schedules.steps(scheduler, pending=bool(strand.gradients.backwards))
                return
        self._early_schedules.setdefault(optimizer, Schedules()).steps(scheduler, pending=False)

    def _called(self, module: nn.Module, arguments: tuple[Any, ...]) -> None:
        self.event += 1
        if id(module) not in self._outermost or self._outermost[id(module)]() is not module:
            self._outermost[id(module)] = weakref.ref(module)
        from_loader, self._batch_waits = self._batch_waits, False
        self._look_around(module)
        trains = torch.is_grad_enabled()
        if self._calls.are_all_heard:
            self.visits.begins(with_gradients=trains)
        if trains:
            self._called_to_train(module, arguments, from_loader=from_loader)
        else:
            self._evaluated(module, arguments, from_loader=from_loader)

    def _called_to_train(
        self, module: nn.Module, arguments: tuple[Any, ...], *, from_loader: bool
    ) -> None:
        self._targets.is_called(arguments)
        for strand in self.strands:
            if strand.scene is not None and strand.scene.model is module:
                strand.batch(arguments, self.loading)
                if from_loader:
                    drifts, is_off = self._drifts(module), not module.training
                    self.unpropagated.called(
                        self.event, strand.step, in_train_mode=drifts, in_eval_mode=is_off
                    )

    def _evaluated(self, module: nn.Module, arguments: tuple[Any, ...], *, from_loader: bool) -> None:
        phase = self._phase = self._phase or Phase(self.event, steps=self.steps)
        phase.calls += 1
        phase.from_loader += from_loader
        phase.in_train_mode += self._drifts(module)
        if module.training:
            return
        if not any(s.scene is not None and s.owns(module) for s in self.strands):
            self.twins.is_evaluated(module, self.steps, phase.event)
        loading = self.loading if from_loader else None
        for strand in self.strands:
            if strand.scene is not None and strand.scene.model is module:
                strand.exposure.is_evaluated(
                    strand.step, arguments, loading, phase.event, self.backwards
                )

    def _look_around(self, module: nn.Module) -> None:
        """At the beginning of a pass over a loader: another model than the trained may be called."""
        if not self._curious:
            return
        self._curious -= 1
        if not self._curious and self._all_are_known():
            shapes = [p.shape for p in module.parameters()]
            if any(s.scene is not None and s.shapes == shapes for s in self.strands):
                self._calls.follow(module)
            self._follow_the_outermost()

    def _visited(self, module: nn.Module) -> None:
        self.visits.add(module)

    # -- whose is it --------------------------------------------------------------------------

    def _strand_of(self, optimizer: torch.optim.Optimizer) -> Strand | None:
        for strand in self.strands:
            if strand.owner() is optimizer:
                return strand
        keys = {id(p) for p in parameters_of(optimizer)}
        for strand in self.strands:
            if strand.scene is not None and strand.keys & keys:
                strand.owner = weakref.ref(optimizer)
                strand.optimizers_seen += 1
                strand.exposure.forget()
                return strand
        self._close_what_has_ended()
        if len(self.strands) >= STRANDS:
            return None
        return self._begin(optimizer)

    def _begin(self, optimizer: torch.optim.Optimizer) -> Strand:
        strand = Strand(scene_of(optimizer, self._candidates(optimizer)), optimizer, self._unclaimed)
        strand.first_event = strand.last_event = self.event
        strand.schedules = self._early_schedules.pop(optimizer, strand.schedules)
        self._unclaimed = []
        if self.meeting is not None:
            strand.rank = Rank(list(parameters_of(optimizer)))
        self.strands.append(strand)
        for each in self.strands:
            each.is_alone = len(self.strands) == 1
        self._calls.listen_everywhere()
        return strand

    def _candidates(self, optimizer: torch.optim.Optimizer) -> list[nn.Module]:
        """Where its root may be: what was called and owns all that it steps, or else all that lives."""
        stepped = {id(p) for p in parameters_of(optimizer)}
        called = [
            module for module in (known() for known in self._outermost.values()) if module is not None
        ]
        whole = [m for m in called if stepped <= {id(p) for p in m.parameters()}]
        return [part for module in whole for part in module.modules()] or census()[0]

    def _look_for_bystanders(self, losses: Sequence[Tensor]) -> None:
        """Where a backward reaches parameters that nobody steps, somebody may have been forgotten."""
        stepped = set().union(*(strand.keys for strand in self.strands))
        if any(id(leaf) not in stepped for leaf in leaves_of(losses)):
            self._bystanders.note(census()[1])

    def _close_what_has_ended(self) -> None:
        for strand in self.strands:
            if strand.owner() is None:
                strand.close(self.visits, early=True)

    def _end(self) -> None:
        self._end_phase()
        self._bystanders.look()
        self.by_hand.close()
        self.seconds = perf_counter() - self._began
        for strand in self.strands:
            strand.close(self.visits, early=False)
        if self.meeting is not None:
            self._meet(self.meeting)

    def _meet(self, meeting: Meeting) -> None:
        """Tell rank 0 what was seen, or be told."""
        notes = [strand.rank.notes() if strand.rank else {} for strand in self.strands]
        if meeting.rank:
            meeting.leave(notes)
            return
        others = meeting.collect()
        for index, strand in enumerate(self.strands):
            theirs = [n[index] for n in others if isinstance(n, list) and len(n) == len(notes)]
            strand.ranks = compared(
                notes[index], theirs, replicated=strand.is_replicated, asked=meeting.size
            )

    # -- calls --------------------------------------------------------------------------------

    def _all_are_known(self) -> bool:
        return all(s.step >= DISCOVERY or s.scene is None for s in self.strands)

    def _follow_the_outermost(self) -> None:
        for reference in self._outermost.values():
            module = reference()
            if module is not None and any(s.scene is not None and s.owns(module) for s in self.strands):
                self._calls.follow(module)
        self._calls.listen_to_the_followed()

    def _drifts(self, module: nn.Module) -> bool:
        """Whether a module runs in train mode although its mode makes a difference."""
        known = self._relevant.get(id(module))
        if known is None or known[0]() is not module:
            known = self._relevant[id(module)] = (weakref.ref(module), sensitive(module))
        return any(part.training for part in known[1])

    def _end_phase(self) -> None:
        phase, self._phase = self._phase, None
        if phase is not None:
            self.phases = [*self.phases, phase][-256:]

    # -- losses -------------------------------------------------------------------------------

    def _raw(self, loss: Tensor) -> Tensor:
        if self._scaled is not None and self._scaled[0]() is loss:
            return self._scaled[1]
        return loss

    def _follow_graph(self, losses: Sequence[Tensor]) -> None:
        """Tie something to the loss's graph that dies with it: what stays alive is held by the loop."""
        is_due = self.backwards < FOLLOWED or self.backwards in GRADIENTS
        if is_due and len(self._graphs) < LIVE and losses and (node := losses[0].grad_fn) is not None:
            sentinel = _Sentinel()
            metadata: dict[Any, Any] = node.metadata  # type: ignore[assignment]  # a property
            metadata[_Sentinel] = sentinel
            self._graphs.append(weakref.ref(sentinel))
        if self.backwards in GRADIENTS:
            self._graphs = [graph for graph in self._graphs if graph() is not None]
            self.live_graphs[self.backwards] = len(self._graphs)


class EnoughSeen(BaseException):
    """As much was seen as was asked for: the loop ends here.

    Args:
        watcher: who has seen enough; others go on to watch.
    """

    def __init__(self, watcher: Watcher) -> None:
        super().__init__()
        self.watcher = watcher


class _Sentinel:
    """Lives as long as the graph that holds it."""


def _scalar(loss: Tensor) -> Tensor:
    return loss.detach().reshape(()) if loss.dim() else loss.detach()
