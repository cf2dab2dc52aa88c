"""Modules that are called from outside of any other, and when the calls of all modules are heard."""

from __future__ import annotations

import weakref
from collections.abc import Mapping, MutableMapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.weak import WeakIdKeyDictionary

from pytest_dlcheck.run.calls.through_time import ThroughTime
from pytest_dlcheck.run.code.lines import line_of_the_loop
from pytest_dlcheck.run.watch.compiling import Compilation
from pytest_dlcheck.run.watch.guard import Guard
from pytest_dlcheck.run.watch.listener import Listener
from pytest_dlcheck.run.watch.losses.pushes import Pushes
from pytest_dlcheck.run.watch.models.axes import Axes
from pytest_dlcheck.run.watch.models.entries import Entries
from pytest_dlcheck.run.watch.models.flows import Flows
from pytest_dlcheck.run.watch.models.kept_states import KeptStates
from pytest_dlcheck.run.watch.models.reinterpreted import Reinterpreted
from pytest_dlcheck.run.watch.models.unheard import Unheard
from pytest_dlcheck.run.watch.models.visits import Visits
from pytest_dlcheck.run.watch.scene import census, parameters_of
from pytest_dlcheck.run.watch.strand import Strand
from pytest_dlcheck.run.watch.taps.calls import Calls

DISCOVERY = 3
"""Steps of a new optimizer during which all modules' calls are heard."""
CURIOUS = 1
"""Calls that are heard of all modules where a pass over a loader begins."""


class Outside:
    """Finds out which modules a loop calls, in short windows; between these only they are heard.

    Args:
        strands: what is trained, as it becomes known.
        listener: told of every call from outside of any module.
        guard: stands before what modules call.
        compilation: during which no further module is listened to.
    """

    def __init__(
        self,
        strands: Sequence[Strand],
        listener: Listener,
        guard: Guard,
        compilation: Compilation,
    ) -> None:
        self._strands, self._compilation = strands, compilation
        self.visits, self.flows, self.unheard, self.axes = Visits(), Flows(), Unheard(), Axes()
        self.entries, self.kept_states, self.pushes = Entries(), KeptStates(), Pushes(guard)
        self.reinterpreted, self.through_time = Reinterpreted(), ThroughTime(line_of_the_loop)
        self._outermost: weakref.ref[nn.Module] | None = None
        self._giver: weakref.ref[nn.Module] | None = None
        self.calls = Calls(listener, self, guard)
        self._known: MutableMapping[nn.Module, bool] = WeakIdKeyDictionary()
        """Modules that were called from outside of any other, in order; a set."""
        self._curious = 0

    def is_called(self, module: nn.Module, *, with_gradients: bool) -> None:
        """A module is called while all are heard."""
        self._known[module] = True
        self._look_around(module)
        if self.calls.are_all_heard:
            self.visits.begins(with_gradients=with_gradients)

    def enters(self, module: nn.Module, arguments: tuple[Any, ...], *, outermost: bool) -> None:
        """Any module is called while all are heard."""
        self.visits.add(module, arguments, outermost=outermost)
        giver = self.flows.is_called(module, arguments, outermost=outermost)
        self.entries.is_called(module, outermost=outermost)
        if outermost:
            self.axes.is_called(arguments)
            self.kept_states.is_called(module, arguments)
            self._outermost = weakref.ref(module)
            self._giver = None if giver is None else weakref.ref(giver)
        self.through_time.enters(module, outermost=outermost)

    def leaves(
        self, module: nn.Module, arguments: tuple[Any, ...], named: Mapping[str, Any], output: object
    ) -> None:
        """Any module has returned while all are heard."""
        outermost = self._outermost is not None and self._outermost() is module
        self.through_time.returns(module, arguments, named, output)
        self.flows.returns(module, arguments, output, outermost=outermost)
        self.entries.returns(module, arguments, output)
        self.axes.returns(module, arguments, named, outermost=outermost)
        self.kept_states.returns(module, arguments, named, output)
        self.reinterpreted.returns(module, arguments, named)
        if outermost:
            self.visits.returns(module, output)
            giver = None if self._giver is None else self._giver()
            self.unheard.returns(module, giver, arguments, output)
            self.pushes.returns(module, giver, arguments, output)
            self._outermost = None

    def backward_begins(self, losses: Sequence[Tensor]) -> None:
        """Look whose results it goes through, and forget calls that never returned."""
        if self.calls.are_all_heard:
            self.unheard.backward_begins(losses)
            self.axes.backward_begins(losses)
            self.kept_states.backward_begins()
            self.reinterpreted.backward_begins()
            self.pushes.backward_begins(losses)
            self.through_time.backward_begins(losses)
        self.calls.forget_open_calls()
        self.entries.forget_open_calls()

    def batch_is_read(self, reading: object, batch: object) -> None:
        """A loader's iterator has given a batch."""
        if self.calls.are_all_heard:
            self.axes.batch_is_read(reading, batch)
            self.kept_states.batch_is_read(reading, batch)
            self.reinterpreted.batch_is_read(batch)

    def pass_begins(self) -> None:
        """A pass over a loader begins: another model than the trained one may be called."""
        if self._strands and not self._compilation.is_at_work:
            self._curious = CURIOUS
            self.calls.listen_everywhere()

    def step_ends(self) -> None:
        """Stop listening everywhere once all are known."""
        if self.calls.are_all_heard and self._all_are_known():
            self._follow_the_outermost()

    def candidates(self, optimizer: torch.optim.Optimizer) -> list[nn.Module]:
        """Where its root may be: what was called and owns all that it steps, or else all that lives."""
        stepped = {id(p) for p in parameters_of(optimizer)}
        whole = [m for m in self.called() if stepped <= {id(p) for p in m.parameters()}]
        return [part for module in whole for part in module.modules()] or census()[0]

    @property
    def hears_compiled_code(self) -> bool:
        """Whether compiled code may have run."""
        return self._compilation.is_at_work

    def called(self) -> list[nn.Module]:
        """The modules that were called from outside of any other, and live."""
        return list(self._known)

    def _look_around(self, module: nn.Module) -> None:
        if not self._curious:
            return
        self._curious -= 1
        if not self._curious and self._all_are_known():
            shapes = [p.shape for p in module.parameters()]
            if any(s.scene is not None and s.shapes == shapes for s in self._strands):
                self.calls.follow(module)
            self._follow_the_outermost()

    def _all_are_known(self) -> bool:
        return all(s.step >= DISCOVERY or s.scene is None for s in self._strands)

    def _follow_the_outermost(self) -> None:
        for module in self.called():
            if any(s.scene is not None and s.owns(module) for s in self._strands):
                self.calls.follow(module)
        self.calls.listen_to_the_followed()
        if self.kept_states.are_kept_by_hand():
            for strand in self._strands:
                strand.exposure.miss_none()
        self.kept_states.forget()
        self.through_time.forget()
