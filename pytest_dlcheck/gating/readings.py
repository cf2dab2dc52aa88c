"""What ``fit`` trials measured of one metric: a reading per seed, its folds together. No judging."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from pytest_dlcheck.gating.bits import unpacked
from pytest_dlcheck.trace import Row, Trace
from pytest_dlcheck.trial import Trial

ACCURACY = "accuracy"


@dataclass(frozen=True, slots=True)
class Reading:
    """One metric after one training, or after one of each fold.

    Attributes:
        seed: of the training.
        value: in the metric's own unit; NaN where it has none.
        samples: validation samples, of all folds.
        effective: of how many independent answers the noise is (accuracy); 0 for other metrics.
        error: standard error by the noise between batches; NaN where it is not known.
        points: batches that it is known from.
        right: which examples were right, in the data's order, a byte each; empty where not recorded.
        order: fingerprints of the targets, to tell whether two readings are of the same examples.
        losses: of the training, step by step; two trainings that agree in all of them are the same.
        problem: why there is no value; empty where there is one.
    """

    seed: int
    value: float
    samples: int
    effective: float = 0.0
    error: float = math.nan
    points: int = 0
    right: bytes = b""
    order: str = ""
    losses: tuple[float, ...] = ()
    problem: str = ""

    def is_same_as(self, other: Reading) -> bool:
        """Whether it comes from the same training, bit for bit, and gave the same number."""
        same = self.value == other.value and self.samples == other.samples and self.right == other.right
        return same and bool(self.losses) and self.losses == other.losses


def readings(traces: Iterable[Trace], metric: str, revision: str = "") -> dict[int, Reading]:
    """The readings of one metric by seed, of the seeds whose folds are all there.

    Args:
        traces: what was run.
        metric: its name.
        revision: the commit whose code was run; empty for the code at hand.
    """
    found: dict[int, dict[int, Trace]] = {}
    for trace in traces:
        if trace.trial.kind == "fit" and trace.trial.revision == revision:
            found.setdefault(trace.trial.seed, {})[trace.trial.fold] = trace
    return {
        seed: _pooled([_reading(by_fold[fold], metric) for fold in sorted(by_fold)])
        for seed, by_fold in sorted(found.items())
        if len(by_fold) == next(iter(by_fold.values())).trial.folds
    }


def metric_names(traces: Iterable[Trace]) -> tuple[str, ...]:
    """The metrics that the recipe gives, its loss among them, in order."""
    found = (row.text("name") for trace in traces for row in trace.rows("metrics"))
    return tuple(dict.fromkeys(filter(None, found)))


def trials_of(first: Trial, seeds: int, revisions: Sequence[str]) -> tuple[Trial, ...]:
    """The trainings of the first so many seeds, with all folds, of several commits in turn."""
    return tuple(
        replace(first, seed=first.seed + index, fold=fold, revision=revision)
        for index in range(seeds)
        for fold in range(first.folds)
        for revision in revisions
    )


def _reading(trace: Trace, metric: str) -> Reading:
    rows: Mapping[str, Row] = {
        row.text("name"): row for name in ("metrics", "accuracy") for row in trace.rows(name)
    }
    row = rows.get(metric)
    if row is None:
        told = trace.row("accuracy").text("problem") if metric == ACCURACY else ""
        given = ", ".join(sorted(filter(None, rows)))
        return Reading(trace.trial.seed, math.nan, 0, problem=told or f"the recipe gives {given} alone")
    if (
        metric == ACCURACY
        and (row.number("value") < 0 or row.number("value") > 1)
        and not row.text("problem")
    ):
        told = f"it is {row.number('value'):.4g}, no share from 0 to 1"
        return Reading(trace.trial.seed, math.nan, 0, problem=told)
    samples = row.integer("samples")
    effective = row.number("effective")
    return Reading(
        seed=trace.trial.seed,
        value=row.number("value"),
        samples=samples,
        effective=0.0 if metric != ACCURACY else samples if math.isnan(effective) else effective,
        error=row.number("error"),
        points=row.integer("points"),
        right=unpacked(row.text("bits"), samples),
        order=row.text("order"),
        losses=trace.series("loss").values,
        problem=row.text("problem"),
    )


def _pooled(parts: Sequence[Reading]) -> Reading:
    """The folds of one seed as one: every sample is validated on once."""
    first, samples = parts[0], sum(part.samples for part in parts)
    problem = next((part.problem for part in parts if part.problem), "")
    if len(parts) == 1 or problem or not samples:
        return replace(first, problem=problem)
    whole = all(part.right for part in parts)
    squares = sum((part.samples * part.error) ** 2 for part in parts)
    return Reading(
        seed=first.seed,
        value=sum(part.samples * part.value for part in parts) / samples,
        samples=samples,
        effective=sum(part.effective for part in parts),
        error=math.sqrt(squares) / samples,
        points=sum(part.points for part in parts),
        right=b"".join(part.right for part in parts) if whole else b"",
        order=" ".join(part.order for part in parts),
        losses=tuple(loss for part in parts for loss in part.losses),
    )
