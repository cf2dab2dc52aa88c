"""Follows tensors through a call: which weights and activations they pass. It measures nothing."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from pytest_dlcheck.run.calls.attention import ATTENTIONS
from pytest_dlcheck.run.calls.torch_functions import (
    ACTIVATIONS,
    ARITHMETIC,
    BOXES,
    CONVOLUTIONS,
    DROPS,
    NORMS,
    PARTS,
    PRODUCTS,
    SHAPES,
    TRANSPOSED,
)
from pytest_dlcheck.run.modules.groups import values_together
from pytest_dlcheck.run.tensors.tree import storage_of, tensors

_is_wrapped: Callable[[Tensor], bool] = torch._C._functorch.is_functorch_wrapped_tensor  # noqa: SLF001
_ASKED = frozenset({"size", "dim", "numel", "is_floating_point", "_set_grad_enabled", "__float__"})
"""What gives no tensor, and is asked often."""
_CONVOLVED = CONVOLUTIONS | TRANSPOSED
_LAYERS = _CONVOLVED | {"linear"}
_WEIGHING = _LAYERS | PRODUCTS
unfollowed: Callable[[], AbstractContextManager[None]] = torch._C.DisableTorchFunction  # noqa: SLF001
"""For whoever measures inside of a module's call: to follow that takes longer than to measure."""


class Thread(NamedTuple):
    """Where a tensor comes from: a plain tuple, because each function that is followed makes one.

    Attributes:
        chain: the weights on its longest way so far, without repetition.
        repeats: whether one of them was passed more than once, as in a recurrence.
        feeder: the weights or affine normalisation whose units these still are; empty where none.
        axis: the axis of units; None where it was lost.
        direct: the weights whose output this is, but for its shape, a dropout or a batch
            normalisation; empty where something has happened to it since.
        before: what went into the activation that gave it; None where another function did.
        activation: that activation's key, ``(site, feeder)``.
    """

    chain: tuple[str, ...] = ()
    repeats: bool = False
    feeder: str = ""
    axis: int | None = None
    direct: str = ""
    before: Tensor | None = None
    activation: tuple[str, str] | None = None


_NOWHERE = Thread()


@dataclass(frozen=True)
class Weighing:
    """Weights applied to a tensor.

    Attributes:
        site: the module, or the parameter where a module holds several.
        name: the function: ``linear``, ``conv2d``, ``matmul``.
        given: what they are applied to.
        weight: the weights.
        bias: the bias, if it has one.
        result: what came out.
        options: keyword arguments, and positional ones after the bias.
        thread: where ``given`` comes from.
    """

    site: str
    name: str
    given: Tensor
    weight: Tensor
    bias: Tensor | None
    result: Tensor
    options: tuple[Any, ...]
    thread: Thread


@dataclass(frozen=True)
class Activation:
    """A nonlinearity applied to a tensor that weights have given.

    Attributes:
        site: the module in whose forward it ran.
        name: the function: ``relu``, ``sigmoid``.
        given: what it was applied to; None where it worked in place.
        result: what came out.
        thread: where ``given`` comes from.
        call: its arguments, positional and by name.
    """

    site: str
    name: str
    given: Tensor | None
    result: Tensor
    thread: Thread
    call: tuple[tuple[Any, ...], dict[str, Any]]

    @property
    def key(self) -> tuple[str, str]:
        """What is one layer, however often it is called."""
        return self.site, self.thread.feeder


class Listener:
    """Told what is found; override what is needed."""

    def weighed(self, weighing: Weighing) -> None:
        """Weights were applied."""

    def activated(self, activation: Activation) -> None:
        """An activation was applied to what weights gave."""

    def normalised(self, site: str, direct: str, scale: Tensor | None, shift: Tensor | None) -> None:
        """A normalisation was applied, with what it scales and shifts by.

        Args:
            site: the module.
            direct: the weights whose output it was given; empty where something lay between.
            scale: its weights.
            shift: its bias.
        """

    def grouped(self, site: str, shape: tuple[int, ...], together: int) -> None:
        """A normalisation within samples takes so many values together, of a tensor of this shape."""

    def attended(self, site: str, name: str, call: tuple[tuple[Any, ...], dict[str, Any]]) -> None:
        """A function that may be attention's ran, with these arguments, positional and by name."""

    def ran(self, name: str, used: list[str], *, kept: bool) -> None:
        """A function ran on what the model's data became.

        Args:
            name: the function.
            used: the weights whose outputs it was given directly.
            kept: whether it left them what they were, but for their shape or a linear rescaling.
        """

    def returned(self, threads: list[tuple[Tensor, Thread]]) -> None:
        """The model returned, with these tensors."""


class Threads(TorchFunctionMode):
    """Follows every tensor of a call.

    Args:
        model: whose parameters and modules are named.
        listener: who is told.
    """

    def __init__(self, model: nn.Module, listener: Listener) -> None:
        super().__init__()
        self._listener = listener
        self.modules: list[str] = []
        self._names = {storage_of(p): name for name, p in model.named_parameters() if p.numel()}
        self._known: dict[int, tuple[weakref.ref[Tensor], Thread]] = {}

    def thread(self, tensor: Tensor) -> Thread:
        """Where a tensor comes from."""
        found = self._known.get(id(tensor))
        return found[1] if found is not None and found[0]() is tensor else _NOWHERE

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run the function, and tie its results to what it was given."""
        del types
        options = kwargs or {}
        name = getattr(func, "__name__", "")
        if name in _ASKED:
            return func(*args, **options)
        given = [t for t in tensors([*args, *options.values()]) if not _is_wrapped(t)]
        threads = [self.thread(t) for t in given]
        kept = _kept(name, given, args, options)
        result = func(*args, **options)
        if not given:
            return result
        results = [result] if isinstance(result, Tensor) else tensors(result)
        if results and not any(map(_is_wrapped, results)):
            self._tie(name, (args, options), given, threads, kept, results)
        return result

    def _tie(
        self, name: str, call: Any, given: list[Tensor], threads: list[Thread], kept: Any, results: Any
    ) -> None:
        result = results[0]
        if name in ATTENTIONS:
            self._listener.attended(self._site(), name, call)
        if name in _WEIGHING and (weighing := self._weighing(name, call, given, threads, result)):
            self._listener.weighed(weighing)
            base = self._weighed(weighing.thread, weighing.site)
            base = base._replace(axis=_axis(name, result), direct=weighing.site)
        elif name in NORMS:
            base = self._normalised(name, call, threads, result)
        elif name in ACTIVATIONS:
            base = self._activated(name, call, threads, kept, result)
        else:
            base = self._passed_on(name, given, threads, result)
        if any([thread.chain for thread in threads]):  # noqa: C419  a list is quicker
            used = [thread.direct for thread in threads if thread.direct]
            self._listener.ran(name, used, kept=bool(base.direct) and base.direct in used)
        for tensor in results:
            self._known[id(tensor)] = weakref.ref(tensor), base

    def _normalised(self, name: str, call: Any, threads: list[Thread], result: Tensor) -> Thread:
        first, site = _first(threads), self._site()
        scale, shift = _scale_and_shift(name, call)
        self._listener.normalised(site, first.direct, scale, shift)
        if (together := values_together(name, call)) is not None:
            self._listener.grouped(site, tuple(result.shape), together)
        return _longest(threads)._replace(
            feeder=first.feeder if scale is None and shift is None else site,
            axis=result.dim() - 1 if name in {"layer_norm", "rms_norm"} else 1,
            direct=first.direct if name == "batch_norm" else "",
        )

    def _activated(
        self, name: str, call: Any, threads: list[Thread], kept: Tensor | None, result: Tensor
    ) -> Thread:
        first, base = _first(threads), _longest(threads)
        if not (first.feeder and self.modules and _is_activation(name, call)):
            return base._replace(before=kept)
        activation = Activation(self._site(), name, kept, result, first, call)
        self._listener.activated(activation)
        return base._replace(
            feeder=first.feeder, axis=first.axis, before=kept, activation=activation.key
        )

    def _passed_on(
        self, name: str, given: list[Tensor], threads: list[Thread], result: Tensor
    ) -> Thread:
        first, base = _first(threads), _longest(threads)
        same, main = result.shape == given[0].shape, first is threads[0]
        if name in BOXES:
            return self._weighed(base, self._site())._replace(feeder="")
        if name in DROPS or (name in SHAPES and main):
            return first if same else first._replace(axis=None)
        if name in PARTS and main:
            axis = first.axis if result.dim() == given[0].dim() else None
            return base._replace(feeder=first.feeder, axis=axis)
        own = (thread.chain or self._is_known(x) for thread, x in zip(threads, given, strict=True))
        if name in ARITHMETIC and same and all(own):
            return base._replace(feeder=first.feeder, axis=first.axis)
        return base

    def _weighed(self, thread: Thread, site: str) -> Thread:
        seen = site in thread.chain
        chain = thread.chain if seen else (*thread.chain, site)
        return Thread(chain, thread.repeats or seen, feeder=site)

    def _weighing(
        self, name: str, call: Any, given: list[Tensor], threads: list[Thread], result: Tensor
    ) -> Weighing | None:
        args, options = call
        if name in _LAYERS:
            x = args[0] if args else options["input"]
            weight = args[1] if len(args) > 1 else options["weight"]
            bias = args[2] if len(args) > 2 else options.get("bias")  # noqa: PLR2004
            rest = (*args[3:], options.get("stride"))
        elif len(given) > 1:
            weight = next((t for t in given if storage_of(t) in self._names), None)
            if weight is None:
                return None
            x, bias, rest = given[1] if given[0] is weight else given[0], None, ()
        else:
            return None
        thread = next((th for t, th in zip(given, threads, strict=True) if t is x), _NOWHERE)
        site = self._site_of(weight)
        return Weighing(site, name, x, weight, bias, result, rest, thread)

    def _is_known(self, tensor: Tensor) -> bool:
        return storage_of(tensor) in self._names

    def _site(self) -> str:
        return self.modules[-1] if self.modules and self.modules[-1] else "model"

    def _site_of(self, weight: Tensor) -> str:
        """The module that runs, where the weights are its own; else their own name."""
        name, here = self._names.get(storage_of(weight), ""), self._site()
        if name in {"weight", f"{here}.weight", ""} or name.startswith(f"{here}.parametrizations."):
            return here
        return name.removesuffix(".weight")


@contextmanager
def followed(model: nn.Module, listener: Listener) -> Iterator[Threads]:
    """Follow every tensor of the model's calls meanwhile."""
    threads, handles = Threads(model, listener), []

    def leave(module: nn.Module, _: Any, output: Any) -> None:
        threads.modules.pop()
        if module is model:
            with unfollowed():
                found = [t for t in tensors(output) if t.is_floating_point() and not _is_wrapped(t)]
                listener.returned([(t, threads.thread(t)) for t in found])

    for name, module in model.named_modules():

        def enter(_: nn.Module, __: tuple[Any, ...], name: str = name) -> None:
            threads.modules.append(name)

        handles.append(module.register_forward_pre_hook(enter))
        handles.append(module.register_forward_hook(leave))
    try:
        with threads:
            yield threads
    finally:
        for handle in handles:
            handle.remove()


def is_compiled(model: nn.Module) -> bool:
    """Whether functions inside cannot be followed."""
    return any(
        hasattr(m, "_orig_mod") or isinstance(m, torch.jit.ScriptModule) or m._compiled_call_impl  # noqa: SLF001
        for m in model.modules()
    )


def _first(threads: list[Thread]) -> Thread:
    """The first that still has its units, or the longest."""
    for thread in threads:
        if thread.feeder:
            return thread
    return threads[0]


def _longest(threads: list[Thread]) -> Thread:
    """The longest way, without what was known of the tensor at its end."""
    longest = threads[0]
    for thread in threads[1:]:
        longest = thread if len(thread.chain) > len(longest.chain) else longest
    return Thread(longest.chain, longest.repeats)


def argument(activation: Activation, place: int, name: str, default: float) -> Any:
    """One of its arguments, wherever it was given."""
    args, options = activation.call
    return args[place] if len(args) > place else options.get(name, default)


def _is_activation(name: str, call: Any) -> bool:
    """Whether a clamp is a rectifier: it cuts off what is below 0."""
    if not name.startswith("clamp"):
        return True
    args, options = call
    least = args[1] if len(args) > 1 else options.get("min")
    return isinstance(least, (int, float)) and least == 0


def _kept(name: str, given: list[Tensor], args: Any, options: dict[str, Any]) -> Tensor | None:
    """What an activation was given, where it is left as it was."""
    if name not in ACTIVATIONS or not given:
        return None
    in_place = name.endswith("_") or options.get("inplace") is True or any(a is True for a in args[1:])
    return None if in_place else given[0]


def _scale_and_shift(name: str, call: Any) -> tuple[Tensor | None, Tensor | None]:
    args, options = call
    first = {"batch_norm": 3, "instance_norm": 3}.get(name, 2)
    found = [
        args[place] if len(args) > place else options.get(key)
        for place, key in ((first, "weight"), (first + 1, "bias"))
    ]
    scale, shift = (part if isinstance(part, Tensor) else None for part in found)
    return scale, shift


def _axis(name: str, result: Tensor) -> int:
    return 1 if name in _CONVOLVED else result.dim() - 1
