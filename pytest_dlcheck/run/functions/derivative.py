"""A custom Function's backward beside finite differences of its forward. It judges nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import torch
from torch import Tensor

from pytest_dlcheck.run.functions.custom import FunctionCall
from pytest_dlcheck.run.functions.quantising import quantises
from pytest_dlcheck.run.world.seeding import same_draws

_DIRECTIONS = 5
_STEP = {torch.float64: 1e-6, torch.float32: 1e-2}
"""Length of a step relative to the input's spread: the root of the rounding, roughly."""
_FLAT = 1e-7
"""Derivative over its gradient's scale (ratio) up to which a forward does not move."""


@dataclass(frozen=True)
class Comparison:
    """What backward gives for one input, beside what differences of forward give.

    Attributes:
        argument: the index of the input.
        analytic, numeric: directional derivatives, a number per direction.
        rough: how much the numeric ones change with half the step (ratio, median).
        scale: what backward's derivatives are measured against where both are small.
        ignores: whether backward gives the same for any gradient that arrives; a Function that gives
            one number is then compared for the gradient 1, which a loss gets.
        transposed: whether its transpose fits instead.
        identity: whether the Function gives this input back unchanged.
        where_flat: whether the two differ at elements only at which forward is flat; None where the
            Function does not act on each element by itself.
        rectifies: whether it is max(x, 0).
        quantises: whether what it gives is rounded, to few values or to a grid.
    """

    argument: int
    analytic: tuple[float, ...]
    numeric: tuple[float, ...]
    rough: float
    scale: float
    ignores: bool
    transposed: bool
    identity: bool
    where_flat: bool | None
    rectifies: bool
    quantises: bool

    @property
    def error(self) -> float:
        """The relative distance of the two, median over directions."""
        return median(_apart(a, n, self.scale) for a, n in zip(self.analytic, self.numeric, strict=True))

    @property
    def flat(self) -> bool:
        """Whether forward does not change with this input, where backward says it does."""
        return max(map(abs, self.numeric)) <= _FLAT * self.scale and not self.silent

    @property
    def silent(self) -> bool:
        """Whether backward gives no gradient at all."""
        return not any(self.analytic)

    @property
    def ratio(self) -> float | None:
        """Backward over forward, where that is one number in every direction."""
        ratios = [a / n for a, n in zip(self.analytic, self.numeric, strict=True) if n]
        middle = median(ratios) if ratios else 0.0
        same = all(abs(r - middle) <= 10 * max(self.rough, 1e-4) * abs(middle) for r in ratios)
        return middle if ratios and same and middle else None


class Derivative:
    """One call of a custom Function, to be made again.

    Args:
        kind: the Function.
        call: the call.
        dtype: the precision to work in.
        seed: of its own draws, and of the directions.
    """

    def __init__(self, kind: type[Any], call: FunctionCall, dtype: torch.dtype, seed: int) -> None:
        self.kind, self.call, self.dtype, self.seed = kind, call, dtype, seed
        self.generator = torch.Generator().manual_seed(seed)
        self.arguments = [self._cast(a) for a in call.arguments]

    def comparisons(self) -> list[Comparison]:
        """One for each input that requires grad."""
        return [self._compare(index) for index in self.call.trained]

    def _cast(self, value: Any) -> Any:
        floating = isinstance(value, Tensor) and value.is_floating_point()
        return value.to(self.dtype) if floating else value

    def _outputs(self, arguments: Sequence[Any]) -> list[Tensor]:
        with same_draws(self.seed):
            found = self.kind.apply(*[a.clone() if isinstance(a, Tensor) else a for a in arguments])
        given = found if isinstance(found, (tuple, list)) else [found]
        return [t for t in given if isinstance(t, Tensor) and t.is_floating_point()]

    def _at(self, index: int, value: Tensor) -> list[Tensor]:
        arguments = list(self.arguments)
        arguments[index] = value
        with torch.no_grad():
            return [t.double() for t in self._outputs(arguments)]

    def _weights(self, outputs: list[Tensor]) -> list[Tensor]:
        return [self._random(t).double() for t in outputs]

    def _random(self, like: Tensor) -> Tensor:
        return torch.randn(like.shape, generator=self.generator).to(like.device, like.dtype)

    def gradient(self, index: int, weights: list[Tensor]) -> Tensor:
        """What backward gives for one input, for these gradients of the outputs."""
        arguments = list(self.arguments)
        leaf = arguments[index] = self.arguments[index].clone().requires_grad_()
        with torch.enable_grad():
            outputs = self._outputs(arguments)
            pairs = [(t, w) for t, w in zip(outputs, weights, strict=True) if t.requires_grad]
            if not pairs:
                return torch.zeros_like(leaf).double()
            (found,) = torch.autograd.grad(
                [t for t, _ in pairs], leaf, [w.to(t.dtype) for t, w in pairs], allow_unused=True
            )
        return torch.zeros_like(leaf).double() if found is None else found.double()

    def _compare(self, index: int) -> Comparison:
        value = self.arguments[index]
        outputs = self._at(index, value)
        ignores = self._ignores(index, outputs)
        is_loss = ignores and [t.numel() for t in outputs] == [1]
        step = _STEP[self.dtype] * (_spread(value) or 1.0)
        analytic, numeric, halves, turned, gradients = [], [], [], [], []
        for _ in range(_DIRECTIONS):
            weights, direction = self._weights(outputs), self._random(value)
            weights = [torch.ones_like(w) for w in weights] if is_loss else weights
            gradient = self.gradient(index, weights)
            gradients.append(gradient)
            along = direction.double()
            analytic.append(float((gradient * along).sum()))
            if gradient.dim() == 2 and gradient.size(0) == gradient.size(1):  # noqa: PLR2004
                turned.append(float((gradient.T * along).sum()))
            numeric.append(self._difference(index, direction, weights, step))
            halves.append(self._difference(index, direction, weights, step / 2))
        scale = median(float(g.norm()) for g in gradients) or _spread(torch.tensor(numeric)) or 1.0
        return Comparison(
            argument=index,
            analytic=tuple(analytic),
            numeric=tuple(halves),
            rough=median(_apart(a, b, scale) for a, b in zip(numeric, halves, strict=True)),
            scale=scale,
            ignores=ignores,
            transposed=bool(turned)
            and median(_apart(a, b, scale) for a, b in zip(turned, halves, strict=True)) < 1e-3,  # noqa: PLR2004
            identity=any(t.shape == value.shape and torch.equal(t, value.double()) for t in outputs),
            where_flat=self._where_flat(index, outputs, step),
            rectifies=len(outputs) == 1 and _is(outputs[0], value.double().relu()),
            quantises=any(quantises(value.double(), t) for t in outputs),
        )

    def _difference(self, index: int, direction: Tensor, weights: list[Tensor], step: float) -> float:
        value = self.arguments[index]
        ahead, behind = (self._at(index, value + s * step * direction) for s in (1, -1))
        terms = [((a - b) * w).sum() for a, b, w in zip(ahead, behind, weights, strict=True)]
        return float(sum(terms)) / (2 * step)

    def _ignores(self, index: int, outputs: list[Tensor]) -> bool:
        weights = self._weights(outputs)
        one, other = (self.gradient(index, w) for w in (weights, [3 * w for w in weights]))
        return bool(one.any()) and _is(one, other)

    def _where_flat(self, index: int, outputs: list[Tensor], step: float) -> bool | None:
        value = self.arguments[index]
        if len(outputs) != 1 or outputs[0].shape != value.shape:
            return None
        half = self._random(value) > 0
        moved = self._at(index, torch.where(half, value + step, value))[0]
        if not torch.equal(moved[~half], outputs[0][~half]):
            return None
        ahead, behind = (self._at(index, value + s * step)[0] for s in (1, -1))
        slope = (ahead - behind) / (2 * step)
        weights = self._weights(outputs)
        gradient = self.gradient(index, weights)
        wrong = (gradient - slope * weights[0]).abs() > 0.05 * (gradient.abs() + weights[0].abs())
        return bool((slope[wrong].abs() <= 1e-6).all())  # noqa: PLR2004


def _apart(one: float, other: float, scale: float) -> float:
    largest = max(abs(one), abs(other))
    return abs(one - other) / max(largest, 1e-6 * scale) if largest else 0.0


def _spread(tensor: Tensor) -> float:
    values = tensor.double()
    return float(values.std()) if values.numel() > 1 else float(values.abs().sum())


def _is(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and torch.allclose(one, other, rtol=1e-5, atol=1e-12)
