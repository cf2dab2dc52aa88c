"""What losses that compare the wrong things look like, for the examples of a check."""

from __future__ import annotations

from pytest_dlcheck.trace import Row, Scalar

_SHAPES = "[12, 32, 5] beside [32, 12]"
SICK: tuple[tuple[str, dict[str, Scalar], str], ...] = (
    ("labels of the batch before", {"aligned": 1, "misaligned": 23, "age": 1}, "data"),
    ("targets rolled", {"aligned": 0, "permuted": 23, "permuted_sets": 23}, "data"),
    ("inputs shuffled without their targets", {"swappable": 20, "swapped": 20}, "data"),
    ("labels by lot", {"swappable": 20, "swapped": 20, "by_lot": 20}, "data"),
    ("no causal mask", {"foreseen": 24}, "attention"),
    ("shifted twice", {"skipped": 24}, "targets"),
    ("time-major", {"turned": 24, "turned_shapes": _SHAPES}, "loss"),
    ("a critic in it", {"advantage": 24, "advantage_shapes": "[64]"}, "loss"),
    ("z @ z.T", {"its_own": 24}, "loss"),
    ("a sign", {"punished": 24, "punished_shapes": "30 by `returns`"}, "loss"),
    ("min in place of max", {"optimistic": 24, "optimistic_shapes": "the lesser is minimised"}, "loss"),
    ("an entropy that is added", {"certain": 24, "certain_shapes": "[20, 2]"}, "loss"),
    ("a teacher trained along", {"taught": 4, "teacher": "teacher"}, "teacher"),
    ("[n, 1] and [n]", {"crossed_within": 24, "crossed_within_shapes": _SHAPES}, "the model"),
    ("[n, 1] against [n]", {"crossed": 24, "crossed_shapes": _SHAPES}, "loss"),
)
"""The name of an example, what is counted of its losses, and the site that is to be named."""
MIRRORED = Row(
    image="what the model is called on",
    map="the mask in the loss",
    samples=256,
    explained=0.3,
    turn="mirrored left to right",
    turned_explained=0.2,
    fits=120,
    wins=80,
    by_chance=1,
    mask=True,
)
"""Half of the images were flipped without their masks."""
