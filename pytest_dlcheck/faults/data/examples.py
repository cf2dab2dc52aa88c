"""What is found of samples that are sound, to be spoilt by examples."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pytest_dlcheck.trace import Row, Scalar, Series

ROW = Row(samples=569, total=569, whole=True, nan_samples=0, distinct=569, dtype="float32", dims=2)
ENTRY = Row(site="features.0", type="Conv2d", given=1.0, made=0.6, lowest=0.0, highest=3.1, features=64)
STUCK: dict[str, Any] = {
    "loss": Series(tuple(range(24)), (2.3,) * 24),
    "steps": Row(loss_floor=0.0, uninformed_loss=2.3, loss_noise=0.0),
}
"""A training on one batch in which nothing moves."""


def facts(entry: Row, parts: Mapping[str, Mapping[str, Scalar]]) -> dict[str, tuple[Row, ...]]:
    """The facts of an inspection, by name.

    Args:
        entry: of the first layer with weights.
        parts: what is otherwise of ``input`` and ``target``.
    """
    given = Row(ROW, place="input", is_target=False, lowest=-2.0, highest=3.0, **parts.get("input", {}))
    target = Row(ROW, place="target", is_target=True, mean=0.5, rms=0.7, **parts.get("target", {}))
    return {"data_contents": (given, target), "data_scale": (entry,)}
