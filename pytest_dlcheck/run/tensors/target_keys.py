"""Under which names a batch that is a mapping holds its targets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

TARGET_KEYS = ("labels", "label", "targets", "target", "y")
"""Keys of a batch under which targets stand, those that are usual first (Hugging Face's among them)."""
ALL_KEYS = frozenset({*TARGET_KEYS, "start_positions", "end_positions"})
"""Those, and the ends of a span that is to be found."""


def named_targets(batch: Mapping[Any, Any]) -> Any:
    """What a batch holds under the first of these names; None where there is none."""
    return next((batch[key] for key in TARGET_KEYS if key in batch), None)
