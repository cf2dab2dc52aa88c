"""Whether a target holds the value of what comes after the end of an episode. No judgement.

Such a target is a reward and, discounted, what a critic says of the next state: ``r + gamma * value``.
The loop's own variables are tried for both, and only that relation, to the rounding, tells them; which
samples are an episode's last says a variable of zeros and ones that is called ``done`` or the like.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from numbers import Real
from types import FrameType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pytest_dlcheck.run.code.frames import callers, variables, words_of
from pytest_dlcheck.run.code.lines import frame_of_the_loop
from pytest_dlcheck.run.losses.graphs.near import Near
from pytest_dlcheck.run.tensors.tree import is_plain

FRAMES = 2
"""Functions around a backward pass whose variables are looked at: it may be in one of its own."""
FEWEST = 8
"""Samples (count) that go on, below which a relation may be chance."""
LARGEST = 4096
"""Samples (count) up to which a batch is looked at."""
TRIED = 16
"""Variables (count) that may be either part of a target."""
DISCOUNTS = (0.5, 0.9999)
"""What a value may be multiplied by: less looks hardly ahead, and by one it is a difference only."""
NEAR = 1e-4
"""Distance (ratio to the largest target) up to which a relation holds: rounding of half a dozen sums."""
_ENDS = frozenset(
    {
        *("done", "dones", "d", "ds", "terminated", "terminateds", "terminal", "terminals", "term"),
        *("terms", "terminations"),
    }
)
_AROUND = frozenset({"b", "batch", "mb", "batched", "flag", "flags", "t", "tensor", "is", "was"})
"""What is said of such besides; any other word, as in ``not_done``, may turn it."""
_REGRESSION = frozenset({"MseLoss", "SmoothL1Loss", "HuberLoss", "L1Loss"})
BEYOND, ENDED = "beyond", "ended"


def ends(near: Near, targets: Iterable[Tensor]) -> dict[str, str]:
    """By its name, the variable whose ends a target goes beyond, or stops at; nothing where untold.

    Args:
        near: the nodes next to the loss.
        targets: what it compares, without gradients.
    """
    if near.lacks(_REGRESSION) and near.targets:
        return {}
    fitting = (t for t in targets if t.is_floating_point() and FEWEST < t.numel() <= LARGEST)
    target = next((t for t in fitting if is_plain(t) and t.numel() == len(t)), None)
    frame = frame_of_the_loop() if target is not None else None
    if target is None or frame is None:
        return {}
    known = list(_last_samples(frame, target.numel()))
    found = {name: told for name, last in known if (told := _beside(frame, target, last))}
    told = ENDED if ENDED in found.values() else BEYOND
    return {told: next(name for name, each in found.items() if each == told)} if found else {}


def _beside(frame: FrameType, target: Tensor, last: Tensor) -> str:
    goal, on = _numbers(target), ~last
    parts = list(_parts(frame, goal))
    for value in parts:
        if int(on.sum()) < FEWEST or not float(value[on].std()) > 0:
            continue
        for reward in parts:
            if reward is not value and (discount := _discount(goal[on], reward[on], value[on])):
                rest = goal[last] - reward[last]
                holds = (rest - discount * value[last]).abs() <= _rounding(goal)
                goes_on = bool(holds.all()) and bool((rest.abs() > _rounding(goal)).all())
                return BEYOND if goes_on else ENDED
    return ""


def _discount(goal: Tensor, reward: Tensor, value: Tensor) -> float:
    """By what a value is multiplied, where the target is that and the reward; 0 where it is not."""
    rest = goal - reward
    discount = float(rest @ value / (value @ value))
    if not DISCOUNTS[0] <= discount <= DISCOUNTS[1]:
        return 0.0
    return discount if bool(((rest - discount * value).abs() <= _rounding(goal)).all()) else 0.0


def _rounding(goal: Tensor) -> float:
    return NEAR * float(goal.abs().max())


def _parts(frame: FrameType, goal: Tensor) -> Iterator[Tensor]:
    """Numbers for each sample that a target may be made of."""
    found: list[Tensor] = []
    for each in callers(frame, FRAMES):
        for value in variables(each).values():
            is_one = type(value) is Tensor and value.is_floating_point() and is_plain(value)
            if is_one and value.numel() == len(goal) and not value.requires_grad:
                numbers = _numbers(value)
                if len(found) < TRIED and not torch.equal(numbers, goal):
                    found.append(numbers)
    return iter(found)


def _last_samples(frame: FrameType, size: int) -> Iterator[tuple[str, Tensor]]:
    """What says which samples are the last of an episode, by its name."""
    for each in callers(frame, FRAMES):
        for name, value in variables(each).items():
            words = words_of(name)
            if words & _ENDS and words <= _ENDS | _AROUND:
                marks = _marks(value, size)
                if marks is not None and bool(marks.any()) and not bool(marks.all()):
                    yield name, marks


def _marks(value: Any, size: int) -> Tensor | None:
    """Zeros and ones, as truths; None where it is something else."""
    if isinstance(value, (tuple, list)) and len(value) == size:
        value = _one_by_one(value)
    elif isinstance(value, np.ndarray) and value.size == size and value.dtype.kind in "biuf":
        value = torch.from_numpy(np.ascontiguousarray(value))
    if type(value) is not Tensor or not is_plain(value) or value.numel() != size:
        return None
    numbers = _numbers(value)
    return numbers == 1 if bool(((numbers == 0) | (numbers == 1)).all()) else None


def _one_by_one(values: Sequence[Any]) -> Tensor | None:
    def number(each: Any) -> float | None:
        if isinstance(each, (Real, np.bool_)) or (type(each) is Tensor and each.numel() == 1):
            return float(each)
        return None

    numbers = [number(each) for each in values]
    return torch.tensor(numbers) if None not in numbers else None


def _numbers(value: Tensor) -> Tensor:
    return value.detach().reshape(-1).double().cpu()
