"""Which keywords a framework's constructor passes on to ``Recipe``, and how a wrong one is refused."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any

from pytest_dlcheck.recipe import RecipeError

PASSED_ON = (
    "accumulate",
    "batch_dim",
    "causal",
    "forward",
    "frozen",
    "max_grad_norm",
    "metrics",
    "precision",
    "shapes",
    "targets",
    "val_data",
)
"""Fields of a recipe that neither framework decides by itself."""


def refuse_unknown(maker: str, given: Mapping[str, Any], further: Iterable[str] = ()) -> None:
    """Refuse keywords that no recipe knows, with the nearest one that it does.

    Args:
        maker: who was called, for the message.
        given: the keywords.
        further: valid ones beside :data:`PASSED_ON`.

    Raises:
        RecipeError: there is one that is not valid.
    """
    valid = sorted({*PASSED_ON, *further})
    for name in given:
        if name not in valid:
            near = get_close_matches(name, valid, n=1)
            hint = f", did you mean {near[0]}=?" if near else ""
            raise RecipeError(f"{maker} does not take {name}={hint} (valid: {', '.join(valid)})")
