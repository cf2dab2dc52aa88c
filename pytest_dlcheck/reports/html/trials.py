"""What happened in a recipe's trials, as the curves, heat maps and rows that a card draws."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from statistics import fmean, median
from typing import Any

from pytest_dlcheck.reports.html import embed
from pytest_dlcheck.reports.html.curves import Budget, curve, heat, ratio, shares
from pytest_dlcheck.trace import Matrix, Row, Series, Trace

_CHARTS = {
    "loss": "loss",
    "stream_accuracy": "metric",
    "learning_rate": "rate",
    "seconds": "time",
    "data_seconds": "wait",
}
"""Series that have a chart of their own; any other is drawn by its name."""
_TRAINS = ("train", "watch", "fit")
_IDLE = frozenset({"inspect", "bench_train", "bench_infer"})


def trials(traces: Sequence[Trace]) -> list[dict[str, Any]]:
    """A row per trial: how it went and where its time went."""
    return [_trial(trace) for trace in traces]


def curves(traces: Sequence[Trace], budget: Budget) -> list[dict[str, Any]]:
    """Every series of every trial."""
    return [
        {
            "chart": _CHARTS.get(channel, embed.name(channel)),
            "trial": index,
            **curve(series, budget.points),
        }
        for index, trace in enumerate(traces)
        for channel, series in trace.channels.items()
        if isinstance(series, Series) and len(series)
    ]


def evaluations(traces: Sequence[Trace]) -> list[dict[str, Any]]:
    """What validation found at the end of a training."""
    return [
        {
            "trial": index,
            "data": embed.name(row.text("data")),
            "mode": embed.name(row.text("mode")),
            "step": max(0, len(trace.series("loss")) - 1),
            "loss": embed.rough(row.number("loss")) if "loss" in row else None,
            "accuracy": embed.rough(accuracy(row)),
            "samples": embed.rough(row.number("samples")) if "samples" in row else None,
        }
        for index, trace in enumerate(traces)
        for row in trace.rows("validation")
        if "loss" in row or "correct" in row
    ]


def metrics(traces: Sequence[Trace]) -> list[list[Any]]:
    """What whole trainings reached: metric, trial, value, validation samples, what went wrong."""
    return [
        [
            embed.name(row.text("name")),
            index,
            embed.rough(row.number("value")),
            row.integer("samples"),
            embed.text(row.text("problem")),
        ]
        for index, trace in enumerate(traces)
        for fact in ("metrics", "accuracy")
        for row in trace.rows(fact)
        if row.text("name")
    ]


def accuracy(row: Row) -> float | None:
    """The share of samples that were classified as they are; None where none were classified."""
    share = row.number("correct") / (row.number("classified") or math.nan)
    return share if math.isfinite(share) else None


def final_accuracy(traces: Sequence[Trace]) -> float | None:
    """The mean of whole trainings where a gate asked for these, else that of the first short training.

    On validation data: all of it, or the sample of it that short trainings are measured on.
    """
    whole = [row.number("value") for trace in traces for row in trace.rows("accuracy")]
    if whole and all(map(math.isfinite, whole)):
        return fmean(whole)
    rows = (row for trace in traces if trace.trial.kind == "train" for row in trace.rows("validation"))
    return next((accuracy(r) for r in rows if (r.text("data"), r.text("mode")) == ("val", "eval")), None)


def heats(traces: Sequence[Trace], budget: Budget) -> list[dict[str, Any]]:
    """Gradient norms, update ratios and activations, per layer and step."""
    able = [i for i, trace in enumerate(traces) if trace.trial.kind not in _IDLE]
    first = sorted(able, key=lambda i: traces[i].trial.kind not in _TRAINS)
    chosen = sorted(first[: budget.trials])
    return [{**drawn, "trial": i} for i in chosen for drawn in _heats(traces[i], budget)]


def units(traces: Iterable[Trace]) -> list[list[Any]]:
    """The activation layers after training: site, function, units, silent ones, share that is active."""
    rows = _last(traces, "units")
    return [
        [
            embed.name(row.text("site")),
            embed.name(row.text("function")),
            row.integer("units"),
            row.integer("silent"),
            embed.rough(row.number("active")),
        ]
        for row in rows
    ]


def _last(traces: Iterable[Trace], fact: str) -> tuple[Row, ...]:
    """A fact as a training left it behind; as it was found where nothing was trained."""
    found = [trace for trace in traces if trace.rows(fact)]
    trained = [trace for trace in found if trace.trial.kind in _TRAINS]
    return next((trace.rows(fact) for trace in (*trained, *found)), ())


def _heats(trace: Trace, budget: Budget) -> Iterator[dict[str, Any]]:
    gradient = trace.matrix("gradient_norm")
    if gradient.steps:
        yield {"chart": "gradient", **heat(gradient, budget)}
    moved = ratio(trace.matrix("update_norm"), trace.matrix("parameter_norm"))
    if moved.steps:
        yield {"chart": "update", **heat(moved, budget)}
    zeros: Matrix = trace.matrix("activation_zero_share")
    if zeros.steps:
        yield {"chart": "zeros", **shares(zeros, budget)}
    scale = trace.matrix("activation_rms")
    if scale.steps:
        yield {"chart": "activation", **heat(scale, budget)}


def _trial(trace: Trace) -> dict[str, Any]:
    seconds, waits = trace.series("seconds").values, trace.series("data_seconds").values
    samples = trace.row("recipe").number("batch_size") * trace.row("recipe").number("accumulate")
    step = median(seconds[1:]) if len(seconds) > 1 else None
    # A training's first step warms caches up; a rough figure beside the gates' own.
    rate = samples / step if step and math.isfinite(samples) else None
    whole = {
        "name": embed.name(str(trace.trial)),
        "kind": embed.name(trace.trial.kind),
        "seed": trace.trial.seed,
        "seconds": embed.rough(trace.seconds),
        "steps": len(seconds) or len(trace.series("loss")),
        "stepping": embed.rough(sum(seconds)) if seconds else None,
        "waiting": embed.rough(sum(waits)) if waits else None,
        "step": embed.rough(step),
        "rate": embed.rough(rate) if trace.trial.kind in _TRAINS else None,
        "ending": embed.name(trace.ending.kind),
        "at": trace.ending.step,
        "message": embed.text(trace.ending.message),
        "peak": embed.rough(trace.row("memory").number("peak_bytes")) if _peak(trace) else None,
    }
    return {key: value for key, value in whole.items() if value not in ("", None)}


def _peak(trace: Trace) -> bool:
    return math.isfinite(trace.row("memory").number("peak_bytes"))
