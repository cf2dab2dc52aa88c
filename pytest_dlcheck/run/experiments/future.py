"""Do outputs up to a position change when inputs after it do?"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from pytest_dlcheck.run.calls.operations import Operation, mixes, operations
from pytest_dlcheck.run.calls.witness import Agrees, ModuleCall, culprit
from pytest_dlcheck.run.errors import CannotTellError, NotApplicableError
from pytest_dlcheck.run.experiment import Experiment
from pytest_dlcheck.run.losses.scoring import Scoring, scorings
from pytest_dlcheck.run.passes.stirring import stirred
from pytest_dlcheck.run.rig import Rig
from pytest_dlcheck.run.tensors.compare import float_outputs, relative_change, tolerance
from pytest_dlcheck.run.tensors.tree import batch_size, map_tensors, named_tensors, take
from pytest_dlcheck.run.world.seeding import same_draws
from pytest_dlcheck.trace import Row

_SAMPLES = 4
_FOR_SCORING = 16
_UNDECLARED = "no causal axis is declared"


class Future(Experiment):
    """Replaces inputs after several positions, in eval mode and double precision.

    Fills ``future``, one row per input that has the causal axis and reaches the outputs.
    """

    fact = "future"

    def __init__(self, *, asks_all: bool = False) -> None:
        self._asks_all = asks_all
        """Whether what each place sees of its past and of itself is asked in any case."""

    def run(self, rig: Rig) -> Iterable[Row]:
        """The rows."""
        if rig.recipe.causal is None and not _may_be_language(rig):
            raise NotApplicableError(_UNDECLARED)
        with rig.undisturbed(training=False):
            scored = _scored(rig)
            axis = rig.recipe.causal
            if axis is None and not any(s.is_known for s in scored):
                raise NotApplicableError(_UNDECLARED)
            with stirred(rig), rig.in_double() as function:
                trial = _Trial(rig, function, 1 if axis is None else axis, scored)
                trial.asks_all = self._asks_all
                rows = list(trial.rows())
        if axis is None and not any(row.flag("next_token") or _copies(row) for row in rows):
            raise NotApplicableError(_UNDECLARED)
        return rows


@dataclass(frozen=True)
class _Leak:
    change: float
    bound: float
    output: str
    position: int
    earliest: int


class _Trial:
    def __init__(
        self, rig: Rig, function: Callable[[Any], Any], axis: int, scored: list[Scoring]
    ) -> None:
        self.rig, self.function, self.axis, self.scored = rig, function, axis, scored
        self.asks_all = False
        self.inputs, self.samples = _few(rig)
        self.reference = self.call(self.inputs)

    def require_repeatable(self) -> None:
        """A model that draws by itself changes without any cause."""
        again = self.call(self.inputs)
        if any(relative_change(a, again[k]) > tolerance(a.dtype) for k, a in self.reference.items()):
            raise CannotTellError("two calls on the same batch differ, even under the same draws")

    def call(self, inputs: Any) -> dict[str, Tensor]:
        with same_draws(self.rig.seed):
            return float_outputs(self.function(inputs))

    def rows(self) -> Iterator[Row]:
        """A row per input that has the causal axis and reaches the outputs."""
        found = [row for name, tensor in self.candidates() if (row := self.row(name, tensor))]
        if not found:
            raise CannotTellError(
                f"no input and output share the axis {self.axis}, or replacing inputs changes nothing"
            )
        yield from found

    def candidates(self) -> list[tuple[str, Tensor]]:
        timed = [
            (name, tensor)
            for name, tensor in named_tensors(self.inputs, "input")
            if tensor.dim() > self.axis and tensor.size(self.axis) > 2 and self.times(tensor)  # noqa: PLR2004
        ]
        return [pair for pair in timed if not _is_mask(pair[1])] or timed

    def times(self, tensor: Tensor) -> int | None:
        """The length of the outputs' time axis, if it is this input's."""
        return next(
            (
                steps
                for steps in (tensor.size(self.axis), tensor.size(self.axis) - 1)
                if any(self.timed(o, steps) is not None for o in self.reference.values())
            ),
            None,
        )

    def timed(self, output: Tensor, steps: int) -> Tensor | None:
        """The output with time first: of shape ``[time, ...]``."""
        if output.dim() > self.axis and output.size(self.axis) == steps:
            return output.movedim(self.axis, 0)
        if self.axis == 1 and self.samples and output.shape[:1] == (self.samples * steps,):
            return output.reshape(self.samples, steps, *output.shape[1:]).movedim(1, 0)
        return None

    def row(self, name: str, tensor: Tensor) -> Row | None:
        steps = self.times(tensor)
        assert steps is not None
        if not self.reaches(tensor, steps):
            return None
        scored = self.scoring_of(tensor)
        mask = self.scored_only(scored, steps)
        leaks = [self.leak(tensor, t, steps, mask) for t in _positions(steps)]
        worst = max(leaks, key=lambda leak: leak.change / leak.bound)
        leaking = worst.change > worst.bound
        if leaking:
            self.require_repeatable()
        asked = (
            leaking
            or self.asks_all
            or (scored is not None and (scored.same_token or scored.shift is not None))
        )
        guilty = self.culprit(tensor, worst.position) if leaking else None
        found = self.operation(tensor, worst.position, guilty) if guilty is not None else None
        middle = steps // 2
        return Row(
            input=name,
            declared=self.rig.recipe.causal is not None,
            change=worst.change,
            bound=worst.bound,
            output=worst.output,
            position=worst.position,
            earliest=worst.earliest,
            positions=len(leaks),
            leaking=sum(leak.change > leak.bound for leak in leaks),
            steps=steps,
            one_ahead=leaking and self.one_ahead(tensor, worst.position, steps, self.layers(guilty)),
            sees_past=self.sees(tensor, slice(0, middle), middle, steps) if asked else None,
            sees_now=self.sees(tensor, slice(middle, middle + 1), middle, steps) if asked else None,
            scored_now=None if scored is None else scored.now,
            scored_next=None if scored is None else scored.following,
            same_token=scored is not None and scored.same_token,
            next_token=scored is not None and scored.next_token,
            shift=None if scored is None else scored.shift,
            culprit=None if guilty is None else guilty.name,
            culprit_type=None if guilty is None else type(guilty.module).__name__,
            operation=None if found is None else found.name,
            over_last_axis=None if found is None else _sums_to_one(found),
            line=None if found is None else found.line,
            bidirectional=None if guilty is None else getattr(guilty.module, "bidirectional", None),
        )

    def scoring_of(self, tensor: Tensor) -> Scoring | None:
        found = [
            s
            for s in self.scored
            if s.tokens.shape[1:] == tensor.shape[1:]
            and s.tokens.dtype == tensor.dtype
            and torch.equal(s.tokens[: len(tensor)], tensor[: len(s.tokens)])
        ]
        return max(found, key=lambda s: max(s.now, s.following)) if found else None

    def scored_only(self, scored: Scoring | None, steps: int) -> Tensor | None:
        """Where a leak counts: everywhere if causality is declared, else where the loss looks."""
        if self.rig.recipe.causal is not None or scored is None or scored.scored.size(1) != steps:
            return None
        return scored.scored[: self.samples].movedim(1, 0) if self.samples else None

    def replaced(self, tensor: Tensor, part: slice) -> Any:
        """The inputs with a stretch of time taken from other samples, or from other times."""
        there = (slice(None),) * self.axis + (part,)
        if tensor[there].numel() == 0:
            return None
        for donor in (tensor.roll(1, 0) if self.axis else tensor, tensor.flip(self.axis)):
            if not torch.equal(donor[there], tensor[there]):
                new = tensor.clone()
                new[there] = donor[there]
                return map_tensors(self.inputs, partial(_swap, tensor, new))
        return None

    def reaches(self, tensor: Tensor, steps: int) -> bool:
        """Whether any output along time depends on that input: labels reach the loss only."""
        changed = self.replaced(tensor, slice(None))
        return changed is not None and any(
            relative_change(a, b) > tolerance(a.dtype)
            for a, b in zip(self.reference.values(), self.call(changed).values(), strict=True)
            if self.timed(a, steps) is not None
        )

    def leak(
        self, tensor: Tensor, position: int, steps: int, mask: Tensor | None, ahead: int = 1
    ) -> _Leak:
        """How much outputs up to a position change when inputs ``ahead`` of it do."""
        changed = self.replaced(tensor, slice(position + ahead, None))
        none = _Leak(0.0, tolerance(torch.float64), "output", position, position)
        if changed is None:
            return none
        found = [none]
        for (place, before), after in zip(
            self.reference.items(), self.call(changed).values(), strict=True
        ):
            one, other = self.timed(before, steps), self.timed(after, steps)
            if one is None or other is None:
                continue
            if mask is not None:
                one, other = (_only(t, mask) for t in (one, other))
            bound = tolerance(before.dtype)
            amounts = [relative_change(one[s], other[s]) for s in range(position + 1)]
            earliest = next((s for s, amount in enumerate(amounts) if amount > bound), position)
            found.append(_Leak(max(amounts), bound, place, position, earliest))
        return max(found[1:] or found, key=lambda leak: leak.change / leak.bound)

    def one_ahead(self, tensor: Tensor, position: int, steps: int, layers: int) -> bool:
        """Whether outputs see one position ahead, or as many as there are layers that pass one on."""
        if position + 1 + layers >= steps:
            position = steps // 2
        nearer, further = (
            self.leak(tensor, position, steps, None, ahead=ahead) for ahead in (layers, layers + 1)
        )
        return further.change <= further.bound and (layers == 1 or nearer.change > nearer.bound)

    def layers(self, guilty: ModuleCall | None) -> int:
        """How many layers like it there are in a row."""
        if guilty is None:
            return 1
        return sum(type(module) is type(guilty.module) for module in self.rig.model.modules())

    def sees(self, tensor: Tensor, part: slice, position: int, steps: int) -> bool | None:
        """Whether the output at a position depends on that stretch of the input."""
        changed = self.replaced(tensor, part)
        if changed is None:
            return None
        pairs = zip(self.reference.values(), self.call(changed).values(), strict=True)
        timed = [(self.timed(a, steps), self.timed(b, steps)) for a, b in pairs]
        return any(
            relative_change(a[position], b[position]) > tolerance(a.dtype)
            for a, b in timed
            if a is not None and b is not None
        )

    def culprit(self, tensor: Tensor, position: int) -> ModuleCall | None:
        calls = self.calls(tensor, position)
        return culprit(self.rig.model, calls, self.agreeing(tensor, position))

    def operation(self, tensor: Tensor, position: int, guilty: ModuleCall) -> Operation | None:
        """The last operation in the guilty module's own forward that lets the future in.

        The last, because what attention mixes before its mask is sound after it.
        """
        try:
            one, other = (operations(self.rig.model, call) for call in self.calls(tensor, position))
        except Exception:  # noqa: BLE001  some modules refuse hooks; then the line is not known
            return None
        agrees, last = self.agreeing(tensor, position), None
        for a, b in zip(one, other, strict=False):
            if (a.name, a.line, len(a.inputs)) != (b.name, b.line, len(b.inputs)):
                return None
            if a.module == guilty.name and mixes(a, b, agrees):
                last = a
        return last

    def calls(self, tensor: Tensor, position: int) -> list[Callable[[], object]]:
        """The call as it is, and with all after a position replaced."""
        changed = self.replaced(tensor, slice(position + 1, None))
        return [partial(self.call, inputs) for inputs in (self.inputs, changed)]

    def agreeing(self, tensor: Tensor, position: int) -> Agrees:
        """Whether two tensors are the same up to a position, along the axis that must be time."""
        steps = tensor.size(self.axis)

        def agrees(a: Tensor, b: Tensor) -> bool | None:
            if a.shape != b.shape:
                return None
            axis = _axis(a, self.axis, steps)
            if axis is None:
                return True if relative_change(a, b) == 0 else None
            one, other = (t.movedim(axis, 0)[: position + 1] for t in (a, b))
            dtype = a.dtype if a.is_floating_point() else torch.float64
            return relative_change(one, other) <= tolerance(dtype)

        return agrees


def _sums_to_one(operation: Operation) -> bool:
    """Whether what it gave is normalised over its last axis, as attention's weights are."""
    sums = operation.outputs[0].double().sum(-1)
    return torch.allclose(sums, torch.ones_like(sums), atol=1e-3)


def _copies(row: Row) -> bool:
    """Whether a model that does not see the future is scored on what it was given, or on far tokens."""
    if row.number("change") > row.number("bound"):
        return False
    return (row.flag("same_token") and row.flag("sees_now")) or (
        row.get("shift") is not None and row.flag("sees_past")
    )


def _swap(old: Tensor, new: Tensor, tensor: Tensor) -> Tensor:
    return new if tensor is old else tensor


def _may_be_language(rig: Rig) -> bool:
    """Whether the batch holds integer matrices at all: the cheap half of the question."""
    return rig.recipe.batch_dim == 0 and any(
        t.dim() == 2 and t.dtype in {torch.int64, torch.int32}  # noqa: PLR2004
        for _, t in named_tensors(rig.batch, "batch")
    )


def _scored(rig: Rig) -> list[Scoring]:
    try:
        size = rig.batch_size or 0
        whole = rig.recipe.batch_dim is None or size <= _FOR_SCORING
        return scorings(rig, rig.batch if whole else take(rig.batch, torch.arange(_FOR_SCORING), 0))
    except Exception:  # noqa: BLE001  the loss need not be askable in eval mode or on fewer samples
        return []


def _few(rig: Rig) -> tuple[Any, int | None]:
    inputs, dim = rig.call.inputs, rig.recipe.batch_dim
    size = None if dim is None else batch_size(inputs, dim)
    if dim is None or size is None or size <= _SAMPLES:
        return inputs, size
    return take(inputs, torch.arange(_SAMPLES), dim), _SAMPLES


def _positions(steps: int) -> list[int]:
    return sorted({0, steps // 4, steps // 2, 3 * steps // 4, steps - 2})


def _is_mask(tensor: Tensor) -> bool:
    if tensor.dtype == torch.bool:
        return True
    return bool(((tensor == 0) | (tensor == 1)).all())


def _only(tensor: Tensor, mask: Tensor) -> Tensor:
    shape = mask.shape + (1,) * (tensor.dim() - mask.dim())
    return torch.where(mask.reshape(shape), tensor, torch.zeros_like(tensor))


def _axis(tensor: Tensor, axis: int, steps: int) -> int | None:
    if tensor.dim() > axis and tensor.size(axis) == steps:
        return axis
    axes = [i for i, size in enumerate(tensor.shape) if size == steps]
    if axes == [tensor.dim() - 2, tensor.dim() - 1]:
        return axes[0]  # attention: a row of weights belongs to the position that attends
    return axes[0] if len(axes) == 1 else None
