"""The shape contract's language: ``"b t:int64 -> logits: b t v"``, parsed once, without torch.

It speaks of names and sizes only; whether tensors keep the contract is found out in ``run``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_NAME = re.compile(r"[A-Za-z_]\w*")
_DTYPES = frozenset(
    f"{kind}{bits}"
    for kind, sizes in (
        ("int", (8, 16, 32, 64)),
        ("float", (16, 32, 64)),
        ("complex", (64, 128)),
    )
    for bits in sizes
) | {"bool", "uint8", "bfloat16"}
_SYNTAX = (
    'write sizes and named dims separated by spaces, tensors by commas, "->" before the outputs, '
    'for example "b 1 28 28 -> b 10" or "b t:int64 -> logits: b t v:float32"'
)


class ShapeSyntaxError(ValueError):
    """The shape contract cannot be read; the message says where and how to write one."""


@dataclass(frozen=True, slots=True)
class TensorShape:
    """The declared shape of one tensor.

    Attributes:
        name: the key in a dict of inputs or outputs; empty when tensors are told apart by position.
        dims: a fixed size (int) or the name of a size (str), outermost first.
        dtype: torch's name of the data type (``"int64"``), or empty for any.
    """

    name: str
    dims: tuple[int | str, ...]
    dtype: str = ""

    def __str__(self) -> str:
        text = " ".join(map(str, self.dims))
        text = f"{self.name}: {text}" if self.name else text
        return f"{text}:{self.dtype}" if self.dtype else text


@dataclass(frozen=True, slots=True)
class ShapeContract:
    """What a model takes and gives: the shapes of its input and its output tensors."""

    inputs: tuple[TensorShape, ...]
    outputs: tuple[TensorShape, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The named dims, in order of first mention."""
        tensors = self.inputs + self.outputs
        return tuple(dict.fromkeys(d for t in tensors for d in t.dims if isinstance(d, str)))

    def __str__(self) -> str:
        sides = (", ".join(map(str, side)) for side in (self.inputs, self.outputs))
        return " -> ".join(sides)


def parse_shapes(text: str) -> ShapeContract:
    """Read a shape contract.

    Args:
        text: ``"inputs -> outputs"``; each side one or more tensors separated by commas; a tensor is
            ``[name:] dim dim ... [:dtype]`` where a dim is a size or a name.

    Raises:
        ShapeSyntaxError: the text is no contract.

    Example:
        >>> str(parse_shapes("b 1 8 8 -> b 10"))
        'b 1 8 8 -> b 10'
    """
    if text.count("->") != 1:
        raise ShapeSyntaxError(f'shapes={text!r} has {text.count("->")} "->", not one: {_SYNTAX}')
    inputs, outputs = (
        tuple(_tensor(part, text) for part in side.split(",")) for side in text.split("->")
    )
    return ShapeContract(inputs, outputs)


def _tensor(part: str, whole: str) -> TensorShape:
    body, name, dtype = part.strip(), "", ""
    if match := re.match(r"([A-Za-z_][\w.]*)\s*:\s+(?=\S)", body):
        name, body = match.group(1), body[match.end() :]
    if ":" in body:
        body, dtype = (piece.strip() for piece in body.rsplit(":", 1))
        if dtype not in _DTYPES:
            raise ShapeSyntaxError(
                f"shapes={whole!r} names the dtype {dtype!r}; valid are {', '.join(sorted(_DTYPES))}"
            )
    dims = tuple(_dim(token, whole) for token in body.split())
    return TensorShape(name, dims, dtype)


def _dim(token: str, whole: str) -> int | str:
    if token.isdecimal():
        return int(token)
    if _NAME.fullmatch(token):
        return token
    raise ShapeSyntaxError(f"shapes={whole!r} has the dim {token!r}: {_SYNTAX}")
