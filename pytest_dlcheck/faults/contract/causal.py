"""Views of the future and targets that are not shifted, told as faults. Whether surely: the check's."""

from __future__ import annotations

from pytest_dlcheck.faults.fault import Fault
from pytest_dlcheck.trace import Row
from pytest_dlcheck.verdict import Measure, Suspect

_CONVENTION = (
    "mind the convention: True means masked out in nn.MultiheadAttention, taking part in "
    "scaled_dot_product_attention"
)
_OVER_TIME = {
    **dict.fromkeys(("mean", "sum", "var", "std", "amax", "max", "logsumexp"), "reduces over time"),
    **dict.fromkeys(("layer_norm", "normalize", "group_norm", "instance_norm"), "normalises over time"),
    **dict.fromkeys(("flip", "roll", "__getitem__", "index_select"), "moves later positions to earlier"),
    **dict.fromkeys(("view", "reshape", "unflatten"), "mixes time with another axis"),
    **dict.fromkeys(("rfft", "fft_rfft", "fft_fft", "fft"), "transforms the whole of time"),
}
_SHIFT = "shift by one: inputs tokens[:, :-1], targets tokens[:, 1:]"


def change(row: Row) -> Measure:
    """How much the outputs before a position changed with the inputs after it."""
    name = "relative change of past outputs"
    return Measure(name, row.number("change"), "ratio", row.number("bound"))


def finding(row: Row) -> str:
    """The largest change in one line."""
    where = f"outputs up to position {row.integer('position')} of {row.integer('steps')}"
    return (
        f"{where} change by {row.number('change'):.2g} (bound {row.number('bound'):.2g}) when later "
        f"values of {row.text('input')} are replaced"
    )


def leak(row: Row) -> Fault:
    """An input that is seen before its time."""
    if row.get("culprit") is None and row.flag("one_ahead") and row.flag("next_token"):
        return _given(row)
    site, what = row.text("output"), f"depends on inputs after position {row.integer('position')}"
    if row.get("culprit") is not None:
        site = row.text("culprit")
        what = f"{row.text('culprit_type')}: first whose output at a position depends on later inputs"
        if row.text("operation"):
            line = f" ({row.text('line')})" if row.text("line") else ""
            what = f"{what}, by {row.text('operation')}{line}"
    cause, remedy = _story(row)
    return Fault(finding(row), (change(row),), [Suspect(site, what, remedy)], cause, remedy)


def _given(row: Row) -> Fault:
    """Tokens that no module looks ahead for: the model is given each where it is to predict it."""
    name = row.text("input")
    what = f"{name} is handed over at the very positions at which it is the target"
    cause = "the model is given the token that it is to predict: the inputs are not shifted"
    return Fault(finding(row), (change(row),), [Suspect("data", what, _SHIFT)], cause, _SHIFT)


def unshifted(row: Row, bound: float) -> Fault:
    """Logits that are scored against what they were given, more of them than the bound (ratio)."""
    share = row.number("scored_now")
    return Fault(
        f"{share:.0%} of logits are scored against the very token they were given (bound {bound:.0%})",
        measures=(
            Measure("logits scored against the token at their own position", share, "ratio", bound),
        ),
        suspects=[Suspect("data", "targets equal the inputs, position by position", _SHIFT)],
        cause="the targets are not shifted against the inputs: the model learns to copy",
        remedy=_SHIFT,
    )


def copied(count: int, looked: int, several: int) -> Fault:
    """Losses whose targets are the inputs, of a model that sees each where it is to tell it."""
    return Fault(
        because=(
            f"{count} of {looked} losses (fewer than {several} may) have as targets the tokens that "
            "the model is called on, and each place sees its own token and those before, none after"
        ),
        measures=(Measure("losses whose targets are the inputs", count, "count", several, "<"),),
        suspects=[Suspect("data", "targets equal the inputs, position by position", _SHIFT)],
        cause="the targets are not shifted against the inputs: the model learns to copy",
        remedy=_SHIFT,
    )


def is_displaced(row: Row) -> bool:
    """Whether all right answers lie in what a model has seen, or beyond the next token.

    Several heads that each look further ahead score the next token too, and are not counted here.
    """
    return row.flag("sees_past") and (row.integer("shift") < 0 or row.integer("shift") > 1)


def displaced(row: Row, bound: float) -> Fault:
    """Logits that are scored against a token of their past, or one too far ahead.

    Args:
        row: the input.
        bound: the share (ratio) of scored logits above which it is told.
    """
    distance = row.integer("shift")
    side = "before" if distance < 0 else "after"
    cause = "the targets are shifted the wrong way: the model learns to copy what it has seen"
    if distance > 1:
        cause = "the targets are shifted twice, by the data and by the loss: the next token is skipped"
    places = f"{abs(distance)} position{'s' * (abs(distance) > 1)}"
    return Fault(
        f"logits are scored against the token {places} {side} their own (share over {bound:.0%})",
        measures=(Measure("distance of the right answer", distance, "positions", 1, "="),),
        suspects=[Suspect("data", f"targets lie {places} {side} the inputs", _SHIFT)],
        cause=cause,
        remedy=_SHIFT,
    )


def _by_operation(row: Row, name: str) -> tuple[str, str] | None:
    """The story of an operation that runs over time by itself, without a mask."""
    operation, where = row.text("operation"), f" ({row.text('line')})" if row.text("line") else ""
    if operation == "softmax" and row.get("over_last_axis") is False:
        return (
            f"{operation}{where} in {name} does not normalise over the positions attended to",
            "normalise scores (batch, query, key) over the keys: dim=-1",
        )
    if "Norm" in row.text("culprit_type"):
        return f"{name} normalises over time", "normalise each position by itself"
    if operation in _OVER_TIME:
        return (
            f"{operation}{where} in {name} {_OVER_TIME[operation]}",
            "let each position see itself and those before it only",
        )
    return None


def _story(row: Row) -> tuple[str, str]:
    """The likely cause and its remedy, from the mechanism that is known best."""
    name, kind = row.text("culprit") or "the model's forward", row.text("culprit_type")
    if row.get("bidirectional") is True:
        return f"{name} runs in both directions", "bidirectional=False there"
    if "Conv" in kind:
        return (
            f"{name} is padded on both sides of time",
            "pad the past only: F.pad(x, (kernel - 1, 0))",
        )
    if told := _by_operation(row, name):
        return told
    if row.get("sees_past") is False:
        return f"the mask in {name} is inverted: outputs see the future and not the past", _CONVENTION
    if row.flag("one_ahead"):
        return (
            f"{name} sees exactly one position ahead: its mask is one diagonal too far",
            "mask from the first diagonal on: triu(diagonal=1), or tril() of what may be seen",
        )
    return (
        f"no causal mask takes effect in {name}",
        "mask the future: is_causal=True, or an upper triangular mask, applied before the softmax",
    )
