"""What can be wrong between rows of classes and the class wanted of each, told as faults and advice."""

from __future__ import annotations

from collections.abc import Iterator

from pytest_dlcheck.faults.losses.fault import Fault
from pytest_dlcheck.trace import Row
from pytest_dlcheck.verdict import Measure

_FEWEST = 8
"""Pairs from which on an order among them is told: eight rows that each rank another column first do
so by chance once in 400 times (8! / 8**8), and then in another order than the wanted one."""
_ONE_TO_ONE = 0.9
"""Share of columns that some row ranks first, from which on rows are paired with columns: random rows
reach 0.63 (1 - 1/e)."""
_MATCHED = 0.1
"""Share of rows that rank the wanted column first, up to which the pairs are others; chosen."""
_OFF = 0.01
"""Distance of a sum of probabilities from 1 that is told: half precision and smoothing stay below."""
_ENOUGH = 64
"""Targets on either side that one batch must hold before their classes are spoken of; chosen."""


def of_matches(row: Row) -> Iterator[Fault]:
    """Right answers that are masked, paired otherwise, or all alike.

    Args:
        row: one call of a torch loss.
    """
    kind = row.text("kind")
    if row.number("masked") > 0:
        share = Measure("share of rows whose wanted class is masked", row.number("masked"), "ratio", 0)
        text = (
            f"{kind} wants a class whose logit was filled with a constant in {share.value:.0%} of rows"
        )
        cause = "the right answer is masked out: it can never be given"
        yield Fault("loss", text, cause, "mask wrong answers only, or shift the targets alike", share)
    if _is_paired_otherwise(row):
        matched = Measure(
            "rows that rank their own pair first", row.number("matched"), "ratio", _MATCHED
        )
        text = (
            f"{row.number('one_to_one'):.0%} of {row.integer('pairs')} rows under {kind} rank a column "
            f"of their own first, and {matched.value:.0%} the one that is wanted"
        )
        cause = "positives are paired with the wrong partner: targets or one of the views are displaced"
        yield Fault("data", text, cause, "keep both views in one order: arange(len(batch))", matched)
    if _is_left_alone(row):
        count = Measure("classes that are left", 1, "count", 2, ">=")
        index = row.integer("ignore_index")
        text = f"ignore_index={index} of {kind} is one of its classes, and leaves one other"
        cause = "a class that is to be learned is ignored, so that nothing is left to tell apart"
        yield Fault("loss", text, cause, "use an index that is no class, such as -100", count)


def advice_on_matches(row: Row) -> Iterator[str]:
    """What is suspicious, but can be meant."""
    least, most = row.number("least_sum"), row.number("most_sum")
    if row.get("most_sum") is not None and (most > 1 + _OFF or least < 1 - _OFF):
        several = most > 1 + _OFF and most == round(most) and least == round(least)
        hint = "for several labels a sample use binary_cross_entropy_with_logits" if several else (
            "cross_entropy wants probabilities"
        )  # fmt: skip
        yield f"soft targets of {row.text('kind')} sum to {least:.3g} to {most:.3g}, not to 1: {hint}"


def _is_paired_otherwise(row: Row) -> bool:
    return (
        row.integer("pairs") >= _FEWEST
        and row.number("one_to_one") >= _ONE_TO_ONE
        and row.number("matched") <= _MATCHED
    )


def _is_left_alone(row: Row) -> bool:
    ignored, classes = row.integer("ignored_count"), row.integer("classes")
    kept = ignored / row.number("ignored") - ignored if row.number("ignored") > 0 else 0
    return (
        0 <= row.integer("ignore_index", -1) < classes
        and row.integer("wanted_classes") == 1
        and min(ignored, kept) >= _ENOUGH
    )
