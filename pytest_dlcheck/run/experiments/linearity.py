"""Whether the whole network is linear, and where two layers of weights follow without a nonlinearity."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from pytest_dlcheck.run.calls.threads import Listener, Thread, Weighing, followed, is_compiled
from pytest_dlcheck.run.calls.torch_functions import CONVOLUTIONS, DROPS, SHAPES
from pytest_dlcheck.run.errors import CannotTellError, NotApplicableError
from pytest_dlcheck.run.experiment import Experiment
from pytest_dlcheck.run.objective import Call
from pytest_dlcheck.run.passes.soundings import COMPILED
from pytest_dlcheck.run.passes.stirring import stirred
from pytest_dlcheck.run.rig import Rig
from pytest_dlcheck.run.tensors.compare import calibrate
from pytest_dlcheck.run.tensors.tree import map_tensors, take, tensors
from pytest_dlcheck.trace import Row

SAMPLES = 8
"""Samples that are enough: what is linear is so for each."""
SHARES = (0.3, 2.0)
"""Where between two inputs, and beyond them, outputs are compared."""
SCALES = (1.0, 10.0, 100.0)
"""How far away the second input is: a ReLU whose units are open for all data bends there."""
_STILL = 1e-9
"""Relative change of outputs below which they do not depend on the inputs."""
_CLEAR = 0.01
"""A distance from linear (ratio) after which nobody need look further away."""
_PLAIN = 0.1
"""The same in float32, and the change of outputs as a share of them that it takes: a hundred times the
rounding of convolutions on a GPU (TF32)."""
_EMBEDDINGS = (nn.Embedding, nn.EmbeddingBag)
_POOLS = frozenset(f"{kind}max_pool{n}d" for kind in ("", "adaptive_") for n in (1, 2, 3))
_LINEAR = frozenset(
    {"linear", "add", "__add__", "__iadd__", "add_", "sub", "__sub__", "mean", "sum", "cat", "pad"}
    | {
        "interpolate",
        "batch_norm",
        "conv_transpose2d",
        "__getitem__",
        "avg_pool2d",
        "adaptive_avg_pool2d",
    }
    | CONVOLUTIONS
    | SHAPES
    | DROPS
)
_LEAST = 2


@dataclass
class _Layer:
    """What is known of one layer of weights: its channels, in and out."""

    given: int
    gives: int
    special: bool


@dataclass
class _Walk(Listener):
    """What one call of the model passes."""

    layers: dict[str, _Layer] = field(default_factory=dict)
    pairs: list[tuple[str, str]] = field(default_factory=list)
    consumers: dict[str, int] = field(default_factory=dict)
    functions: set[str] = field(default_factory=set)
    ends: list[tuple[Tensor, Thread]] = field(default_factory=list)

    def weighed(self, weighing: Weighing) -> None:
        self.layers.setdefault(weighing.site, _layer(weighing))
        if weighing.thread.direct and weighing.thread.direct != weighing.site:
            self.pairs.append((weighing.thread.direct, weighing.site))

    def ran(self, name: str, used: list[str], *, kept: bool) -> None:
        for site in () if kept else used:
            self.consumers[site] = self.consumers.get(site, 0) + 1
        self.functions.add(name)

    def returned(self, threads: list[tuple[Tensor, Thread]]) -> None:
        self.ends = threads


class Linearity(Experiment):
    """Fills ``linearity``: a row for the whole, and one per pair of layers that one could replace.

    The whole is linear (affine) if outputs at mixtures of two inputs are the mixtures of their
    outputs, in eval mode, before a last activation, and in float64 unless float32 shows it plainly not
    to be. Inputs are the floating tensors, and the outputs of embeddings.
    """

    fact = "linearity"
    needs_loss = False

    def run(self, rig: Rig) -> Iterable[Row]:
        """Walk once, then mix."""
        if is_compiled(rig.model):
            raise CannotTellError(COMPILED)
        with rig.undisturbed(training=False), torch.no_grad():
            walk = _walk(rig, _few(rig))
            longest = max(
                (thread for _, thread in walk.ends), key=lambda t: len(t.chain), default=Thread()
            )
            if len(longest.chain) < _LEAST:
                raise NotApplicableError("the network has no two layers of weights in a row")
            calibrate(rig.model, rig.call)
            squashed, exact = any(t.before is not None for _, t in walk.ends), False
            with stirred(rig):
                bend = _plain_bend(rig, squashed=squashed)
                if bend is None:
                    with rig.in_double() as function:
                        bend, exact = _bend(rig, function, squashed=squashed)
        chain = [site for site in longest.chain if site in walk.layers]
        doubled = [pair for pair in pairwise(chain) if _replaceable(walk, *pair)]
        yield Row(
            layers=len(longest.chain),
            bend=bend,
            exact=exact,
            recurrent=longest.repeats,
            first=doubled[0][0] if doubled else "",
            second=doubled[0][1] if doubled else "",
            doubled=len(doubled),
            narrow=_narrowest(walk, chain) if not doubled else "",
            only_pools=bool(walk.functions & _POOLS) and walk.functions <= _POOLS | _LINEAR,
        )
        returned = {thread.direct for _, thread in walk.ends}
        for first, second in dict.fromkeys(walk.pairs):
            alone = walk.consumers.get(first) == walk.pairs.count((first, second))
            if alone and first not in returned and _replaceable(walk, first, second):
                yield Row(first=first, second=second, width=walk.layers[first].gives)


def _few(rig: Rig) -> Call:
    """The call with a few samples, where these can be taken out of the batch."""
    call, dim, size = rig.call, rig.recipe.batch_dim, rig.batch_size
    if dim is None or size is None or size <= SAMPLES:
        return call
    return Call(take(call.inputs, torch.arange(SAMPLES), dim), call.function)


def _walk(rig: Rig, call: Call) -> _Walk:
    """Call once, with all samples if a few do not do; the rig's call is then the one that went well."""
    walk = _Walk()
    try:
        with followed(rig.model, walk), rig.autocast():
            call()
    except Exception:
        if call is rig.call:
            raise
        return _walk(rig, rig.call)
    rig.call = call
    return walk


def _layer(weighing: Weighing) -> _Layer:
    weight, name = weighing.weight, weighing.name
    if name in CONVOLUTIONS:
        axis = weighing.given.dim() - weight.dim() + 1
        given, kernel = weighing.given.size(axis), tuple(weight.shape[2:])
        special = given != weight.size(1) or len(set(kernel)) > 1
        return _Layer(given, weight.size(0), special)
    if name == "linear":
        return _Layer(weight.size(1), weight.size(0), special=False)
    if name.startswith("conv_transpose"):
        given = weight.size(0)
        return _Layer(given, weighing.result.size(-weight.dim() + 1), special=False)
    return _Layer(weighing.given.size(-1), weighing.result.size(-1), special=weight.dim() != _LEAST)


def _replaceable(walk: _Walk, first: str, second: str) -> bool:
    """Whether one layer could do what the two do: not where a narrow or separated pair saves work."""
    one, two = walk.layers.get(first), walk.layers.get(second)
    if one is None or two is None or one.special or two.special:
        return False
    evenly = one.given == one.gives == two.gives
    return evenly or one.gives > min(one.given, two.gives)


def _narrowest(walk: _Walk, chain: list[str]) -> str:
    return min(chain[:-1], key=lambda site: walk.layers[site].gives, default="")


def _bend(rig: Rig, function: Any, *, squashed: bool) -> tuple[float, bool]:
    """The largest distance from a mixture, relative to the change of outputs; and whether in float64.

    Args:
        rig: the recipe.
        function: the call, in double precision.
        squashed: whether an activation is the last that an output has passed.

    Raises:
        CannotTellError: no floating input or embedding, or outputs that do not depend on them.
    """
    draws = torch.Generator().manual_seed(rig.seed)
    worst, exact = 0.0, True
    for scale in SCALES:
        mixing = _Mixing(rig, function, draws, scale, squashed=squashed)
        here, there = mixing.outputs(1.0), mixing.outputs(0.0)
        exact = exact and all(t.dtype == torch.float64 for t in here)
        for share in SHARES:
            between = mixing.outputs(share)
            bends = [_distance(*three, share) for three in zip(here, there, between, strict=True)]
            known = [bend for bend in bends if bend is not None]
            if not known:
                raise CannotTellError("the outputs do not depend on the inputs")
            worst = max(worst, *known)
            if worst > _CLEAR:
                return worst, exact
    return worst, exact


def _plain_bend(rig: Rig, *, squashed: bool) -> float | None:
    """The distance from a single mixture in float32; None where that is no proof of a nonlinearity."""
    draws = torch.Generator().manual_seed(rig.seed)
    mixing = _Mixing(rig, rig.call.function, draws, SCALES[0], squashed=squashed)
    here, there, between = (mixing.outputs(share) for share in (1.0, 0.0, SHARES[0]))
    if any(t.dtype != torch.float32 for t in here):
        return None
    trios = zip(here, there, between, strict=True)
    bends = [_distance(*trio, share=SHARES[0], still=_PLAIN) for trio in trios]
    return max((bend for bend in bends if bend is not None and bend >= _PLAIN), default=None)


def _distance(
    here: Tensor, there: Tensor, between: Tensor, share: float, still: float = _STILL
) -> float | None:
    here, there, between = (t.double() for t in (here, there, between))
    change = float((here - there).abs().max())
    if change <= still * float(here.abs().max()):
        return None
    gap = float((between - share * here - (1 - share) * there).abs().max())
    return gap / change if gap == gap else None  # noqa: PLR0124  NaN tells nothing


@contextmanager
def _returned(model: nn.Module, walk: _Walk) -> Iterator[None]:
    """Hear what the model returns, and nothing of where that comes from."""

    def leave(_: nn.Module, __: Any, output: Any) -> None:
        walk.returned([(t, Thread()) for t in tensors(output) if t.is_floating_point()])

    handle = model.register_forward_hook(leave)
    try:
        yield
    finally:
        handle.remove()


class _Mixing:
    """Calls at ``share`` of the batch and the rest of another input, made from it."""

    def __init__(
        self, rig: Rig, function: Any, draws: torch.Generator, scale: float, *, squashed: bool
    ) -> None:
        self._rig, self._function, self._draws, self._scale = rig, function, draws, scale
        self._follow = followed if squashed else _returned
        self._other: dict[Any, Tensor] = {}
        floats = [t for t in tensors(rig.call.inputs) if t.is_floating_point()]
        embeddings = [m for m in rig.model.modules() if isinstance(m, _EMBEDDINGS)]
        if not floats and not embeddings:
            raise NotApplicableError("the model has no floating input and no embedding to mix")

    def outputs(self, share: float) -> list[Tensor]:
        """The outputs, before a last activation, in the order in which they are returned."""
        walk, place = _Walk(), iter(range(1 << 20))

        def mix(tensor: Tensor) -> Tensor:
            if not tensor.is_floating_point():
                return tensor
            other = self._away(("input", next(place)), tensor)
            return share * tensor + (1 - share) * other.to(tensor)

        inputs = map_tensors(self._rig.call.inputs, mix)
        with self._embeddings(share), self._follow(self._rig.model, walk):
            self._function(inputs)
        found = [t if thread.before is None else thread.before for t, thread in walk.ends if t.dim()]
        return [t.detach().clone() for t in found]

    @contextmanager
    def _embeddings(self, share: float) -> Iterator[None]:
        calls: dict[int, int] = {}

        def hook(module: nn.Module, _: Any, output: Tensor) -> Tensor:
            count = calls[id(module)] = calls.get(id(module), -1) + 1
            return share * output + (1 - share) * self._away((id(module), count), output).to(output)

        handles = [
            m.register_forward_hook(hook)
            for m in self._rig.model.modules()
            if isinstance(m, _EMBEDDINGS)
        ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _away(self, key: Any, tensor: Tensor) -> Tensor:
        if key not in self._other:
            wide = tensor.detach().double()
            size = wide.square().mean().sqrt().clamp(min=1e-6).cpu()
            noise = torch.randn(tensor.shape, generator=self._draws, dtype=torch.float64) * size
            moved = wide.roll(1, 0) if wide.dim() else wide
            self._other[key] = self._scale * (noise.to(wide.device) - moved)
        return self._other[key]
