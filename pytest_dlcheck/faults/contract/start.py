"""Why a loss starts far too high, in words. Whether it does is the check's."""

from __future__ import annotations

from pytest_dlcheck.trace import Row


def story(row: Row, raw: float) -> tuple[str, str]:
    """The likely cause of over-scaled outputs, and its remedy.

    Args:
        row: one loss at the start.
        raw: root mean square of inputs (their unit) from which they explain it.
    """
    size = row.number("input_scale")
    if size > raw:
        text = f"outputs are over-scaled by raw inputs, whose root mean square is {size:.3g}"
        return text, "normalise the inputs, to about 1"
    text = "outputs are over-scaled: by the initialisation, or by a factor"
    return text, "use torch's own initialisation, remove the factor on outputs"


def own_units(row: Row) -> str:
    """Targets of a regression whose unit is far from that of fresh outputs."""
    scale, outputs = row.number("target_scale"), row.number("spread")
    return (
        f"targets have an rms of {scale:.3g}, outputs of {outputs:.2g} at the start: standardise the "
        "targets, or scale the outputs and set the last bias to the targets' mean"
    )


def knows(ratio: float) -> str:
    """A loss that starts far below that of a model that knows nothing."""
    return (
        f"the loss starts at {ratio:.3g} times that of no knowledge: "
        "pretrained weights, or a label that leaks into the inputs"
    )
