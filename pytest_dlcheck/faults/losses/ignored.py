"""A class that a loss leaves out as if it were padding, told as advice."""

from __future__ import annotations

from collections.abc import Iterator

from pytest_dlcheck.trace import Row

_LEAST = 0.02
"""Share (ratio) of targets among the others from which on a left out class is no chance; chosen."""
_MOST = 0.7
"""The same up to which it is told of sequences of words: of what is masked there, 0.85 is left out."""
_WORDS = 50
"""Classes from which on they are words; chosen."""
_FEWEST = 16
_ALL = 0.9
"""Share of ignored targets that is told of anyway."""


def advice_on_ignored(row: Row) -> Iterator[str]:
    """What is suspicious, but can be meant.

    Args:
        row: one call of a torch loss.
    """
    inside, count, classes = row.integer("inside"), row.integer("ignored_inside"), row.integer("classes")
    if count < _FEWEST or row.integer("wanted_classes") <= 1 or row.number("ignored") >= _ALL:
        return
    share = count / inside
    masked = row.integer("places") == 1 and classes >= _WORDS and share > _MOST
    if share >= _LEAST and not masked:
        index = row.integer("ignore_index")
        yield (
            f"ignore_index={index} of {row.text('kind')} is one of its {classes} classes: {share:.0%} "
            f"of the targets between others are class {index}, never learned: right for what is "
            "unlabelled, wrong for a class"
        )
