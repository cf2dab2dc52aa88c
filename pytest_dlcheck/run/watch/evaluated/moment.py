"""When a call is heard."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Moment:
    """When something happens.

    Attributes:
        event: a number that grows with all that is heard.
        steps: optimizer steps before it.
        backwards: backward passes before it.
    """

    event: int
    steps: int
    backwards: int
