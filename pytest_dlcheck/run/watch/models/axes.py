"""Which axis models take for that of the samples: layers that run along it, and softmaxes over it.

A loader that stacks samples gives them along the first axis, so that it is known how many there are. No
judgement.
"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.weak import WeakIdKeyDictionary

from pytest_dlcheck.run.losses.graphs.kept import kept, signed
from pytest_dlcheck.run.tensors.graph import Node, entire, roots
from pytest_dlcheck.run.tensors.tree import tensors
from pytest_dlcheck.run.watch.batches.loading import stacked_shape
from pytest_dlcheck.run.watch.models.arguments import argument
from pytest_dlcheck.trace import Row

LOOKS = 4
"""Losses whose graphs are looked at, the first ones."""
NODES = 20_000
"""Nodes of a graph from which on it is left."""
_SEQUENCES = 3
"""Axes of a batch of sequences, as recurrent layers and attention take it."""


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


class Axes:
    """What is done along the samples of the batch that a model is called on."""

    def __init__(self) -> None:
        self._batch: tuple[int, ...] | None = None
        self._called: tuple[int, ...] | None = None
        self._layers: MutableMapping[nn.Module, _Layer] = WeakIdKeyDictionary()
        self._looked = self._over_samples = 0
        self._shape = ""

    def batch_is_read(self, reading: Any, batch: object) -> None:
        """A loader's iterator has given a batch."""
        shape = stacked_shape(reading, batch)
        self._batch = shape if shape and len(shape) > 1 else None

    def is_called(self, arguments: tuple[Any, ...]) -> None:
        """A module is called from outside of any."""
        if self._batch is None or not torch.is_grad_enabled():
            return
        given = next(iter(tensors(arguments)), None)
        self._called = self._batch if given is not None and given.shape == self._batch else None

    def returns(
        self,
        module: nn.Module,
        arguments: tuple[Any, ...],
        named: Mapping[str, Any],
        *,
        outermost: bool,
    ) -> None:
        """Any module has returned; what it was given by name is known only now."""
        if outermost or self._called is None or not torch.is_grad_enabled():
            return
        if isinstance(module, nn.RNNBase):
            self._note(module, argument(arguments, named, 0, "input"), self._called)
        elif isinstance(module, nn.MultiheadAttention):
            self._note(module, argument(arguments, named, 0, "query"), self._called)

    def backward_begins(self, losses: Sequence[Tensor]) -> None:
        """Look for softmaxes over the samples in the graph of a loss that has a target for each."""
        called, self._called = self._called, None
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

    def _note(
        self, module: nn.RNNBase | nn.MultiheadAttention, given: Any, called: tuple[int, ...]
    ) -> None:
        if not isinstance(given, Tensor) or given.dim() != _SEQUENCES:
            return
        layer = self._layers.setdefault(module, _Layer(module.batch_first))
        along, across = (given.shape[1], given.shape[0]) if module.batch_first else given.shape[:2]
        layer.calls += 1
        layer.turned += along == called[0] != across and across in called[1:] and across > 1
        layer.shape, layer.batch = str(list(given.shape)), str(list(called))


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
