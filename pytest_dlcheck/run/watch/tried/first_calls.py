"""What a trained model was called on, kept once it is known where its samples, or its steps, lie.

A loader that stacks samples gives them along the first axis, and so does a loss that has one target for
each. Along time a model is known to be called where its targets are what comes next. No judgement.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, MutableMapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.weak import WeakIdKeyDictionary

from pytest_dlcheck.run.contents.alignment import are_maps
from pytest_dlcheck.run.experiments.attended import padded_sequences
from pytest_dlcheck.run.losses.graphs.foresight import embeds, is_looked_up
from pytest_dlcheck.run.losses.graphs.near import Near
from pytest_dlcheck.run.losses.graphs.next_words import are_words, lined_up
from pytest_dlcheck.run.losses.graphs.written import written
from pytest_dlcheck.run.tensors.graph import Node
from pytest_dlcheck.run.tensors.tree import detached, is_plain, map_tensors, tensors
from pytest_dlcheck.run.watch.batches.loading import stacked_shape
from pytest_dlcheck.run.watch.guard import Guard
from pytest_dlcheck.run.watch.tried.row_by_row import is_like_an_image

LOOKS = 6
"""Calls of a model whose losses are looked at, the first ones."""
LARGEST = 1 << 20
"""Numbers in what a model is called on above which it is not kept."""
STEPS = 4
"""Steps of a sequence, and different values in it, from which on it is one."""
_EQUAL = 1e-5
"""Relative difference up to which targets that were worked out are what they were worked out from."""
_TWO = 2
_WORDS = (type(None), bool, int, float, complex, str, torch.dtype, torch.device, torch.Size)


@dataclass(frozen=True)
class Call:
    """One call of a model.

    Attributes:
        args: what it was called with, copied.
        kwargs: the same by name.
        from_loader: whether a loader has stacked the samples of its first tensor.
        has_a_target_each: whether the loss has a target for each row of its first tensor.
        steps: the axis of time of the input whose next steps are the targets; None where none are.
        timed: which of the tensors of the inputs that is.
        copied: which of them is all that the loss has as targets, place by place; None where none is.
        redraws: whether its first tensor is to be made into images of the same square shape.
    """

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    from_loader: bool = False
    has_a_target_each: bool = False
    steps: int | None = None
    timed: int = 0
    copied: int | None = None
    redraws: bool = False


class FirstCalls:
    """The first calls of trained models that tell where samples or steps lie.

    Args:
        guard: stands before what modules call.
    """

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self._looked: MutableMapping[nn.Module, int] = WeakIdKeyDictionary()
        self._found: MutableMapping[nn.Module, Call] = WeakIdKeyDictionary()
        self._others: MutableMapping[nn.Module, Call] = WeakIdKeyDictionary()
        """Calls on sequences that end alike, or on images with maps, of which nothing else is known."""
        self._settled: Callable[[], nn.Module | None] = lambda: None
        """The model of whose calls nothing more is asked, the last that was."""
        self._stacked: tuple[int, ...] | None = None
        self._open: tuple[weakref.ref[nn.Module], Call] | None = None

    def batch_is_read(self, reading: Any, batch: object) -> None:
        """A loader's iterator has given a batch."""
        self._stacked = stacked_shape(reading, batch)

    def is_called(self, module: nn.Module) -> None:
        """A model is about to be called in order to train."""
        if self._settled() is module:
            return
        looked = self._looked.get(module, 0)
        if looked >= LOOKS or module in self._found:
            self._settled = weakref.ref(module)
            return
        self._looked[module] = looked + 1
        _Listening(module, self._guard(self._returns))

    def _returns(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        found = tensors((args, kwargs))
        if not found or not all(map(is_plain, found)) or not _is_bare((args, kwargs)):
            return
        if sum(tensor.numel() for tensor in found) > LARGEST:
            return
        copied = map_tensors(detached((list(args), kwargs)), Tensor.clone)
        # the shape of a square batch does not tell it from itself turned
        shape = tuple(found[0].shape)
        stacks = self._stacked is not None and shape == self._stacked and shape[0] not in shape[1:]
        self._open = weakref.ref(module), Call(tuple(copied[0]), copied[1], from_loader=stacks)

    def backward_begins(self, losses: Sequence[Tensor]) -> None:
        """See what the loss holds the last call's results against."""
        if self._open is None:
            return
        (module, call), self._open, self._stacked = self._open, None, None
        if len(losses) != 1 or losses[0].grad_fn is None or (model := module()) is None:
            return
        near = Near.of_loss(losses[0].grad_fn)
        targets = [*near.targets.values()] or [each.target for each in written(near.root)]
        first = tensors((call.args, call.kwargs))[0]
        each = any(_are_of_each(first, target) for target in targets)
        number, axis = _next_steps(call, targets)
        copied = _copied(call, targets, losses[0].grad_fn) if axis is None else None
        if call.from_loader or each or axis is not None or copied is not None:
            images = any(t.shape == first.shape and is_like_an_image(t) for t in targets)
            found = Call(call.args, call.kwargs, call.from_loader, each, axis, number, copied, images)
            self._found[model] = found
        elif model not in self._others and _tells_samples(call, targets):
            self._others[model] = call

    def of(self, model: nn.Module) -> Call | None:
        """The call that was kept of a model, if any."""
        return self._found.get(model) or self._others.get(model)


def _tells_samples(call: Call, targets: Sequence[Tensor]) -> bool:
    given = tensors((call.args, call.kwargs))
    if any(True for each in given for _ in padded_sequences("", each)):
        return True
    return any(are_maps(given[0], target) and len(given[0]) == len(target) for target in targets)


def _is_bare(given: Any) -> bool:
    """Whether it is tensors, numbers and words in plain nests: copied, they share nothing."""
    if type(given) is dict:
        return all(type(key) in _WORDS and _is_bare(value) for key, value in given.items())
    if type(given) in {list, tuple}:
        return all(map(_is_bare, given))
    return type(given) in {*_WORDS, Tensor, nn.Parameter}


def _are_of_each(given: Tensor, target: Tensor) -> bool:
    """Whether there is one target for each row of a tensor, and no other axis is as long."""
    if not given.dim() or target.dim() not in {1, 2} or len(given) < STEPS:
        return False
    alone = target.numel() == len(target) == len(given)
    return alone and len(given) not in given.shape[1:]


def _next_steps(call: Call, targets: Sequence[Tensor]) -> tuple[int, int | None]:
    """The input whose next steps are the targets, and its axis of time."""
    for number, given in enumerate(tensors((call.args, call.kwargs))):
        for axis in (1, 0):
            if any(_are_next(given, target, axis) for target in targets):
                return number, axis
    return 0, None


def _copied(call: Call, targets: Sequence[Tensor], root: Node) -> int | None:
    """The sequences that are all targets of the loss, and embedded as they are, if any is embedded."""
    for number, given in enumerate(tensors((call.args, call.kwargs))):
        if not are_words(given):
            continue
        is_sequence = max(given.shape) >= STEPS and len(torch.unique(given)) >= STEPS
        if is_sequence and targets and all(_are_same(given, target) for target in targets):
            return number if is_looked_up(root, given) or not embeds(root) else None
    return None


def _are_same(given: Tensor, target: Tensor) -> bool:
    if target.is_floating_point() or given.numel() != target.numel() or given.device != target.device:
        return False
    return torch.equal(given.reshape(-1), target.reshape(-1).to(given.dtype))


def _are_next(given: Tensor, target: Tensor, axis: int) -> bool:
    """Whether all targets are what follows, along an axis, upon what was given."""
    odd = given.dtype == torch.bool or given.is_complex()
    if odd or given.dim() < _TWO or min(given.shape) < 1 or given.shape[axis] < STEPS:
        return False
    if given.device != target.device or given.is_floating_point() != target.is_floating_point():
        return False
    if (pair := lined_up(given, target, axis)) is None:
        return False
    later, compared = pair
    near = _EQUAL if given.is_floating_point() else 0.0
    same = torch.isclose(later, compared.to(later.dtype), rtol=near, atol=near)
    return bool(same.all()) and len(torch.unique(compared)) >= STEPS


class _Listening:
    """A forward hook that hears one call with all its arguments. Its module may be copied meanwhile."""

    def __init__(self, module: nn.Module, told: Any) -> None:
        self._module, self._told = weakref.ref(module), told
        self._handle = module.register_forward_hook(self, with_kwargs=True)

    def __call__(
        self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], _: object
    ) -> None:
        if self._module() is module:
            self._handle.remove()
            self._told(module, args, kwargs)

    def __deepcopy__(self, memo: object) -> _Listening:
        return self

    def __copy__(self) -> _Listening:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return getattr, (nullcontext(None), "__exit__")  # takes what it is given, and gives None
