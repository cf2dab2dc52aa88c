"""Class weights that are how often the classes occur, in place of the inverse, told in words."""

from __future__ import annotations

from collections.abc import Iterator

from pytest_dlcheck.faults.losses.fault import Fault
from pytest_dlcheck.trace import Row
from pytest_dlcheck.verdict import Measure


def of_shares(row: Row) -> Iterator[Fault]:
    """Weights that equal the shares of so many targets that they were counted, and not turned over.

    Args:
        row: the weights of one loss.
    """
    if row.text("part") == "weights" and row.flag("sure"):
        yield Fault(
            "loss",
            _words(row),
            "class weights are the classes' frequencies, not their inverse: rare ones are ignored",
            "use counts.sum() / (len(counts) * counts); pos_weight is negatives / positives",
            Measure(
                "weight of the commonest class over the rarest's", row.number("ratio"), "ratio", 1.0
            ),
        )


def advice_on_shares(row: Row) -> Iterator[str]:
    """The same of few targets, which weights that were chosen may resemble."""
    if row.text("part") == "weights" and not row.flag("sure"):
        yield f"{_words(row)}; is that meant?"


def _words(row: Row) -> str:
    share, weighs = row.number("share"), row.number("weighs")
    return (
        f"class weights of {row.text('kind')} look like the classes' frequencies, not their inverse: "
        f"class {row.integer('label')}, {share:.0%} of {row.integer('targets'):,} targets, "
        f"has {weighs:.0%} of them, {row.number('ratio'):.3g} times that of the rarest"
    )
