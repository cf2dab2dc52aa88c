"""Which modules' results are handed on into a call that trains, so that no gradient comes back to them.

A result is told by its memory, of which only a weak reference is kept, and where it was changed on its
way, by its shape. Nothing is kept alive, and nothing is judged.
"""

from __future__ import annotations

import weakref
from collections import OrderedDict
from collections.abc import Iterator, MutableMapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils.weak import WeakIdKeyDictionary

from pytest_dlcheck.run.code.lines import line_of_the_loop
from pytest_dlcheck.run.tensors.tree import tensors

RESULTS = 256
"""Results that are remembered: those of the last calls."""
PARTS = 4
"""Tensors of a result, or of a call's arguments, that are looked at."""
CONSUMERS = 4
"""Modules that are remembered as given one module's results."""


@dataclass(frozen=True)
class _Result:
    """What a module gave back, which has parameters that ask for gradients."""

    maker: weakref.ref[nn.Module]
    memory: StorageWeakRef
    shape: torch.Size
    given: torch.Size | None
    """The shape of what the module was called on."""
    without: bool
    """Whether gradients were off."""
    outermost: bool
    """Whether the module was called from outside of any other."""
    line: str


@dataclass
class Flow:
    """How one module's results went on, where no gradient can come back to it.

    Attributes:
        module: which.
        without: calls with gradients off whose result was given to one that trains.
        detached: calls with gradients on whose result was cut off before it was.
        line: ``file.py:42``, of the last such call with gradients off, or of what was given the result.
        consumers: the modules that were given it.
        shape: of such a result that was handed on in its own memory; empty where none was.
    """

    module: weakref.ref[nn.Module]
    without: int = 0
    detached: int = 0
    line: str = ""
    consumers: list[weakref.ref[nn.Module]] = field(default_factory=list)
    shape: torch.Size = field(default_factory=torch.Size)

    def into(self) -> Iterator[nn.Module]:
        """The modules that were given it, and live."""
        return (module for reference in self.consumers if (module := reference()) is not None)


class Flows:
    """The results of calls, as long as all are heard."""

    def __init__(self) -> None:
        self._results: OrderedDict[int, _Result] = OrderedDict()
        self._inputs: list[StorageWeakRef] = []
        self._data: MutableMapping[nn.Module, torch.Size] = WeakIdKeyDictionary()
        """Shapes of batches, by the module that was called on one last."""
        self._flows: dict[int, Flow] = {}

    def of(self, module: nn.Module) -> Flow | None:
        """How the results of a module went on, or else of one that it holds."""
        for part in module.modules():
            flow = self._flows.get(id(part))
            if flow is not None and flow.module() is part:
                return flow
        return None

    def handed_on(self) -> Iterator[Flow]:
        """The results that went on as they were, but for their graph."""
        return (flow for flow in list(self._flows.values()) if flow.shape)

    def is_given_data_like(self, flow: Flow, module: nn.Module) -> bool:
        """Whether a module is called on batches of the shape of these results that are none."""
        known = self._data.get(module)
        return known is not None and known[1:] == flow.shape[1:]

    def is_called(
        self, module: nn.Module, arguments: tuple[Any, ...], *, outermost: bool
    ) -> nn.Module | None:
        """A module is called: look whose results it is given.

        Args:
            module: which.
            arguments: on what.
            outermost: whether it is called from outside of any module.

        Returns:
            The module whose result it is given, as it is but for its graph; None where there is none.
        """
        giver = None
        if outermost:
            self._inputs = [_memory(given) for given in _usable(arguments)]
        if not torch.is_grad_enabled() or not self._results or not _asks(module):
            return None
        for given in _usable(arguments):
            if given.requires_grad:
                continue
            known = self._results.get(_memory(given).cdata)
            if known is None and outermost:
                self._data[module] = given.shape
            result = known or self._alike(given, outermost=outermost)
            if result is not None and result.maker() not in (None, module):
                flow = self._goes_on(result, module, is_sure=known is not None)
                if known is not None:
                    flow.shape, giver = result.shape, result.maker()
        return giver

    def _alike(self, given: Tensor, *, outermost: bool) -> _Result | None:
        """The last result that a batch may have been made of, where memory does not tell."""
        if not outermost and _memory(given) in self._inputs:
            return None
        likely = _resembles if outermost else _has_its_shape
        return next((r for r in reversed(list(self._results.values())) if likely(given, r)), None)

    def returns(
        self, module: nn.Module, arguments: tuple[Any, ...], output: object, *, outermost: bool
    ) -> None:
        """A module has returned: remember its result, but not what it was given and gives back.

        Args:
            module: which.
            arguments: what it was called on.
            output: what it gave.
            outermost: whether it was called from outside of any module.
        """
        given = _usable(arguments)
        if not _asks(module):
            found = (self._results.get(_memory(one).cdata) for one in given if not one.requires_grad)
            if (result := next((r for r in found if r is not None), None)) is not None:
                self._passes_on(result, output)
            return
        known = [_memory(one) for one in given]
        shape = given[0].shape if given else None
        without = not torch.is_grad_enabled()
        line = line_of_the_loop() if without else ""
        for made in _usable(output):
            if (memory := _memory(made)) not in known:
                who = weakref.ref(module)
                self._remember(_Result(who, memory, made.shape, shape, without, outermost, line))

    def _passes_on(self, result: _Result, output: object) -> None:
        """What has no parameters gives another's result back in another form."""
        for made in _usable(output):
            self._remember(replace(result, memory=_memory(made), shape=made.shape))

    def _remember(self, result: _Result) -> None:
        self._results[result.memory.cdata] = result
        self._results.move_to_end(result.memory.cdata)
        while len(self._results) > RESULTS:
            self._results.popitem(last=False)

    def _goes_on(self, result: _Result, consumer: nn.Module, *, is_sure: bool) -> Flow:
        maker = result.maker()
        flow = self._flows.get(id(maker))
        if flow is None or flow.module() is not maker:
            flow = self._flows[id(maker)] = Flow(result.maker)
        flow.without += result.without
        flow.detached += not result.without
        if is_sure or not flow.line:
            flow.line = result.line or line_of_the_loop()
        if len(flow.consumers) < CONSUMERS and all(each() is not consumer for each in flow.consumers):
            flow.consumers.append(weakref.ref(consumer))
        return flow


def _asks(module: nn.Module) -> bool:
    return any(p.requires_grad for p in module.parameters())


def _usable(tree: object) -> list[Tensor]:
    """Floating tensors that have memory of their own kind."""
    return [t for t in tensors(tree)[:PARTS] if t.is_floating_point() and _has_memory(t)]


def _has_memory(tensor: Tensor) -> bool:
    if tensor.is_meta or tensor.is_nested or tensor.layout != torch.strided:
        return False
    try:
        tensor.untyped_storage()
    except (RuntimeError, NotImplementedError):  # within torch.func.vmap
        return False
    return True


def _memory(tensor: Tensor) -> StorageWeakRef:
    return StorageWeakRef(tensor.untyped_storage())  # type: ignore[no-untyped-call]


def _has_its_shape(given: Tensor, result: _Result) -> bool:
    return given.shape == result.shape and given.shape != result.given


def _resembles(given: Tensor, result: _Result) -> bool:
    """Whether a batch may have been made of a result, and not of what that was made of.

    As many samples and as many numbers, or features that are one of its axes, as a mean over the others
    leaves; never the shape of the inputs, which the model that is called may be given itself.
    """
    made = result.shape
    if not result.outermost or given.dim() < 2 or len(made) < 2:  # noqa: PLR2004  a sample is no batch
        return False
    if given.shape == result.given or given.shape[0] != made[0]:
        return False
    return given.numel() == made.numel() or (given.dim() == 2 and given.shape[1] in made[1:])  # noqa: PLR2004
