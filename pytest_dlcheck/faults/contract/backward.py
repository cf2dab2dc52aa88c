"""Backward functions that give no derivative, told in words. From which error on: the check's."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from pytest_dlcheck.faults.fault import Fault
from pytest_dlcheck.trace import Row
from pytest_dlcheck.verdict import Measure, Suspect

_REMEDY = "compare with torch.autograd.gradcheck in float64 until it agrees"


def on_purpose(rows: Sequence[Row], row: Row) -> str:
    """Why this backward may well be meant to differ; empty where there is no such reason.

    Args:
        rows: all inputs of the same Function.
        row: the input whose gradient differs.
    """
    if any(other.flag("identity") for other in rows):
        return "it gives its input back unchanged and changes the gradient only (reversal, scaling)"
    if any(other.flag("flat") for other in rows):
        return "its forward is piecewise constant: a straight-through or surrogate gradient"
    if any(other.flag("quantises") for other in rows):
        return "its forward rounds, by a scale that its input sets: a straight-through gradient"
    if silences(rows):
        return "it lets no gradient through"
    if row.get("where_flat") is True and not row.flag("rectifies"):
        return "it differs only where forward is flat: a straight-through gradient of a clamp"
    return ""


def silences(rows: Sequence[Row]) -> bool:
    """Whether a Function, of whose inputs these are all, lets no gradient through at all."""
    return all(row.flag("silent") for row in rows)


def wrong(rows: Sequence[Row], row: Row, bound: float) -> Fault:
    """A backward that is not the derivative of its forward.

    Args:
        rows: all inputs whose gradients are wrong, of any Function.
        row: the one to be told first.
        bound: relative error (ratio) up to which it would be right.
    """
    error = row.number("error")
    cause, remedy = _story(rows, row)
    suspects = [
        Suspect(_site(r), f"{_gradient(r)} differs by {r.number('error'):.2g}, {_placed(r)}", _REMEDY)
        for r in rows
    ]
    return Fault(
        f"{_gradient(row)} differs from the derivative of forward by {error:.2g}, relatively "
        f"(bound {bound:g}, {row.text('precision')})",
        measures=(Measure("relative error of a directional derivative", error, "ratio", bound),),
        suspects=list({s.site + s.finding: s for s in suspects}.values()),
        cause=cause,
        remedy=remedy,
    )


def advice_on_silence(rows: Iterable[Row]) -> Iterator[str]:
    """Functions through which nothing upstream is trained."""
    for name in dict.fromkeys(row.text("function") for row in rows):
        yield f"{name}.backward lets no gradient through: what comes before it is not trained by it"


def advice_on_loss(rows: Sequence[Row], bound: float) -> Iterator[str]:
    """Losses that take for granted that the gradient that arrives is 1."""
    for row in rows:
        if row.flag("ignores") and row.number("error") <= bound:
            yield (
                f"{row.text('function')}.backward ignores grad_output: right for a bare loss only, "
                "wrong once it is weighted, averaged over micro-batches, or scaled"
            )


def _site(row: Row) -> str:
    if row.get("site") is None:
        return "loss"
    return row.text("site")


def _gradient(row: Row) -> str:
    return f"{row.text('function')}.backward's gradient for `{row.text('name')}`"


def _placed(row: Row) -> str:
    line = f" ({row.text('line')})" if row.text("line") else ""
    return f"autograd Function {row.text('function')}{line}"


def _story(rows: Sequence[Row], row: Row) -> tuple[str, str]:  # noqa: PLR0911  a mechanism each
    """The likely cause and its remedy, from the mechanism that is known best."""
    name, place = row.text("name"), _placed(row)
    ratio = row.number("ratio")
    if row.flag("ignores"):
        return (
            f"{place}: backward ignores grad_output, the chain rule is missing",
            "multiply by grad_output",
        )
    if row.flag("silent"):
        return (
            f"{place}: backward returns nothing for `{name}`, on which forward depends",
            f"return the gradient of `{name}` in its place, None only for what needs none",
        )
    if row.flag("transposed"):
        return f"{place}: the gradient for `{name}` is transposed", "transpose it"
    if row.get("ratio") is not None:
        if abs(ratio + 1) < 0.01:  # noqa: PLR2004
            return f"{place}: the gradient for `{name}` has the wrong sign", "remove the minus"
        return (
            f"{place}: the gradient for `{name}` is {ratio:.3g} times the derivative, a wrong scale",
            f"multiply by {1 / ratio:.3g}",
        )
    if row.flag("rectifies"):
        return (
            f"{place}: forward is max(x, 0), backward masks other elements than those with x > 0",
            "return grad_output * (x > 0)",
        )
    kin = [r for r in rows if (r.text("function"), r.text("shape")) == _kind(row)]
    if len({r.integer("argument") for r in kin}) > 1:
        return f"{place}: gradients of its inputs are swapped, or both wrong", _REMEDY
    return (
        f"{place}: a factor of the chain rule is missing for `{name}`, or the wrong tensor is saved",
        _REMEDY,
    )


def _kind(row: Row) -> tuple[str, str]:
    return row.text("function"), row.text("shape")
