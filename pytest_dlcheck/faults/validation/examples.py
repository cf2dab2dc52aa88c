"""What is seen of a loop that validates on other data than it trains on, to be spoilt by examples."""

from __future__ import annotations

from pytest_dlcheck.trace import Row, Scalar


def facts_of(turns: Scalar = 0, **found: Scalar) -> dict[str, Row]:
    """Of 1,000 samples that are trained on and 500 others that are evaluated.

    Args:
        turns: passes over a held-out loader, all of them trained on, in turns with others.
        found: what else, by its name in the exposure; ``labelled`` and ``held_rows`` are of losses.
    """
    counts = "trained_and_evaluated evaluated_after_training compared stepped_inside eval_steps"
    more = "eval_runs eval_runs_on_a_new_pass eval_trained eval_trained_in_both rescaled rescaled_size"
    row = dict.fromkeys(f"{counts} {more}".split(), 0)
    seen = {"trained": 1000, "evaluated": 500, "evaluated_distinct": 500, "cleanest": 0, "dirtiest": 0}
    taken = dict.fromkeys(("trained", "passes", "turns", "compared"), turns)
    told = {name: found.pop(name, 0) for name in ("labelled", "held_rows")}
    return {
        "loop": Row(steps=100, strands=1),
        "comparisons": Row(looked=24, each=23, unlabelled=0, held_rows_shapes="mask", **told),
        "exposure": Row({**row, **seen, **found}),
        "held_out_turns": Row(taken, name="v", measure="v"),
    }
