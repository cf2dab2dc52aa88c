"""What the graph of a recipe's loss tells beyond calls of torch's. Read before it is used up."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from pytest_dlcheck.run.losses.calls import Computed
from pytest_dlcheck.run.losses.graphs.given import what_is_written
from pytest_dlcheck.run.losses.graphs.kept import kept
from pytest_dlcheck.run.losses.graphs.mixed import what_is_mixed
from pytest_dlcheck.run.losses.graphs.near import Near
from pytest_dlcheck.run.losses.graphs.outputs import made_here
from pytest_dlcheck.run.losses.graphs.terms import of_terms
from pytest_dlcheck.run.losses.graphs.written import Written, written
from pytest_dlcheck.run.losses.rows import cosine_factor
from pytest_dlcheck.run.tensors.graph import kind_of
from pytest_dlcheck.run.tensors.tree import tensors
from pytest_dlcheck.trace import Row


@dataclass(frozen=True)
class WrittenOut:
    """A loss that is written out, or made of terms that are.

    Attributes:
        rows: as ``loss_soundness`` has them of calls and terms.
        targets: the targets of every comparison, by its kind.
    """

    rows: tuple[Row, ...] = ()
    targets: tuple[tuple[str, Tensor], ...] = ()


def written_out(batch: Any, found: Computed) -> WrittenOut:
    """What the loss compares, where none of torch's is called, and how its terms stand to each other.

    Args:
        batch: what the loss was computed of.
        found: how it was computed, with its graph.
    """
    if not isinstance(found.loss, Tensor) or found.loss.grad_fn is None:
        return WrittenOut()
    for tensor in tensors(found.outputs):
        made_here(tensor)
    terms = tuple(of_terms(found.loss))
    if found.calls:
        return WrittenOut(terms)
    batches = [tensors(batch)]
    compared = written(found.loss.grad_fn, batches)
    rows = (*terms, *what_is_written(compared), *what_is_mixed(Near(()), compared, batches))
    rows += tuple(row for each in compared for row in _of_cosines(found, each))
    return WrittenOut(rows, tuple((each.kind, each.target) for each in compared))


def _of_cosines(found: Computed, each: Written) -> Iterator[Row]:
    """The factor of cosines that became scores, where they are that."""
    scores = _numbers(each)
    known = {} if scores is None else cosine_factor(found.products, scores)
    if known:
        yield Row(part="call", kind="cross_entropy", site="loss", of_model=False, last="", **known)


def _numbers(each: Written) -> Tensor | None:
    """The scores of a comparison of classes, or their logarithms of probability."""
    if each.kind not in {"class", "likelihood"}:
        return None
    chosen = kept(each.node, "self") if kind_of(each.node) == "Gather" else None
    if chosen is not None and chosen.dim() == 2:  # noqa: PLR2004  rows and classes
        return chosen
    return kept(each.scores, "result") if kind_of(each.scores) == "LogSoftmax" else None
