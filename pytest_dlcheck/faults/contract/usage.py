"""Inputs, and parts of them, that change no output, told in words. Judging is the check's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pytest_dlcheck.faults.fault import Fault
from pytest_dlcheck.trace import Row
from pytest_dlcheck.verdict import Measure, Suspect

_CUT = 1e-6
"""Influence beside the unused part over the largest (ratio) below which it fades rather than ends."""
_TELLING = 0.25
"""Share of an axis from which unused rows or columns are worth a word: strides lose less."""


def is_ignored(row: Row) -> bool:
    """Whether a whole input that the model asks for by name changes nothing."""
    lost = row.text("part") == "tensor" and row.flag("told") and not row.flag("used")
    return lost and not row.flag("swallowed") and not row.flag("hidden")


def is_cut_off(row: Row, large: float) -> bool:
    """Whether part of an input surely is dropped by mistake.

    Args:
        row: unused indices of one axis.
        large: share of rows or columns from which dropping them is a fault.
    """
    if row.text("part") != "axis" or row.number("edge") < _CUT or row.flag("masked"):
        return False
    role, how, pattern = row.text("role"), row.text("how"), row.text("pattern")
    if how in {"zeroed", "untouched", "unread"}:
        return role == "feature" and (row.flag("raw") or how == "unread")
    if how != "sliced":
        return False
    if role == "feature":
        return True
    if role == "time":
        return pattern == "tail" and not _shifts(row)
    return pattern in {"head", "tail"} and row.number("share") >= large


def is_notable(row: Row) -> bool:
    """Whether unused indices that may be meant are worth a word of advice."""
    if row.text("part") != "axis" or row.flag("masked") or _shifts(row):
        return False
    return row.text("role") == "feature" or row.number("share") >= _TELLING


def _shifts(row: Row) -> bool:
    """Whether a model that answers at every step leaves out one, which it is to predict."""
    return row.text("role") == "time" and row.flag("per_step") and row.integer("count") == 1


def ignored(rows: Sequence[Row], lost: list[Row]) -> Fault:
    """Whole inputs that change nothing."""
    inputs = [row for row in rows if row.text("part") == "tensor"]
    names = " and ".join(f"`{row.text('input')}`" for row in lost)
    count = f"{len(lost)} of {len(inputs)} inputs ({names})"
    measure = Measure("inputs that change no output", len(lost), "count", 0)
    cause, remedy = _story_of_tensor(lost[0], constant=len(lost) == len(inputs))
    return Fault(
        f"{count} change no output, whatever their values (bound 0)",
        measures=(measure,),
        suspects=[s for row in lost for s in _places(row, f"`{row.text('input')}` changes no output")],
        cause=cause,
        remedy=remedy,
    )


def cut_off(row: Row) -> Fault:
    """Part of an input that changes nothing."""
    what = of_part(row)
    measure = Measure(f"unused {row.text('words')}", row.integer("count"), "count", 0)
    cause, remedy = _story_of_part(row)
    return Fault(
        f"{what} change no output (bound 0)",
        measures=(measure,),
        suspects=_places(row, f"{what} end there"),
        cause=cause,
        remedy=remedy,
    )


def hidden(rows: Sequence[Row]) -> Fault | None:
    """Attention that hides all but the padding; None where none does."""
    wrong = [row for row in rows if row.flag("inverted")]
    if not wrong:
        return None
    site = wrong[0].text("site") or "the model's forward"
    return Fault(
        f"{len(wrong)} of {len(rows)} masks (bound 0) hide what differs in `{wrong[0].text('input')}`, "
        "and leave places that all hold one value: the padding",
        measures=(Measure("masks that hide all but the padding", len(wrong), "count", 0),),
        suspects=[
            Suspect(row.text("site"), f"its mask is inverted, at {_operation(row)}") for row in wrong
        ],
        cause=f"the padding mask of {site} is inverted: real steps are hidden, padding is attended to",
        remedy="mind the convention: True means hidden in key_padding_mask of nn.MultiheadAttention and "
        "nn.Transformer, and taking part in scaled_dot_product_attention",
    )


def of_part(row: Row) -> str:
    """Which part, in words: ``6 of 30 features (24 to 29) of `x` ``."""
    count, size, words = row.integer("count"), row.integer("size"), row.text("words")
    return f"{count} of {size} {words} ({row.text('which')}) of `{row.text('input')}`"


def advice_on(rows: Sequence[Row]) -> Iterator[str]:
    """What changes nothing, but may be meant."""
    for row in rows:
        if row.text("part") == "tensor" and row.flag("told") and not row.flag("used"):
            yield f"`{row.text('input')}` changes no output; its name says that this may be meant"
        elif row.text("part") == "cut":
            yield (
                f"outputs depend on all {row.integer('size')} {row.text('words')} of "
                f"`{row.text('input')}`, and a gradient comes back from the last one alone: is the "
                "graph cut at each step (.data, .detach(), no_grad)? Nothing is learned through time"
            )
        elif is_notable(row):
            yield f"{of_part(row)} change no output{_reason(row)}"


def _reason(row: Row) -> str:
    far = row.text("role") == "time" and row.text("pattern") in {"head", "both ends"}
    if row.number("edge") < _CUT:
        return ": their influence fades out on the way"
    if far and row.flag("convolves") and not row.flag("raw"):
        return ": the receptive field ends before them"
    return f", lost in {_operation(row)}" if row.text("operation") else ""


def _places(row: Row, finding: str) -> list[Suspect]:
    """The module that made what is dropped, the one that drops it, and the input itself."""
    where = f", at {_operation(row)}" if row.text("operation") else ""
    sites = [] if row.flag("raw") else [row.get("maker")]
    sites += [row.get("module")]
    named = dict.fromkeys(str(site) for site in sites if site)
    place = f"input {row.integer('index')}"
    last = Suspect(place, finding + where)
    own = [Suspect(site, finding + where) for site in named]
    return [last, *own] if row.flag("raw") or row.text("part") == "tensor" else [*own, last]


def _operation(row: Row) -> str:
    line, name = row.text("line"), row.text("operation")
    name = "a slice" if name == "__getitem__" else f"`{name}`"
    return f"{name} ({line})" if line else name


def _around(row: Row) -> str:
    return f" in `{row.text('module')}`" if row.text("module") else " in the model's forward"


def _story_of_tensor(row: Row, *, constant: bool) -> tuple[str, str]:
    name, how = row.text("input"), row.text("how")
    place = f"{_operation(row)}{_around(row)}"
    if constant and how != "untouched":
        return (
            f"the outputs are constant: the inputs are lost at {place}",
            "look there for a softmax or a maximum over an axis of one, a product with 0, dead units",
        )
    if how == "untouched":
        return (
            f"nothing in forward reads `{name}`: another variable is used in its place",
            f"use `{name}` where it is meant, or drop it from forward and from the batch",
        )
    if how == "unread":
        return (
            f"what is computed from `{name}` reaches no output: it ends at {place}",
            "use that result, where a variable is overwritten, or another one is taken twice",
        )
    if how == "unknown":
        return f"`{name}` is not used", f"use `{name}`, or drop it from forward and from the batch"
    return f"`{name}` is lost at {place}", "keep it there, or drop it from forward and from the batch"


def _story_of_part(row: Row) -> tuple[str, str]:
    words, name = row.text("words"), row.text("input")
    place = f"{_operation(row)}{_around(row)}"
    made = f"the output of `{row.text('maker')}`" if row.get("maker") else "an intermediate result"
    source = f"`{name}`" if row.flag("raw") else made
    if row.text("how") == "untouched":
        return f"nothing reads these {words}", f"use all {words}, or take them out of the data"
    if row.text("how") == "zeroed":
        return f"these {words} are set to zero by {place}", f"keep all {words}"
    if row.text("how") == "unread":
        return (
            f"what is computed from these {words} reaches no output: it ends at {place}",
            "use that result, where a variable is overwritten, or another one is taken twice",
        )
    if row.text("role") == "time" and not row.flag("raw"):
        return (
            f"{place} keeps a step of {source} that has not seen the later {words}",
            "take the last step, [:, -1], or pool over all steps",
        )
    return (
        f"{place} takes a part of {source} only",
        f"correct the slice, or take these {words} out of the data",
    )
