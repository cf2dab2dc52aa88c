"""Whether a loss of pairs ever rewards two outputs for being apart: asked alone. Nothing is judged.

Pairs have one of two targets, such as same and other. The outputs of all pairs of one target are moved
apart, from one point to far away, while those of the other target stay where they meet.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.nn import functional as F

from pytest_dlcheck.run.errors import CannotTellError
from pytest_dlcheck.run.losses.calls import last_operation, operation_of
from pytest_dlcheck.run.rig import Rig
from pytest_dlcheck.run.tensors.graph import edges_of
from pytest_dlcheck.run.tensors.tree import map_tensors, tensors
from pytest_dlcheck.run.world.seeding import reseed
from pytest_dlcheck.trace import Row

_TWO = 2
_EACH = 4
"""Pairs of a target that a batch must hold before the target is spoken of."""
DISTANCES = (0.0, *(10 ** (power / 2) for power in range(-4, 5)))
"""Distances between the outputs of a pair, up to 100: margins in use are 0.1 to 10."""
_SPREADS = (0.0, 1.0)
"""Sizes of what tells the pairs of a batch from each other, beside outputs of size 1."""
_BETWEEN = 0.77
"""A distance at which no margin is likely to end."""
_STEP = 1e-2
_ROUNDING = 1e-5
"""Relative difference of two losses that are the same: a float32 sum over a batch; chosen."""
_NOTHING = 1e-6
"""The same to the loss in the middle, where what differs is the rounding of cosines near 1; chosen."""
_ALIKE = 1e-3
"""The same for two courses of a loss, of which each is a difference of such."""
_SLACK = 0.25
"""Relative difference of a slope from its measurement: a detached side gives none of it, or half."""
_AXES = 8
"""Of outputs made up for a model that gives their distance."""
_NORMS = frozenset({"LinalgVectorNorm", "Norm"})
_Ask: TypeAlias = Callable[[Tensor, Tensor], Tensor]


def drawn_together(rig: Rig, outputs: Any, targets: Tensor) -> Iterator[Row]:
    """A row where the loss is one of pairs, made of how far two outputs are from each other.

    Args:
        rig: the recipe.
        outputs: what the model gives.
        targets: one number for each pair, of two distinct values.
    """
    sides = [t for t in tensors(outputs) if t.is_floating_point() and t.requires_grad]
    if not _are_several(targets) or not (_are_pairs(sides, targets) or _is_distance(sides, targets)):
        return
    one = sides[0]
    like = one.detach().float() if len(sides) == _TWO else torch.zeros(len(one), _AXES).to(one.device)

    def ask(first: Tensor, second: Tensor) -> Tensor:
        given = {id(one): first, id(sides[-1]): second}
        if len(sides) == 1:
            given = {id(one): (first - second).norm(dim=1).view_as(one)}
        reseed(rig.seed)
        nest = map_tensors(outputs, lambda t: given.get(id(t), t.detach()))
        return rig.objective.loss_of_outputs(nest, targets).reshape(())

    try:
        with rig.undisturbed():
            reseed(rig.seed)
            yield from _asked(ask, like, targets.reshape(-1))
    except (RuntimeError, ValueError, IndexError, TypeError, AttributeError, CannotTellError):
        return


def _are_several(targets: Tensor) -> bool:
    counts = torch.unique(targets, return_counts=True)[1]
    return len(counts) == _TWO and int(counts.min()) >= _EACH


def _are_pairs(sides: Sequence[Tensor], targets: Tensor) -> bool:
    if len(sides) != _TWO or sides[0].shape != sides[1].shape or sides[0].dim() != _TWO:
        return False
    return sides[0].size(1) >= _TWO and targets.numel() == len(sides[0])


def _is_distance(sides: Sequence[Tensor], targets: Tensor) -> bool:
    """Whether the model gives norms of differences, none of whose sides is fixed."""
    if len(sides) != 1 or not sides[0].dim() or not len(sides[0]) == sides[0].numel() == targets.numel():
        return False
    name, node = last_operation(sides[0])
    while node is not None and name in _NORMS | {"Add"} and edges_of(node) == [0]:
        name, node = operation_of(node.next_functions[0][0])
    return last_operation(sides[0])[0] in _NORMS and name == "Sub" and edges_of(node) == [0, 1]


def _asked(ask: _Ask, like: Tensor, targets: Tensor) -> Iterator[Row]:
    base = F.normalize(torch.randn_like(like[:1]), dim=1).expand_as(like)
    apart = F.normalize(torch.randn_like(like), dim=1)
    away = F.normalize(torch.randn_like(like), dim=1)
    values = torch.unique(targets)
    begin = base + apart
    end = begin + _BETWEEN * away
    if not (
        _is_of_distances(ask, begin, end)
        and _is_of_each_pair(ask, begin, end)
        and _follows(ask, begin, end)
    ):
        return
    courses: dict[float, list[list[float]]] = {float(value): [] for value in values}
    with torch.no_grad():
        for spread in _SPREADS:
            still = base + spread * apart
            for value in values:
                moved = away * (targets == value)[:, None]
                course = [float(ask(still, still + far * moved)) for far in DISTANCES]
                courses[float(value)].append(course)
    told = [loss for each in courses.values() for course in each for loss in course]
    if not all(map(math.isfinite, told)):
        return
    nothing = _NOTHING * float(torch.tensor(told).abs().median())
    one, other = courses.values()
    yield Row(
        part="pairs",
        pairs=len(targets),
        values=", ".join(f"{value:g}" for value in courses),
        farthest=DISTANCES[-1],
        falls=sum(any(_falls(course, nothing) for course in each) for each in (one, other)),
        rises=sum(any(_rises(course, nothing) for course in each) for each in (one, other)),
        proportional=all(map(_are_proportional, one, other)),
    )


def _is_of_distances(ask: _Ask, begin: Tensor, end: Tensor) -> bool:
    """Whether nothing counts but how outputs lie to each other: all may be moved, or turned."""
    shift = torch.randn_like(begin[:1])
    turn = torch.linalg.qr(torch.randn(begin.size(1), begin.size(1)))[0].to(begin)
    with torch.no_grad():
        known = float(ask(begin, end))
        others = float(ask(begin + shift, end + shift)), float(ask(begin @ turn, end @ turn))
    return any(abs(each - known) <= _ALIKE * abs(known) for each in others)


def _is_of_each_pair(ask: _Ask, begin: Tensor, end: Tensor) -> bool:
    """Whether pairs have nothing to do with each other, as negatives in a batch have."""
    half = len(begin) // 2
    others = [torch.cat([side[:half], torch.randn_like(side[half:])]) for side in (begin, end)]
    known, anew = (_slopes(ask, *given)[1][:half] for given in ((begin, end), others))
    return bool((known - anew).abs().max() <= _ALIKE * known.abs().max())


def _follows(ask: _Ask, begin: Tensor, end: Tensor) -> bool:
    """Whether the gradient on either side is what the loss changes by: neither side is detached."""
    fixed = begin, end
    for place, slope in enumerate(_slopes(ask, begin, end)):
        if not bool(slope.any()):
            return False
        step = _STEP * slope / slope.norm(dim=1).max()
        with torch.no_grad():
            up, down = (
                float(ask(*(s + sign * step if i == place else s for i, s in enumerate(fixed))))
                for sign in (1, -1)
            )
        expected = 2 * float((slope * step).sum())
        if abs(up - down - expected) > _SLACK * abs(expected):
            return False
    return True


def _slopes(ask: _Ask, begin: Tensor, end: Tensor) -> tuple[Tensor, ...]:
    sides = begin.clone().requires_grad_(), end.clone().requires_grad_()
    with torch.enable_grad():
        return torch.autograd.grad(ask(*sides), sides)


def _less(one: float, other: float, nothing: float) -> bool:
    return one < other - _ROUNDING * max(abs(one), abs(other)) - nothing


def _falls(course: Sequence[float], nothing: float) -> bool:
    return any(_less(after, before, nothing) for before, after in pairwise(course))


def _rises(course: Sequence[float], nothing: float) -> bool:
    return _less(course[0], course[-1], nothing)


def _are_proportional(one: Sequence[float], other: Sequence[float]) -> bool:
    """Whether targets only weigh what is the same for both."""
    up, along = (torch.tensor(course, dtype=torch.float64) - course[0] for course in (one, other))
    sizes = up.abs().max(), along.abs().max()
    crossed = up * sizes[1] - along * sizes[0]
    return bool(crossed.abs().max() <= _ALIKE * sizes[0] * sizes[1])
