"""A training as trackers list it: one schema of values and results for all recipes."""

from __future__ import annotations

import math
from collections.abc import Mapping

from pytest_dlcheck.trace import Trace

VALUES: Mapping[str, type] = {
    "recipe": str,
    "model": str,
    "parameters": float,
    "loss": str,
    "optimizer": str,
    "learning_rate": float,
    "batch_size": float,
    "precision": str,
    "device": str,
    "trial": str,
    "seed": float,
    "steps": float,
}
"""What is told of each training, and whether it is text or a number."""
RESULTS: Mapping[str, str] = {
    "result/loss": "last training loss",
    "result/validation_loss": "validation loss",
    "result/validation_accuracy": "validation accuracy",
    "result/seconds": "seconds",
}
"""Tag -> the column's title."""
_LISTED = frozenset({"train", "watch", "fit"})


def is_listed(trace: Trace) -> bool:
    """Whether it is a training as the recipe means it, and not one to find something out by."""
    trial = trace.trial
    altered = trial.dense or trial.revision or trial.learning_rate_scale != 1
    plain = trial.optimizer == "recipe" and not altered
    return trial.kind in _LISTED and plain and len(trace.series("loss")) > 0


def entry_of(recipe: str, trace: Trace) -> tuple[dict[str, str | float], dict[str, float]]:
    """The values of one training, by the names of :data:`VALUES`, and its results by their tags.

    Args:
        recipe: the recipe's name.
        trace: what happened.
    """
    row, trial = trace.row("recipe"), trace.trial
    rates = trace.series("learning_rate").values
    parameters = sum(p.integer("numel") for p in trace.rows("parameters"))
    values: dict[str, str | float] = {
        "recipe": recipe,
        "model": row.text("model"),
        "parameters": float(parameters),
        "loss": row.text("loss"),
        "optimizer": row.text("optimizer"),
        "learning_rate": rates[0] if rates else math.nan,
        "batch_size": row.number("batch_size"),
        "precision": row.text("precision"),
        "device": trial.device,
        "trial": trial.kind,
        "seed": float(trial.seed),
        "steps": float(len(trace.series("loss"))),
    }
    known = {name: v for name, v in values.items() if isinstance(v, str) or math.isfinite(v)}
    return known, _results(trace)


def _results(trace: Trace) -> dict[str, float]:
    held = next((r for r in trace.rows("validation") if r.text("data") == "val"), None)
    found = {"result/loss": trace.series("loss")[-1], "result/seconds": trace.seconds}
    if held is not None:
        found["result/validation_loss"] = held.number("loss")
        classified = held.number("classified")
        if classified > 0:
            found["result/validation_accuracy"] = held.number("correct") / classified
    return found
