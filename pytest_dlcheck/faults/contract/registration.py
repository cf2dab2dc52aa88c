"""Tensors that get a gradient and are registered nowhere, told in words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pytest_dlcheck.faults.fault import Fault
from pytest_dlcheck.trace import Row
from pytest_dlcheck.verdict import Measure, Suspect

_REMEDIES = {
    "list": "use nn.ModuleList (nn.ParameterList for parameters)",
    "tuple": "use nn.ModuleList (nn.ParameterList for parameters)",
    "dict": "use nn.ModuleDict (nn.ParameterDict for parameters)",
    "plain tensor": "wrap it in nn.Parameter",
    "buffer": "make it an nn.Parameter, or a buffer without requires_grad",
    "computed": "compute the initial value first, then wrap it: nn.Parameter(value)",
    "made anew": "make it once, in __init__: what forward makes is random every time, never trained",
}
_REMEDY = "register it: assign it to an attribute of a module as nn.Module or nn.Parameter"
_OUTSIDE = ("a closure", "a global", "a partial")


def is_hidden(row: Row) -> bool:
    """Whether it surely is meant to train: part of the model, or evidently as it was initialised."""
    if row.flag("optimized") or not row.text("place"):
        return False
    return row.text("holder") not in _OUTSIDE or row.flag("untrained")


def measured(hidden: Sequence[Row]) -> Measure:
    """How many there are."""
    return Measure("unregistered tensors that get a gradient", len(hidden), "count", 0)


def unregistered(hidden: Sequence[Row]) -> Fault:
    """Tensors that no module knows."""
    first = hidden[0]
    numel = sum(row.integer("numel") for row in hidden)
    return Fault(
        f"{len(hidden)} tensors ({numel:,} numbers) get a gradient and are registered nowhere (bound 0)",
        measures=(measured(hidden),),
        suspects=[
            Suspect(
                row.text("place"),
                f"{row.text('shape')}, {_held(row)}: in no parameters()",
                _remedy(row),
            )
            for row in hidden
        ],
        cause=_cause(first),
        remedy=_remedy(first),
    )


def advice_on(rows: Sequence[Row]) -> Iterator[str]:
    """What is not registered, but may be meant so."""
    optimized = [row.text("place") for row in rows if row.flag("optimized")]
    outside = [row for row in rows if not row.flag("optimized") and not is_hidden(row)]
    if optimized:
        names = ", ".join(optimized[:5])
        yield f"{len(optimized)} parameters train but are in no state_dict: {names}; register them"
    if outside:
        place = outside[0].text("place")
        first = f"{place}, " if place else ""
        yield (
            f"{len(outside)} tensors outside of the model get a gradient and are in no optimizer, "
            f"the first {first}of shape {outside[0].text('shape')}: freeze them if they must not train"
        )


def repeated(summary: Row) -> Iterator[str]:
    """A list of layers that are one and the same, which some mean."""
    if where := summary.text("repeated"):
        yield f"one layer stands {where}, sharing its weights: for layers of their own build each anew"


def _held(row: Row) -> str:
    return row.text("holder") if row.flag("created") else f"held in {row.text('holder')}"


def _cause(row: Row) -> str:
    place, holder = row.text("place"), row.text("holder")
    if row.flag("created"):
        return f"in `{place}` a parameter is {holder}"
    if holder in _OUTSIDE or ("plain" in holder and "tensor" not in holder):
        return f"{place.partition('[')[0]} is held in {holder}, which nn.Module does not look into"
    return f"{place} is {holder}"


def _remedy(row: Row) -> str:
    return next((text for kind, text in _REMEDIES.items() if kind in row.text("holder")), _REMEDY)
