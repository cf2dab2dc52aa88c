"""What a loss means that refuses what it is given: torch's own messages, told as faults."""

from __future__ import annotations

import re

from pytest_dlcheck.faults.losses.fault import Fault
from pytest_dlcheck.verdict import Measure

_DTYPE = (
    "data",
    "the targets' dtype is not the one that the loss takes",
    "class labels must be int64, targets of regression and binary losses float32",
    "convert: targets.long() for classes, targets.float() for values",
)
_SHAPES = (
    "loss",
    "outputs and targets do not fit in shape",
    "an axis too many or too few, or classes on another axis than 1",
    "give both the shapes that the loss documents",
)
_ANYWHERE = ("scalar", "The size of tensor a")
"""Messages that a model's own forward raises too, so that they say nothing of the loss there."""
_REFUSALS: tuple[tuple[str, str, str, str, str], ...] = (
    (
        r"Target (-?\d+) is out of bounds|[Cc]lass values must be (?:smaller|non-negative)",
        "data",
        "a label is outside the classes that the model has",
        "labels start at 1, or the last layer has too few outputs",
        "number labels from 0, give one output per class, and ignored labels ignore_index",
    ),
    (
        r"expected target dtype|Expected floating point type for target",
        *_DTYPE,
    ),
    (
        r"(?:expected scalar|result) type \w+ (?:but found|can't be)|not implemented for|Found dtype",
        *_DTYPE,
    ),
    (
        r"Expected input batch_size \((\d+)\) to match target batch_size \((\d+)\)",
        "output",
        "outputs do not have a row per target",
        "a view or reshape splits or swallows samples, or targets are not flattened as outputs are",
        "keep the batch axis: flatten(1) or reshape(x.size(0), -1)",
    ),
    (
        r"all elements of input should be between 0 and 1",
        "output",
        "binary_cross_entropy gets outputs outside 0 to 1",
        "it wants probabilities, the model gives logits",
        "use binary_cross_entropy_with_logits (BCEWithLogitsLoss)",
    ),
    (
        r"all elements of target should be between 0 and 1",
        "data",
        "binary_cross_entropy gets targets outside 0 to 1",
        "labels are no probabilities",
        "map labels to 0 and 1",
    ),
    (
        r"Expected target size",
        "loss",
        "outputs and targets do not fit in shape",
        "classes lie on the wrong axis for this loss: it takes axis 1 for them",
        "flatten to (N*T, C) and (N*T,), or outputs.transpose(1, 2)",
    ),
    (
        r"must be the same as input size|ensure they have the same size|0D or 1D target|spatial targets",
        *_SHAPES,
    ),
    (r"The size of tensor a", *_SHAPES),
)


def of_refusal(message: str, frames: str) -> Fault | None:
    """What was wrong with what the loss was given, where it refused with one of torch's messages.

    Args:
        message: the error in words.
        frames: the user's own traceback.
    """
    for pattern, site, finding, cause, remedy in _REFUSALS:
        if ", in forward" in frames and any(text in pattern for text in _ANYWHERE):
            continue
        if re.search(pattern, message):
            line = message.splitlines()[0][:200]
            measure = Measure("losses computed", 0, "count", 1, "=")
            return Fault(site, f"{finding}: {line}", cause, remedy, measure)
    return None
