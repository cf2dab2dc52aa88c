"""How low a loss can get on a batch when the outputs themselves are free. The model is not trained."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pytest_dlcheck.run.losses.known import best_answers
from pytest_dlcheck.run.rig import Rig
from pytest_dlcheck.run.tensors.tree import detached, map_tensors, tensors
from pytest_dlcheck.run.world.drawing import told_to_draw

ITERATIONS = 200
"""L-BFGS iterations at most: cross-entropy of free logits is below 1e-3 after about 20."""
LARGEST = 1 << 20
"""Output elements beyond which this is not tried."""

DRAWS = 4
"""Evaluations that the noise is told from, where random numbers are drawn at all."""
PRECISE = 1e-3
"""Change of the loss, as a share of where it began, below which its least value is known well enough:
the shares of progress that are asked for are 200 times larger."""

WINDOW = 6
"""Evaluations over which that change is taken: a line search alone takes two or three."""

ENDLESS = 1e12
"""Sizes of the first loss below zero from which on a loss has no floor: a line search along one goes
ten times further at each evaluation, and comes there within twenty. Counts of a million have a Poisson
likelihood of 1e7."""

TELLING = 0.01
"""Share of the way from the first loss to the floor below which one output serves all samples as
well as any: then there is nothing in the batch that inputs could tell apart."""


@dataclass(frozen=True)
class Attainable:
    """What free outputs reach on a batch, in the loss's unit.

    Attributes:
        floor: the least loss of outputs chosen for each sample, the same where inputs are the same;
            label smoothing, soft targets and contradicting targets keep it above zero. Zero where
            it is not known.
        uninformed: the least loss of one output chosen for all samples: what can be reached without
            looking at the inputs. None where it is not known.
        noise: standard deviation of the loss over draws of the model's own random numbers, at fixed
            weights; zero where it has none.
        has_floor: whether outputs were found that no others of these samples better by anything that
            counts, also where their loss is negative, as that of a likelihood; False where the loss
            ran away, None where neither is known.
    """

    floor: float = 0.0
    uninformed: float | None = None
    noise: float = 0.0
    has_floor: bool | None = None

    def start(self, first: float) -> float:
        """Where progress is counted from: the uninformed loss where it tells anything."""
        if self.uninformed is None:
            return first
        tells = self.uninformed - self.floor > TELLING * (first - self.floor)
        return self.uninformed if tells else first


class _KnownWellEnoughError(Exception):
    """The least value no longer changes by anything that counts."""


NOTHING_KNOWN = Attainable()


def attainable(rig: Rig, batch: Any) -> Attainable:
    """What free outputs reach on this batch; the loss is asked, the model is left as it was."""
    noise, given = _noise(rig, batch)
    if rig.recipe.loss is None or rig.recipe.batch_dim != 0:
        return Attainable(noise=noise)
    try:
        outputs = map_tensors(detached(_outputs(rig, batch) if given is None else given), _widened)
        targets = rig.objective.targets(batch)
        size, groups = _same_inputs(rig.objective.call(batch).inputs)
    except Exception:  # noqa: BLE001  the user's code may refuse in any way: then nothing is known
        return Attainable(noise=noise)
    if not _has_samples(outputs, size):
        return Attainable(noise=noise)

    def loss(values: Any) -> Tensor:
        return rig.objective.loss_of_outputs(values, targets)

    known = best_answers(rig.recipe.loss, outputs, targets)
    lowest, one_for_all = (
        (known and _at(loss, known(alike))) or _least(loss, outputs, alike)
        for alike in (groups, torch.zeros_like(groups))
    )
    return Attainable(
        floor=lowest.counted or 0.0,
        uninformed=one_for_all.counted,
        noise=noise,
        has_floor=lowest.is_reached,
    )


@dataclass(frozen=True)
class _Least:
    """The least loss that was found; NaN where the loss cannot be asked, then nothing else is known."""

    value: float = math.nan
    is_reached: bool | None = None

    @property
    def counted(self) -> float | None:
        """What progress can be counted to: no likelihood, and none that ran away."""
        return self.value if 0 <= self.value < math.inf else None


def _at(loss: Callable[[Any], Tensor], best: Tensor) -> _Least | None:
    """The loss of outputs that no others better; None where it cannot be asked like this."""
    try:
        with torch.no_grad():
            value = float(loss(best))
    except Exception:  # noqa: BLE001  a hook of the user's may want a graph
        return None
    return _Least(value, is_reached=True) if math.isfinite(value) else None


def _least(loss: Callable[[Any], Tensor], outputs: Any, groups: Tensor) -> _Least:
    """The least loss over outputs that are free but equal within groups."""
    count = int(groups.max()) + 1
    sizes = torch.bincount(groups, minlength=count)
    free: list[Tensor] = []

    def begin(tensor: Tensor) -> Tensor:
        if tensor.is_floating_point():
            sums = tensor.new_zeros((count, *tensor.shape[1:])).index_add_(0, groups, tensor)
            share = sizes.to(tensor.dtype).view(-1, *[1] * (tensor.dim() - 1))
            free.append((sums / share).requires_grad_())
        return tensor

    def spread(part: Tensor) -> Tensor:
        if count == len(groups):
            return part.clone()  # each sample is a group of its own, in their order
        return part.expand(len(groups), *part.shape[1:]).clone() if count == 1 else part[groups]

    map_tensors(outputs, begin)
    history: list[float] = []  # the least so far, after each evaluation
    optimizer = torch.optim.LBFGS(free, max_iter=ITERATIONS, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        given = iter(free)
        values = map_tensors(outputs, lambda t: spread(next(given)) if t.is_floating_point() else t)
        value = loss(values)
        for part, slope in zip(free, torch.autograd.grad(value, free, allow_unused=True), strict=True):
            part.grad = slope
        history.append(min(history[-1] if history else math.inf, float(value.detach())))
        if len(history) > WINDOW and history[-WINDOW] - history[-1] < PRECISE * abs(history[0]):
            raise _KnownWellEnoughError
        return value

    try:
        with torch.enable_grad():
            optimizer.step(closure)  # type: ignore[no-untyped-call]
    except _KnownWellEnoughError:
        pass
    except Exception:  # noqa: BLE001  a loss that cannot be asked like this is simply not known
        return _Least()
    return _Least(history[-1], is_reached=_has_ended(history))


def _has_ended(history: list[float]) -> bool | None:
    """Whether the last evaluations won nothing that counts; None where they cannot tell."""
    first, lowest = history[0], history[-1]
    if lowest < -ENDLESS * max(1.0, abs(first)):
        return False
    if len(history) < WINDOW or not math.isfinite(lowest):
        return None
    return True if history[-WINDOW] - lowest < PRECISE * max(first - lowest, abs(first)) else None


def _noise(rig: Rig, batch: Any) -> tuple[float, Any]:
    """How far the loss scatters over draws, and the outputs of the first; None where it gave none."""
    losses: list[float] = []
    first = None
    try:
        for draw in range(DRAWS):
            with rig.undisturbed(), rig.autocast():
                (loss, outputs), draws = told_to_draw(lambda: rig.objective.loss(batch), rig.seed + draw)
            losses.append(float(loss.detach()))
            first = detached(outputs) if not draw else first
            if not draws:
                return 0.0, first
    except Exception:  # noqa: BLE001  the trial itself will tell what is wrong with the step
        return 0.0, None
    spread = torch.tensor(losses, dtype=torch.float64).std().item()
    return float(spread) if math.isfinite(spread) else 0.0, first


def _outputs(rig: Rig, batch: Any) -> Any:
    with rig.undisturbed(), torch.no_grad(), rig.autocast():
        return rig.objective.call(batch)()


def _same_inputs(inputs: Any) -> tuple[int, Tensor]:
    """The number of samples, and for each the number of its group of equal inputs."""
    parts = [t.reshape(len(t), -1) for t in tensors(inputs) if t.dim()]
    size = len(parts[0])
    flat = torch.cat([part.to(torch.float64) for part in parts if len(part) == size], dim=1)
    groups: Tensor = torch.unique(flat, dim=0, return_inverse=True)[1]
    return size, torch.arange(size, device=groups.device) if int(groups.max()) + 1 == size else groups


def _has_samples(outputs: Any, size: int) -> bool:
    found = [t for t in tensors(outputs) if t.is_floating_point()]
    fits = bool(found) and all(t.dim() and len(t) == size for t in found)
    return fits and sum(t.numel() for t in found) <= LARGEST


def _widened(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.dtype in {torch.float16, torch.bfloat16} else tensor
