"""Models that are built anew in what the loop itself counts as epochs; no judgement."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import torch

from pytest_dlcheck.run.watch.batches.one_pass import SAME
from pytest_dlcheck.run.watch.batches.seen import FEW
from pytest_dlcheck.run.watch.discarded import NEXT, are_alike, are_on_the_same_data
from pytest_dlcheck.run.watch.models.following import Sample

if TYPE_CHECKING:
    from pytest_dlcheck.run.watch.evaluated.phases import Phase
    from pytest_dlcheck.run.watch.strand import Strand

SCHEDULED = 2.0
"""Factor of the learning rate from one epoch to the next below which it may be a schedule's: a search
tries multiples, of two or more."""
TELLING = 64
"""Numbers of a weight from which on two draws of it are told from one: chance alike by 0.125, and"""
ALIKE = 0.5
"""likeness (cosine, ratio) from which on one goes on from the other: four standard errors of that."""


def rebuilt(strands: Sequence[Strand], phases: Iterable[Phase]) -> list[Strand]:
    """The longest row of models, one an epoch, each drawn anew and trained once over the same samples.

    Each is gone before the second one after it, and nothing else is trained meanwhile.

    Args:
        strands: all of them, in the order in which they began.
        phases: rows of calls without gradients.
    """
    events = [phase.event for phase in phases]
    longest: list[Strand] = []
    start = 0
    while start < len(strands):
        row = list(_row(strands[start:], events))
        start += len(row)
        longest = row if len(row) > len(longest) and _is_alone(row, strands) else longest
    return longest


def _row(strands: Sequence[Strand], events: Sequence[int]) -> Iterator[Strand]:
    first = last = strands[0]
    yield first
    for strand in strands[1:]:
        if not (_goes_on(strand, last, first) and _is_let_go(last, strand, strands, events)):
            return
        last = strand
        yield strand


def _goes_on(strand: Strand, last: Strand, first: Strand) -> bool:
    """Whether it is the next epoch's, of the same kind, and drawn anew."""
    return (
        strand.fate.counted.is_epoch_after(last.fate.counted)
        and are_alike(strand, first)
        and are_on_the_same_data(strand, last, SAME)
        and _is_scheduled(strand.fate.rates, last.fate.rates)
        and is_another_draw(strand.fate.began, last.fate.began)
    )


def _is_let_go(last: Strand, then: Strand, strands: Sequence[Strand], events: Sequence[int]) -> bool:
    """Whether a model is gone, but for a variable's sake, and did not teach the next one.

    What it says of its own training data may be what the next one learns: labels, or what is left.
    """
    if strands.index(last) + NEXT < len(strands) and not last.fate.is_gone:
        return False
    if last.fate.is_open or len(last.fate.answered() & last.exposure.samples()) >= FEW:
        return False
    if not last.fate.outlived:
        return True
    is_asked_meanwhile = any(then.first_event < event < then.last_event for event in events)
    return last.fate.outlived < NEXT and not is_asked_meanwhile


def _is_alone(row: Sequence[Strand], strands: Sequence[Strand]) -> bool:
    """Whether no other optimizer steps from the first to the last of them."""
    begin, end = row[0].first_event, row[-1].last_event
    others = (strand for strand in strands if strand not in row)
    return all(other.last_event < begin or other.first_event > end for other in others)


def _is_scheduled(rates: Sequence[float], before: Sequence[float]) -> bool:
    if len(rates) != len(before):
        return False
    pairs = zip(rates, before, strict=True)
    return all(one == other or max(one, other) < SCHEDULED * min(one, other) for one, other in pairs)


def is_another_draw(one: Sample, other: Sample) -> bool:
    """Whether the weights of two models have nothing in common, as far as can be told.

    Args:
        one: some of them.
        other: the same of the other model.
    """
    pairs = [(a, b) for a, b in zip(one.parts, other.parts, strict=False) if _tells(a) and _tells(b)]
    return bool(pairs) and all(_likeness(a, b) < ALIKE for a, b in pairs)


def are_kin(one: Sample, other: Sample) -> bool:
    """Whether the weights of two models are nearly the same: copies of one, a few steps apart."""
    pairs = [(a, b) for a, b in zip(one.parts, other.parts, strict=False) if _tells(a) and _tells(b)]
    return bool(pairs) and all(_likeness(a, b) >= ALIKE for a, b in pairs)


def _tells(part: torch.Tensor) -> bool:
    return part.numel() >= TELLING and part.is_floating_point() and bool((part != part[0]).any())


def _likeness(one: torch.Tensor, other: torch.Tensor) -> float:
    if one.shape != other.shape:
        return 1.0
    return abs(float(torch.cosine_similarity(one.double(), other.double(), dim=0)))
