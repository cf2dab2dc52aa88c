"""Whether a loop's own code makes or seeds a generator in every step, for what it calls a batch.

Read from its bytecode; no judgement.
"""

from __future__ import annotations

from types import FrameType

from pytest_dlcheck.run.watch.batches.step_code import named_in_a_step, words_in

_MAKERS = frozenset({"RandomState", "default_rng", "Generator", "Random", "manual_seed"})
_BATCHES = frozenset({"batch", "batches", "minibatch", "bs"})
_MEANT = frozenset(
    {
        *("few", "fewshot", "shot", "shots", "support", "subset", "subsample", "labeled", "labelled"),
        *("coreset", "overfit", "overfitting", "heart", "sanity", "debug", "tiny", "toy", "probe"),
        *("memorize", "memorise", "memorization", "memorisation", "anchor", "anchors", "full", "budget"),
        *("calib", "calibration", "calibrate", "exemplar", "exemplars", "prototypes", "inducing"),
        *("client", "clients", "silo", "site", "agent", "user", "member", "task"),
    }
)
"""Words beside which the same rows are meant, as of one client or task, and"""
_STANDING = frozenset({"fixed", "same", "frozen", "one", "single"})
"""those of what is not to change, where a step names it so."""


def draws_by_a_new_generator(frame: FrameType | None) -> bool:
    """Whether each step of the loop makes or seeds one to draw a batch so called, meaning no few rows.

    Args:
        frame: of the innermost function of the loop's own that runs.
    """
    names, around = named_in_a_step(frame)
    words = words_in(names)
    is_a_batch = not words.isdisjoint(_BATCHES) and words.isdisjoint(_MEANT | _STANDING)
    return not names.isdisjoint(_MAKERS) and is_a_batch and around.isdisjoint(_MEANT)
