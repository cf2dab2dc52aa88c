"""Which data sets are trained on in turns, pass by pass, and which of them the loop calls held out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Protocol

from torch import Tensor
from torch.utils.data import SequentialSampler

from pytest_dlcheck.run.code.lines import frame_of_the_loop
from pytest_dlcheck.run.losses.graphs.near import Near
from pytest_dlcheck.run.tensors.target_keys import named_targets
from pytest_dlcheck.run.tensors.tree import is_whole, tensors
from pytest_dlcheck.run.watch.batches.loaded import weighed
from pytest_dlcheck.run.watch.batches.loading import Loading, reference_to, shuffles
from pytest_dlcheck.run.watch.batches.names import held_out_name, measured
from pytest_dlcheck.trace import Row

PASSES = 256
"""Passes (count) that are remembered."""
SEVERAL = 2
"""Batches (count) of a pass: where loaders are read side by side, each turn is of one."""
MOSTLY = 0.9
"""Batches of a pass (ratio) after which an optimizer steps, where it trains on them."""


class Stepping(Protocol):
    """The training of one optimizer's parameters."""

    step: int


@dataclass
class _Source:
    """One data set.

    Attributes:
        data: which it is, while it lives.
        is_shuffled: whether its loader draws it in random order.
        name: what the loop calls its loader, if that is held out and not shuffled.
        measure: what the loop measures on it, by name: it changes from pass to pass.
        numbers: what may be, as it was when a pass began.
        compared: passes whose first loss compares outputs with what may be targets in the batch.
    """

    data: Callable[[], object]
    is_shuffled: bool
    name: str = ""
    measure: str = ""
    compared: int = 0
    numbers: dict[str, tuple[int, float]] = field(default_factory=dict)


@dataclass
class _Pass:
    """One pass over a data set, which goes on.

    Attributes:
        source: which.
        before: batches read before it.
        steps: of each optimizer before it, by the strand's identity.
        batches: of it, and
        trained: the strands that stepped after them, where it is over.
    """

    source: _Source
    before: int
    steps: dict[int, int]
    batches: int = 0
    trained: set[int] = field(default_factory=set)


class Turns:
    """Passes over loaders, as long as few are known.

    Args:
        loading: counts batches.
    """

    def __init__(self, loading: Loading) -> None:
        self._loading = loading
        self._sources: dict[int, _Source] = {}
        self._passes: list[_Pass] = []
        self._is_over = True
        self.waits: tuple[_Source, list[Tensor]] | None = None
        """What may be targets in the first batch of a held-out pass, until a loss is propagated."""

    def pass_begins(self, iterator: object, batch: object, strands: Sequence[Stepping]) -> None:
        """A loader's iterator has given the first batch of its turn, which is counted already."""
        self._close(strands, self._loading.batches - 1)
        self.waits = None
        if len(self._passes) >= PASSES:
            return
        source = self._source(iterator)
        self._look_at_the_measures()
        steps = {id(strand): strand.step for strand in strands}
        self._passes.append(_Pass(source, self._loading.batches - 1, steps))
        self._is_over = False
        if source.name:
            wanted = _wanted(batch)
            self.waits = (source, wanted) if wanted else None

    def backward_begins(self, losses: Sequence[Tensor]) -> None:
        """Does the loss compare outputs with what waits?"""
        waits, self.waits = self.waits, None
        if waits is None or len(losses) != 1 or losses[0].grad_fn is None:
            return
        source, wanted = waits
        targets = list(Near.of_loss(losses[0].grad_fn).targets.values())
        source.compared += bool(set(weighed(targets)) & set(weighed(wanted)))

    def rows(self, strand: Stepping, strands: Sequence[Stepping]) -> tuple[Row, ...]:
        """Data sets that are called held out, and that one optimizer trains on in turns with others."""
        self._close(strands, self._loading.batches)
        whole = [each for each in self._passes if each.batches >= SEVERAL]
        mine = [each.source for each in whole if id(strand) in each.trained]
        named = {id(source): source for source in mine if source.name}
        return tuple(
            Row(
                name=source.name,
                measure=source.measure,
                trained=sum(each is source for each in mine),
                passes=sum(each.source is source for each in whole),
                turns=sum(a.is_shuffled and b is source for a, b in pairwise(mine)),
                compared=source.compared,
            )
            for source in named.values()
        )

    def _look_at_the_measures(self) -> None:
        """Those that change; a number that stays is a setting, or was measured elsewhere."""
        for source in self._sources.values():
            if not source.name or source.measure:
                continue
            now = measured(frame_of_the_loop(), source.name)
            changed = (name for name in now if now[name] != source.numbers.get(name, now[name]))
            source.measure = next(changed, "")
            source.numbers |= now

    def _source(self, iterator: object) -> _Source:
        data = reference_to(iterator)
        found = self._sources.get(id(data()))
        if found is None or found.data() is not data():
            found = self._sources[id(data())] = _Source(data, shuffles(iterator))
            batches: Any = getattr(iterator, "_index_sampler", None)
            if type(getattr(batches, "sampler", batches)) is SequentialSampler:
                found.name = held_out_name(frame_of_the_loop(), batches)
        return found

    def _close(self, strands: Sequence[Stepping], batches: int) -> None:
        if self._is_over:
            return
        now, self._is_over = self._passes[-1], True
        now.batches = batches - now.before
        for strand in strands:
            if strand.step - now.steps.get(id(strand), 0) >= MOSTLY * now.batches:
                now.trained.add(id(strand))


def _wanted(batch: Any) -> list[Tensor]:
    """What may be targets: by its name, and of words all but the first, or by its place and shape.

    That is what comes second, and further on what is one number for each sample: more may be inputs.
    """
    if isinstance(batch, Mapping) and (targets := named_targets(batch)) is not None:
        named = tensors(targets)
        return [*named, *(each[:, 1:] for each in named if each.dim() == 2 and is_whole(each))]  # noqa: PLR2004  [samples, words]
    given = tensors(batch)
    rows = len(given[0]) if given and given[0].dim() else 0
    return [*given[1:2], *(each for each in given[2:] if each.numel() == rows)]
