"""What a declared shape contract claims of given inputs and outputs, claim by claim. No model here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from pytest_dlcheck.run.tensors.tree import named_tensors
from pytest_dlcheck.shapes import ShapeContract, TensorShape

Named = tuple[str, Tensor]


@dataclass(frozen=True)
class Claim:
    """One thing that a contract says, beside what was found.

    Attributes:
        tensor: the place of the tensor: ``"input"``, ``"output.logits"``.
        kind: ``"size"``, ``"rank"``, ``"dtype"`` or ``"count"``.
        axis: the axis, for sizes; -1 otherwise.
        dim: the declared dim or dtype.
        expected, measured: sizes, ranks or counts; 1 and 0 for a wrong dtype.
        found: the tensor's shape or dtype in words.
    """

    tensor: str
    kind: str
    axis: int
    dim: str
    expected: int
    measured: int
    found: str

    @property
    def kept(self) -> bool:
        """Whether it holds."""
        return self.expected == self.measured


def matched(
    declared: Sequence[TensorShape], tree: Any, root: str
) -> tuple[list[tuple[TensorShape, Named]], list[Claim]]:
    """The declared tensors beside the real ones: by name in a dict, by position otherwise.

    Returns:
        The pairs, and a broken claim for each declared tensor that is not there.
    """
    found = list(named_tensors(tree, root))
    if isinstance(tree, Mapping) or hasattr(tree, "logits"):
        found = [item for item in found if item[0] != f"{root}.loss"] or found
    by_name = {name.rpartition(".")[2]: item for item in found for name in [item[0]]}
    pairs, missing = [], []
    for position, shape in enumerate(declared):
        item = by_name.get(shape.name) if shape.name else None
        if item is None and not (shape.name and isinstance(tree, Mapping)):
            item = found[position] if position < len(found) else None
        if item is None:
            place = f"{root}.{shape.name}" if shape.name else f"{root}[{position}]"
            there = ", ".join(name for name, _ in found) or "none"
            missing.append(Claim(place, "count", -1, str(shape), 1, 0, f"there are: {there}"))
        else:
            pairs.append((shape, item))
    return pairs, missing


def claims(contract: ShapeContract, inputs: Any, outputs: Any, *, dtypes: bool) -> Iterator[Claim]:
    """Everything that the contract says of one call.

    Args:
        contract: the declared shapes.
        inputs: the nest of inputs; None to look at outputs only.
        outputs: the nest of outputs.
        dtypes: whether declared dtypes count too.
    """
    sizes: dict[str, int] = {}
    sides: list[tuple[Sequence[TensorShape], Any, str]] = [(contract.outputs, outputs, "output")]
    if inputs is not None:
        sides.insert(0, (contract.inputs, inputs, "input"))
    for declared, tree, root in sides:
        pairs, missing = matched(declared, tree, root)
        yield from missing
        for shape, (place, tensor) in pairs:
            yield from _of_tensor(shape, place, tensor, sizes)
            if dtypes and shape.dtype:
                dtype = str(tensor.dtype).removeprefix("torch.")
                right = int(dtype == shape.dtype)
                yield Claim(place, "dtype", -1, shape.dtype, 1, right, dtype)


def _of_tensor(shape: TensorShape, place: str, tensor: Tensor, sizes: dict[str, int]) -> Iterator[Claim]:
    found = str(tuple(tensor.shape))
    rank = len(shape.dims)
    yield Claim(place, "rank", -1, str(shape), rank, tensor.dim(), found)
    if tensor.dim() != rank:
        return
    for axis, dim in enumerate(shape.dims):
        size = tensor.size(axis)
        expected = dim if isinstance(dim, int) else sizes.setdefault(dim, size)
        yield Claim(place, "size", axis, str(dim), expected, size, found)
