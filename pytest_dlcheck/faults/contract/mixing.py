"""Samples that see their neighbours in the batch, told in words. Whether they do is the check's."""

from __future__ import annotations

from collections.abc import Iterator

from pytest_dlcheck.faults.fault import Fault
from pytest_dlcheck.trace import Row, Trace
from pytest_dlcheck.verdict import Measure, Suspect

_KEEP_APART = "keep the batch axis apart; declare batch_dim=None if samples are meant to meet"
_MIND = "mind (batch, time, ...) against (time, batch, ...)"
_STUCK = "let model.eval() reach it: do not override train(), do not call .train() in forward"
_REMEDIES = {
    **dict.fromkeys(("view", "reshape"), "move axes by transpose or permute, not by view or reshape"),
    **dict.fromkeys(
        ("softmax", "log_softmax", "normalize", "cumsum"), "run it over the features: dim=-1"
    ),
    **dict.fromkeys(("mean", "std", "var", "sum"), "reduce over the features, not over dim 0"),
}
_CHANGED = {
    "later": "the samples after it are replaced",
    "earlier": "the samples before it are replaced",
    "order": "the batch is reversed",
}


def change(row: Row) -> Measure:
    """How much outputs of kept samples changed with their neighbours."""
    name = "relative change of a kept sample's output"
    return Measure(name, row.number("change"), "ratio", row.number("bound"))


def against(row: Row) -> str:
    """The change beside its bound."""
    return f"{row.number('change'):.2g} (bound {row.number('bound'):.2g}, {row.text('precision')})"


def finding(row: Row) -> str:
    """What changed in one line."""
    how = _CHANGED.get(row.text("changed"), "its neighbours change")
    return f"{row.text('output')} of a sample changes by {against(row)} when {how}"


def mixed(row: Row) -> Fault:
    """Samples that meet where nobody has declared it."""
    cause, remedy = _story(row)
    return Fault(
        finding(row),
        measures=(change(row),),
        suspects=[Suspect(_site(row), _at_site(row), remedy)],
        cause=cause,
        remedy=remedy,
    )


def advice_on_statistics(row: Row) -> str:
    """A normalisation that was told to keep no statistics."""
    return (
        f"{_site(row)} normalises over the batch in eval mode too (track_running_stats=False): "
        "predictions depend on what else is in the batch"
    )


def advice_on_padding(trace: Trace) -> Iterator[str]:
    """Outputs that change with what the company of a sample pads it by."""
    for row in trace.rows("padding"):
        if row.number("change") > row.number("bound"):
            yield (
                f"{row.text('output')} of a sample changes by {row.number('change'):.2g} with the "
                f"padding of its batch, from {row.integer('own')} to {row.integer('padded')} positions: "
                "mask what is padded before it is summed, averaged, attended to or read on"
            )


def _site(row: Row) -> str:
    return row.text("output") if row.get("culprit") is None else row.text("culprit")


def _at_site(row: Row) -> str:
    if row.get("culprit") is None:
        return f"changes by {against(row)} with the neighbours"
    what = f"{row.text('culprit_type')}: first to change for a sample whose own input did not"
    return f"{what}, at {_place(row)}" if row.text("operation") else what


def _place(row: Row) -> str:
    line = f" ({row.text('line')})" if row.text("line") else ""
    return row.text("operation") + line


def _story(row: Row) -> tuple[str, str]:
    """The likely cause and its remedy, from the mechanism that is known best."""
    kind, name = row.text("culprit_type"), row.text("culprit") or "the model's forward"
    if row.get("batch_first") is False:
        return (
            f"{name} ({kind}, batch_first=False) takes the batch axis for time",
            "set batch_first=True there, or give it (time, batch, features)",
        )
    if row.get("softmax_dim") == 0:
        return f"{name} normalises over dim 0, the batch", "normalise over the classes: dim=-1"
    if "BatchNorm" in kind and row.flag("culprit_training"):
        return f"{name} stays in train mode in eval mode, normalising over the batch", _STUCK
    if row.flag("only_by_place"):
        return (
            f"{name} treats a sample by its place in the batch, like an encoding along its axis",
            f"let it run along the time axis: {_MIND}",
        )
    where = "" if row.get("culprit") is None else f" in {name}"
    if row.text("operation"):
        remedy = _REMEDIES.get(row.text("operation"), _KEEP_APART)
        return f"{_place(row)}{where} mixes samples", remedy
    along = row.flag("only_from_earlier")
    guess = "a recurrence" if along else "a view for a transpose, a softmax or a mean"
    return f"an operation{where} runs along the batch axis: {guess}", f"{_KEEP_APART}; {_MIND}"
