"""What can be wrong between a torch loss and its targets, told as faults and advice."""

from __future__ import annotations

from collections.abc import Iterator

from pytest_dlcheck.faults.losses.class_shares import advice_on_shares
from pytest_dlcheck.faults.losses.fault import Fault
from pytest_dlcheck.trace import Row
from pytest_dlcheck.verdict import Measure

_SMOOTHEST = 0.5
"""Label smoothing (ratio) beyond which the right class gets less than the others together."""
_BEYOND = 0.25
"""Share of targets out of reach from which a bounded output cannot be meant; a few are outliers."""
_NORMALISED = 1e-3
"""Distance of sums from 1 (ratio) up to which rows are probabilities, as in ``loss_is_sound``."""
_SOME = 0.05
_ABSURD = 100.0
"""pos_weight over the ratio of negatives to positives: it is meant to be about 1."""
_LARGE = 1000.0


def of_targets(row: Row) -> Iterator[Fault]:
    """Targets that a loss cannot learn from.

    Args:
        row: one call of a torch loss.
    """
    kind = row.text("kind")
    if row.number("ignored") >= 1:
        index = row.integer("ignore_index")
        text = f"every target of {kind} is {index}, its ignore_index: nothing is left to learn"
        share = Measure("share of ignored targets", row.number("ignored"), "ratio", 1.0, "<")
        cause = "ignore_index is a class that is used, or labels are masked out altogether"
        yield Fault("data", text, cause, "keep the labels that are to be learned", share)
    if row.flag("class_axis"):
        text = f"{kind} takes axis 1 of outputs {row.text('shape')} for classes; they lie on the last"
        axis = Measure("axis of the classes", -1, "axis", 1, "=")
        remedy = "flatten to (N*T, C) and (N*T,), or outputs.transpose(1, 2)"
        yield Fault("loss", text, "classes lie on the wrong axis for this loss", remedy, axis)
    if row.number("smoothing") > _SMOOTHEST:
        value = row.number("smoothing")
        text = f"label_smoothing={value:g} leaves the right class less than all others together"
        yield Fault(
            "loss", text, "label smoothing is far too strong", "use 0.05 to 0.2",
            Measure("label smoothing", value, "ratio", _SMOOTHEST),
        )  # fmt: skip
    yield from _of_weights(row)
    if row.flag("itself"):
        text = f"{kind} compares the outputs with themselves: it is 0 whatever the model does"
        yield Fault(
            "loss", text, "outputs take the place of targets", "compare with the targets",
            Measure("difference between outputs and targets", 0.0, "target", 0.0, ">"),
        )  # fmt: skip
    if row.number("outside") >= _BEYOND:
        yield _out_of_reach(row)
    if row.flag("compared") and 1 < row.integer("width") > row.integer("most_label"):
        text = f"{kind} compares each of {row.integer('width')} outputs with the number of a class"
        remedy = "use cross_entropy with whole-number labels, or one-hot targets"
        width = Measure("outputs compared with one label", row.integer("width"), "count", 1)
        yield Fault("loss", text, "a regression loss on class labels", remedy, width)
    if kind == "kl_div" and row.number("least_target") < 0 and not row.flag("log_target"):
        text = f"targets of kl_div go down to {row.number('least_target'):.3g}, below 0"
        least = Measure("least target", row.number("least_target"), "target", 0.0, ">=")
        remedy = "pass log_target=True, or give probabilities"
        yield Fault("loss", text, "targets are log-probabilities", remedy, least)
    off = row.get("target_off")
    if isinstance(off, float) and off <= _NORMALISED and row.flag("log_target"):
        text = "targets of kl_div are probabilities, and log_target=True wants their logarithms"
        sums = Measure("distance of the targets' sums from 1", off, "ratio", _NORMALISED, ">=")
        remedy = "remove log_target=True, or give log-probabilities"
        yield Fault("loss", text, "targets are probabilities, taken for logarithms", remedy, sums)


def advice_on_targets(row: Row) -> Iterator[str]:
    """What is suspicious, but can be meant."""
    kind = row.text("kind")
    if _SOME <= row.number("outside") < _BEYOND:
        share, limits = row.number("outside"), row.text("range")
        yield f"{share:.0%} of the targets lie outside {limits}, which the outputs cannot leave"
    if row.integer("labels") > 2 and row.integer("width") == 1:  # noqa: PLR2004
        count = row.integer("labels")
        yield f"targets of {kind} are {count} whole numbers in a row: if they name classes, classify"
    if row.number("least_weight") == 0 < row.number("most_weight") and row.text("weight") == "weight":
        yield "a class has the weight 0: it is never learned"
    yield from advice_on_shares(row)
    if 0.9 <= row.number("ignored") < 1:  # noqa: PLR2004
        yield f"{row.number('ignored'):.0%} of the targets are ignored ({row.integer('ignore_index')})"


def _of_weights(row: Row) -> Iterator[Fault]:
    name, least, most = row.text("weight"), row.number("least_weight"), row.number("most_weight")
    if not name:
        return
    if least < 0 or most == 0 or (name == "pos_weight" and least == 0):
        text = f"{name} of {row.text('kind')} goes down to {least:g}"
        cause = "classes of negative weight are unlearned, of weight 0 never learned"
        measure = Measure(f"least {name}", least, "ratio", 0.0, ">")
        yield Fault("loss", text, cause, "weights must be above 0", measure)
    balance = row.number("balance")
    if name == "pos_weight" and most >= _LARGE and most > _ABSURD * balance:
        text = f"pos_weight={most:g}, where negatives are {balance:.3g} times as many as positives"
        measure = Measure("pos_weight over the ratio of negatives", most / balance, "ratio", _ABSURD)
        remedy = "use the ratio of negatives to positives"
        yield Fault("loss", text, "pos_weight is far too large: all is predicted", remedy, measure)


def _out_of_reach(row: Row) -> Fault:
    last, share = row.text("last").lower(), row.number("outside")
    spread = f"{row.number('lowest_target'):.3g} to {row.number('highest_target'):.3g}"
    return Fault(
        row.text("site"),
        f"`{row.text('site')}` ends in {last}, so that outputs stay in {row.text('range')}; "
        f"{share:.0%} of the targets lie outside ({spread})",
        f"the last activation ({last}) does not fit the targets, or targets are not normalised",
        f"remove the {last}, or scale the targets into {row.text('range')}",
        Measure("targets out of reach", share, "ratio", _BEYOND, "<"),
    )
