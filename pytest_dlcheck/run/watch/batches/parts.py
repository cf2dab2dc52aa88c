"""What a loop calls the rows that it evaluates on, and how much of the held-out ones was trained on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import takewhile
from types import FrameType
from typing import Any

import torch
from torch import Tensor

from pytest_dlcheck.run.code.frames import callers, named, words_of
from pytest_dlcheck.run.tensors.tree import first_tensor, is_plain
from pytest_dlcheck.run.watch.batches.loading import Loading
from pytest_dlcheck.run.watch.batches.names import (
    FRAMES,
    called,
    is_held_out,
    is_trained_on,
    may_be_sound,
)
from pytest_dlcheck.run.watch.batches.seen import FEW, Seen, among
from pytest_dlcheck.trace import Scalar

_VALIDATING = frozenset({"validate", "validating", "validation", "val", "test"})
"""Words of functions that evaluate held-out data; what begins with ``test_`` may be a test of pytest."""
_SHORT = frozenset(f"{each}{part}" for each in ("", "x", "y") for part in ("te", "va", "val", "test"))
"""Words of variables that are not clear enough to name a loader, but show what is known: ``x_te``."""
FEW_OF_ALL = 0.1
"""Share of the samples trained on (ratio) up to which a batch is a few to look at; validations take a
tenth to a third. Chosen."""
COORDINATES = 3
"""Numbers of a sample up to which it may be a point on a grid: two sets then share points on purpose."""
NONE: dict[str, Scalar] = {
    "held_out": "",
    "held_samples": 0,
    "held_distinct": 0,
    "held_cleanest": 0.0,
    "held_trained": 0,
}
"""What is told where the loop does not call all that it evaluates on by such names."""


def part_of(frame: FrameType | None, arguments: Any, loading: Loading | None) -> str:
    """The name of a variable around an evaluation that holds what is evaluated, if it tells a part.

    Args:
        frame: of the function that calls the model.
        arguments: on what.
        loading: how loaders were read; None where this is no loader's batch.
    """
    given = first_tensor(arguments)
    if given is None or not is_plain(given) or not given.dim():
        return ""
    if given.numel() <= COORDINATES * len(given):
        return ""
    if loading is not None:
        return called(frame, loading.is_read_by)
    return called(frame, lambda value: _has(value, given))


def knows_of_held_out(frame: FrameType | None) -> bool:
    """Whether anything around an evaluation is called held out: a variable, an attribute, a function.

    So is what their code names, as the method that gives a loader. A device may be called ``dev``.

    Args:
        frame: of the function that calls the model.
    """
    around = [*takewhile(lambda caller: not _is_of_pytest(caller), callers(frame, FRAMES))]
    inside = (pair for caller in around for pair in named(caller, 1))
    names = [name for name, value in inside if not _is_something_else(name, value)]
    names += [name for caller in around for name in caller.f_code.co_names if words_of(name) != {"dev"}]
    if any(is_held_out(name) or words_of(name) & _SHORT for name in names):
        return True
    functions = (caller.f_code.co_name for caller in around)
    return any(words_of(name) & _VALIDATING for name in functions if not name.startswith("test_"))


def _is_something_else(name: str, value: Any) -> bool:
    """Whether it is no data, for all its name: a device, a mask, a network, the value of a key."""
    if isinstance(value, torch.device | str | torch.nn.Module):
        return True
    if isinstance(value, Tensor) and value.dtype == torch.bool:
        return True
    return len(words_of(name)) == 1 and isinstance(value, int | float)


def _is_of_pytest(frame: FrameType) -> bool:
    return frame.f_globals.get("__name__", "").partition(".")[0] in {"_pytest", "pluggy"}


def is_meant_as_held_out(trained: Sequence[Seen], evaluated: Sequence[Seen], *, known: bool) -> bool:
    """Whether late evaluations are of held-out data: by their names, or as the loop knows of such.

    What it knows says nothing of a tensor that is kept under a name that tells nothing, nor of a few
    samples: they may be there to watch how they are learned.

    Args:
        trained: what was trained on.
        evaluated: what was evaluated.
        known: whether anything around is called held out.
    """
    last = max((seen.step for seen in evaluated), default=0)
    known_rows = {value for seen in trained for value in seen.values()}
    late = [seen for seen in evaluated if 2 * seen.step >= last]
    late = [seen for seen in late if not known_rows.isdisjoint(seen.values())] or late
    if any(is_held_out(seen.part) for seen in late):
        return True
    others = all(is_trained_on(seen.part) or (seen.is_kept and not seen.part) for seen in late)
    return known and not (others or _are_few(trained, evaluated))


def _are_few(trained: Sequence[Seen], evaluated: Sequence[Seen]) -> bool:
    """Whether each evaluation is no more than a batch, and all of them are of a few samples."""
    rows: Counter[int] = Counter()
    for seen in evaluated:
        rows[seen.phase] += len(seen.values())
    largest = max((len(seen.values()) for seen in trained), default=0)
    if max(rows.values(), default=0) > largest:
        return False
    known = {value for seen in trained for value in seen.values()}
    return len({value for seen in evaluated for value in seen.values()}) <= FEW_OF_ALL * len(known)


def held_out_overlap(trained: Sequence[Seen], evaluated: Sequence[Seen]) -> dict[str, Scalar]:
    """How much of what is called held out was trained on, where all the rest is called training data.

    Counted is every evaluation: what is evaluated before it is trained on may be given labels so.

    Args:
        trained: batches, in order.
        evaluated: the same.
    """
    held = [seen for seen in evaluated if is_held_out(seen.part)]
    others = [seen for seen in evaluated if not is_held_out(seen.part)]
    if not held or not others or not all(is_trained_on(seen.part) for seen in others):
        return NONE
    if _may_be_rows_that_are_valid(held, others):
        return NONE
    if not _are_measured(evaluated):
        return NONE
    began: dict[float, int] = {}
    for seen in reversed(trained):
        began |= dict.fromkeys(seen.values(), seen.step)  # the first step stays
    passes: dict[tuple[int, int], list[bool]] = {}
    for seen in held:
        hits = [began.get(value, seen.step) < seen.step for value in seen.values()]
        passes.setdefault((seen.stream, seen.step), []).extend(hits)
    shares = [sum(hits) / len(hits) for hits in passes.values() if len(hits) >= FEW]
    first = next(iter(passes))
    once = [v for seen in held if (seen.stream, seen.step) == first for v in seen.values()]
    return {
        "held_out": held[-1].part,
        "held_samples": len(once),
        "held_distinct": len(set(once)),
        "held_cleanest": min(shares, default=0.0),
        "held_trained": among(began, held),
    }


def _may_be_rows_that_are_valid(held: Sequence[Seen], others: Sequence[Seen]) -> bool:
    """Whether a part of the training data is called valid: nothing may be wrong with it."""
    if not all(may_be_sound(seen.part) for seen in held):
        return False
    known = {value for seen in others for value in seen.values()}
    return any(value in known for seen in held for value in seen.values())


def _are_measured(evaluated: Sequence[Seen]) -> bool:
    """Whether they are numbers that were measured: of codes, two sets may hold all that there are."""
    numbers = [each for seen in evaluated if (each := seen.measured) is not None]
    return any(bool((each != each.round()).any()) for each in numbers)


def _has(value: object, given: Tensor) -> bool:
    """Whether it is a tensor that holds this, or a pair of inputs and targets that begins with one."""
    if type(value) in {tuple, list} and value:
        value = value[0]  # type: ignore[index]
    return isinstance(value, Tensor) and _holds(value, given)


def _holds(value: Tensor, given: Tensor) -> bool:
    """Whether a tensor is what is given, or has these rows in its memory."""
    if value is given:
        return True
    if type(value) is not Tensor or value.dtype != given.dtype or value.shape[1:] != given.shape[1:]:
        return False
    try:
        begin, first, size = value.data_ptr(), given.data_ptr(), value.element_size()
    except (RuntimeError, NotImplementedError):  # within torch.func.vmap
        return False
    is_whole = value.is_contiguous() and given.is_contiguous() and begin > 0
    return is_whole and begin <= first and first + size * given.numel() <= begin + size * value.numel()
