"""What a recipe is made of, as its trials saw it: parameters, shapes, settings. Tables, no charts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pytest_dlcheck.reports.html import embed
from pytest_dlcheck.trace import Row, Trace

_SETTINGS = {
    "model": "model",
    "loss": "loss",
    "optimizer": "optimizer",
    "scheduler": "scheduler",
    "precision": "precision",
    "batch_size": "batch size",
    "batches_per_epoch": "batches per epoch",
    "accumulate": "batches per step",
    "max_grad_norm": "gradient clipping",
    "shapes": "shapes",
}
_TERMS = {"steps": "steps", "overfit_steps": "overfit steps", "seeds": "seeds", "device": "device"}


def settings(traces: Sequence[Trace], asked: Mapping[str, Any]) -> list[list[Any]]:
    """What was trained and on what terms, as pairs of a name and a value."""
    row = next((trace.row("recipe") for trace in traces if trace.rows("recipe")), Row())
    terms = asked.get("terms") or {}
    found = [[label, row[key]] for key, label in _SETTINGS.items() if row.get(key) not in (None, False)]
    if asked.get("file"):
        found.append(["defined in", f"{asked['file']}:{asked.get('line') or ''}".rstrip(":")])
    found += [[label, terms[key]] for key, label in _TERMS.items() if terms.get(key) is not None]
    return [[label, embed.scalar(value)] for label, value in found]


def optimizers(traces: Iterable[Trace]) -> list[dict[str, Any]]:
    """The optimizers' settings, a row per parameter group."""
    rows = next((rows for trace in traces if (rows := trace.rows("optimizer_groups"))), ())
    return [{embed.name(k): embed.scalar(v) for k, v in row.items() if v is not None} for row in rows]


def parameters(traces: Sequence[Trace], most: int) -> dict[str, Any]:
    """Every parameter of the model; of very many, the first."""
    trained = [trace for trace in traces if trace.trial.kind in {"train", "watch"}]
    rows = next((rows for t in (*trained, *traces) if (rows := t.rows("parameters"))), ())
    if not rows:
        return {}
    return {
        "count": len(rows),
        "elements": sum(row.integer("numel") for row in rows),
        "trainable": sum(row.integer("numel") for row in rows if row.flag("requires_grad")),
        "trained": bool(trained),
        "rows": [_parameter(row) for row in rows[:most]],
    }


def shapes(traces: Iterable[Trace]) -> list[list[Any]]:
    """What shapes went in and came out, per probe."""
    rows = next((rows for trace in traces if (rows := trace.rows("shapes"))), ())
    seen = dict.fromkeys((row.text("probe"), row.text("tensor"), row.text("found")) for row in rows)
    return [[embed.name(part) for part in triple] for triple in seen if triple[2]]


def unobserved(traces: Iterable[Trace]) -> list[list[str]]:
    """Channels that could not be recorded, each with its reason."""
    reasons = {name: why for trace in traces for name, why in trace.unobserved.items()}
    return [[embed.name(name), embed.text(why)] for name, why in reasons.items()]


def _parameter(row: Row) -> list[Any]:
    return [
        embed.name(row.text("name")),
        embed.name(row.text("shape")),
        row.integer("numel"),
        embed.name(row.text("dtype")),
        row.flag("requires_grad"),
        row.integer("optimizers"),
        row.get("changed"),
    ]
