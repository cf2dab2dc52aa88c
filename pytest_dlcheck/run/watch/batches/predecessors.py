"""Which samples stand in the places of which others, batch after batch. Numbers, no judgement."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Protocol

from pytest_dlcheck.trace import Row


class Seen(Protocol):
    """Samples of a batch, by numbers that equal samples share."""

    @property
    def step(self) -> int:
        """Steps taken before."""

    @property
    def stream(self) -> int:
        """The pass that the batch is of."""

    def values(self) -> list[float]:
        """A number per sample."""


def predecessors(trained: Iterable[Seen]) -> Row:
    """How samples that come again come: after which others, and after how many.

    Args:
        trained: batches that were trained on, in order; looked at are the first ones, until one is left
            out.

    Returns:
        ``followed``: samples that stood in the place of one of the batch before, and did so at another
        time too; ``unlike``, those of them that then followed another one. ``repeated``: samples that
        came again before so many were seen as there are, and ``returned``: after that.
    """
    batches = _in_a_row(trained)
    before: dict[float, float] = {}
    followed = unlike = 0
    for one, other in pairwise(batches):
        for last, sample in zip(one, other, strict=False):
            followed += sample in before
            unlike += before.get(sample, last) != last
            before[sample] = last
    seen = [sample for batch in batches for sample in batch]
    known = max(0, len(set(seen)) - max(map(len, batches), default=0))  # a rest may be left out
    return Row(
        followed=followed,
        unlike=unlike,
        repeated=known - len(set(seen[:known])),
        returned=len(seen) - len(set(seen)),
        samples=known,
    )


def _in_a_row(trained: Iterable[Seen]) -> Sequence[list[float]]:
    found: list[Seen] = []
    for seen in trained:
        if found and (seen.stream != found[-1].stream or seen.step - found[-1].step not in {0, 1}):
            break
        found.append(seen)
    return [seen.values() for seen in found]
