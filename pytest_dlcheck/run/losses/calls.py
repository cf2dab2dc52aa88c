"""The loss functions of torch that are called while a loss is computed, with what they were given."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from pytest_dlcheck.run.rig import Rig

_KNOWN: dict[Callable[..., Any], str] = {
    F.cross_entropy: "cross_entropy",
    F.nll_loss: "nll_loss",
    F.binary_cross_entropy: "binary_cross_entropy",
    F.binary_cross_entropy_with_logits: "binary_cross_entropy_with_logits",
    F.mse_loss: "mse_loss",
    F.l1_loss: "l1_loss",
    F.smooth_l1_loss: "smooth_l1_loss",
    F.huber_loss: "huber_loss",
    F.kl_div: "kl_div",
}
_DIFFERENCES = frozenset({"sub", "rsub", "__sub__", "__rsub__", "subtract"})
_SHAPING = frozenset(
    [
        "View",
        "Reshape",
        "Squeeze",
        "Unsqueeze",
        "Transpose",
        "Permute",
        "T",
        "Select",
        "Slice",
        "ToCopy",
        "Clone",
        "Alias",
        "UnsafeView",
        "Expand",
        "AsStrided",
        "ReshapeAlias",
        "Index",
    ]
)
_RESHAPES = frozenset({"view", "reshape", "flatten", "unflatten", "view_as", "reshape_as", "ravel"})
_DROPOUTS = frozenset({"dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout"})
_PRODUCTS = frozenset({"matmul", "mm", "__matmul__", "linear"})
_DEEPEST = 12
CLASSES = frozenset({"cross_entropy", "nll_loss"})
REGRESSION = frozenset({"mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss"})
ELEMENTS = REGRESSION | {"binary_cross_entropy", "binary_cross_entropy_with_logits"}


@dataclass
class LossCall:
    """One call of a loss function of torch.

    Attributes:
        kind: its name.
        outputs, targets: what it compared.
        options: its other arguments.
        value: what it gave.
        slope: what the whole loss changes by with it; None where it takes no part, or is the whole.
    """

    kind: str
    outputs: Tensor
    targets: Tensor
    options: Mapping[str, Any]
    value: Tensor
    function: Callable[..., Any]
    slope: Tensor | None = None

    def with_outputs(self, outputs: Tensor) -> float:
        """The mean loss of other outputs, all else equal."""
        options = {k: v for k, v in self.options.items() if k not in {"size_average", "reduce"}}
        with torch.no_grad():
            value = self.function(outputs, self.targets, **{**options, "reduction": "mean"})
        return float(value)


@dataclass
class Computed:
    """One computation of the loss.

    Attributes:
        loss: whatever the recipe gives as loss.
        outputs: the outputs, or None where the step gives none.
        calls: the loss functions called with something that requires grad.
        warned: the warnings that torch gave meanwhile.
    """

    loss: Any = None
    outputs: Any = None
    calls: list[LossCall] = field(default_factory=list)
    warned: list[warnings.WarningMessage] = field(default_factory=list)
    squared: list[tuple[Tensor, Tensor]] = field(default_factory=list)
    """Differences by hand of what requires grad and what does not, of shapes ``[n, 1]`` and ``[n]``."""
    reshaped: dict[int, tuple[Tensor, Tensor]] = field(default_factory=dict)
    """What was reshaped, and into what, by the id of the latter, which lives on here."""
    dropped: dict[int, Tensor] = field(default_factory=dict)
    """What dropout gave, by its id."""
    products: list[tuple[Tensor, Tensor, Tensor]] = field(default_factory=list)
    """Matrix products: rows, the rows of the other side, and the result, all of them 2-D."""

    def is_dropped(self, tensor: Tensor) -> bool:
        """Whether dropout was the last to touch it."""
        last = self.before_reshape(tensor)
        return id(last) in self.dropped and bool((last == 0).any())

    def before_reshape(self, tensor: Tensor) -> Tensor:
        """What a tensor was before it was reshaped, however often."""
        for _ in range(_DEEPEST):
            if id(tensor) not in self.reshaped:
                break
            tensor = self.reshaped[id(tensor)][0]
        return tensor


def computed(rig: Rig) -> Computed:
    """Compute the loss of the first batch, in the modes the modules are in, and listen."""
    result = Computed()
    with warnings.catch_warnings(record=True) as caught, rig.autocast(), _listening(result):
        warnings.simplefilter("always")
        result.loss, result.outputs = rig.objective.raw_loss(rig.batch)
    result.warned = caught
    for call in result.calls:
        call.slope = _slope(result.loss, call.value)
    return result


def _slope(loss: Any, value: Tensor) -> Tensor | None:
    connected = isinstance(loss, Tensor) and loss.requires_grad and value.requires_grad
    if loss is value or not connected:
        return None
    found: tuple[Tensor | None, ...] = torch.autograd.grad(
        loss.sum(), value, allow_unused=True, retain_graph=True
    )
    return found[0]


def last_operation(tensor: Tensor) -> tuple[str, Any]:
    """The last operation of the graph that changes values, and its node.

    Returns:
        Its name as ``"Softmax"``, ``"Sigmoid"``, ``"Addmm"``; empty where there is no graph.
    """
    return operation_of(tensor.grad_fn)


def operation_of(node: Any) -> tuple[str, Any]:
    """The same from a node of the graph on."""
    for _ in range(_DEEPEST):
        if node is None:
            break
        name = _operation_named(node.name())
        if name not in _SHAPING:
            return name, node
        node = node.next_functions[0][0] if node.next_functions else None
    return "", None


@lru_cache(maxsize=1024)
def _operation_named(node: str) -> str:
    return re.sub(r"Backward\d*$", "", node).lstrip("_")


@contextmanager
def _listening(result: Computed) -> Iterator[None]:
    class Listener(TorchFunctionMode):
        def __torch_function__(
            self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
        ) -> Any:
            del types
            value = func(*args, **(kwargs or {}))
            name = getattr(func, "__name__", "")
            follows = isinstance(value, Tensor) and (value.requires_grad or name in _RESHAPES)
            if name in _RESHAPES and args and follows and value is not args[0]:
                result.reshaped[id(value)] = (args[0], value)
            if name in _DROPOUTS and follows and value is not args[0]:
                result.dropped[id(value)] = value
            if name in _PRODUCTS and follows and _are_matrices(*args[:2], value):
                result.products.append((args[0], args[1] if name == "linear" else args[1].T, value))
            if func in _KNOWN:
                call = _call(func, args, kwargs or {}, value)
                if call is not None:
                    result.calls.append(call)
            elif name in _DIFFERENCES and _makes_pairs(args):
                result.squared.append((args[0], args[1]))
            return value

    with Listener():
        yield


def _are_matrices(*given: Any) -> bool:
    return len(given) == 3 and all(isinstance(t, Tensor) and t.dim() == 2 for t in given)  # noqa: PLR2004


def _makes_pairs(args: tuple[Any, ...]) -> bool:
    if len(args) != 2 or not all(isinstance(a, Tensor) for a in args):  # noqa: PLR2004
        return False
    one, other = sorted(args, key=lambda t: t.dim())
    fits = one.dim() == 1 and other.shape == (len(one), 1) and len(one) > 1
    return fits and one.requires_grad != other.requires_grad


def _call(
    func: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any], value: Any
) -> LossCall | None:
    options = dict(kwargs)
    given = list(args)
    outputs = given.pop(0) if given else options.pop("input", None)
    targets = given.pop(0) if given else options.pop("target", None)
    both = isinstance(outputs, Tensor) and isinstance(targets, Tensor)
    if given or not both or not outputs.requires_grad or not isinstance(value, Tensor):
        return None
    return LossCall(_KNOWN[func], outputs, targets, options, value, func)
