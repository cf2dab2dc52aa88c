"""Calling a model with other numbers of samples, and finding where the batch axis goes astray."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from pytest_dlcheck.run.calls.crossings import Crossing, Origin, crossings, origin
from pytest_dlcheck.run.errors import CannotTellError, ending_of, message_of
from pytest_dlcheck.run.rig import Rig
from pytest_dlcheck.run.tensors.tree import batch_size, take, tensors

PROBED = (1, 2, 3)
"""Numbers of samples that are tried besides the loader's own."""
Path = list[Crossing[list[tuple[int, ...]]]]


@dataclass
class Passed:
    """One call of the model in eval mode.

    Attributes:
        inputs: what it was called with.
        outputs: what it gave; None where it refused.
        error: why it refused; empty where it did not.
        site: the module in which it refused.
        path: the shapes of what entered and left every module.
    """

    inputs: Any
    outputs: Any = None
    error: str = ""
    site: str = ""
    path: Path = field(default_factory=list)


def passed(rig: Rig, inputs: Any, read: Callable[[Any], Any] | None = None) -> Passed:
    """Call the model in eval mode, following every module.

    Args:
        rig: the recipe.
        inputs: what it is called with.
        read: what to keep of the outputs; by default all.
    """
    result = Passed(inputs)
    with rig.undisturbed(training=False), torch.no_grad(), rig.autocast():
        with crossings(rig.model, _shapes) as path:
            try:
                outputs = rig.call.function(inputs)
            except Exception as error:  # noqa: BLE001  the user's model may refuse in any way
                result.error = message_of(error).splitlines()[0]
                result.site = ending_of(error, "", None, rig.model).where.removeprefix(", in ")
            else:
                result.outputs = outputs if read is None else read(outputs)
        result.path = path
    return result


def resized(rig: Rig, count: int, dim: int) -> Any:
    """The call's inputs with ``count`` samples along ``dim``, repeated where there are not enough.

    Raises:
        CannotTellError: the inputs cannot be taken apart into samples.
    """
    inputs = rig.call.inputs
    size = batch_size(inputs, dim)
    if size is None or _packed(inputs):
        raise CannotTellError("the inputs cannot be taken apart into samples")
    return take(inputs, torch.arange(count) % size, dim)


def astray(rig: Rig, own: Path, other: Path, dim: int, sizes: tuple[int, int]) -> Origin | None:
    """Where the batch axis first does not follow, comparing two calls of ``sizes`` samples."""
    at_own = dict(_numbered(own))
    for index, (key, crossing) in enumerate(_numbered(other)):
        before = at_own.get(key)
        if before is None or len(before.seen) != len(crossing.seen):
            continue
        for one, two in zip(before.seen, crossing.seen, strict=True):
            follows = len(one) > dim and one[dim] == sizes[0]
            if follows and not (len(two) == len(one) and two[dim] == sizes[1]):
                return origin(rig.model, other, index)
    return None


def needs_this_batch(rig: Rig, dim: int) -> str:
    """Why a refusal of other batch sizes would be no fault; empty where there is no such reason."""
    size = batch_size(rig.call.inputs, dim)
    given = [t for t in tensors(rig.call.inputs) if t.dim() > 0]
    if any(t.dim() <= dim or t.size(dim) != size for t in given):
        return "an input has no axis of samples"
    square = any(tuple(t.shape) == (size, size) for t in given)
    if square or any(sum(s == size for s in t.shape) > 1 for t in rig.model.buffers()):
        return "an input or buffer has two axes as long as the batch"
    if any(_carried(rig, module, size) for module in rig.model.modules()):
        return "the model carries state from one batch to the next"
    return ""


def _carried(rig: Rig, module: nn.Module, size: int | None) -> bool:
    def held() -> dict[str, list[Tensor]]:
        return {k: tensors(v) for k, v in vars(module).items() if not k.startswith("_")}

    before = held()
    if not any(size in t.shape for kept in before.values() for t in kept):
        return False
    passed(rig, rig.call.inputs)
    return any(
        size in t.shape and all(t is not old for old in before.get(name, []))
        for name, kept in held().items()
        for t in kept
    )


def _numbered(path: Path) -> Iterator[tuple[tuple[str, bool, int], Crossing[list[tuple[int, ...]]]]]:
    counts: dict[tuple[str, bool], int] = {}
    for crossing in path:
        key = (crossing.site, crossing.entering)
        counts[key] = counts.get(key, -1) + 1
        yield (*key, counts[key]), crossing


def _shapes(found: list[Tensor]) -> list[tuple[int, ...]]:
    return [tuple(t.shape) for t in found]


def _packed(tree: Any) -> bool:
    if isinstance(tree, PackedSequence):
        return True
    parts = tree.values() if isinstance(tree, dict) else tree
    return isinstance(tree, (dict, list, tuple)) and any(map(_packed, parts))
