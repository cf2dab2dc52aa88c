"""What a check says of itself: sections of its docstring, thresholds with value and origin."""

from dataclasses import dataclass, fields

from pytest_dlcheck.check import Check, registry
from pytest_dlcheck.explanation import sections, thresholds


@dataclass(frozen=True)
class Explained(Check):
    """Something holds.

    A word before the headings.

    **Why it matters.** Because.

    It is
    long.

    **Source.** A paper (2010).
    """

    bound: float = 0.5
    """A share (ratio);
    chosen."""
    untold: int = 3

    trials = decide = healthy = sick = None


def test_a_docstring_falls_into_sections_at_its_bold_headings():
    found = [(section.title, section.text) for section in sections(Explained())]
    assert found == [
        ("", "A word before the headings."),
        ("Why it matters", "Because.\n\nIt is\nlong."),
        ("Source", "A paper (2010)."),
    ]


def test_a_threshold_has_its_value_and_what_stands_below_its_field():
    found = [(t.name, t.value, t.text) for t in thresholds(Explained(bound=0.7))]
    assert found == [("bound", 0.7, "A share (ratio);\nchosen."), ("untold", 3, "")]


def test_every_threshold_of_every_check_says_what_it_is():
    silent = [
        f"{name}.{threshold.name}"
        for name, check in registry().items()
        for threshold in thresholds(check)
        if not threshold.text
    ]
    assert silent == []
    assert sum(len(fields(check)) for check in registry().values()) > 20
