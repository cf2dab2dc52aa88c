"""Places without gradient, told in words. Thresholds: the check's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pytest_dlcheck.trace import Row, Trace
from pytest_dlcheck.verdict import Suspect

_ZERO_STEPS = 5
"""Recorded steps after which a zero initialisation no longer explains a gradient of zero."""


def silent_parameters(traces: tuple[Trace, ...], asked: Mapping[str, Row]) -> dict[str, str]:
    """The parameters that had a gradient in no step of any seed, and whether it was zero."""
    found: dict[str, set[str]] = {name: set() for name in asked}
    for trace in traces:
        for name, values in trace.matrix("gradient_norm").columns():
            if name in found:
                found[name] |= {_state(value) for value in values}
    return {
        name: "zero" if "zero" in states else "absent"
        for name, states in found.items()
        if states and "flows" not in states
    }


def _state(value: float | None) -> str:
    if value is None:
        return "absent"
    return "zero" if value == 0 else "flows"


def broken(
    traces: tuple[Trace, ...], places: list[Row], silent: Mapping[str, str], asked: Mapping[str, Row]
) -> list[Row]:
    """The places without gradient that are surely a fault.

    Args:
        traces: of the training.
        places: without gradient.
        silent: the parameters in them.
        asked: all that are to be trained.
    """
    found = [row for row in places if is_broken(row, silent, asked) or _starves(row, traces)]
    zero = [row for row in places if row.text("state") == "zero"]
    by_themselves = zero and not any(row.flag("at_its_own") for row in zero)
    still = [asked[name] for name in silent if covered(zero, name, silent)]
    if not found and is_blocked(traces, silent, asked) and (by_themselves or begin_at_zero(still)):
        return zero
    term = next((told for trace in traces if (told := trace.row("loop").text("left_out"))), "")
    if found or not term:
        return found
    used = [row for row in places if row.text("state") == "absent" and row.integer("called")]
    moved = [n for n in silent if asked[n].flag("changed")]
    own = [row for row in used if not any(covers(row, name, silent) for name in moved)]
    return [Row(row, term=term) for row in own if not row.text("copy_of")]


def _starves(row: Row, traces: tuple[Trace, ...]) -> bool:
    """Whether it learns nothing, and layers that learn their biases are given zeros alone."""
    return bool(row.text("starved")) and _are_enough(traces)


def _are_enough(traces: tuple[Trace, ...]) -> bool:
    return all(len(trace.matrix("gradient_norm")) >= _ZERO_STEPS for trace in traces)


def begin_at_zero(still: Sequence[Row]) -> bool:
    """Whether there are weights among these parameters, and all of them were zero at the start."""
    weights = [row for row in still if row.text("shape").count(", ")]
    return bool(weights) and all(row.flag("zero_at_start") for row in weights)


def covers(row: Row, name: str, silent: Mapping[str, str]) -> bool:
    """Whether a silent parameter lies in that place, and fares as the place does."""
    site = row.text("site")
    inside = not site or name == site or name.startswith(f"{site}.")
    return inside and row.text("state") == silent[name]


def covered(rows: list[Row], name: str, silent: Mapping[str, str]) -> bool:
    """Whether a silent parameter lies in any of the places."""
    return any(covers(row, name, silent) for row in rows)


def is_broken(row: Row, silent: Mapping[str, str], asked: Mapping[str, Row]) -> bool:
    """Whether a place without gradient is surely a fault."""
    mine = [asked[name] for name in silent if covers(row, name, silent)]
    moved_by_hand = row.text("state") == "absent" and any(p.flag("changed") for p in mine)
    if moved_by_hand or row.text("copy_of"):
        return False
    is_left_out = bool(row.text("doubled") or row.text("target"))
    return row.flag("influences") or _is_discarded(row) or is_left_out


def is_blocked(traces: tuple[Trace, ...], silent: Mapping[str, str], asked: Mapping[str, Row]) -> bool:
    """Whether exactly the first weights, at least half of all, have a gradient of zero."""
    weights = [name for name, row in asked.items() if row.text("shape").count(", ")]
    zero = [name for name in weights if silent.get(name) == "zero"]
    return _are_enough(traces) and 2 * len(zero) >= len(weights) > 0 and zero == weights[: len(zero)]


def _is_discarded(row: Row) -> bool:
    called = row.integer("called") > 0 and row.text("state") == "absent"
    return called and row.get("influences") is False and row.get("returned") is False


def suspect(row: Row) -> Suspect:
    """The place under suspicion."""
    what = "no gradient" if row.text("state") == "absent" else "a gradient of exactly 0"
    if product := row.text("product"):
        why = f"{product} are both zero"
    elif term := row.text("term"):
        why = f"backward is called on {term.partition(' of ')[0]} alone"
    elif row.flag("influences") and "line" in row:
        why = "what it computes goes on without its graph"
    elif row.flag("influences"):
        why = "the loss changes when it is perturbed"
    elif row.text("doubled"):
        why = f"never called, while {row.text('doubled')}, of the same form, is called twice"
    elif row.text("target"):
        why = f"the loss uses neither what it gives nor `{row.text('target')}`"
    elif row.text("starved"):
        why = f"{row.text('starved')} behind it is given zeros alone"
    elif row.text("state") == "zero":
        why = "no signal gets past it"
    else:
        why = "what it computes is thrown away where it is called"
    return Suspect(row.text("site"), f"{what} in any step; {why}")


def is_far_from_its_cut(row: Row) -> bool:
    """Sorts places: those next to the cut come first."""
    site, last = row.text("site"), row.text("cut_after")
    return bool(site and last) and not f"{last}.".startswith(f"{site}.")


def _cause(row: Row) -> str:
    """The likely cause of what was found at the place."""
    before, after = row.text("cut_before"), row.text("cut_after") or row.text("site") or "the model"
    if row.text("doubled") or row.text("target"):
        return _forgotten(row)
    if row.text("state") == "zero" and not row.flag("influences"):
        none = "nothing gets through behind them: dead or saturated activations, or a product with 0"
        return none if row.text("site") else f"{none}; or outputs that cancel, of two calls on the same"
    if not row.flag("influences"):
        return f"the output of {row.text('site')} is computed and never used"
    where = f"between `{after}` and `{before}`" if before else f"between `{after}` and the loss"
    if row.text("state") == "zero":
        return (
            f"{where} the derivative is 0 everywhere: a rounding, a sign, a comparison, or an "
            "activation that is saturated or dead"
        )
    if row.flag("grad_off") or row.flag("detached"):
        return _seen_in_calls(row)
    detail = f": the input of `{before}` does not require grad" if row.flag("blind") else ""
    if row.flag("indices"):
        detail = f": the input of `{before}` is whole numbers, which have no gradient"
    return f"the graph is cut {where}{detail}"


def _forgotten(row: Row) -> str:
    """A layer that another is called for, or a head whose targets are not read."""
    if row.text("doubled"):
        return f"{row.text('doubled')} is called in the place of {row.text('site')}"
    return (
        f"the loss of `{row.text('site')}` is overwritten or left out: no value of its target, "
        f"`{row.text('target')}`, changes the loss"
    )


def _seen_in_calls(row: Row) -> str:
    """A module that is called without gradients, or whose result is detached before it is used."""
    name = row.text("site") or row.text("type") or "the model"
    at = f", at {row.text('line')}" if row.text("line") else ""
    if row.flag("grad_off"):
        return f"`{name}` is called under torch.no_grad(){at}"
    taker = f"`{row.text('given_to')}`" if row.text("given_to") else "the rest"
    return f"what `{name}` returns is detached before it goes into {taker}{at}"


def reason(place: Row, still: Sequence[Row]) -> tuple[str, str]:
    """The likely cause, and what to do about it.

    Args:
        place: the first one without gradient.
        still: the rows of the parameters that stand still.
    """
    if product := place.text("product"):
        cause = (
            f"{product} are both initialised to zero, and multiplied: each takes the other's gradient "
            "away, so that they stay zero for ever, and with them all that lies between"
        )
        return (
            cause,
            "start one of the two at zero, and the other at random, or a scale at a small number",
        )
    if place.text("state") == "zero" and begin_at_zero(still):
        cause = "their weights are initialised to zero: nothing passes them, and no gradient comes back"
        return cause, "initialise them at random, as nn.init.kaiming_normal_ does; zeros are for biases"
    if starved := place.text("starved"):
        cause = (
            f"all that goes into {starved} is exactly 0, in every step and sample: units before it are "
            "dead, by a large negative bias or an early large step, or there is a product with 0"
        )
        return cause, _remedy(place)
    if term := place.text("term"):
        part, _, total = term.partition(" of ")
        cause = f"backward is called on `{part}`, which is but a term of `{total}`"
        return cause, f"call {total}.backward()"
    return _cause(place), _remedy(place)


def _remedy(row: Row) -> str:
    """What to do about it."""
    site = row.text("site") or row.text("type") or "the model"
    if row.text("doubled"):
        return f"call {site} in its place, or remove it"
    if row.text("target"):
        return f"add its term to the others: total = total + ..., not total = ...; or remove {site}"
    if row.text("state") == "zero" and not row.flag("influences"):
        return "look for activations that are 0 for every sample behind the last of them"
    if not row.flag("influences"):
        return f"use what {site} returns, or remove it"
    if row.text("state") == "zero":
        return "use a differentiable operation there, or a straight-through estimator"
    return (
        "remove .detach(), .item(), .data, no_grad or argmax there, or freeze "
        f"{site} on purpose (requires_grad_(False))"
    )


def advice(row: Row, silent: Mapping[str, str], asked: Mapping[str, Row]) -> str:
    """What to say of a place without gradient that is no sure fault; empty where it is right.

    Args:
        row: the place.
        silent: the parameters without gradient.
        asked: all that are to be trained.
    """
    site, what = row.text("site"), row.text("type")
    if row.text("copy_of"):
        return f"{site} is a copy of {row.text('copy_of')} without gradients: freeze it"
    if row.text("state") == "zero" and row.get("called") is None:
        return ""  # a bias that its surroundings take out again: right as it is
    if row.text("state") == "zero":
        return f"{site} ({what}) has a gradient of exactly 0 in all steps: nothing depends on it yet"
    if not site:
        return (
            f"{what} received no gradient in any step that was looked at: is it called under no_grad(), "
            "are its results detached, or does the loss not use them?"
        )
    return _unused(row, moved=any(asked[n].flag("changed") for n in silent if covers(row, n, silent)))


def _unused(row: Row, *, moved: bool) -> str:
    """Advice on a module without gradients, unless something else has moved its parameters."""
    site, what = row.text("site"), row.text("type")
    if row.flag("aside"):
        return (
            f"{site} ({what}) is in the optimizer, and only called without gradients: leave it out, or "
            "let gradients through if it is to learn"
        )
    if row.get("called") == 0:
        return f"{site} ({what}) is never called in the forward: remove it, or freeze it"
    none = f"{site} ({what}) receives no gradient: the loss does not use it, or only detached"
    return "" if moved else none
