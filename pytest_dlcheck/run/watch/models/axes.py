"""Which axis models take for that of the samples: layers that run along it, and softmaxes over it.

A loader that stacks samples gives them along the first axis, so that it is known how many there are. It
is known, too, where targets are the next words of what is given: samples lie along the other axis. No
judgement.
"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.weak import WeakIdKeyDictionary

from pytest_dlcheck.run.losses.graphs.cuts import made, sizes_before
from pytest_dlcheck.run.losses.graphs.kept import kept, signed
from pytest_dlcheck.run.losses.graphs.next_words import are_words, steps_of
from pytest_dlcheck.run.modules.arguments import argument
from pytest_dlcheck.run.tensors.graph import Node, entire, kind_of, roots
from pytest_dlcheck.run.tensors.tree import is_plain, tensors
from pytest_dlcheck.run.watch.batches.loading import stacked_shape
from pytest_dlcheck.trace import Row

LOOKS = 4
"""Losses whose graphs are looked at, the first ones."""
NODES = 20_000
"""Nodes of a graph from which on it is left."""
_SEQUENCES = 3
"""Axes of a batch of sequences, as recurrent layers and attention take it."""
_LAID_OUT = ("View", "UnsafeView", "ReshapeAlias")
"""Nodes that lay the same numbers out in another shape."""


@dataclass
class _Layer:
    """A layer that takes sequences.

    Attributes:
        samples_first: whether it takes the first axis for that of the samples; or the second.
        calls: how often it was called, and
        turned: how often of these along the samples, with another axis of the batch in their place.
        shape: what it was called on, and
        batch: what the loader gave, the last time that it was.
    """

    samples_first: bool
    calls: int = 0
    turned: int = 0
    shape: str = ""
    batch: str = ""


@dataclass
class _Reading:
    """A model is called on words that no loader gave, and layers within it on sequences.

    Attributes:
        words: these.
        layers: which, on which shape, and whether that is of blocks of a sequence.
    """

    words: Tensor
    layers: list[tuple[nn.RNNBase | nn.MultiheadAttention, torch.Size, bool]] = field(
        default_factory=list
    )


class Axes:
    """What is done along the samples of the batch that a model is called on."""

    def __init__(self) -> None:
        self._batch: tuple[int, ...] | None = None
        self._called: tuple[int, ...] | None = None
        self._layers: MutableMapping[nn.Module, _Layer] = WeakIdKeyDictionary()
        self._reading: _Reading | None = None
        self._looked = self._over_samples = self._read = 0
        self._shape = ""

    def batch_is_read(self, reading: Any, batch: object) -> None:
        """A loader's iterator has given a batch."""
        shape = stacked_shape(reading, batch)
        self._batch = shape if shape and len(shape) > 1 else None

    def is_called(self, arguments: tuple[Any, ...]) -> None:
        """A module is called from outside of any."""
        if not torch.is_grad_enabled():
            return
        given = next(filter(is_plain, tensors(arguments)[:1]), None)
        self._called = self._batch if given is not None and given.shape == self._batch else None
        if self._called is None and self._read < LOOKS and given is not None and are_words(given):
            self._reading = _Reading(given)

    def returns(
        self,
        module: nn.Module,
        arguments: tuple[Any, ...],
        named: Mapping[str, Any],
        *,
        outermost: bool,
    ) -> None:
        """Any module has returned; what it was given by name is known only now."""
        if outermost or (self._called is None and self._reading is None) or not torch.is_grad_enabled():
            return
        if isinstance(module, nn.RNNBase):
            self._note(module, argument(arguments, named, 0, "input"))
        elif isinstance(module, nn.MultiheadAttention):
            self._note(module, argument(arguments, named, 0, "query"))

    def backward_begins(self, losses: Sequence[Tensor]) -> None:
        """Look for softmaxes over the samples in the graph of a loss that has a target for each."""
        called, self._called = self._called, None
        reading, self._reading = self._reading, None
        if reading is not None and reading.layers:
            self._read += 1
            self._read_by(reading, losses)
        if called is None or self._looked >= LOOKS:
            return
        found = entire(roots(losses), NODES)
        if found is None or not any(_has_a_target_for_each(node, called[0]) for node in found):
            return
        self._looked += 1
        shapes = [shape for node in found if (shape := _over_samples(node, called[0]))]
        self._over_samples += bool(shapes)
        self._shape = shapes[0] if shapes else self._shape

    def rows(self, model: nn.Module) -> tuple[Row, ...]:
        """What was found: a row per layer of a model, and one of all softmaxes."""
        layers = [
            Row(
                kind="layer",
                site=name or type(module).__name__,
                type=type(module).__name__,
                samples_first=layer.samples_first,
                calls=layer.calls,
                turned=layer.turned,
                shape=layer.shape,
                batch=layer.batch,
            )
            for name, module in model.named_modules()
            if (layer := self._layers.get(module)) is not None
        ]
        if not self._looked:
            return tuple(layers)
        counts = {"calls": self._looked, "turned": self._over_samples}
        return (*layers, Row(kind="softmax", site="", shape=self._shape, **counts))

    def _note(self, module: nn.RNNBase | nn.MultiheadAttention, given: Any) -> None:
        if not isinstance(given, Tensor) or given.dim() != _SEQUENCES:
            return
        blocks = _are_blocks(given)
        if self._called is not None:
            self._count(module, given.shape, self._called, samples=0, blocks=blocks)
        elif self._reading is not None:
            self._reading.layers.append((module, given.shape, blocks))

    def _read_by(self, reading: _Reading, losses: Sequence[Tensor]) -> None:
        """Which layers ran along the samples is known by the words that a loss wants."""
        found = entire(roots(losses), NODES) or ()
        targets = [target for node in found if (target := kept(node, "target")) is not None]
        steps = steps_of(reading.words, targets)
        if steps is None:
            return
        for module, given, blocks in reading.layers:
            self._count(module, given, tuple(reading.words.shape), samples=1 - steps, blocks=blocks)

    def _count(
        self,
        module: nn.RNNBase | nn.MultiheadAttention,
        given: Sequence[int],
        called: tuple[int, ...],
        samples: int,
        *,
        blocks: bool,
    ) -> None:
        """A layer was called on a shape, within a model on another, whose samples lie along an axis."""
        layer = self._layers.setdefault(module, _Layer(module.batch_first))
        along, across = (given[1], given[0]) if module.batch_first else (given[0], given[1])
        others = [size for axis, size in enumerate(called) if axis != samples]
        layer.calls += 1
        layer.turned += (
            not blocks and along == called[samples] != across and across in others and across > 1
        )
        layer.shape, layer.batch = str(list(given)), str(list(called))


def _are_blocks(given: Tensor) -> bool:
    """Whether sequences were cut into shorter ones, whose sizes may be those of a batch that is turned.

    So does a view that lays other sizes out anew: blocks of local attention, patches. A layer that was
    applied to each step by itself has one of all steps, ``[n * m, k]``, which is none.
    """
    if given.grad_fn is None:
        return given._is_view() and given.is_contiguous()  # noqa: SLF001  no public name
    found = entire([given.grad_fn], NODES) or ()
    sizes = {tuple(given.shape[:2]), tuple(given.shape[1::-1])}
    return any(
        len(before := sizes_before(node)) >= _SEQUENCES
        and before[:2] != (after := made(node)[:2])
        and tuple(after) in sizes
        for node in found
        if kind_of(node) in _LAID_OUT
    )


def _has_a_target_for_each(node: Node, samples: int) -> bool:
    target = kept(node, "target")
    return target is not None and target.dim() > 0 and len(target) == samples


def _over_samples(node: Node, samples: int) -> str:
    """The shape of what a softmax over the first axis has made, where that alone is of the samples."""
    if not type(node).__name__.startswith(("SoftmaxBackward", "SafeSoftmaxBackward")):
        return ""
    result = kept(node, "result")
    if result is None or result.dim() <= 1 or samples in result.shape[1:]:
        return ""
    axis = signed(node._saved_dim) % result.dim()  # noqa: SLF001  so torch calls what a node has kept
    is_first = not axis and len(result) == samples
    return str(list(result.shape)) if is_first and result[0].numel() > 1 else ""
