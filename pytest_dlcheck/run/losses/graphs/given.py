"""What torch's losses are given in a loop: logits, probabilities, or logarithms of such.

Read from the graph of a few losses, as the targets are: each node there keeps what it needs for its
derivative. It calls nothing of the loop's and judges nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from torch import Tensor

from pytest_dlcheck.run.losses.calls import REGRESSION, operation_of
from pytest_dlcheck.run.losses.class_weights import (
    Weighed,
    counts_of,
    of_classes,
    of_positives,
    together,
)
from pytest_dlcheck.run.losses.distributions import FAR, distances
from pytest_dlcheck.run.losses.graphs.divergences import Divergence
from pytest_dlcheck.run.losses.graphs.kept import NONE, kept, signed
from pytest_dlcheck.run.losses.graphs.logarithms import logarithms_of, values_of
from pytest_dlcheck.run.losses.graphs.near import Near
from pytest_dlcheck.run.losses.graphs.written import Written
from pytest_dlcheck.run.losses.targets import out_of_reach
from pytest_dlcheck.trace import Row

ROWS = 256
"""Rows that tell whether all of them are distributions."""
LAYERS = frozenset({"Addmm", "Mm", "Bmm", "Convolution", "Add", "Softmax", "Sigmoid", "LogSoftmax"})
"""What makes scores that somebody took for log-probabilities. Others may be scores on purpose: distances
to prototypes, or log-probabilities that were weighted."""
NEAR = 0.05
"""Distance of a sum of exponentials from 1 (ratio) up to which scores are log-probabilities, as in
``loss_is_sound``."""
ALWAYS = 0.5
"""Share of the losses looked at in which something is found that is part of the training."""
SEVERAL = 3
"""Losses looked at below which nothing is told."""


def what_is_given(near: Near) -> list[Row]:
    """What the losses among the nodes of a graph are given; those of unknown meaning are left out."""
    return [row for node in near.named(*_LOSSES) for row in _of(node)]


def what_is_weighed(near: Near) -> list[Weighed]:
    """What the losses among them have their classes weigh, beside how often these occur."""
    return [
        found for node, target in near.targets.items() if (found := _weighed(node, target)) is not None
    ]


def what_is_written(found: Iterable[Written]) -> list[Row]:
    """The same of losses that are written out."""
    return [row for each in found for row in _of_written(each)]


def what_diverges(found: Iterable[Divergence]) -> list[Row]:
    """The same of divergences, where either side is not what it should be."""
    return [row for each in found for row in _of_divergence(each)]


class Given:
    """What was found in the losses of one optimizer's parameters, put together."""

    def __init__(self) -> None:
        self._looked = 0
        self._seen: Counter[tuple[str, ...]] = Counter()
        self._rows: dict[tuple[str, ...], Row] = {}
        self._weighed: list[Weighed] = []

    def add(self, rows: Iterable[Row], weighed: Iterable[Weighed] = ()) -> None:
        """What one backward's loss is given."""
        self._looked += 1
        self._weighed += weighed
        for key, row in {_key(row): row for row in rows}.items():
            self._seen[key] += 1
            before = self._rows.get(key)
            self._rows[key] = row if before is None or before == row else _least_of(before, row)

    def rows(self) -> tuple[Row, ...]:
        """What is found in most of them, each with the least distances that were found."""
        enough = max(SEVERAL, ALWAYS * self._looked)
        found = [self._rows[key] for key, count in self._seen.items() if count >= enough]
        return (*found, *filter(None, (each.row() for each in together(self._weighed))))


_TWO = 2
_SAFELY = 3
"""Operations that keep a logarithm from that of zero, and the logarithm, at most."""
_ONE_BY_ONE = {
    "BinaryCrossEntropyBackward0": "binary_cross_entropy",
    "MseLossBackward0": "mse_loss",
    "L1LossBackward0": "l1_loss",
    "SmoothL1LossBackward0": "smooth_l1_loss",
}
"""Losses that may be given a softmax, unless it is over one class."""
_LOSSES = ("NllLoss", "BinaryCrossEntropyWithLogits", "LogSigmoid", *_ONE_BY_ONE)
"""What the names of nodes begin with of which anything is told."""
_LEAST = "outside"
"""Share of the targets of a batch that outputs cannot meet: of the batch that has fewest."""
_DISTANCES = ("rows_off", "columns_off", "log_rows_off", "log_columns_off")
_KNOWN = dict.fromkeys(_DISTANCES, FAR)


def _least_of(before: Row, row: Row) -> Row:
    """The latter, with the distances of the former where these are less."""
    numbers = {name: before.number(name) for name in (*_DISTANCES, _LEAST) if name in row}
    less = {name: number for name, number in numbers.items() if number < row.number(name)}
    return Row(row, **less) if less else row


def _key(row: Row) -> tuple[str, ...]:
    return row.text("part"), row.text("kind"), row.text("last")


def _of(node: Any) -> Iterator[Row]:
    name = type(node).__name__
    if name.startswith("NllLoss"):
        yield from _of_classes(node)
    elif name.startswith("BinaryCrossEntropyWithLogits"):
        last, maker = operation_of(_behind(node))
        yield _row("binary_cross_entropy_with_logits", last, maker)
    elif name.startswith("LogSigmoid"):
        yield from _of_likelihood(node)
    elif kind := _ONE_BY_ONE.get(name):
        last, maker = operation_of(_behind(node))
        target = kept(node, "target") if kind in REGRESSION else None
        if target is not None:
            yield from _of_regression(kind, last, maker, target)
        elif last == "Softmax" and _is_over_one(maker):
            yield _row(kind, last, maker)


def _of_likelihood(node: Any) -> Iterator[Row]:
    """A loss that is written out, as that of pairs that are ranked: told where a sigmoid came before."""
    last, maker = operation_of(_behind(node))
    if last == "Neg":
        last, maker = operation_of(_behind(maker))
    if last == "Sigmoid":
        yield _row("logsigmoid", last, maker)


def _weighed(node: Any, target: Tensor) -> Weighed | None:
    name = type(node).__name__
    if not name.startswith(("NllLoss", "BinaryCrossEntropyWithLogits")):
        return None
    if name.startswith("NllLoss") and (weights := kept(node, "weight")) is not None:
        ignored = signed(node._saved_ignore_index)  # noqa: SLF001  so torch calls what a node has kept
        counts, alone = counts_of(target, len(weights), ignored), node._saved_reduction != NONE  # noqa: SLF001
        return of_classes("cross_entropy", weights, counts, alone=alone)
    if (weight := kept(node, "pos_weight")) is not None:
        return of_positives("binary_cross_entropy_with_logits", weight, target)
    return None


def _of_written(each: Written) -> Iterator[Row]:
    last, maker = operation_of(each.scores)
    if each.kind == "difference":
        yield from _of_regression("mse_loss", last, maker, each.target)
        return
    for _ in range(_SAFELY):
        if last in {"Log", "Add", "Clamp", "ClampMin"}:
            last, maker = operation_of(_behind(maker))
    yield from _over_the_batch(each)
    behind, before = operation_of(_behind(maker)) if maker is not None else ("", None)
    if before is not None and last in {"LogSoftmax", "Softmax"} and behind == "Softmax":
        result = kept(before, "result")
        classes = 0 if result is None else result.size(signed(before._saved_dim))  # noqa: SLF001  as above
        off = {**_KNOWN, **_sums(before)}
        yield _row("cross_entropy", behind, before, is_written=True, classes=classes, **off)
    elif last in {"LogSigmoid", "Sigmoid"} and behind == "Sigmoid":
        yield _row("binary_cross_entropy_with_logits", behind, before, is_written=True)


def _of_divergence(each: Divergence) -> Iterator[Row]:
    """Probabilities in place of logarithms, on either side: over classes, on the same axis."""
    last, maker = operation_of(each.scores)
    sides = each.given.float(), each.target.float(), each.target.float().log()
    for axis in {1, each.target.dim() - 1}:
        rows, target, log = (side.movedim(axis, -1).flatten(0, -2)[:ROWS] for side in sides)
        classes = rows.size(1)
        if classes < _TWO:
            continue
        off, held, exponential = (distances(part)["rows_off"] for part in (rows, target, log))
        if max(off, held) <= NEAR:
            yield _row("kl_div", last, maker, classes=classes, **{**_KNOWN, "rows_off": off})
            return
        if exponential <= NEAR and distances(rows)["log_rows_off"] <= NEAR:
            yield Row(_row("kl_div", last, maker), log_target=True, target_off=exponential)
            return


def _over_the_batch(each: Written) -> Iterator[Row]:
    """Logarithms of probabilities that sum to 1 over the samples, as no row of their targets does.

    Targets are the number of a class for each row, or a distribution over classes.
    """
    logarithms = logarithms_of(each.scores)
    scores = None if logarithms is None else values_of(logarithms)
    if scores is None or scores.dim() != _TWO:
        return
    if each.target.numel() != len(scores) and not _are_distributions(each.target, scores):
        return
    found = _distances(_rows(scores), scores)
    if min(found["columns_off"], found["log_columns_off"]) < NEAR:
        yield _row("nll_loss", "", None, is_written=True, classes=scores.size(1), **found)


def _are_distributions(target: Tensor, scores: Tensor) -> bool:
    """Whether each row of the targets sums to 1, and not each column."""
    is_square = scores.shape[0] == scores.shape[1]  # samples against samples: both axes may be meant
    if target.shape != scores.shape or not target.is_floating_point() or is_square:
        return False
    found = distances(target.float())
    return found["rows_off"] < NEAR < found["columns_off"]


def _of_regression(kind: str, last: str, maker: Any, target: Tensor) -> Iterator[Row]:
    if last == "Softmax" and _is_over_one(maker):
        yield _row(kind, last, maker)
    elif reach := out_of_reach(last, target):
        yield Row(_row(kind, last, maker), **{**reach, "site": "outputs"})


def _of_classes(node: Any) -> Iterator[Row]:
    last, maker = operation_of(_behind(node))
    scores = kept(node, "self")
    if scores is None or not scores.numel() or scores.dim() < _TWO:
        return
    if last == "LogSoftmax" and _is_over_classes(maker, scores):
        last, maker = operation_of(_behind(maker))
        found = {**_KNOWN, "log_rows_off": 0.0} if last == "LogSoftmax" else dict(_KNOWN)
        if last == "Softmax":
            found |= _sums(maker)
        yield _row("cross_entropy", last, maker, classes=scores.size(1), **found)
    elif last in LAYERS:
        rows = _heard(scores, node)
        if len(rows):
            yield _row("nll_loss", last, maker, classes=rows.size(1), **_distances(rows, scores))


def _is_over_classes(maker: Any, scores: Tensor) -> bool:
    """Whether a log_softmax is over the axis of classes, as ``cross_entropy`` takes it."""
    result = kept(maker, "result")
    if result is None:
        return False
    axis = signed(maker._saved_dim) % result.dim()  # noqa: SLF001  so torch calls what a node has kept
    if result.shape == scores.shape:
        return axis == 1
    sums = distances(_rows(scores))
    return result.size(axis) == scores.size(1) and sums["log_rows_off"] < NEAR


def _is_over_one(maker: Any) -> bool:
    """Whether a softmax is along an axis of size 1, of several samples: all it gives is 1."""
    result = kept(maker, "result")
    if result is None or result.dim() < _TWO or result.numel() < _TWO:
        return False
    return result.size(signed(maker._saved_dim)) == 1  # noqa: SLF001  as above


def _sums(maker: Any) -> dict[str, float]:
    """How far the sums of what a softmax gives are from 1; of columns where it is over the samples."""
    result = kept(maker, "result")
    if result is not None and result.dim() == _TWO and not signed(maker._saved_dim) % _TWO:  # noqa: SLF001
        found = distances(result.float())
        return {name: found[name] for name in ("rows_off", "columns_off")}
    return {"rows_off": _off(result)}


def _off(result: Tensor | None) -> float:
    """How far a softmax's rows are from 1, over the last axis or that of classes."""
    if result is None or result.dim() < _TWO:
        return FAR
    last = _rows(result.reshape(-1, result.size(-1)))
    return min(distances(rows)["rows_off"] for rows in (last, _rows(result)))


def _rows(scores: Tensor) -> Tensor:
    """Some scores, with their classes on axis 1, as ``[rows, classes]``."""
    samples = 1 + ROWS // max(1, scores.shape[2:].numel())
    values = scores[:samples].float()
    return values.movedim(1, -1).reshape(-1, values.size(1))[:ROWS]


def _heard(scores: Tensor, node: Any) -> Tensor:
    """The rows whose targets count: those of padding may hold anything."""
    rows, target = _rows(scores), kept(node, "target")
    if target is None or target.numel() * scores.size(1) != scores.numel():
        return rows
    heard = target.reshape(-1)[: len(rows)] != signed(node._saved_ignore_index)  # noqa: SLF001  as above
    return rows[heard]


def _distances(rows: Tensor, scores: Tensor) -> dict[str, float]:
    """Columns can be told of only where all rows are there."""
    found, whole = distances(rows), rows.numel() == scores.numel()
    return found if whole else {**found, "columns_off": FAR, "log_columns_off": FAR}


def _row(kind: str, last: str, maker: Any, **more: float) -> Row:
    result = kept(maker, "result") if last in {"Softmax", "Sigmoid"} else None
    spread = {} if result is None else {"least": float(result.min()), "most": float(result.max())}
    return Row(part="call", kind=kind, site="loss", of_model=False, last=last, **spread, **more)


def _behind(node: Any) -> Any:
    """The node that made a node's first input."""
    edges = getattr(node, "next_functions", ())
    return edges[0][0] if edges else None
