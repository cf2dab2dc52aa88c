"""How inputs of validations are scaled, beside those that are trained on. No judgement."""

from __future__ import annotations

from collections.abc import Sequence

from pytest_dlcheck.run.watch.batches.names import is_held_out
from pytest_dlcheck.run.watch.batches.own_scale import own_scale
from pytest_dlcheck.run.watch.batches.scales import scales
from pytest_dlcheck.run.watch.batches.seen import Seen, measured
from pytest_dlcheck.run.watch.batches.sizes import ratio
from pytest_dlcheck.trace import Scalar


def input_scales(trained: Sequence[Seen], validated: Sequence[Seen]) -> dict[str, Scalar]:
    """What is told of scales, of held-out inputs if there are such.

    Args:
        trained: batches, the first ones remembered.
        validated: those that were evaluated in validations.
    """
    ours, theirs = measured(trained), measured(validated)
    held = [seen for seen in validated if is_held_out(seen.part)]
    return {
        "evaluated_size": ratio(ours, theirs) if validated else 1.0,
        "scale_part": held[0].part if held else "",
        **scales(ours, measured(held) or theirs),
        "own_scale": own_scale(
            [seen.moments for seen in trained],
            [(_pass(seen), seen.moments) for seen in held or validated],
        ),
    }


def _pass(seen: Seen) -> tuple[int, str]:
    """By a loader, or by hand under one name in one phase."""
    return (seen.stream, "") if seen.stream >= 0 else (seen.phase, seen.part or "a part")
