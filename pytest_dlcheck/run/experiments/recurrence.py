"""Do the steps of a recurrent cell reach anything, or the last of them alone?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from pytest_dlcheck.run.calls.threads import is_compiled
from pytest_dlcheck.run.errors import NotApplicableError
from pytest_dlcheck.run.experiment import Experiment
from pytest_dlcheck.run.modules.cells import Calls, Heard, cells_of, heard_by
from pytest_dlcheck.run.passes.passage import objectives
from pytest_dlcheck.run.passes.stirring import stirred
from pytest_dlcheck.run.rig import Rig
from pytest_dlcheck.run.tensors.tree import map_tensors, tensors
from pytest_dlcheck.trace import Row

_NORMS = (nn.modules.batchnorm._NormBase,)  # noqa: SLF001  what all of them derive from


class Recurrence(Experiment):
    """Replaces what the steps of a cell gave, all but the last, and looks whether anything changes.

    Fills ``recurrence``: a row per cell that is called in several steps, ``thrown_away`` with the calls
    whose results neither outputs nor losses nor what the model keeps depend on, in either mode, though
    they do on the last one's; ``state`` says what the steps are given (``same``, ``anew``).
    """

    fact = "recurrence"

    def run(self, rig: Rig) -> Iterable[Row]:
        """The rows."""
        cells = dict(cells_of(rig.model))
        if not cells or is_compiled(rig.model):
            raise NotApplicableError("the model has no recurrent cell that can be listened to")
        with stirred(rig):
            calm, calls = _calm(rig, cells, training=False)
            steps = [name for name, one in calls.items() if one.are_steps()]
            taught = partial(_calm, rig, cells, training=True)
            return [_row(rig, cells, name, (calm, calls), taught) for name in steps]


_Calm = tuple[list[Tensor] | None, dict[str, Calls]]
"""What a pass gives, and the calls of the cells in it."""


def _row(
    rig: Rig, cells: dict[str, nn.Module], name: str, calm: _Calm, taught: Callable[[], _Calm]
) -> Row:
    def changes(known: _Calm, *, last: bool, training: bool) -> bool:
        before, calls = known
        noise = _noise(name, calls[name].counts, rig.seed, last=last)
        after = _results(rig, cells, noise, training=training)
        return before is None or after is None or not _same(before, after)

    lost = not changes(calm, last=False, training=False) and changes(calm, last=True, training=False)
    lost = lost and not changes(taught(), last=False, training=True)
    one = calm[1][name]
    count = max(one.counts.values())
    return Row(site=name, calls=count, thrown_away=(count - 1) * lost, state=one.state)


def _calm(rig: Rig, cells: dict[str, nn.Module], *, training: bool) -> _Calm:
    calls = {name: Calls() for name in cells}

    def note(name: str, number: int, args: Any, kwargs: Any, _: Any) -> None:
        calls[name].note(args, kwargs)
        calls[name].counts[number] += 1

    return _results(rig, cells, note, training=training), calls


def _noise(noisy: str, counts: Counter[int], seed: int, *, last: bool) -> Heard:
    """Noise, as large as a state is, on what a cell gives last while the root is called, or before."""
    generator, steps = torch.Generator().manual_seed(seed), Counter[int]()

    def add(tensor: Tensor) -> Tensor:
        noise = torch.randn(tensor.shape, generator=generator).to(tensor.device, tensor.dtype)
        return tensor + noise if tensor.is_floating_point() else tensor

    def replace(name: str, number: int, _: Any, __: Any, output: Any) -> Any:
        steps[number] += name == noisy
        is_last = steps[number] >= counts[number]
        return map_tensors(output, add) if name == noisy and is_last == last else None

    return replace


def _results(
    rig: Rig, cells: dict[str, nn.Module], heard: Heard, *, training: bool
) -> list[Tensor] | None:
    """Outputs, losses, and what the model keeps of a pass; None where it has no outputs."""
    found: list[Tensor] = []
    with rig.undisturbed(training=training), torch.enable_grad(), heard_by(heard, rig.model, cells):
        try:
            found += tensors(rig.call())
        except Exception:  # noqa: BLE001  the user's model may refuse in any way
            return None
        with suppress(Exception):  # there may be no loss
            found += [loss for _, loss in objectives(rig)]
        return [t.detach().clone() for t in (*found, *_kept(rig.model))]


def _kept(model: nn.Module) -> Iterator[Tensor]:
    """What its modules hold besides parameters and statistics: memories, losses on the side."""
    for module in model.modules():
        if not isinstance(module, _NORMS):
            yield from (b for b in module.buffers(recurse=False) if b.is_floating_point())
        for name, value in vars(module).items():
            if name not in {"_parameters", "_buffers", "_modules"}:
                yield from tensors(value)


def _same(one: list[Tensor], other: list[Tensor]) -> bool:
    pairs = zip(one, other, strict=False)
    return len(one) == len(other) and all(a.shape == b.shape and torch.equal(a, b) for a, b in pairs)
